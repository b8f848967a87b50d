"""The pictures of a card: scores of the folds, confusion matrix, learning curves.

Drawn through matplotlib's objects, so that nobody's pyplot state is touched, and saved without a
date or version, so that the same numbers give the same file.
"""

import io
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.files import write_bytes
from hf_transfer.machine.wording import setting
from hf_transfer.report.plots.adapting import adapt_plot
from hf_transfer.report.plots.answers import label_bars, number_scatter
from hf_transfer.report.plots.clouds import cloud_plot
from hf_transfer.report.plots.depth import depth_plot
from hf_transfer.report.plots.palette import BLUE, ORANGE, empty_axes, legend_above, plain_texts
from hf_transfer.report.plots.reliability import reliability_diagram
from hf_transfer.report.plots.search import trial_map
from hf_transfer.report.plots.shots import shots_plot
from hf_transfer.report.plots.sizes import size_curve
from hf_transfer.runs.companions import Companions, read_companions
from hf_transfer.runs.fold_result import Epoch
from hf_transfer.runs.reading import place_inside
from hf_transfer.runs.records import GridEntry, Results
from hf_transfer.runs.run_folder import read_histories
from hf_transfer.runs.summary import num_scored, shown_metrics, two_intervals, varying_settings
from hf_transfer.scores.over_folds import Score
from hf_transfer.tasks import metric_name

MOST_CLASSES = 30  # in one readable confusion matrix
MOST_CONFUSED = 20  # classes shown of a larger one
LONGEST_NAME = 24  # characters on an axis
INCHES_A_LETTER = 0.085  # at the size of the axes' names

_HELD_OUT = {"color": BLUE, "markersize": 6, "markeredgecolor": "white", "label": "a fold, held-out rows"}
_ON_TRAINING_ROWS = {
    "color": ORANGE,
    "markersize": 5,
    "markerfacecolor": "none",
    "label": "a fold, training rows",
}

History = Sequence[Epoch]


def save_plots(run: Path, results: Results) -> list[str]:
    """Draw what the run has data for into `plots/`; give the names drawn, without `.png`.

    Args:
        run: The run's folder, for the histories of its folds, and what a search or a ranking left.
        results: What results.json holds.
    """
    companions = read_companions(run, results)
    figures: dict[str, Figure | None] = {
        "folds": fold_scores(results),
        "confusion": confusion_matrix(results.confusion, results.label_names) if results.confusion else None,
        "scatter": number_scatter(results.scatter, drawn_names(results.label_names)),
        "labels": label_figure(results),
        "learning": learning_curves(read_histories(place_inside(run, results.folds_path))),
        "grid": grid_scores(results),
        "reliability": reliability_diagram(results.calibration) if results.calibration else None,
        "learning_curve": size_curve(results),
        "trials": trial_map(companions.search) if companions.search else None,
        "depth": depth_plot(companions.rank) if companions.rank else None,
        **beside_plots(companions),
    }
    folder = run / "plots"
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        if figure is None:
            (folder / f"{name}.png").unlink(missing_ok=True)  # of an earlier card, and no longer true
        else:
            save(figure, folder / f"{name}.png")
    return [name for name, figure in figures.items() if figure is not None]


def beside_plots(found: Companions) -> dict[str, Figure | None]:
    """Draw what `shots`, `shift` and `adapt` found about a run's rows, by the pictures' names."""
    return {
        "shots": shots_plot(found.shots) if found.shots else None,
        "clouds": cloud_plot(found.shift) if found.shift else None,
        "adapt": adapt_plot(found.adapt) if found.adapt else None,
    }


def save(figure: Figure, path: Path) -> None:
    """Write a PNG whole or not at all, with the same bytes for the same picture."""
    plain_texts(figure)
    drawn = io.BytesIO()
    figure.savefig(
        drawn, format="png", dpi=140, bbox_inches="tight", pad_inches=0.08, metadata={"Software": None}
    )
    write_bytes(path, drawn.getvalue())


def fold_scores(results: Results) -> Figure | None:
    """Draw each fold as a dot, beside the mean and its interval; None when no fold has a score.

    Metrics without a common scale (log loss) are left out, unless there is no other.
    """
    scored = [name for name in shown_metrics(results) if results.scores[name].mean is not None]
    common = [name for name in scored if results.higher_is_better.get(name, True)]
    metrics = common or scored[:1]
    if not metrics:
        return None
    figure, axes = empty_axes(7.5, 1.2 + 0.75 * len(metrics))
    for row, metric in enumerate(metrics):
        _draw_score(axes, row, results.scores[metric], two_intervals(results))
        _draw_folds(axes, row, [fold.train_scores.get(metric) for fold in results.done], _ON_TRAINING_ROWS)
        _draw_folds(axes, row, [fold.scores.get(metric) for fold in results.done], _HELD_OUT)
    axes.set_yticks(range(len(metrics)), [metric_name(name, results.task) for name in metrics])
    axes.set_ylim(len(metrics) - 0.5, -0.4)
    axes.set_xlabel("score")
    axes.grid(axis="x", color="0.9")
    legend_above(axes)
    return figure


def grid_scores(results: Results) -> Figure | None:
    """Draw the primary metric against the learning rate, a line for each other choice; None without a grid.

    Bars are one standard deviation over folds. Without several learning rates it is drawn against the
    weight decays.
    """
    grid, metric = results.grid or [], results.primary_metric
    varying = varying_settings(grid) if grid else []
    if len({entry.solved for entry in grid}) > 1:  # of which some have no rate
        return _choice_scores(grid, metric, results.task)
    across = "learning_rate" if len({e.learning_rate for e in grid}) > 1 else "weight_decay"
    along = [name for name in varying if name not in (across, "learning_rate")]
    if len({entry.settings[across] for entry in grid}) < 2:
        return None
    lines = list(dict.fromkeys(_choices(entry, along) for entry in grid))
    if len(lines) == len(grid) and along:
        return _choice_scores(grid, metric, results.task)
    figure, axes = empty_axes(7.5, 3.8)
    marked: list[list[float]] = []
    for number, line in enumerate(lines):
        here = [e for e in grid if _choices(e, along) == line]
        scored = sorted(
            (e for e in here if e.scores[metric].mean is not None), key=lambda e: e.settings[across]
        )
        # Lines that coincide would hide each other, so each stands a little beside the true place.
        places = [entry.settings[across] * 1.04 ** (number - (len(lines) - 1) / 2) for entry in scored]
        means = np.array([entry.scores[metric].mean for entry in scored], np.float64)
        spread = [entry.scores[metric].std or 0.0 for entry in scored]
        marked += [spot for e, *spot in zip(scored, places, means, strict=True) if e.best]
        colour = BLUE if len(lines) == 1 else f"C{number}"
        axes.errorbar(
            places, means, yerr=spread, label=line or None, color=colour, marker="o", capsize=3, lw=1.5
        )
    axes.plot(*zip(*marked, strict=True), "o", ms=16, mfc="none", mec="0.2", mew=1.5, label="best")
    positive = [entry.settings[across] for entry in grid if entry.settings[across] > 0]
    if len(positive) == len(grid):
        axes.set_xscale("log")
    else:  # a weight decay of 0 has no logarithm
        axes.set_xscale("symlog", linthresh=min(positive))
    values = sorted({entry.settings[across] for entry in grid})
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(across.replace("_", " "))
    axes.set_ylabel(metric_name(metric, results.task))
    axes.grid(color="0.9")
    legend_above(axes)
    return figure


def _choice_scores(grid: Sequence[GridEntry], metric: str, task: str) -> Figure:
    """Draw the score of each configuration in a line of its own, where each has its own rate."""
    figure, axes = empty_axes(7.5, 1.4 + 0.4 * len(grid))
    for line, entry in enumerate(grid):
        mean, spread = entry.scores[metric].mean, entry.scores[metric].std or 0.0
        if mean is not None:
            size = 9 if entry.best else 6
            axes.errorbar(mean, line, xerr=spread, color=BLUE, marker="o", ms=size, capsize=3, lw=1.5)
    names = [f"{_choice_name(entry)}{' (best)' if entry.best else ''}" for entry in grid]
    axes.set_yticks(range(len(grid)), names)
    axes.set_ylim(len(grid) - 0.5, -0.5)
    axes.set_xlabel(f"{metric_name(metric, task)}, mean and standard deviation over folds")
    axes.grid(axis="x", color="0.9")
    return figure


def _choice_name(entry: GridEntry) -> str:
    how = "closed form" if entry.solved else f"learning rate {setting(entry.learning_rate)}"
    return f"{entry.settings['trainable']}, {how}".replace("$", r"\$")


def _choices(entry: GridEntry, names: Sequence[str]) -> str:
    """What else a configuration has chosen, for a legend; dollar signs would be read as mathematics."""
    words = (f"{name.replace('_', ' ')} {setting(entry.settings[name])}" for name in names)
    return ", ".join(words).replace("$", r"\$")


def learning_curves(histories: Mapping[str, History]) -> Figure | None:
    """Draw the loss of each epoch: every fold a thin line, their mean a thick one; None without any.

    The held-out fold has no curve, as nothing looks at it before it is scored.
    """
    if not histories:
        return None
    figure, axes = empty_axes(7.5, 3.8)
    for inner, label, colour in (
        (False, "training rows", BLUE),
        (True, "inner split, for early stopping", ORANGE),
    ):
        curves = [_curve(epochs, inner=inner) for epochs in histories.values()]
        _draw_curves(axes, [curve for curve in curves if curve.size], label, colour)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.margins(x=0.04)
    if axes.get_xlim()[1] - axes.get_xlim()[0] < 1:  # a single epoch
        axes.set_xlim(0.5, 1.5)
    axes.grid(color="0.9")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=8)
    return figure


def confusion_matrix(confusion: Sequence[Sequence[int]], label_names: Sequence[str]) -> Figure:
    """Draw counts of true against predicted classes, coloured by the share of the true class.

    Of more than 30 classes, the 20 that are most often confused are drawn.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = drawn_names(label_names)
    chosen = most_confused(confusion)
    counts, shares = counts[np.ix_(chosen, chosen)], shares[np.ix_(chosen, chosen)]
    side = 2.4 + 0.42 * max(len(chosen), 4)
    figure, axes = empty_axes(side + 0.8, side)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("share of the true class")
    _write_counts(axes, counts, shares)
    shown = [names[index] for index in chosen]
    steep = INCHES_A_LETTER * max(map(len, shown)) > (side - 1.4) / len(shown)
    axes.set_xticks(range(len(shown)), shown, rotation=90 if steep else 0, parse_math=False)
    axes.set_yticks(range(len(shown)), shown, parse_math=False)
    axes.tick_params(length=0, labelsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return figure


def label_figure(results: Results) -> Figure | None:
    """Draw how well each label of a row is found, where rows have sets of labels."""
    if "exact_match" not in results.scores:
        return None
    labels = [line.label for line in results.per_class]
    return label_bars(results.per_class, drawn_names(labels), num_scored(results))


def most_confused(confusion: Sequence[Sequence[int]]) -> list[int]:
    """Choose the classes to draw: all, or of more than 30 the 20 in the most frequent confusions."""
    counts = np.array(confusion, dtype=np.int64)
    if len(counts) <= MOST_CLASSES:
        return list(range(len(counts)))
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")
    classes = dict.fromkeys(int(index) for place in order for index in divmod(int(place), len(counts)))
    return sorted(list(classes)[:MOST_CONFUSED])


def drawn_names(names: Sequence[str]) -> list[str]:
    """Fit names to an axis: long ones lose their middle; `#3` stands for what the font cannot write."""
    return [
        _shortened(" ".join(name.split())) if _drawable(name) else f"#{i}" for i, name in enumerate(names)
    ]


def _shortened(name: str) -> str:
    if len(name) <= LONGEST_NAME:
        return name
    tail = LONGEST_NAME // 3
    return f"{name[: LONGEST_NAME - tail - 1]}…{name[-tail:]}"


def _drawable(name: str) -> bool:
    return bool(name.split()) and _glyphs().issuperset(map(ord, "".join(name.split())))


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(FT2Font(findfont("DejaVu Sans")).get_charmap())


def _draw_score(axes: Axes, row: int, score: Score, two_kinds: bool) -> None:
    # The optimistic interval is about the pooled score, which may lie off the mean where folds are small.
    # Both intervals stand below the dots, as many dots would hide them.
    below = row + 0.29
    if wide := score.conservative_interval:
        axes.plot(wide, [below, below], color=BLUE, linewidth=1.2, marker="|", label="95 %, conservative")
    if score.interval:
        axes.plot(
            score.interval, [below, below], color=BLUE, alpha=0.4, linewidth=5, solid_capstyle="butt",
            label="95 %, optimistic" if two_kinds else "95 % interval",
        )  # fmt: skip
    if score.pooled is not None:
        axes.plot([score.pooled] * 2, [below - 0.08, below + 0.08], color=BLUE, linewidth=2, label="pooled")
    axes.plot(
        np.full(2, score.mean, np.float64),
        [row - 0.2, row + 0.2],
        color="black",
        linewidth=2,
        zorder=3,
        label="mean",
    )


def _draw_folds(axes: Axes, row: int, values: Sequence[float | None], style: dict[str, Any]) -> None:
    known = [value for value in values if value is not None]
    # Spread a little, by the fold's place and not by chance, so that equal scores stay visible.
    heights = row + np.linspace(-0.12, 0.12, len(known)) if len(known) > 1 else [row] * len(known)
    if known:
        axes.plot(known, heights, linestyle="none", marker="o", **style)


def _curve(epochs: History, *, inner: bool) -> NDArray[np.float64]:
    """Give (epoch, loss) pairs, (n, 2), of the epochs that have one."""
    losses = [(epoch.epoch, epoch.inner_loss if inner else epoch.train_loss) for epoch in epochs]
    pairs = [pair for pair in losses if pair[1] is not None]
    return np.asarray(pairs, dtype=np.float64).reshape(-1, 2)


def _draw_curves(axes: Axes, curves: list[NDArray[np.float64]], label: str, colour: str) -> None:
    if not curves:
        return
    for curve in curves:
        axes.plot(curve[:, 0], curve[:, 1], color=colour, alpha=0.35, linewidth=0.9, marker=".", markersize=3)
    points = np.concatenate(curves)
    epochs = np.unique(points[:, 0])
    means = [float(points[points[:, 0] == epoch, 1].mean()) for epoch in epochs]
    axes.plot(
        epochs,
        means,
        color=colour,
        linewidth=2.5,
        marker="o",
        markersize=4,
        label=f"{label} (mean of {len(curves)})",
    )


def _write_counts(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    size = min(9.0, 42 / max(len(str(counts.max())), 1))
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.55 else "0.75" if count == 0 else "black"
        axes.text(column, row, str(count), ha="center", va="center", fontsize=size, color=colour)
