"""Figures and one self-contained page: what a run found, and what failed and why."""
