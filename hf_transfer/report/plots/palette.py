"""The look that all pictures share: two colours, and empty axes."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from hf_transfer import _guard  # noqa: F401

# Okabe and Ito's palette, told apart by colour-blind readers too.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
BLUE, ORANGE, *_ = PALETTE


def empty_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Make an empty picture of so many inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


def plain_texts(figure: Figure) -> None:
    """Have names drawn as they are: between two dollars they would be read as mathematics."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)


def legend_above(axes: Axes) -> None:
    """Explain each kind of mark once, however many rows have it."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axes.legend(
        once.values(),
        once.keys(),
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=3,
        frameon=False,
        fontsize=8,
    )
