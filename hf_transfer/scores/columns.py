"""The scale of columns of a table: fitted to some rows, applied to any, in numpy or torch alike."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401

Floats = NDArray[np.float64]


def fit_columns(values: Floats, lacking: Sequence[int]) -> tuple[Floats, Floats]:
    """The mean of each column, and what to multiply what differs from it by, (w,) each.

    Numbers are brought to a mean of 0 and a deviation of 1 by the rows that have one. Columns of 0 and 1
    stay as they are. One that does not vary in these rows is multiplied by 0: nothing can be learned of it,
    so that it may say nothing in others.

    Args:
        values: (n, w), with 0 where a number is missing.
        lacking: For a number the place of the column that is 1 where it is missing; of others their own.
    """
    numbers = np.asarray(lacking) != np.arange(len(lacking))
    present = np.where(numbers, 1 - values[:, list(lacking)], 1.0)
    weight = np.maximum(present.sum(axis=0), 1)
    mean = (values * present).sum(axis=0) / weight
    spread = np.sqrt((present * (values - mean) ** 2).sum(axis=0) / weight)
    varies = spread > 1e-7 * np.abs(mean)
    scaled = np.where(numbers, spread, 1.0)
    return np.where(numbers, mean, 0.0), np.where(varies, 1 / np.where(varies, scaled, 1.0), 0.0)


def scale_columns(values: Any, mean: Any, factor: Any, lacking: Any) -> Any:
    """Bring columns (…, w) to a scale from `fit_columns`; a missing number becomes its mean, which is 0.

    Example:
        >>> values = np.array([[1.0, 0], [3.0, 0], [0.0, 1]])  # a number, and whether it is missing
        >>> scale_columns(values, *fit_columns(values, [1, 1]), [1, 1]).tolist()
        [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """
    return (values - mean * (1 - values[..., lacking])) * factor
