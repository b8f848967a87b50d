"""Verify a run: make its folds and every number again from what it left behind. No torch, no training.

What passes is consistent: the split follows from the settings, each held-out row was scored once by
the ledger, and the results and the card follow from the predictions. Whether a model made those
predictions, only training again can tell.
"""
