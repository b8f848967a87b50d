"""What each layer group of a model makes of every row, in one forward pass that later commands find again."""
