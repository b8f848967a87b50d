"""The summary that a recipe prints, and names for configurations."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.machine.wording import (
    aligned,
    conservative,
    duration,
    fold_name,
    interval,
    number,
    plus_minus,
    setting,
    visible,
)
from hf_transfer.runs.learned import learned_words
from hf_transfer.scores.names import shown_metrics

_SETTINGS = frozenset(field.name for field in fields(RunConfig))


def varying_settings(grid: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the settings that differ within a grid; the learning rate if none does."""
    names = [name for name in grid[0] if name in _SETTINGS]
    return [n for n in names if len({entry[n] for entry in grid}) > 1] or ["learning_rate"]


def configuration_name(entry: Mapping[str, Any], grid: Sequence[Mapping[str, Any]]) -> str:
    """Name a grid's configuration by its varying settings: `learning_rate=0.01, weight_decay=0`."""
    of_steps = ("learning_rate", "num_epochs") if is_solved(entry) else ()  # a closed form has none
    names = (name for name in varying_settings(grid) if name not in of_steps)
    return ", ".join(f"{name}={setting(entry[name])}" for name in names)


def is_solved(config: Mapping[str, Any]) -> bool:
    """Whether a configuration solves its head in closed form."""
    return str(config.get("head_solver") or "gradient") != "gradient"


def epochs_of(fold: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Write how many epochs a fold was trained; a head in closed form has none."""
    return "closed form" if is_solved(config) else str(fold["num_epochs"])


def two_intervals(results: dict[str, Any]) -> bool:
    """Whether the scores have a conservative interval, which earlier versions lack."""
    return any(score.get("conservative_interval") for score in results["scores"].values())


def train_sizes(results: dict[str, Any]) -> str:
    """Number of training rows of the folds: `80`, or `76 to 84`."""
    sizes = sorted({fold["num_train"] for fold in results["folds"] if fold["status"] == "done"}) or [0]
    return f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"


def design(results: dict[str, Any]) -> str:
    """Describe the design: folds, repeats, rows, sampling unit, configurations tried."""
    score = results["scores"].get(results["primary_metric"])
    return (
        f"k = {results['num_folds']} folds, r = {results['num_repeats']} "
        f"repeat{'s' if results['num_repeats'] > 1 else ''}, n = {num_scored(results):,} rows, "
        f"drawn by {score['unit'] if score else 'row'}, configurations tried: {len(results['grid'] or [1])}"
    )


def corrected_best(results: dict[str, Any]) -> float | None:
    """Primary metric of a grid's best, corrected for the choice; None if unknown."""
    return next((entry.get("bbc") for entry in results["grid"] or [] if entry["best"]), None)


def summary_text(results: dict[str, Any]) -> str:
    """Summary of a run: a line a fold, then means, intervals and sizes.

    Args:
        results: What results.json holds.
    """
    trainable, hardware = results["trainable"], results["hardware"]
    sizes = f"{trainable['parameters']:,} of {trainable['total']:,} parameters trained ({trainable['spec']})"
    cost = f"{sizes} in {duration(hardware['seconds'])} on {hardware['device']}"
    tables = [
        _fold_table(results),
        _score_table(results),
        *([_grid_table(results)] if results["grid"] else []),
    ]
    controls = [
        f"{title}: {results[name]['verdict']}"
        for name, title in (("learning_curve", "more data"), ("shuffled", "shuffled labels"))
        if results.get(name)
    ]
    said = ["\n".join(controls)] if controls else []
    lines = [*_sealed_line(results), *_pooling_line(results), cost, *_unlearned_line(results)]
    return visible("\n\n".join([*tables, *said, *lines]))


def num_scored(results: dict[str, Any]) -> int:
    """Number of rows that a repeat holds out; others may be in no fold."""
    return sum(fold["num_valid"] for fold in results["folds"] if fold["repeat"] == 0)


def _sealed_line(results: dict[str, Any]) -> list[str]:
    """Score of the published model on the sealed rows, if any."""
    final, metric = results["final"], results["primary_metric"]
    if not final.get("sealed"):
        return []
    score, rows = number(final["sealed"]["scores"].get(metric)), final["sealed"]["num_rows"]
    return [f"{metric} {score} on {rows:,} sealed rows, by what is published ({final['kind']})"]


def _unlearned_line(results: dict[str, Any]) -> list[str]:
    """Say that more training is needed, if so."""
    found = results.get("learned")
    if not found or found["answer"] != "no":
        return []
    return [f"Has it learned enough? No. {learned_words(results, found)}"]


def _pooling_line(results: dict[str, Any]) -> list[str]:
    """Explain the pooling and the published format, if it is not plain transformers."""
    if results.get("library") != "sentence-transformers":
        return []
    return [
        "texts are pooled by their mean, and the published model loads with sentence-transformers; "
        "--pooling first gives a plain pipeline model"
    ]


def _fold_table(results: dict[str, Any]) -> str:
    metrics, primary = shown_metrics(results), results["primary_metric"]
    rows = [["fold", *metrics, f"{primary} on training rows", "rows", "epochs", "time"]]
    failures = []
    for fold in results["folds"]:
        name = fold_name(fold["repeat"], fold["fold"], results["num_repeats"])
        if fold["status"] == "failed":
            failures.append(f"{name} failed: {' '.join(str(fold['error']).split())}")
            continue
        scores = [number(fold["scores"].get(metric)) for metric in metrics]
        train = number(fold["train_scores"].get(primary))
        size = [f"{fold['num_valid']:,}", epochs_of(fold, results["config"]), duration(fold["seconds"])]
        rows.append([name, *scores, train, *size])
    return "\n".join([aligned(rows), *failures])


def _score_table(results: dict[str, Any]) -> str:
    test, both = results["test"]["scores"] if results["test"] else None, two_intervals(results)
    bounds = ["95 % optimistic", "95 % conservative"] if both else ["95 % interval"]
    rows = [["", "mean ± std", *bounds, "folds", *(["test"] if test is not None else [])]]
    for metric in shown_metrics(results):
        score = results["scores"][metric]
        found = [interval(score), *([conservative(score)] if both else [])]
        row = [metric, plus_minus(score), *found, str(score["num_folds"])]
        rows.append(row if test is None else [*row, number(test.get(metric))])
    return "\n".join([aligned(rows), *_explained(results)])


def _explained(results: dict[str, Any]) -> list[str]:
    """Explain the two intervals, and what the score is of."""
    kinds = {score["interval_kind"]: None for score in results["scores"].values() if score["interval"]}
    if not two_intervals(results):
        return [f"interval: {kind}" for kind in kinds]
    headline = results["scores"].get(results["primary_metric"], {}).get("headline")
    return [
        *(f"optimistic: {kind}; the models as they are" for kind in kinds),
        "conservative: corrected t over folds; other training sets too"
        + (" (the one to quote)" if headline == "conservative" else " (quote both)"),
        f"of the procedure with {train_sizes(results)} training rows: {design(results)}",
    ]


def _grid_table(results: dict[str, Any]) -> str:
    metric, grid = results["primary_metric"], results["grid"]
    varying = varying_settings(grid)
    rows = [[*varying, f"{metric}, mean ± std", "folds", "behind", "p (Holm)", ""]]
    for entry in grid:
        score = entry["scores"].get(metric)
        found = [plus_minus(score), str(score["num_folds"] if score else 0), *behind(entry)]
        rows.append([*(setting(entry[name]) for name in varying), *found, "best" if entry["best"] else ""])
    chosen = f"The scores above are of the best of {len(grid)}, chosen on these folds: somewhat too good."
    if (corrected := corrected_best(results)) is not None:
        chosen += f" Corrected for the choice: {metric} {number(corrected)}."
    return f"{aligned(rows)}\n{chosen}"


def behind(entry: dict[str, Any]) -> tuple[str, str]:
    """How far a configuration is behind the best, and its adjusted p-value; dashes for the best."""
    if entry["best"]:
        return "-", "-"
    return number(entry.get("behind")), number(entry.get("p_holm"))
