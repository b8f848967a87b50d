"""Whether two sets of rows come from one domain, and what a model's accuracy is in the other; no torch."""
