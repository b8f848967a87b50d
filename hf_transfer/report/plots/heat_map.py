"""Numbers over two settings, each in a coloured cell."""

from collections.abc import Collection, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import number
from hf_transfer.report.plots.palette import ORANGE

Floats = NDArray[np.float64]

_COLOURS = "cividis"  # told apart by colour-blind readers too


def heat_map(
    values: Floats,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    names: tuple[str, str],
    what: str,
    marked: Collection[tuple[int, int]] = (),
) -> Figure:
    """Draw a table of numbers; cells without one stay empty.

    Args:
        values: (r, c), NaN where there is none.
        rows: What each row is, (r,).
        columns: What each column is, (c,).
        names: What the columns and the rows vary: the names of the axes.
        what: What the numbers are, beside the colours.
        marked: Cells to frame, as (row, column).
    """
    width = 2.2 + 0.95 * len(columns) + 0.07 * max(map(len, rows))
    figure = Figure(figsize=(width, 1.4 + 0.55 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap=_COLOURS, aspect="auto")
    figure.colorbar(image, ax=axes).set_label(what)
    _write(axes, values)
    for row, column in marked:
        frame = mpl.patches.Rectangle(
            (column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=ORANGE, linewidth=3, clip_on=False
        )
        axes.add_patch(frame)
    axes.set_xticks(range(len(columns)), columns, parse_math=False)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    axes.set_xlabel(names[0].replace("_", " "))
    axes.set_ylabel(names[1].replace("_", " "))
    return figure


def _write(axes: Axes, values: Floats) -> None:
    """Write each number in what can be read on its colour: the dark end is the low one."""
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            ink = "white" if value < middle else "black"
            axes.text(column, row, number(float(value)), ha="center", va="center", fontsize=9, color=ink)
