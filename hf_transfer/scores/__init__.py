"""Numbers from predictions, without torch."""
