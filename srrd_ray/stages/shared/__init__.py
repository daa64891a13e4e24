"""What several stages share: tables, models, poses, trainings of all folds, truth, the page of a run."""
