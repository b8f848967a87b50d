"""Two data sets seen along the axes of the first one. No torch."""

from matplotlib.figure import Figure

from hf_transfer import _guard  # noqa: F401
from hf_transfer.report.plots.palette import BLUE, ORANGE, empty_axes, legend_above
from hf_transfer.runs.shift_record import ShiftRecord

CLOUD_CAPTION = (
    "Each dot is a row. The axes are the two along which the features of the first data set vary most; the "
    "second is seen from there, so that it cannot move the axes. Clouds that lie over each other here may "
    "still lie apart in other directions: the test looks at all of them."
)


def cloud_plot(shift: ShiftRecord) -> Figure:
    """Draw rows of both data sets on the first one's principal axes.

    Args:
        shift: What shift.json holds.
    """
    figure, axes = empty_axes(7, 5.2)
    clouds = shift.clouds
    for points, data, colour, mark in (
        (clouds.source_points, shift.source_data, BLUE, "o"),
        (clouds.target_points, shift.target_data, ORANGE, "^"),
    ):
        across, up = zip(*points, strict=True)
        axes.scatter(across, up, s=16, color=colour, marker=mark, alpha=0.55, linewidths=0, label=data.title)
    for axis, share, name in zip(
        (axes.xaxis, axes.yaxis), clouds.explained, ("first", "second"), strict=True
    ):
        axis.set_label_text(f"{name} axis of {shift.source_data.title} ({share:.0%} of its variance)")
    axes.grid(color="0.92")
    legend_above(axes)
    return figure
