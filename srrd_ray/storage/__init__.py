"""Where bytes are kept: paths and object stores, atomic writes, schemas, tables, weights, OME-Zarr,
patch store. Imports core.
"""
