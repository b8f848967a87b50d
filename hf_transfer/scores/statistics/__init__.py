"""Intervals, tests and calibration for cross-validated scores, and scores of weighted rows. No torch."""

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.scores.statistics.bootstrap import bootstrap_interval
from hf_transfer.scores.statistics.calibration import (
    Reliability,
    apply_temperature,
    calibration_floor,
    classwise_calibration_error,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from hf_transfer.scores.statistics.comparison import (
    CorrectedT,
    McNemar,
    corrected_error,
    corrected_resampled_t,
    effective_folds,
    holm,
    mcnemar,
    one_standard_error,
)
from hf_transfer.scores.statistics.counts import divide, mean_defined, scores_from_counts
from hf_transfer.scores.statistics.roc import RocCurve, roc_curves
from hf_transfer.scores.statistics.selection import best_of
from hf_transfer.scores.statistics.success import PairedTable, paired_interval, pairs_needed, wilson_interval
from hf_transfer.scores.statistics.threshold import Threshold, best_threshold

__all__ = [
    "CorrectedT",
    "McNemar",
    "PairedTable",
    "Reliability",
    "RocCurve",
    "Threshold",
    "apply_temperature",
    "best_of",
    "best_threshold",
    "bootstrap_interval",
    "calibration_floor",
    "classwise_calibration_error",
    "corrected_error",
    "corrected_resampled_t",
    "divide",
    "effective_folds",
    "expected_calibration_error",
    "fit_temperature",
    "holm",
    "mcnemar",
    "mean_defined",
    "one_standard_error",
    "paired_interval",
    "pairs_needed",
    "reliability",
    "roc_curves",
    "scores_from_counts",
    "wilson_interval",
]
