"""What a run leaves, on the disk and on the Hub. No torch."""
