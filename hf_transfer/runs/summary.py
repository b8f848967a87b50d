"""The summary that a recipe prints, and names for configurations."""

from collections.abc import Sequence
from dataclasses import fields

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.machine.wording import (
    aligned,
    duration,
    fold_name,
    interval,
    number,
    plus_minus,
    setting,
    visible,
)
from hf_transfer.runs.added import added_words
from hf_transfer.runs.commonest import commonest_line, uneven_line
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.leak_words import leak_lines
from hf_transfer.runs.learned import learned_words
from hf_transfer.runs.part_scores import parts_words
from hf_transfer.runs.records import GridEntry, Results, Tried
from hf_transfer.scores.findings import Detections
from hf_transfer.scores.names import shown_first

_SETTINGS = frozenset(field.name for field in fields(RunConfig))


def varying_settings(grid: Sequence[Tried]) -> list[str]:
    """Names of the settings that differ within a grid; the learning rate if none does."""
    names = [name for name in grid[0].settings if name in _SETTINGS]
    return [n for n in names if len({entry.settings[n] for entry in grid}) > 1] or ["learning_rate"]


def configuration_name(entry: Tried, grid: Sequence[Tried]) -> str:
    """Name a grid's configuration by its varying settings: `learning_rate=0.01, weight_decay=0`."""
    of_steps = ("learning_rate", "num_epochs") if entry.solved else ()  # a closed form has none
    names = (name for name in varying_settings(grid) if name not in of_steps)
    return ", ".join(f"{name}={setting(entry.settings[name])}" for name in names)


def shown_metrics(results: Results, count: int | None = 4) -> list[str]:
    """Choose the few metrics to show for each fold, or order all of them; the primary one is first."""
    return shown_first(results.primary_metric, results.scores, count)


def epochs_of(fold: FoldResult, *, solved: bool) -> str:
    """Write how many epochs a fold was trained; a head in closed form has none."""
    return "closed form" if solved else str(fold.num_epochs)


def two_intervals(results: Results) -> bool:
    """Whether a score has the conservative interval too; one of equal folds has not."""
    return any(score.conservative_interval for score in results.scores.values())


def train_sizes(results: Results) -> str:
    """Number of training rows of the folds: `80`, or `76 to 84`."""
    sizes = sorted({fold.num_train for fold in results.done}) or [0]
    return f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"


def design(results: Results) -> str:
    """Describe the design: folds, repeats, rows, sampling unit, configurations tried."""
    score = results.headline
    return (
        f"k = {results.num_folds} folds, r = {results.num_repeats} "
        f"repeat{'s' if results.num_repeats > 1 else ''}, n = {num_scored(results):,} rows, "
        f"drawn by {score.unit if score else 'row'}, configurations tried: {len(results.grid or [1])}"
    )


def corrected_best(results: Results) -> float | None:
    """Primary metric of a grid's best, corrected for the choice; None if unknown."""
    return next((entry.bbc for entry in results.grid or [] if entry.best), None)


def summary_text(results: Results) -> str:
    """Summary of a run: a line a fold, then means, intervals and sizes.

    Args:
        results: What results.json holds.
    """
    trainable, hardware = results.trainable, results.hardware
    sizes = f"{trainable.parameters:,} of {trainable.total:,} parameters trained ({trainable.spec})"
    cost = f"{sizes} in {duration(hardware.seconds)} on {hardware.device}"
    tables = [
        _fold_table(results),
        _score_table(results),
        *([_grid_table(results, results.grid)] if results.grid else []),
        *([_detection_table(results.detections)] if results.detections else []),
    ]
    controls = [
        f"{title}: {control.verdict}"
        for control, title in (
            (results.learning_curve, "more data"),
            (results.shuffled, "shuffled labels"),
            (results.zero_shot, "zero-shot"),
            (results.wise, "averaged weights"),
        )
        if control
    ]
    controls += [f"added source: {added_words(one)}" for one in results.added_sources]
    if results.parts:
        controls.append(f"one part alone: {parts_words(results.parts)}")
    controls += [f"site: {results.site.words}"] if results.site else []
    controls += leak_lines(results.leak)
    said = ["\n".join(controls)] if controls else []
    lines = [*_sealed_line(results), *_pooling_line(results), cost, *_unlearned_line(results)]
    return visible("\n\n".join([*tables, *said, *lines]))


def _detection_table(found: Detections) -> str:
    """How well each class or label is found, each number with its interval."""
    head = [
        "",
        "AUC",
        "95 %",
        f"sensitivity at {found.at_specificity:g}",
        "95 %",
        "specificity reached",
        "95 %",
    ]
    lines = [
        [
            one.label,
            *(number(one.auc), interval(one.auc_interval)),
            *(number(one.sensitivity), interval(one.sensitivity_interval)),
            *(number(one.specificity), interval(one.specificity_interval)),
            *(number(one.brier), interval(one.brier_interval)),
            number(one.threshold),
        ]
        for one in found.findings
    ]
    drawn = (
        f"intervals: bootstrap over out-of-fold {found.unit}s, within folds; thresholds of the other folds"
    )
    return f"{aligned([[*head, 'Brier score', '95 %', 'threshold'], *lines])}\n{drawn}"


def num_scored(results: Results) -> int:
    """Number of rows that a repeat holds out; others may be in no fold."""
    return sum(fold.num_valid for fold in results.folds if fold.repeat == 0)


def _sealed_line(results: Results) -> list[str]:
    """Score of the published model on the sealed rows, if any."""
    final, metric = results.final, results.primary_metric
    if not final.sealed:
        return []
    score, rows = number(final.sealed.scores.get(metric)), final.sealed.num_rows
    return [f"{metric} {score} on {rows:,} sealed rows, by what is published ({final.kind})"]


def _unlearned_line(results: Results) -> list[str]:
    """Say that more training is needed, if so."""
    found = results.learned
    if not found or found.answer != "no":
        return []
    return [f"Has it learned enough? No. {learned_words(results, found)}"]


def _pooling_line(results: Results) -> list[str]:
    """Explain the pooling and the published format, if it is not plain transformers."""
    if results.library != "sentence-transformers":
        return []
    return [
        "texts are pooled by their mean, and the published model loads with sentence-transformers; "
        "--pooling first gives a plain pipeline model"
    ]


def _fold_table(results: Results) -> str:
    metrics, primary = shown_metrics(results), results.primary_metric
    rows = [["fold", *metrics, f"{primary} on training rows", "rows", "epochs", "time"]]
    failures = []
    for fold in results.folds:
        name = fold_name(fold.repeat, fold.fold, results.num_repeats)
        if fold.status == "failed":
            failures.append(f"{name} failed: {' '.join(str(fold.error).split())}")
            continue
        scores = [number(fold.scores.get(metric)) for metric in metrics]
        train = number(fold.train_scores.get(primary))
        size = [f"{fold.num_valid:,}", epochs_of(fold, solved=results.config.solved), duration(fold.seconds)]
        rows.append([name, *scores, train, *size])
    return "\n".join([aligned(rows), *failures])


def _score_table(results: Results) -> str:
    beside = filter(None, [commonest_line(results), uneven_line(results)])
    return "\n".join([aligned(score_rows(results)), *_explained(results), *beside])


def score_rows(results: Results) -> list[list[str]]:
    """Cells of the table of scores, with its header."""
    test, both = results.test.scores if results.test else None, two_intervals(results)
    bounds = ["95 % optimistic", "95 % conservative"] if both else ["95 % interval"]
    rows = [["", "mean ± std", *bounds, "folds", *(["test"] if test is not None else [])]]
    for metric in shown_metrics(results):
        score = results.scores[metric]
        found = [interval(score.interval), *([interval(score.conservative_interval)] if both else [])]
        row = [metric, plus_minus(score), *found, str(score.num_folds)]
        rows.append(row if test is None else [*row, number(test.get(metric))])
    return rows


def title_of(results: Results) -> str:
    """A run in one line: task, model, data, score."""
    score = f"{results.primary_metric} {plus_minus(results.headline)}"
    folds = f"{len(results.done)} of {len(results.folds)} folds, {results.dataset.num_rows:,} rows"
    return f"{results.task}, {results.base_model} on {results.dataset.name}: {score} ({folds})"


def _explained(results: Results) -> list[str]:
    """Explain the two intervals, and what the score is of."""
    kinds = {score.interval_kind: None for score in results.scores.values() if score.interval}
    if not two_intervals(results):
        return [f"interval: {kind}" for kind in kinds]
    quoted = results.headline and results.headline.headline
    return [
        *(f"optimistic: {kind}; the models as they are" for kind in kinds),
        *_off_their_means(results),
        "conservative: corrected t over folds; other training sets too"
        + (" (the one to quote)" if quoted == "conservative" else " (quote both)"),
        f"of the procedure with {train_sizes(results)} training rows: {design(results)}",
    ]


def _off_their_means(results: Results) -> list[str]:
    """Name the scores whose mean over folds lies outside an interval that is of all folds together."""
    shown = ((metric, results.scores[metric]) for metric in shown_metrics(results))
    off = [
        f"{metric} {number(score.pooled)}"
        for metric, score in shown
        if score.interval and score.mean is not None
        if not score.interval[0] <= score.mean <= score.interval[1]
    ]
    return [f"it is of one score over all folds together, here {', '.join(off)}"] if off else []


def _grid_table(results: Results, grid: Sequence[GridEntry]) -> str:
    metric = results.primary_metric
    varying = varying_settings(grid)
    rows = [[*varying, f"{metric}, mean ± std", "folds", "behind", "p (Holm)", ""]]
    for entry in grid:
        score = entry.scores.get(metric)
        found = [plus_minus(score), str(score.num_folds if score else 0), *behind(entry)]
        rows.append(
            [*(setting(entry.settings[name]) for name in varying), *found, "best" if entry.best else ""]
        )
    chosen = f"The scores above are of the best of {len(grid)}, chosen on these folds: somewhat too good."
    if (corrected := corrected_best(results)) is not None:
        chosen += f" Corrected for the choice: {metric} {number(corrected)}."
    return f"{aligned(rows)}\n{chosen}"


def behind(entry: Tried) -> tuple[str, str]:
    """How far a configuration is behind the best, and its adjusted p-value; dashes for the best."""
    if entry.best:
        return "-", "-"
    return number(entry.behind), number(entry.p_holm)
