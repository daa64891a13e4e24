"""The tables and images of a cohort, its checks, and pseudonyms of its participants.
Imports core, storage and imaging.
"""
