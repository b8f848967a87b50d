"""The model to publish, and its use."""
