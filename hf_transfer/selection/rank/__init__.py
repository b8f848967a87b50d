"""Rank pretrained models as starting points: on the same rows and folds, with controls."""
