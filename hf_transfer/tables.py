"""Values as text: scores as tables for a terminal, and anything as safe Markdown for a card."""

import html
import math
import re
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from markupsafe import Markup

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError

UNDEFINED = "n/a"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", re.ASCII)

_METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1 (entities)",
    "f1_macro": "F1 (macro)",
    "f1_micro": "F1 (micro)",
    "f1_weighted": "F1 (weighted)",
    "log_loss": "log loss",
    "mcc": "Matthews correlation",
    "precision": "precision (entities)",
    "precision_macro": "precision (macro)",
    "recall": "recall (entities)",
    "recall_macro": "recall (macro)",
    "roc_auc": "ROC AUC (one against the rest)",
}

# What a reader looks for first, after the primary metric.
_SHOWN_FIRST = ("f1", "precision", "recall", "accuracy", "f1_macro", "log_loss", "balanced_accuracy")


def number(value: float | None, digits: int = 3) -> str:
    """Write a score with so many decimals; n/a when it is undefined."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    return f"{value:.{digits}f}"


def plus_minus(score: dict[str, Any] | None) -> str:
    """Write `0.913 ± 0.012`, the mean and standard deviation over folds."""
    if score is None or score["mean"] is None:
        return UNDEFINED
    spread = "" if score["std"] is None else f" ± {number(score['std'])}"
    return number(score["mean"]) + spread


def interval(score: dict[str, Any] | None) -> str:
    """Write `0.897 to 0.928`; n/a where no interval was computed."""
    if score is None or not score["interval"]:
        return UNDEFINED
    low, high = score["interval"]
    return f"{number(low)} to {number(high)}"


def duration(seconds: float | None) -> str:
    """Write a time as `3.2 s`, `4 min 10 s` or `2 h 5 min`."""
    if seconds is None or not math.isfinite(seconds):
        return UNDEFINED
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def setting(value: Any) -> str:
    """Write a setting's value: `2e-05`, `yes`, `not set`."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def metric_name(name: str, task: str = "") -> str:
    """Give a metric's readable name; a Hub metric keeps its own."""
    if name == "accuracy" and task == "token-classification":
        return "accuracy (tags)"
    return _METRIC_NAMES.get(name, name)


def fold_name(fold: dict[str, Any]) -> str:
    """Name a fold as its folder is named: `r0f3`."""
    return f"r{fold['repeat']}f{fold['fold']}"


def shown_metrics(results: dict[str, Any], count: int | None = 4) -> list[str]:
    """Choose the few metrics to show for each fold, or order all of them; the primary one is first."""
    order = [results["primary_metric"], *_SHOWN_FIRST, *sorted(results["scores"])]
    return [name for name in dict.fromkeys(order) if name in results["scores"]][:count]


def overfitting(results: dict[str, Any]) -> dict[str, float] | None:
    """Compare the primary metric on training and held-out rows; None where a side is not known."""
    metric = results["primary_metric"]
    pairs = [(fold["train_scores"].get(metric), fold["scores"].get(metric)) for fold in results["folds"]]
    known = [(train, valid) for train, valid in pairs if train is not None and valid is not None]
    if not known:
        return None
    train, valid = (fmean(column) for column in zip(*known, strict=True))
    return {"train": train, "valid": valid, "gap": abs(train - valid)}


def summary_text(results: dict[str, Any]) -> str:
    """Give what a recipe prints at its end: a line for each fold, then means, intervals and sizes.

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
    return "\n\n".join([*tables, *_sealed_line(results), cost])


def _sealed_line(results: dict[str, Any]) -> list[str]:
    """The published model's score on the sealed rows, if there are any."""
    final, metric = results["final"], results["primary_metric"]
    if not final.get("sealed"):
        return []
    score, rows = number(final["sealed"]["scores"].get(metric)), final["sealed"]["num_rows"]
    return [f"{metric} {score} on {rows:,} sealed rows, by what is published ({final['kind']})"]


def compare_text(runs: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """Set several runs side by side, one line each, in the order given.

    Args:
        runs: A name and what results.json holds, for each run.

    Raises:
        ConfigError: If there is no run, or two were scored on other folds or by another metric.
    """
    if not runs:
        raise ConfigError("There is nothing to compare; give at least one run's folder.")
    for run in runs[1:]:
        _check_comparable(runs[0], run)
    metric = runs[0][1]["primary_metric"]
    rows = [["run", metric, "95 % interval", "folds", "trained", "of parameters", "time"]]
    for name, results in runs:
        score, trainable = results["scores"].get(metric), results["trainable"]
        folds = f"{score['num_folds'] if score else 0} of {len(results['folds'])}"
        sizes = [f"{trainable['parameters']:,}", f"{trainable['total']:,}"]
        seconds = duration(results["hardware"]["seconds"])
        rows.append([name, plus_minus(score), interval(score), folds, *sizes, seconds])
    return aligned(rows)


def _check_comparable(first: tuple[str, dict[str, Any]], other: tuple[str, dict[str, Any]]) -> None:
    (name, a), (other_name, b) = first, other
    if a["folds_fingerprint"] != b["folds_fingerprint"]:
        raise ConfigError(
            f"Runs {name!r} and {other_name!r} were scored on different folds (fingerprints "
            f"{a['folds_fingerprint']!r} and {b['folds_fingerprint']!r}), so their scores cannot be set "
            "side by side. Run one again with the other's rows, scheme, seed, num_folds and num_repeats."
        )
    if a["primary_metric"] != b["primary_metric"]:
        raise ConfigError(
            f"Runs {name!r} and {other_name!r} have different primary metrics, {a['primary_metric']!r} and "
            f"{b['primary_metric']!r}. Compare runs of one task."
        )


def _fold_table(results: dict[str, Any]) -> str:
    metrics, primary = shown_metrics(results), results["primary_metric"]
    rows = [["fold", *metrics, f"{primary} on training rows", "rows", "epochs", "time"]]
    failures = []
    for fold in results["folds"]:
        if fold["status"] == "failed":
            failures.append(f"{fold_name(fold)} failed: {' '.join(str(fold['error']).split())}")
            continue
        scores = [number(fold["scores"].get(metric)) for metric in metrics]
        train = number(fold["train_scores"].get(primary))
        size = [f"{fold['num_valid']:,}", str(fold["num_epochs"]), duration(fold["seconds"])]
        rows.append([fold_name(fold), *scores, train, *size])
    return "\n".join([aligned(rows), *failures])


def _score_table(results: dict[str, Any]) -> str:
    test = results["test"]["scores"] if results["test"] else None
    rows = [["", "mean ± std", "95 % interval", "folds", *(["test"] if test is not None else [])]]
    for metric in shown_metrics(results):
        score = results["scores"][metric]
        row = [metric, plus_minus(score), interval(score), str(score["num_folds"])]
        rows.append(row if test is None else [*row, number(test.get(metric))])
    kinds = {score["interval_kind"]: None for score in results["scores"].values() if score["interval"]}
    return "\n".join([aligned(rows), *(f"interval: {kind}" for kind in kinds)])


def _grid_table(results: dict[str, Any]) -> str:
    metric, grid = results["primary_metric"], results["grid"]
    rows = [["learning_rate", "weight_decay", f"{metric}, mean ± std", "folds", ""]]
    for entry in grid:
        score = entry["scores"].get(metric)
        found = [plus_minus(score), str(score["num_folds"] if score else 0), "best" if entry["best"] else ""]
        rows.append([setting(entry["learning_rate"]), setting(entry["weight_decay"]), *found])
    chosen = f"The scores above are of the best of {len(grid)}, chosen on these folds: somewhat too good."
    return f"{aligned(rows)}\n{chosen}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Pad cells into columns: those of numbers to the right, the others to the left.

    Args:
        rows: Cells, as many in each row; the first row may be a header.
    """
    columns = []
    for cells in zip(*rows, strict=True):
        width = max(map(len, cells))
        numbers = all(_NUMBER.match(cell) for cell in cells[1:] or cells)
        columns.append([cell.rjust(width) if numbers else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))


_NUMBER = re.compile(r"-?[\d.]|(n/a|-)?$")


# Homes name people, and a token on a command line would be published with the command.
_PRIVATE = (
    (re.compile(r"(?<![\w.~-])(/home/[^/\s]+|/Users/[^/\s]+|/root(?![\w.-]))"), "~"),
    (re.compile(r"hf_[A-Za-z0-9]{30,}"), "hf_…"),
    (re.compile("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]"), "\ufffd"),
)
_MARKDOWN = re.compile(r"([\\`*\[\]|~#$]|(?<![^\W_])_|_(?![^\W_]))")


def escape(value: Any) -> Markup:
    """Make a value safe in Markdown text and tables: no HTML, no syntax, one line, never `None`."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup(UNDEFINED)
    text = _MARKDOWN.sub(r"\\\1", re.sub(r"\s+", " ", _public(str(value))))
    return Markup(html.escape(text, quote=False))


def code(value: Any) -> Markup:
    """Set a value as code within a line; not for tables, where a bar would end the cell."""
    text = one_line(value) or "(empty)"
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in (text[0], text[-1]) else ""
    return Markup(f"{ticks}{space}{text}{space}{ticks}")


def fence(text: str, language: str = "") -> Markup:
    """Set lines as a block of code, with a fence longer than any inside."""
    text = _public(text).replace("<!-- hf-transfer:", "<!--hf-transfer:")
    ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return Markup(f"{ticks}{language}\n{text}\n{ticks}")


def listing(names: Sequence[str], most: int = 12) -> Markup:
    """Name the first of many: "`a`, `b` and 7 more"."""
    words = [code(name) for name in names[:most]]
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return Markup(", ".join(words) + rest)


def local_name(name: str) -> str:
    """Leave out the folders of a path: they tell where somebody keeps their files."""
    scheme = re.match(r"timm:[^@]*@", name)
    return (scheme[0] if scheme else "") + re.split(r"[\\/@]", name.rstrip("\\/"))[-1]


def link(name: str, folder: str, hub: bool) -> Markup:
    """Name a model or data set, with a link where it is on the Hub."""
    if not hub:
        return code(local_name(name))
    return Markup(f"[{escape(name)}](https://huggingface.co/{folder}{name})")


def one_line(value: Any) -> str:
    """Write a value on one line, without what should not be published or would hide letters."""
    return " ".join(_public(str(value)).split())


def _public(text: str) -> str:
    for pattern, replacement in _PRIVATE:
        text = pattern.sub(replacement, text)
    return text
