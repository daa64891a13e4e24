"""Morphometry of any bone volume for srrd measure: request, volume, folder, blocks, joint.
Imports numerics, imaging and execution.
"""
