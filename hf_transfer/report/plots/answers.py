"""What a run answers: predicted against true numbers, and how well each label is found."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.report.plots.palette import BLUE, ORANGE, empty_axes
from hf_transfer.scores.scorer import ClassScores

Floats = NDArray[np.float64]

MOST_BARS = 30  # labels in one readable picture
MOST_PANELS = 6  # numbers a row that are drawn

_RIGHT = "Each dot is a held-out row. A right answer lies on the dashed line."
_ONE = (
    "Each dot is a held-out row. On the left, a right answer lies on the dashed line; on the right, on 0. "
    "Dots that lie along a slope there are numbers that the models draw towards the mean."
)
BARS_CAPTION = "F1 of each label over all held-out rows, with the share of rows that have it."


def scatter_caption(names: Sequence[str]) -> str:
    """Say how to read the picture of numbers, of which each row has as many as there are names."""
    if len(names) == 1:
        return _ONE
    drawn = f" Of {len(names)} numbers a row, the first {MOST_PANELS} are drawn."
    return _RIGHT + drawn * (len(names) > MOST_PANELS)


def number_scatter(rows: Sequence[Sequence[float]] | None, names: Sequence[str]) -> Figure | None:
    """Draw predicted against true numbers: of one also what is left, of several a panel each; None without.

    Args:
        rows: True and then predicted numbers of each row.
        names: What to write for each number.
    """
    if not rows:
        return None
    true, predicted = np.split(np.asarray(rows, np.float64), 2, axis=1)
    number = true.shape[1]
    columns = 3 if number > 4 else 2
    lines = -(-max(number, 2) // columns)
    figure = Figure(figsize=(12.9 * columns / 3, 4.0 * lines), layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for panel, name, *pair in zip(panels, names, true.T, predicted.T, strict=False):
        _draw_numbers(panel, *pair)
        if number > 1:
            panel.set_title(name, fontsize=10, parse_math=False)
    if number == 1:
        _draw_rest(panels[1], true[:, 0], predicted[:, 0])
    for panel in panels[max(number, 2) :]:
        panel.remove()
    panels[0].legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def _draw_numbers(axes: Axes, true: Floats, predicted: Floats) -> None:
    """Predicted against true numbers, with the line on which both are the same."""
    ends = [float(true.min()), float(true.max())]
    axes.plot(ends, ends, color="0.6", lw=1, ls="--", label="right")
    _draw_dots(axes, true, predicted, BLUE)
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")


def _draw_rest(axes: Axes, true: Floats, predicted: Floats) -> None:
    """What is left of the true numbers, against the predicted ones."""
    axes.axhline(0, color="0.6", lw=1, ls="--")
    _draw_dots(axes, predicted, true - predicted, ORANGE)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true minus predicted")


def _draw_dots(axes: Axes, across: Floats, up: Floats, colour: str) -> None:
    axes.plot(across, up, color=colour, ls="none", marker="o", ms=3.5, alpha=0.5, mew=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)


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
