"""Tests mirror the package; each states one promise in its name."""
