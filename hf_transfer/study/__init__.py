"""One experiment: train and score its folds, and aggregate the results."""
