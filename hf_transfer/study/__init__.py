"""One experiment: which folds, one after the other, and what they add up to."""
