"""The picture of a learning curve: the score against the number of training rows."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from hf_transfer import _guard  # noqa: F401
from hf_transfer.report.plots.palette import BLUE, ORANGE, empty_axes
from hf_transfer.runs.records import CurveSize, Results
from hf_transfer.scores.learning_curve import Law
from hf_transfer.tasks import metric_name


def size_curve(results: Results) -> Figure | None:
    """Draw the primary metric of each size on held-out and training rows; None without a learning curve.

    Bars are the intervals of the held-out score. The law is dashed, to twice the rows.
    """
    curve = results.learning_curve
    sizes = [size for size in curve.sizes if size.mean is not None] if curve else []
    if not curve or not sizes:
        return None
    figure, axes = empty_axes(7.5, 3.8)
    _draw_folds(axes, [(size.num_train, size.scores) for size in sizes], BLUE)
    _draw_folds(axes, [(size.num_train, size.train_scores) for size in sizes], ORANGE)
    _draw_means(axes, sizes)
    ticks = [size.num_train for size in sizes]
    if curve.fit:
        _draw_law(axes, curve.fit, sizes[0].num_train, 2 * sizes[-1].num_train)
        ticks.append(2 * ticks[-1])
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{rows:,.0f}" for rows in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("training rows")
    axes.set_ylabel(metric_name(curve.metric, results.task))
    axes.grid(color="0.9")
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure


def _draw_folds(axes: Axes, sizes: Sequence[tuple[float, Sequence[float | None]]], colour: str) -> None:
    """Draw each fold of each size as a small dot."""
    points = [(num_rows, score) for num_rows, scores in sizes for score in scores if score is not None]
    if points:
        axes.plot(*zip(*points, strict=True), "o", color=colour, alpha=0.3, markersize=3.5, mew=0)


def _draw_means(axes: Axes, sizes: Sequence[CurveSize]) -> None:
    rows = [size.num_train for size in sizes]
    trained = [(size.num_train, size.train_mean) for size in sizes if size.train_mean is not None]
    if trained:
        axes.plot(*zip(*trained, strict=True), color=ORANGE, marker="o", mfc="white", label="training rows")
    for size in sizes:
        if size.interval:
            # It is about the pooled score, which may lie off the mean, so that it is drawn by itself.
            axes.plot([size.num_train] * 2, size.interval, color=BLUE, alpha=0.4, lw=5, solid_capstyle="butt")
    means = np.array([size.mean for size in sizes], np.float64)
    axes.plot(rows, means, color=BLUE, marker="o", lw=2.5, label="held-out rows, 95 % interval")


def _draw_law(axes: Axes, fit: Law, first: float, last: float) -> None:
    rows = np.geomspace(first, last, 100)
    scores = fit.a + fit.b * rows**-fit.c
    axes.plot(rows, scores, "--", color="0.3", lw=1.2, label="fitted curve, to twice the rows")
