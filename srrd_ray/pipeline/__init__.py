"""The stages in their order, from a cohort to a report: configuration, manifest, status, support. Imports stages, cohort and execution."""
