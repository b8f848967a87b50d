"""From one domain to another: whether it is another, what a model will do there, what helps."""
