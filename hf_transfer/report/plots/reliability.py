"""Reliability: how often rows were right against how sure the models were."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from hf_transfer import _guard  # noqa: F401
from hf_transfer.report.plots.palette import BLUE, ORANGE, empty_axes, legend_above
from hf_transfer.scores.calibration import Bin, Calibration

_SUREST = 1 - 1e-6  # probability that is drawn; odds of 1 have no place
_PROBABILITIES = (
    0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.997, 0.999, 0.9999, 0.99999,
)  # fmt: skip


def reliability_diagram(calibration: Calibration) -> Figure:
    """Draw how often rows were right against how sure the models were, as they come and with a temperature.

    Bars are one standard error of a bin's accuracy. On the dashed line, probabilities mean what they say.
    They are drawn by their odds, as those of sure models would crowd near 1.
    """
    return reliability_curves(
        [
            (f"as they come (error {calibration.ece_before:.3f})", calibration.bins["before"]),
            (f"with a temperature (error {calibration.ece_after:.3f})", calibration.bins["after"]),
        ]
    )


def reliability_curves(curves: Sequence[tuple[str, Sequence[Bin]]]) -> Figure:
    """Draw how often rows were right against how sure a model was, a curve for each label and its bins."""
    figure, axes = empty_axes(6.2, 4.4)
    lowest = 1.0
    for (label, bins), colour, marker in zip(curves, (ORANGE, BLUE), "so", strict=False):
        confidence, accuracy, count = np.array(
            [(line.confidence, line.accuracy, line.count) for line in bins]
        ).T
        error = np.sqrt(accuracy * (1 - accuracy) / count)
        lowest = min(lowest, float((accuracy - error).min()))
        axes.errorbar(
            np.minimum(confidence, _SUREST), accuracy, yerr=error, label=label,
            color=colour, marker=marker, ms=4.5, lw=1, alpha=0.8, capsize=2,
        )  # fmt: skip
    confidences = [line.confidence for _, bins in curves for line in bins]
    least, most = min(confidences), min(max(confidences), _SUREST)
    left, right = least - 0.2 * least * (1 - least), most + 0.2 * most * (1 - most)
    line = np.concatenate([np.linspace(left, right, 200), 1 - np.geomspace(1 - left, 1 - right, 200)])
    axes.plot(np.sort(line), np.sort(line), color="0.6", lw=1, ls="--", label="perfect", zorder=0)
    axes.set_xscale("logit")
    axes.set_xlim(left, right)
    ticks = _apart([tick for tick in _PROBABILITIES if left <= tick <= right], left, right)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(max(-0.02, min(lowest, left) - 0.05), 1.02)
    axes.set_xlabel("probability of the predicted class")
    axes.set_ylabel("share of rows that were right")
    axes.grid(color="0.9")
    legend_above(axes)
    return figure


def _apart(ticks: Sequence[float], left: float, right: float) -> list[float]:
    """Leave out probabilities whose names would touch where odds are drawn; those near 1 stay."""
    kept: list[float] = []
    places = {tick: float(np.log(tick / (1 - tick))) for tick in (*ticks, left, right)}
    for tick in reversed(ticks):
        if not kept or places[kept[-1]] - places[tick] > (places[right] - places[left]) / 11:
            kept.append(tick)
    return kept[::-1]
