"""Which layers should learn, and at which rate: a search under cross-validation, with answers in words."""
