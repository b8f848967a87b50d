"""Accuracy of each arm in the target, with exact intervals. No torch."""

from matplotlib.figure import Figure

from hf_transfer import _guard  # noqa: F401
from hf_transfer.report.plots.palette import BLUE, ORANGE, empty_axes
from hf_transfer.runs.adapt_record import AdaptRecord


def adapt_plot(record: AdaptRecord) -> Figure:
    """Draw each arm's accuracy on labelled rows of the target; without labels, how many answers it changes.

    Args:
        record: What adapt.json holds.
    """
    figure, axes = empty_axes(7, 1.2 + 0.45 * len(record.arms))
    for place, arm in enumerate(reversed(record.arms)):
        colour = ORANGE if arm.name == record.published else BLUE
        value = arm.changed if arm.accuracy is None else arm.accuracy
        low, high = arm.interval or (value, value)
        axes.errorbar(value, place, xerr=[[value - low], [high - value]], fmt="o", color=colour, capsize=3)
    axes.set_yticks(range(len(record.arms)), [arm.name for arm in reversed(record.arms)])
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel(
        f"accuracy on {record.num_labels} labelled rows of the target, 95 %"
        if record.num_labels
        else "share of target rows that it answers otherwise than the source's head"
    )
    axes.grid(axis="x", color="0.92")
    return figure
