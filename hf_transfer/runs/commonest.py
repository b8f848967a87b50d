"""What an answer that never looks at the input reaches, such as always the commonest class. No torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import number

if TYPE_CHECKING:
    from hf_transfer.runs.records import Results

_UNEVEN = 4  # times as many rows of the commonest class as of the rarest, beyond which accuracy misleads
_BY_ROWS = {"accuracy", "f1_micro", "f1_weighted"}  # scores that the commonest class decides
BALANCED = "balanced_accuracy"
_BLIND = {
    "r_squared": (0.0, "always giving the mean"),
    "roc_auc": (0.5, "putting rows in an order by chance"),
}


def commonest_scores(class_counts: Mapping[str, int]) -> dict[str, float]:
    """Scores of always answering with the commonest class; nothing without rows."""
    counts = [number for number in class_counts.values() if number]
    if not counts:
        return {}
    share, classes = max(counts) / sum(counts), len(counts)
    f1 = 2 * share / (1 + share)
    return {
        "accuracy": share,
        "balanced_accuracy": 1 / classes,
        "f1_macro": f1 / classes,
        "f1_micro": share,
        "f1_weighted": f1 * share,
        "mcc": 0.0,
    }


def commonest_line(results: "Results") -> str | None:
    """Set the score beside one without skill; None where nothing is known of that."""
    if blind := without_skill(results):
        return f"Warning: {blind}"
    counts, metric, found = results.dataset.class_counts, results.primary_metric, results.headline
    least = commonest_scores(counts).get(metric) if results.confusion is not None else None
    if least is None or found is None or found.mean is None:
        return None
    always = f"always answering {max(counts, key=lambda name: counts[name])!r}, the commonest class"
    if found.mean > least:
        return f"{always}: {metric} {number(least)}"
    than = "below" if found.mean < least else "no better than"
    return f"Warning: {metric} {number(found.mean)} is {than} {always} ({number(least)})"


def commonest_share(results: "Results") -> float | None:
    """Accuracy of always answering with the commonest class; None if rows have no single class."""
    rows_have_one = results.confusion is not None
    return commonest_scores(results.dataset.class_counts).get("accuracy") if rows_have_one else None


def without_skill(results: "Results") -> str | None:
    """Say what the run is no better than, where rows have no single class; None if it is better."""
    for metric, (least, how) in _BLIND.items() if results.confusion is None else ():
        found = results.scores.get(metric)
        if found and found.mean is not None and found.mean <= least:
            return f"{metric} {number(found.mean)} is no better than {how} ({number(least)})"
    return None


def uneven_line(results: "Results") -> str | None:
    """Advise another headline where one class has many times the rows of another."""
    counts = [number for number in results.dataset.class_counts.values() if number]
    if results.confusion is None or results.primary_metric not in _BY_ROWS or len(counts) < 2:
        return None
    ratio = max(counts) / min(counts)
    if ratio <= _UNEVEN:
        return None
    return (
        f"The classes are {ratio:.0f} to 1, so {results.primary_metric} says little of the rare ones: go by "
        f"balanced accuracy or F1 (macro), with --metric_for_best_model {BALANCED} or f1_macro"
    )
