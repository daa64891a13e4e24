"""Many knees: the only package that imports Ray."""
