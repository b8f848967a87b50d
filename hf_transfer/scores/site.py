"""Whether features tell where a row was made (hospital, scanner), and whether labels go with it. No torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.folds import FoldPlan
from hf_transfer.scores.metrics import roc_auc
from hf_transfer.scores.site_reading import SiteReading
from hf_transfer.scores.transferability import (
    measure_for,
    permutation_test,
    ridge_probe,
    shuffled_labels,
    splits_of,
)


def read_site(
    values: NDArray[Any] | None,
    sites: tuple[str, Sequence[str]],
    labels: tuple[Sequence[str], NDArray[np.int64]],
    plan: FoldPlan,
    *,
    units: Any = None,
    seed: int,
) -> SiteReading | None:
    """Test whether features tell the site, and measure whether labels go with it.

    Args:
        values: Features of each row, (n, d); None where there are none.
        sites: Name of the column, and each row's.
        labels: Names, (c,), and how often each row has each, (n, c).
        plan: The folds of one repeat.
        units: The group of each row, whose site is shuffled as one; each row by itself when not given.
        seed: Of the shuffles.

    Returns:
        None where there is one site only.
    """
    names, ids = np.unique(np.asarray(sites[1]), return_inverse=True)
    if len(names) < 2:
        return None
    goes_with, label, classes = _goes_with(ids, *labels)
    found = {"column": sites[0], "num_sites": len(names), "goes_with": goes_with, "label": label}
    if values is None:
        return SiteReading(auc=None, within=None, p=None, **found)  # type: ignore[arg-type]
    splits = splits_of(plan)
    probe = ridge_probe(values, ids, splits)
    held_out = [(valid, decisions) for (_, valid), decisions in zip(splits, probe.decisions, strict=True)]
    inside = [
        (valid[chosen], decisions[chosen])
        for valid, decisions in held_out
        for one in np.unique(classes)
        if len(chosen := np.flatnonzero(classes[valid] == one))
    ]
    within = _mean_area(ids, inside)
    alike = plan.fold_of_row()
    if within is not None:  # else each label is of one site, and nothing tells the two apart
        alike = alike * (int(classes.max()) + 1) + classes
    shuffled = shuffled_labels(ids, folds=alike, units=units, seed=seed)
    test = permutation_test([values], ids, shuffled, splits, measure_for(ids, len(names)))
    return SiteReading(auc=_mean_area(ids, held_out), within=within, p=test.p, **found)  # type: ignore[arg-type]


def _mean_area(ids: NDArray[Any], parts: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> float | None:
    """Mean area under the ROC curve over parts of the rows, of those that have one."""
    areas = [roc_auc(ids[rows], decisions)["roc_auc"] for rows, decisions in parts]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known else None


def _goes_with(
    sites: NDArray[Any], names: Sequence[str], counts: NDArray[np.int64]
) -> tuple[float, str | None, NDArray[Any]]:
    """Cramér's V of site and label, and the label of each row; of sets the one with most, with its name."""
    if (counts.sum(axis=1) == 1).all():
        return cramers_v(sites, counts.argmax(axis=1)), None, counts.argmax(axis=1)
    found = [cramers_v(sites, np.minimum(column, 1)) for column in counts.T]
    best = int(np.argmax(found))
    return found[best], names[best], np.minimum(counts[:, best], 1)


def cramers_v(first: NDArray[Any], second: NDArray[Any]) -> float:
    """How much two columns of classes go together, from 0 to 1, without what chance gives.

    Example:
        >>> round(cramers_v(np.array([0, 0, 1, 1] * 9), np.array([0, 0, 1, 1] * 9)), 6)
        1.0
        >>> cramers_v(np.array([0, 0, 1, 1] * 9), np.array([0, 1, 0, 1] * 9))
        0.0

    References:
        Bergsma, "A bias-correction for Cramér's V and Tschuprow's T", Journal of the Korean Statistical
        Society 42, 2013.
    """
    a, b = (np.unique(one, return_inverse=True)[1] for one in (first, second))
    n, r, c = len(a), int(a.max()) + 1, int(b.max()) + 1
    table = np.bincount(a * c + b, minlength=r * c).reshape(r, c)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    phi = ((table - expected) ** 2 / expected).sum() / n
    spare = n - 1
    rows, columns = (size - (size - 1) ** 2 / spare for size in (r, c))
    above = max(0.0, phi - (r - 1) * (c - 1) / spare)
    most = min(rows, columns) - 1
    return float(min(1.0, np.sqrt(above / most))) if most > 0 else 0.0
