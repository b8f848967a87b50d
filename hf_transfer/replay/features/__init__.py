"""Features of every row at each layer group, from one forward pass that later commands reuse."""
