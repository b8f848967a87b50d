"""Read held-out rows once, and record the reading with the fold's scores.

The record can be replayed without the model: the digest of the predictions is of their values, not of
the file that holds them, so that any library may have written it again.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError, RunError
from hf_transfer.runs.fold_result import Reading


class HeldOut:
    """The held-out rows of one fold of one configuration, for one purpose.

    Args:
        rows: Their numbers.
        place: The fold's, for messages.
        purpose: What they are read for: the score, or a control run such as `learning curve, 40 %`.
    """

    def __init__(self, rows: NDArray[np.int64], place: str, purpose: str = "score") -> None:
        self._rows, self.place, self.purpose = rows, place, purpose
        self.readings: list[Reading] = []

    def read(self, predict: Callable[[NDArray[np.int64]], pa.Table], weights: str) -> pa.Table:
        """Predict the rows, once; an attempt without predictions does not count.

        Args:
            predict: Gives the predictions for some rows, a line each.
            weights: Digest of the weights that predict.

        Raises:
            RunError: If the rows were read before.
        """
        if self.readings:
            raise RunError(
                f"The held-out rows of {self.place} were scored at {self.readings[0].at} and are scored "
                "once: a second look could choose between two models. Train and score the fold in a new run."
            )
        table = predict(self._rows)
        self.readings.append(
            Reading(
                at=datetime.now(UTC).isoformat(timespec="seconds"),
                purpose=self.purpose,
                rows=table.num_rows,
                weights=weights,
                predictions=table_digest(table),
            )
        )
        return table


def table_digest(table: pa.Table) -> str:
    """Digest of a table's values in row order, whatever the order of its columns.

    Equal values give equal digests whatever their width (int32 or int64), list type, or file.

    Raises:
        DataError: If a column holds other than numbers, texts, and lists of them.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(table.column_names):
        _feed(digest, "name", name.encode())
        _feed_values(digest, table[name].combine_chunks(), name)
    return digest.hexdigest()


def _feed_values(digest: "hashlib.blake2b", values: pa.Array, name: str) -> None:
    if values.null_count:
        _feed(digest, "empty", values.is_null().to_numpy(zero_copy_only=False).tobytes())
        values = values.drop_null()
    if (
        kinds.is_list(values.type)
        or kinds.is_large_list(values.type)
        or kinds.is_fixed_size_list(values.type)
    ):
        _feed_numbers(digest, "lists", pc.list_value_length(values), "<i8")
        _feed_values(digest, pc.list_flatten(values), name)
    elif kinds.is_string(values.type) or kinds.is_large_string(values.type):
        _feed_numbers(digest, "lengths", pc.binary_length(values), "<i8")
        _feed(digest, "texts", "".join(values.to_pylist()).encode())
    elif kinds.is_integer(values.type) or kinds.is_boolean(values.type):
        _feed_numbers(digest, "integers", values, "<i8")
    elif kinds.is_floating(values.type):
        _feed_numbers(digest, "floats", values, "<f8")
    else:
        raise DataError(
            f"Column {name!r} of the predictions is of type {values.type}, of which no digest is made. "
            "Predictions are numbers, texts, and lists of them."
        )


def _feed_numbers(digest: "hashlib.blake2b", what: str, values: pa.Array, kind: str) -> None:
    _feed(digest, what, values.to_numpy(zero_copy_only=False).astype(kind).tobytes())


def _feed(digest: "hashlib.blake2b", what: str, data: bytes) -> None:
    """Hash a part with its length, so that different lists of parts never collide."""
    digest.update(f"{what}:{len(data)}:".encode() + data)
