"""How well each class or label is found, as results.json holds it."""

from dataclasses import dataclass

from hf_transfer import _guard  # noqa: F401

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Detection:
    """One class or label against the rest.

    Attributes:
        label: Its name.
        positives: Rows that have it, counted once a row.
        auc: Area under the ROC curve within a fold, averaged.
        sensitivity: Share of its rows that are found, at thresholds of other folds.
        specificity: Share of the other rows that are not taken for it, at the same thresholds.
        brier: Mean squared distance of the probability from 0 or 1.
        threshold: Probability from which on a new row is called positive: of all out-of-fold rows.
    """

    label: str
    positives: int
    auc: float | None
    auc_interval: Interval | None
    sensitivity: float | None
    sensitivity_interval: Interval | None
    specificity: float | None
    specificity_interval: Interval | None
    brier: float | None
    brier_interval: Interval | None
    threshold: float | None


@dataclass(frozen=True)
class Detections:
    """Every class or label, and the specificity that was asked for; `unit` is what intervals draw."""

    at_specificity: float
    unit: str
    findings: list[Detection]


@dataclass(frozen=True, kw_only=True)
class GroupChanges:
    """In how many groups of rows fewer are right with added rows than without.

    Attributes:
        num_groups: With held-out rows.
        num_losing: Of which fewer are right.
        num_sure: Of these, by more than chance, one-sided, over all groups by Holm's rule.
    """

    num_groups: int
    num_losing: int
    num_sure: int


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """How much of a class is found without added rows and with them, and a one-sided test of a loss.

    Attributes:
        label: The class.
        rows: Held-out rows of it.
        alone: Share of them that was right without the added rows.
        added: The same with them.
        p_loses: That so many are lost by chance, over all classes by Holm's rule.
    """

    label: str
    rows: int
    alone: float
    added: float
    p_loses: float
