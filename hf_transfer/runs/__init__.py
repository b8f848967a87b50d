"""The record of a run, on disk and on the Hub. No torch."""
