"""How well a model's frozen features suit labels. numpy, scipy and scikit-learn only.

Two kinds of answer. Probes learn on the training part of each fold and are scored on the held-out
part, as a run is. Closed forms (`log_me`, `h_score`) look at all rows at once and need no fold: they are
quick, and say less.
"""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.scores.transferability.evidence import LogME, log_me
from hf_transfer.scores.transferability.knn import knn_probe
from hf_transfer.scores.transferability.measure import LabelSetMeasure, Measure, NumberMeasure, measure_for
from hf_transfer.scores.transferability.permutation import (
    Permutation,
    permutation_test,
    shuffled_labels,
)
from hf_transfer.scores.transferability.probe import Probe, Split, choose_inside, is_classes, splits_of
from hf_transfer.scores.transferability.ridge import ridge_probe
from hf_transfer.scores.transferability.separation import h_score, weighted_tau

__all__ = [
    "LabelSetMeasure",
    "LogME",
    "Measure",
    "NumberMeasure",
    "Permutation",
    "Probe",
    "Split",
    "choose_inside",
    "h_score",
    "is_classes",
    "knn_probe",
    "log_me",
    "measure_for",
    "permutation_test",
    "ridge_probe",
    "shuffled_labels",
    "splits_of",
    "weighted_tau",
]
