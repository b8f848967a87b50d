"""Which model, which layers and which rate."""
