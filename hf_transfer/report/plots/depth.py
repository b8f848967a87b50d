"""Score against depth: a line for each candidate of a ranking, beside the controls. No torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hf_transfer import _guard  # noqa: F401
from hf_transfer.report.plots.palette import PALETTE, empty_axes
from hf_transfer.runs.rank_record import RankedLayer, RankedModel, RankRecord
from hf_transfer.tasks import metric_name

_MARKS = "osD^vP*"

DEPTH_CAPTION = (
    "Score of a linear model on what each frozen layer puts out, with the interval of its mean over folds. "
    "Where it falls towards the end, the top layers have specialised on what the model was pretrained for."
)


def depth_plot(ranking: RankRecord) -> Figure:
    """Draw the linear probe's score at each layer, with intervals; random weights dashed.

    Of texts, solid by the mean of their tokens, and dotted by the first.

    The intervals are those of the mean over folds, corrected for shared training rows.

    Args:
        ranking: What rank.json holds.
    """
    figure, axes = empty_axes(8.5, 5)
    candidates, controls = ranking.candidates, ranking.controls
    for place, candidate in enumerate(candidates):
        colour, mark = PALETTE[place % len(PALETTE)], _MARKS[place % len(_MARKS)]
        _draw(axes, candidate, colour, mark, place - (len(candidates) - 1) / 2)
        if arm := candidate.from_scratch:
            for _, layers in _lines(arm.layers):
                points = [(layer.depth, layer.ridge.mean) for layer in layers]
                axes.plot(*zip(*points, strict=True), color=colour, linestyle="--", linewidth=1.2, alpha=0.8)
    if any(candidate.from_scratch for candidate in candidates):
        axes.plot([], [], color="0.4", linestyle="--", linewidth=1.2, label="same network, random weights")
    baseline = controls.baseline
    axes.axhline(baseline.score.mean, color="0.25", linestyle="-.", linewidth=1.2, label=baseline.name)
    axes.axhline(
        controls.constant, color="0.25", linestyle=":", linewidth=1.4, label="one answer for all rows"
    )
    axes.set_xlabel("relative depth of the frozen layer (0 is the first, 1 the last)")
    axes.set_ylabel(metric_name(ranking.measure) + " of a linear model, held-out rows")
    axes.grid(color="0.92")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=8)
    return figure


def _draw(axes: Axes, candidate: RankedModel, colour: str, mark: str, beside: float) -> None:
    lines = _lines(candidate.layers)
    for place, (pooling, layers) in enumerate(lines):
        name = f"{candidate.name}, {pooling}" if len(lines) > 1 else candidate.name
        look = {"color": colour, "marker": mark, "linestyle": ("-", ":")[place % 2], "label": name}
        _draw_line(axes, layers, beside + place / len(lines), look)


def _lines(layers: Sequence[RankedLayer]) -> list[tuple[str, list[RankedLayer]]]:
    """The layers by each pooling of texts, with those that have none; all in one where there is no choice."""
    poolings = list(dict.fromkeys(layer.pooling for layer in layers if layer.pooling))[::-1]
    return [(one, [layer for layer in layers if layer.pooling in (one, None)]) for one in poolings] or [
        ("", list(layers))
    ]


def _draw_line(axes: Axes, layers: Sequence[RankedLayer], beside: float, look: Mapping[str, Any]) -> None:
    # Lines stand a little beside one another, as their intervals would hide each other.
    depths = [layer.depth + 0.004 * beside for layer in layers]
    means = [layer.ridge.mean for layer in layers]
    below, above = (
        [max(0.0, sign * (layer.ridge.interval[end] - layer.ridge.mean)) for layer in layers]
        for end, sign in ((0, -1), (1, 1))
    )
    axes.errorbar(
        depths, means, yerr=[below, above], markersize=4.5, linewidth=1.8, elinewidth=0.8, capsize=2, **look
    )
