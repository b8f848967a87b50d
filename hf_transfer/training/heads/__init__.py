"""Train the heads of many folds and settings at once, as one batched program over stored features."""
