"""Words, plots, card and page of a run. No torch."""
