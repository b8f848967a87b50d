"""The curve over shares of the fine-tuned weights: other rows against the run's folds. No torch."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hf_transfer import _guard  # noqa: F401
from hf_transfer.report.plots.palette import BLUE, ORANGE, empty_axes
from hf_transfer.runs.scored_record import ScoredRows, SharePoint


def share_curve(record: ScoredRows) -> Figure | None:
    """Draw what each share scores on other rows against the folds' mean; None where these have not all.

    Bars are 95 % intervals over the rows. The published share has another colour. Shares at one place
    have one label, as their names would cover each other.
    """
    found = [
        (one.cross_validated, one.value, one)
        for one in record.wise_curve
        if one.cross_validated is not None and one.value is not None
    ]
    if not found or len(found) < len(record.wise_curve):
        return None
    figure, axes = empty_axes(6, 4.2)
    axes.plot([x for x, _, _ in found], [y for _, y, _ in found], color=BLUE, lw=1.2)
    _draw_points(axes, found)
    axes.set_xlabel(f"{record.primary_metric}, the run's folds")
    axes.set_ylabel(f"{record.primary_metric}, {record.name}, 95 %")
    axes.grid(color="0.92")
    return figure


def _draw_points(axes: Axes, found: list[tuple[float, float, SharePoint]]) -> None:
    names: dict[tuple[float, float], list[str]] = {}
    for x, y, one in sorted(found, key=lambda point: point[2].published):  # the published one lies on top
        low, high = one.interval or (y, y)
        colour = ORANGE if one.published else BLUE
        axes.errorbar(x, y, yerr=[[y - low], [high - y]], fmt="o", color=colour, elinewidth=1, capsize=2)
        name = f"{one.share:g}, published" if one.published else f"{one.share:g}"
        names.setdefault((round(x, 6), round(y, 6)), []).append(name)
    for place, here in names.items():
        colour = ORANGE if here[-1].endswith("published") else BLUE
        axes.annotate("; ".join(here), place, (6, 4), textcoords="offset points", color=colour)
