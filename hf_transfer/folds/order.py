"""Order rows by a hash of their ids, so that a split depends on no generator, version or machine."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)

Ints = NDArray[np.int64]
RowIds = Sequence[Any] | NDArray[Any]
"""What identifies each row, (n,); whole numbers take 8 bytes each in an array, and 40 in a list."""


def hash_key(seed: int, uid: object) -> int:
    """Key that a row is sorted by: 64 bits of a hash of the seed and the row's id.

    Example:
        >>> hash_key(0, 0)
        15378838894278201442
    """
    return int.from_bytes(_digest(f"{seed}:{uid}", 8), "big")


def hash_order(uids: RowIds, seed: int) -> Ints:
    """Row numbers sorted by key, (n,); rows of equal ids keep their order.

    Example:
        >>> hash_order(range(10), seed=0).tolist()
        [3, 7, 9, 8, 5, 4, 2, 6, 0, 1]
    """
    keys = np.fromiter((hash_key(seed, uid) for uid in uids), dtype=np.uint64, count=len(uids))
    return np.argsort(keys, kind="stable")


def ids_at(uids: RowIds, rows: Ints) -> RowIds:
    """Ids of some rows, as an array if the ids of all rows are one."""
    return uids[rows] if isinstance(uids, np.ndarray) else [uids[row] for row in rows.tolist()]


def derive_seed(seed: int, *parts: object) -> int:
    """Derive a seed below 2**32 for a part of a run, such as one fold of one repeat.

    Example:
        >>> derive_seed(0, "train", 0, 3) == derive_seed(0, "train", 0, 3) != derive_seed(0, "train", 0, 4)
        True
    """
    return int.from_bytes(_digest(":".join(map(str, (seed, *parts))), 4), "big")


def repeat_seed(seed: int, repeat: int) -> int:
    """Seed of the split of a repeat; the first repeat uses the run's own."""
    return seed if repeat == 0 else derive_seed(seed, "repeat", repeat)


def fold_seed(seed: int, repeat: int, fold: int) -> int:
    """Seed of everything random in a fold; the same for every configuration of a grid."""
    return derive_seed(seed, "fold", repeat, fold)


def _digest(text: str, size: int) -> bytes:
    # Half a surrogate pair can stand in a file name; it must not stop the split.
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
