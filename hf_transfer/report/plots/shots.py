"""The picture of a few rows a class: the mean of many draws, and where one draw lies. No torch."""

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from hf_transfer import _guard  # noqa: F401
from hf_transfer.report.plots.palette import BLUE, empty_axes, legend_above
from hf_transfer.runs.shots_record import ShotsRecord
from hf_transfer.tasks import metric_name


def shots_plot(record: ShotsRecord) -> Figure:
    """Draw the score against rows a class: a wide band for one draw, a narrow one for the mean."""
    figure, axes = empty_axes(7.5, 4)
    shots = [size.shots for size in record.sizes]
    for name, alpha, words in (("one_draw", 0.15, "one draw"), ("interval", 0.4, "the mean")):
        low, high = zip(*(getattr(size, name) for size in record.sizes), strict=True)
        axes.fill_between(shots, low, high, color=BLUE, alpha=alpha, lw=0, label=f"95 % of {words}")
    means = [size.mean for size in record.sizes]
    axes.plot(shots, means, color=BLUE, marker="o", lw=2, label=f"mean of {record.num_draws} draws")
    axes.axhline(record.constant, color="0.25", linestyle=":", lw=1.4, label="one answer for all rows")
    axes.set_xscale("log", base=2)
    axes.set_xticks(shots, [str(size) for size in shots])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("rows a class")
    axes.set_ylabel(metric_name(record.measure) + " on the other rows")
    axes.grid(color="0.92")
    legend_above(axes)
    return figure
