"""What a run answers: predicted against true numbers, and how well each label is found."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hf_transfer import _guard  # noqa: F401
from hf_transfer.report.plots.palette import BLUE, ORANGE, empty_axes
from hf_transfer.scores.scorer import ClassScores

MOST_BARS = 30  # labels in one readable picture

SCATTER_CAPTION = (
    "Each dot is a held-out row. On the left, a right answer lies on the dashed line; on the right, on 0. "
    "Dots that lie along a slope there are numbers that the models draw towards the mean."
)
BARS_CAPTION = "F1 of each label over all held-out rows, with the share of rows that have it."


def number_scatter(pairs: Sequence[Sequence[float]] | None) -> Figure | None:
    """Draw predicted against true numbers, and their differences; None without any.

    Args:
        pairs: True and predicted number of each row.
    """
    if not pairs:
        return None
    true, predicted = np.asarray(pairs, np.float64).T
    figure = Figure(figsize=(8.6, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    ends = [float(true.min()), float(true.max())]
    left.plot(ends, ends, color="0.6", lw=1, ls="--", label="right")
    left.set_xlabel("true")
    left.set_ylabel("predicted")
    right.axhline(0, color="0.6", lw=1, ls="--")
    right.set_xlabel("predicted")
    right.set_ylabel("true minus predicted")
    style: dict[str, Any] = {"ls": "none", "marker": "o", "ms": 3.5, "alpha": 0.5, "mew": 0}
    left.plot(true, predicted, color=BLUE, **style)
    right.plot(predicted, true - predicted, color=ORANGE, **style)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
    left.legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def label_bars(per_class: Sequence[ClassScores], names: Sequence[str], num_rows: int) -> Figure | None:
    """Draw F1 and the share of rows of each label, of many those with the lowest F1; None without any.

    Args:
        per_class: Of each label, with `f1` and `support`.
        names: What to write for each.
        num_rows: That were scored.
    """
    lines = [(line, name) for line, name in zip(per_class, names, strict=True) if line.f1 is not None]
    if len(lines) > MOST_BARS:
        lines = sorted(lines, key=lambda pair: pair[0].f1 or 0.0)[:MOST_BARS]
    if not lines:
        return None
    figure, axes = empty_axes(7.5, 1.2 + 0.36 * len(lines))
    places = np.arange(len(lines))
    shares = [line.support / max(1, num_rows) for line, _ in lines]
    axes.barh(places - 0.18, [line.f1 or 0.0 for line, _ in lines], 0.36, color=BLUE, label="F1")
    axes.barh(places + 0.18, shares, 0.36, color="0.75", label="share of rows")
    axes.set_yticks(places, [name for _, name in lines], parse_math=False)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(axis="x", color="0.9")
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure
