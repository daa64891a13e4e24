"""What every part is made of: errors, geometry, volumes, records, JSON, seeds and hashes of values.
Imports nothing of ours.
"""
