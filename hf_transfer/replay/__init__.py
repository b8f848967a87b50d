"""Compute the output of frozen layers once, and replay it for every fold, epoch and learning rate."""
