"""The benchmark that all candidates share: rows, folds and metric."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.audit import audit, without_repeats
from hf_transfer.data.labelled import LabelledData
from hf_transfer.data.sealing import fold_columns
from hf_transfer.errors import ConfigError
from hf_transfer.folds import FoldPlan, derive_seed, plan_folds
from hf_transfer.machine.wording import count
from hf_transfer.replay.features.sample import rows_of_words
from hf_transfer.runs.rank_record import RankedData, RankedFolds
from hf_transfer.scores.transferability import Measure, Probe, Split, splits_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_FEW, _SOME = 500, 2_000  # rows up to which folds are repeated five times, and three times
_MOST_TO_SHUFFLE = 4_000  # rows or words: with as many, a permutation test finds what there is to find


@dataclass(frozen=True)
class Benchmark:
    """The rows to judge candidates by, without duplicates, and their folds.

    Attributes:
        data: The rows.
        config: Of which the folds' settings and the seed are used.
        notes: What was left out or found, a sentence each.
        num_repeats: How often to repeat with other folds.
    """

    data: LabelledData
    config: RunConfig
    notes: tuple[str, ...]
    num_repeats: int

    @cached_property
    def uids(self) -> list[object]:
        """What identifies each row."""
        return list(self.data.rows["row_id"])

    @cached_property
    def plans(self) -> tuple[FoldPlan, ...]:
        """The folds of each repeat: those that a run with these settings has."""
        task = self.data.task(self.config, self.data.target)
        columns = fold_columns(task, self.data, self.config)
        seeds = [self.config.seed] + [
            derive_seed(self.config.seed, "repeat", repeat) for repeat in range(1, self.num_repeats)
        ]
        return tuple(
            plan_folds(
                self.uids,
                self.config.num_folds,
                seed=seed,
                columns=columns,
                scheme=self.config.scheme,
                strict=self.config.strict,
            )
            for seed in seeds
        )

    @property
    def data_record(self) -> RankedData:
        """What a record says of the rows."""
        return RankedData(
            name=self.data.name,
            split=self.data.split,
            fingerprint=self.data.fingerprint,
            num_rows=len(self.data.rows),
            num_scored=len(self.labels),
            kind=self.data.input.name,
            label_names=list(self.data.label_names),
        )

    @property
    def folds_record(self) -> RankedFolds:
        """What a record says of the folds."""
        return RankedFolds(self.plans[0].scheme, self.num_folds, len(self.plans), self.config.seed)

    @property
    def num_folds(self) -> int:
        """Folds of each repeat, as they could be had."""
        return self.plans[0].num_folds

    @property
    def in_time(self) -> bool:
        """Whether the folds are blocks of time."""
        return self.plans[0].scheme in ("time", "walk-forward")

    @cached_property
    def rows(self) -> Ints:
        """Rows to compute features of: all, or of sentences so many that there are words enough."""
        if not self.data.target.per_word:
            return np.arange(len(self.data.rows))
        return rows_of_words(self._items(), self.uids, seed=self.config.seed)

    def _items(self) -> Ints:
        """How many labels each row has."""
        return self.data.target.num_items(self.data.rows["label"][:])

    @cached_property
    def row_of(self) -> Ints:
        """The row that each label belongs to, (m,)."""
        return np.repeat(self.rows, self._items()[self.rows])

    @cached_property
    def labels(self) -> NDArray[Any]:
        """Label of each row or word, (m, …)."""
        return self.data.target.of_items(self.data.rows.select(self.rows)["label"][:])

    @cached_property
    def splits(self) -> tuple[Split, ...]:
        """The folds of all repeats, in numbers of the labels; without those that hold no mention."""
        splits = [split for plan in self.plans for split in self._splits_of(plan)]
        if self.measure.name != "f1_words":
            return tuple(splits)
        return tuple(s for s in splits if (self.labels[s[1]] != self.measure.outside).any())

    def _splits_of(self, plan: FoldPlan) -> tuple[Split, ...]:
        return splits_of(plan, self.row_of if self.data.target.per_word else None)

    @cached_property
    def measure(self) -> Measure:
        """The score."""
        return self.data.target.measure(self.labels)

    @cached_property
    def units(self) -> Ints:
        """What is drawn or shuffled together: the group, else the row, as words stand in a sentence, (m,)."""
        columns = self.data.rows.column_names
        own = self.data.rows["group"][:] if "group" in columns else range(len(self.data.rows))
        return np.unique(np.asarray(own), return_inverse=True)[1][self.row_of].astype(np.int64)

    def fold_scores(self, probe: Probe) -> Floats:
        """The score in each fold of each repeat, (J,)."""
        measure, pairs = self.measure, zip(probe.splits, probe.decisions, strict=True)
        return np.array([measure.score(self.labels[valid], measure.answers(d)) for (_, valid), d in pairs])

    def to_shuffle(self) -> tuple[Ints, tuple[Split, ...]]:
        """Of the first repeat, labels enough for a permutation test, and its folds in their numbers."""
        chosen = rows_of_words(
            self._items()[self.rows],
            [self.uids[row] for row in self.rows],
            seed=self.config.seed,
            limit=_MOST_TO_SHUFFLE,
        )
        places = np.flatnonzero(np.isin(self.row_of, self.rows[chosen]))
        new = np.full(len(self.row_of), -1)
        new[places] = np.arange(len(places))
        first = self._splits_of(self.plans[0])
        splits = [tuple(new[part][new[part] >= 0] for part in split) for split in first]
        return places, tuple((train, valid) for train, valid in splits if len(train) and len(valid))


def make_benchmark(data: LabelledData, config: RunConfig, num_repeats: int | None = None) -> Benchmark:
    """Leave out exact duplicates, which would stand on both sides of a fold, and plan the folds.

    Args:
        data: Labelled rows.
        config: How they are split.
        num_repeats: How often; by the number of rows when not given.

    Raises:
        ConfigError: If that is below 1.
    """
    if num_repeats is not None and num_repeats < 1:
        raise ConfigError(f"num_repeats={num_repeats} is too small; use 1 or more.")
    found = audit(data)
    kept, repeats = without_repeats(data, found)
    notes = [*data.notes, *repeats]
    if found.near_duplicates:
        groups = count(len(found.near_duplicates), "group")
        notes.append(
            f"Rows that are almost the same: {groups}. Where they are in different folds, scores are too "
            "good; group_by keeps them together."
        )
    if num_repeats is None:
        num_repeats = 5 if len(kept.rows) <= _FEW else 3 if len(kept.rows) <= _SOME else 1
    if config.scheme in ("time", "walk-forward", "predefined") or config.time_by or config.fold_column:
        num_repeats = 1  # another seed gives the same folds
    return Benchmark(kept, config, tuple(notes), num_repeats)
