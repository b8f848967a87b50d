"""Intervals and tests for cross-validated scores, and scores of weighted rows. numpy and scipy only."""

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.statistics.bootstrap import bootstrap_interval
from hf_transfer.statistics.comparison import (
    CorrectedT,
    McNemar,
    corrected_error,
    corrected_resampled_t,
    holm,
    mcnemar,
    one_standard_error,
)
from hf_transfer.statistics.counts import divide, mean_defined, scores_from_counts
from hf_transfer.statistics.roc import RocCurve, roc_curves

__all__ = [
    "CorrectedT",
    "McNemar",
    "RocCurve",
    "bootstrap_interval",
    "corrected_error",
    "corrected_resampled_t",
    "divide",
    "holm",
    "mcnemar",
    "mean_defined",
    "one_standard_error",
    "roc_curves",
    "scores_from_counts",
]
