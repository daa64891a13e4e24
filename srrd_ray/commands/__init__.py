"""The subcommands of `srrd`: the options of each, and the one call that it makes.
May import every package; nothing but `cli.py` imports it.
"""
