"""Readable names of metrics, and their order."""

import difflib
from collections.abc import Collection

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError

_METRIC_NAMES = {
    "accuracy": "accuracy",
    "average_precision": "mean average precision",
    "balanced_accuracy": "balanced accuracy",
    "exact_match": "exact match",
    "f1": "F1 (entities)",
    "f1_macro": "F1 (macro)",
    "f1_micro": "F1 (micro)",
    "f1_weighted": "F1 (weighted)",
    "f1_words": "F1 (words)",
    "hamming_loss": "Hamming loss",
    "log_loss": "log loss",
    "mae": "mean absolute error",
    "mcc": "Matthews correlation",
    "pearsonr": "Pearson correlation",
    "precision": "precision (entities)",
    "precision_macro": "precision (macro)",
    "quadratic_kappa": "quadratic kappa",
    "r_squared": "R²",
    "recall": "recall (entities)",
    "recall_macro": "recall (macro)",
    "rmse": "root mean squared error",
    "roc_auc": "ROC AUC (one against the rest)",
    "spearmanr": "Spearman correlation",
}

# What a reader looks for first, after the primary metric.
_SHOWN_FIRST = (
    "f1", "precision", "recall", "quadratic_kappa", "accuracy", "f1_macro", "log_loss", "balanced_accuracy",
    "average_precision", "exact_match", "rmse", "r_squared",
)  # fmt: skip


LOSS = "log_loss"  # breaks ties, and stands beside the primary metric in comparisons

_ALIASES = {"loss": LOSS, "f1": "f1_macro", "precision": "precision_macro", "recall": "recall_macro"}


def decisive(asked: str, names: Collection[str]) -> str:
    """The score that `--metric_for_best_model` names: `eval_loss` is `log_loss`, `f1` of classes their mean.

    Args:
        asked: As it was given.
        names: Of the scores there are.

    Raises:
        ConfigError: If there is none of that name (with the nearest).
    """
    name = asked.removeprefix("eval_")
    found = name if name in names else _ALIASES.get(name, name)
    if found in names:
        return found
    near = difflib.get_close_matches(found, names, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    raise ConfigError(
        f"metric_for_best_model={asked!r} is no score of this task.{meant} Use one of {', '.join(names)}."
    )


def metric_name(name: str) -> str:
    """Readable name of a metric; a Hub metric keeps its own."""
    base, of, column = name.partition(" of ")  # that of one of several numbers
    return _METRIC_NAMES.get(base, base) + of + column


def shown_first(primary: str, names: Collection[str], count: int | None = 4) -> list[str]:
    """Choose the few metrics to show for each fold, or order all of them; the primary one is first."""
    each = [name for name in names if name.startswith(f"{primary} of ")]  # of several numbers: all or none
    fits = count is None or len(each) < count
    whole = sorted(names, key=lambda name: (" of " in name, name))
    order = [primary, *(each if fits else ()), *_SHOWN_FIRST, *whole]
    return [name for name in dict.fromkeys(order) if name in names][:count]
