"""Ray: session, executor, training, tuning, access, metrics. The only package that imports it;
of ours core, storage and execution.
"""
