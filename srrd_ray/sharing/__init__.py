"""Models as others get them: their facts, the check of every file, ONNX and MONAI bundles.
Imports core, numerics, storage, knee_bones, stages and report.
"""
