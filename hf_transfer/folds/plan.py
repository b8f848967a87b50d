"""The folds of one split, by row number: a permutation, cut into shards."""

from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

import numpy as np

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.errors import FoldError
from hf_transfer.folds.order import Ints, RowIds


@dataclass(frozen=True, eq=False)
class FoldPlan:
    """All folds of one split, by the numbers of the rows.

    Attributes:
        scheme: How the rows were arranged.
        num_folds: Number of shards, k.
        permutation: Rows in the order to cut them, (n,), or (k * largest fold,) where folds differ by
            more than a row: each is then filled up with -1.
        contiguous: Whether a shard is a run of the permutation, or every k-th entry.
        num_rows: Number of rows, n.
        seed: Seed of the hash.
        untrained: For blocks of time, where the entries of the permutation that each fold does not
            train on start and end: the block, its neighbours and, walking forward, all that comes later.
        notes: Choices to state beside the scores, a sentence each.
    """

    scheme: str
    num_folds: int
    permutation: Ints
    contiguous: bool
    num_rows: int
    seed: int
    untrained: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def scored_folds(self) -> range:
        """Numbers of the folds that are held out: all, except the first block of walk-forward."""
        return range(int(self.scheme == "walk-forward"), self.num_folds)

    @cached_property
    def _shards(self) -> tuple[Ints, ...]:
        # What `Dataset.shard` gives, without a dataset for each of them.
        if self.contiguous:
            return tuple(np.array_split(self.permutation, self.num_folds))
        return tuple(self.permutation[index :: self.num_folds] for index in range(self.num_folds))

    def valid(self, index: int) -> Ints:
        """Held-out rows of a fold, in the order of the permutation."""
        rows = self._shards[index]
        return rows[rows >= 0]

    def train(self, index: int) -> Ints:
        """Training rows of a fold, in the order of the permutation."""
        if self.untrained:
            start, stop = self.untrained[index]
            return np.concatenate([self.permutation[:start], self.permutation[stop:]])
        rows = self.permutation[self.permutation >= 0]
        return rows[~np.isin(rows, self.valid(index))]

    def among(self, rows: Ints, num_rows: int) -> "FoldPlan":
        """Translate a plan of some rows of a table into row numbers of the whole table.

        Args:
            rows: Where in the table each planned row stands, (n,).
            num_rows: Rows of the table.
        """
        permutation = np.where(self.permutation < 0, -1, np.append(rows, -1)[self.permutation])
        return replace(self, permutation=permutation, num_rows=num_rows)

    def fold_of_row(self) -> Ints:
        """Fold that holds each row out, (n,); -1 for rows that no fold holds out."""
        folds = np.full(self.num_rows, -1, dtype=np.int64)
        for index in self.scored_folds:
            folds[self.valid(index)] = index
        return folds

    def fingerprint(self, uids: RowIds) -> str:
        """SHA-256 of the split: equal for equal folds of the same rows in the same order.

        It covers the permutation (64-bit, little-endian), then `k:flag:seed:n` as text, then the SHA-256
        of the ids, each with its length before it, then the bounds of what is not trained on, if any.

        Raises:
            FoldError: If there is not one id a row.
        """
        if len(uids) != self.num_rows:
            raise FoldError(f"Expected an id for each of {self.num_rows} rows, got {len(uids)}.")
        ids = sha256()
        for text in map(str, uids):
            encoded = text.encode("utf-8", "surrogatepass")
            ids.update(f"{len(encoded)}:".encode() + encoded)
        digest = sha256(self.permutation.astype("<i8").tobytes())
        digest.update(f"{self.num_folds}:{int(self.contiguous)}:{self.seed}:{self.num_rows}".encode())
        digest.update(ids.digest())
        digest.update(np.array(self.untrained, dtype="<i8").tobytes())
        return digest.hexdigest()
