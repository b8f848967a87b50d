"""Score against depth: a line for each candidate, beside the controls."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hf_transfer import _guard  # noqa: F401
from hf_transfer.baselines import NAMES
from hf_transfer.rank.candidate import Candidate
from hf_transfer.rank.ranking import Ranking

# Okabe and Ito's palette, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKS = "osD^vP*"


def depth_plot(ranking: Ranking) -> Figure:
    """Draw the linear probe's score at each layer, with intervals; random weights dashed.

    The intervals are those of the mean over folds, corrected for shared training rows.
    """
    figure = Figure(figsize=(8.5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    for place, candidate in enumerate(ranking.candidates):
        colour, mark = COLOURS[place % len(COLOURS)], _MARKS[place % len(_MARKS)]
        _draw(axes, candidate, colour, mark, place - (len(ranking.candidates) - 1) / 2)
        if candidate.name in ranking.scratch:
            arm = ranking.scratch[candidate.name]
            axes.plot(
                [layer.depth for layer in arm.layers], [layer.ridge.mean for layer in arm.layers],
                color=colour, linestyle="--", linewidth=1.2, alpha=0.8,
            )  # fmt: skip
    if ranking.scratch:
        axes.plot([], [], color="0.4", linestyle="--", linewidth=1.2, label="same network, random weights")
    axes.axhline(
        ranking.baseline.mean,
        color="0.25",
        linestyle="-.",
        linewidth=1.2,
        label=NAMES[ranking.ground.data.kind],
    )
    axes.axhline(
        ranking.constant, color="0.25", linestyle=":", linewidth=1.4, label="one answer for all rows"
    )
    axes.set_xlabel("relative depth of the frozen layer (0 is the first, 1 the last)")
    axes.set_ylabel(ranking.ground.measure.name.replace("_", " ") + " of a linear model, held-out rows")
    axes.grid(color="0.92")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=8)
    return figure


def _draw(axes: Axes, candidate: Candidate, colour: str, mark: str, beside: float) -> None:
    # Candidates stand a little beside one another, as their intervals would hide each other.
    depths = [layer.depth + 0.004 * beside for layer in candidate.layers]
    means = [layer.ridge.mean for layer in candidate.layers]
    below = [max(0.0, layer.ridge.mean - layer.ridge.interval[0]) for layer in candidate.layers]
    above = [max(0.0, layer.ridge.interval[1] - layer.ridge.mean) for layer in candidate.layers]
    axes.errorbar(
        depths, means, yerr=[below, above], color=colour, marker=mark, markersize=4.5, linewidth=1.8,
        elinewidth=0.8, capsize=2, label=candidate.name,
    )  # fmt: skip
