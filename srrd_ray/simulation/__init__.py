"""The simulated paired cohort: knees whose CT and MR see the same trabeculae, with the exact truth."""
