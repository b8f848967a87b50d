"""Push to the Hub, and fetch from it."""
