"""Exchange with the Hub."""
