"""What a run found, in sentences."""
