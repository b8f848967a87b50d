"""A base model: open, build, save."""
