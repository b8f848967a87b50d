"""Is this model a good start? Candidates on the same rows and folds, beside controls."""
