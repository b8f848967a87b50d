"""Work on many machines: what is sent to them, what they do with it, and how its results come back."""
