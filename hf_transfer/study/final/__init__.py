"""The final model, and predicting with it."""
