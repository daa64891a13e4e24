"""Stages: one knee, paths and records in, records out."""
