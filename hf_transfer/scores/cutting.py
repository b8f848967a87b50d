"""What a kind of predictions is cut by: from which value on a label is given, or a grade."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401


@dataclass(frozen=True)
class Cut:
    """From which value on a label is given, or a grade; None for the lowest grade, which takes the rest."""

    name: str
    value: float | None


class Cutting(Protocol):
    """How cut points are fitted to predictions, and applied to them; plain ones need no fit."""

    metrics: Sequence[str]
    """The scores that cut points change."""

    def plain(self, table: pa.Table) -> list[Cut]:
        """The cut points of predictions as they come."""
        ...

    def fit(self, table: pa.Table) -> list[Cut]:
        """The cut points that are best for some predictions."""
        ...

    def merits(self, table: pa.Table) -> NDArray[np.float64]:
        """What decided predictions are worth: a number for each cut point, or one for all of them."""
        ...

    def decide(self, table: pa.Table, points: Sequence[Cut]) -> pa.Table:
        """The predictions with what such cut points decide."""
        ...
