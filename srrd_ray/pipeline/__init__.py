"""The stages in order, and a run of them, from cohort to report. Imports stages, cohort and execution."""
