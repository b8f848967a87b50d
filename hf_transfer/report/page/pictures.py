"""The pictures of a report, as SVG in data: URIs: sharp at any size, and nothing in them can run."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import number, setting
from hf_transfer.report.plots import scores as plots
from hf_transfer.report.plots.answers import BARS_CAPTION, number_scatter, scatter_caption
from hf_transfer.report.plots.depth import DEPTH_CAPTION, depth_plot
from hf_transfer.report.plots.heat_map import heat_map
from hf_transfer.report.plots.palette import plain_texts
from hf_transfer.report.plots.reliability import reliability_diagram
from hf_transfer.report.plots.scores import History
from hf_transfer.report.plots.search import TRIALS_CAPTION, trial_map
from hf_transfer.report.plots.sizes import size_curve
from hf_transfer.runs.companions import Companions
from hf_transfer.runs.records import GridEntry, Results
from hf_transfer.runs.summary import varying_settings
from hf_transfer.tasks import metric_name

T = TypeVar("T")
Drawing = tuple[Callable[[], Figure | None], str, str, str]
"""What draws a picture if there is something to draw, with the picture's title, alt text and caption."""


@dataclass(frozen=True)
class Picture:
    """A picture as a data: URI, with its title, what it shows for those who do not see it, and a caption."""

    title: str
    alt: str
    uri: str
    caption: str


def draw_pictures(
    results: Results, histories: Mapping[str, History], found: Companions | None = None
) -> list[Picture]:
    """Draw all that a run has data for.

    Args:
        results: What results.json holds.
        histories: Epochs of each fold, by the fold's name.
        found: What a search or a ranking left beside them, if anything.
    """
    drawings = [*_of_trainings(results, histories, found or Companions()), *_of_answers(results)]
    return [
        Picture(title, alt, svg_uri(figure), caption)
        for draw, title, alt, caption in drawings
        if (figure := draw()) is not None
    ]


def pictures_beside(found: Companions) -> dict[str, str]:
    """The pictures of what `shots`, `shift` and `adapt` found, as data: URIs by their names."""
    drawn = plots.beside_plots(found)
    return {name: svg_uri(figure) for name, figure in drawn.items() if figure is not None}


def _of_trainings(results: Results, histories: Mapping[str, History], found: Companions) -> list[Drawing]:
    metric = metric_name(results.primary_metric, results.task)
    return [
        (
            lambda: plots.fold_scores(results), "Each fold",
            _folds_alt(results, metric),
            "A dot is a fold. Of the intervals below the dots, the thick one resamples rows and is "
            "optimistic; a thin one allows for other training rows too and is conservative.",
        ),
        (
            lambda: grid_map(results) or plots.grid_scores(results), "The configurations that were tried",
            f"{metric} of each configuration of the grid", "Means over the same folds; the best is outlined.",
        ),
        (
            partial(_drawn, trial_map, found.search), "What the search tried",
            "Loss of each choice of layers at each learning rate", TRIALS_CAPTION,
        ),
        (
            partial(_drawn, depth_plot, found.rank), "Layer by layer",
            "Score of a linear model on what each frozen layer puts out, from the first layer to the last",
            DEPTH_CAPTION,
        ),
        (
            lambda: plots.learning_curves(histories), "Learning curves",
            "Loss of each epoch, a thin line for each fold and a thick one for their mean",
            "The held-out fold has no curve: nothing looks at it before it is scored.",
        ),
        (
            lambda: size_curve(results), "More rows",
            f"{metric} against the number of training rows", _curve_caption(results),
        ),
    ]  # fmt: skip


def _of_answers(results: Results) -> list[Drawing]:
    confusion, names, calibration = results.confusion, results.label_names, results.calibration
    return [
        (
            lambda: reliability_diagram(calibration) if calibration else None, "Reliability",
            "Share of right rows against the probability of the predicted class",
            "On the dashed line, probabilities mean what they say. Bars are one standard error. Temperatures "
            "come from the other folds.",
        ),
        (
            lambda: number_scatter(results.scatter, plots.drawn_names(names)), "Predicted against true",
            "Predicted against true numbers of held-out rows", scatter_caption(names),
        ),
        (
            lambda: plots.label_figure(results), "Each label",
            "F1 of each label, and the share of rows that have it", BARS_CAPTION,
        ),
        (
            lambda: plots.confusion_matrix(confusion, names) if confusion else None, "Confusion matrix",
            _confusion_alt(confusion, names),
            _confusion_caption(confusion, names),
        ),
    ]  # fmt: skip


def _drawn(draw: Callable[[T], Figure | None], about: T | None) -> Figure | None:
    return draw(about) if about else None


def _confusion_caption(confusion: Sequence[Sequence[int]] | None, names: Sequence[str]) -> str:
    drawn = len(plots.most_confused(confusion or []))
    of_many = f" Of {len(names)} classes, the {drawn} that are most often confused are drawn."
    said = "All held-out rows: true classes down, predicted classes across."
    return said + of_many if drawn < len(names) else said


def svg_uri(figure: Figure) -> str:
    """Write a figure as SVG within a data: URI; the same figure gives the same bytes."""
    stream = io.BytesIO()
    plain_texts(figure)
    with mpl.rc_context({"svg.hashsalt": "hf-transfer-kit"}):
        figure.savefig(
            stream,
            format="svg",
            bbox_inches="tight",
            pad_inches=0.08,
            metadata={"Date": None, "Creator": None},
        )
    return f"data:image/svg+xml;base64,{base64.b64encode(stream.getvalue()).decode()}"


def grid_map(results: Results) -> Figure | None:
    """Draw the primary metric over two settings of a grid; None where fewer than two of them vary.

    Where more than two vary, each cell shows the best of the others.
    """
    grid, metric = results.grid or [], results.primary_metric
    names = varying_settings(grid) if grid else []
    if len(names) < 2:
        return None
    across, down = sorted(names, key=lambda name: name != "learning_rate")[:2]
    columns, rows = _values(grid, across), _values(grid, down)
    better = max if results.sign > 0 else min
    means = np.full((len(rows), len(columns)), np.nan)
    for entry in grid:
        if (mean := entry.scores[metric].mean) is not None:
            cell = rows.index(setting(entry.settings[down])), columns.index(setting(entry.settings[across]))
            means[cell] = mean if np.isnan(means[cell]) else better(mean, means[cell])
    best = next(entry for entry in grid if entry.best)
    cell = rows.index(setting(best.settings[down])), columns.index(setting(best.settings[across]))
    return heat_map(
        means,
        rows,
        columns,
        names=(across, down),
        what=metric_name(metric, results.task),
        marked=[cell],
    )


def _values(grid: Sequence[GridEntry], name: str) -> list[str]:
    """The values of a setting in a grid, in order where they have one."""
    values = {setting(entry.settings[name]): entry.settings[name] for entry in grid}
    if all(isinstance(value, (int, float)) for value in values.values()):
        return sorted(values, key=lambda text: values[text])
    return list(values)


def _curve_caption(results: Results) -> str:
    curve = results.learning_curve
    return f"Each set of rows contains the smaller ones. {curve.verdict}" if curve else ""


def _folds_alt(results: Results, metric: str) -> str:
    """List the primary metric of each fold, for readers who do not see the picture."""
    scores = [fold.scores.get(results.primary_metric) for fold in results.folds]
    return f"{metric} of the folds: {', '.join(map(number, scores))}"


def _confusion_alt(confusion: Sequence[Sequence[int]] | None, names: Sequence[str]) -> str:
    """Say which classes are most often mistaken for which."""
    if not confusion:
        return ""
    counts = np.asarray(confusion).copy()
    np.fill_diagonal(counts, 0)
    row, column = divmod(int(counts.argmax()), len(names))
    if not counts[row, column]:
        return "No class was mistaken for another"
    return f"Most often, {counts[row, column]:,} times, {names[row]} was taken for {names[column]}"
