"""The picture of a search: the loss of its trials over layers and learning rates."""

import numpy as np
from matplotlib.figure import Figure

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import setting
from hf_transfer.report.plots.heat_map import heat_map
from hf_transfer.report.words.search import chosen
from hf_transfer.runs.search_record import Search

TRIALS_CAPTION = (
    "Cross-entropy at the best temperature of trainings on few rows, on rows that they did not learn from; "
    "lower is better. Where each fold chose for itself, it is the mean over the folds that tried it. Empty: "
    "not tried, as rates nearby were worse. Framed: chosen, by trials on more rows where those decided."
)


def trial_map(search: Search) -> Figure | None:
    """Draw the loss of each choice of layers at each rate that was tried; None without such a loss.

    Args:
        search: What search.json holds.
    """
    layers = [candidate.name for candidate in search.candidates]
    rates = sorted({trial.learning_rate for trial in search.trials})
    losses: dict[tuple[int, int], list[float]] = {}
    for trial in search.trials:
        # Each choice is tried on one half of the rows; only the best of them on the other too.
        if trial.half == 0 and trial.loss is not None and np.isfinite(trial.loss):
            cell = layers.index(trial.candidate), rates.index(trial.learning_rate)
            losses.setdefault(cell, []).append(trial.loss)
    if not losses:
        return None
    values = np.full((len(layers), len(rates)), np.nan)
    for cell, some in losses.items():
        values[cell] = np.mean(some)
    tried = np.flatnonzero(~np.isnan(values).all(axis=1))
    framed = {(layers.index(name), rates.index(rate)) for name, rate in chosen(search)}
    return heat_map(
        values[tried],
        [layers[row] for row in tried],
        [setting(rate) if rate else "closed form" for rate in rates],
        names=("learning_rate", "trained"),
        what="loss",
        marked=sorted((int(np.searchsorted(tried, row)), column) for row, column in framed if row in tried),
    )
