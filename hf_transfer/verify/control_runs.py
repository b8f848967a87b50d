"""The folds of a control run, and what follows from their stored predictions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.errors import VerificationError
from hf_transfer.folds import (
    FoldPlan,
    derive_seed,
    ids_at,
)
from hf_transfer.machine.files import load_table
from hf_transfer.runs.fold_result import FoldResult, KeptFold
from hf_transfer.runs.held_out import table_digest
from hf_transfer.runs.reading import read_record
from hf_transfer.runs.run_folder import fold_place, place_of
from hf_transfer.scores.shuffled import shuffle_labels
from hf_transfer.verify.check import Check, column_differences, differences, judged, left_out
from hf_transfer.verify.record import Record
from hf_transfer.verify.train_rows import (
    NOT_THERE,
    other_rows,
    seen_rows,
    train_rows,
    train_scores,
)


@dataclass(frozen=True)
class ControlRuns:
    """Folds of a control run, which have folders of their own.

    Attributes:
        record: Of the run.
        name: Of the folder that holds those of the folds; empty for the run's own.
        names: The folds, as (repeat, fold).
        percent: Of the training rows.
        given: The plan of each repeat, where it is not the run's.
    """

    record: Record
    name: str
    names: Sequence[tuple[int, int]]
    percent: int = 100
    given: tuple[FoldPlan, ...] = ()

    @property
    def _plans(self) -> tuple[FoldPlan, ...]:
        return self.given or self.record.plans

    @cached_property
    def folds(self) -> list[FoldResult]:
        """Records of the folds, with scores and sizes recomputed."""
        return [self._again(fold, place) for fold, place in self._written]

    @cached_property
    def predictions(self) -> pa.Table:
        """Held-out rows of the finished folds."""
        return pa.concat_tables([self._rows(place) for fold, place in self._written if fold.status == "done"])

    @cached_property
    def _written(self) -> list[tuple[FoldResult, str]]:
        inside = f"{place_of(self.record.best, list(self.record.entries))}/{self.name}".strip("/")
        return [self._read(fold_place(inside, *name)) for name in self.names]

    def _read(self, place: str) -> tuple[FoldResult, str]:
        folder = self.record.folder / "folds" / place
        path = next(
            (folder / name for name in ("done.json", "failed.json") if (folder / name).is_file()), None
        )
        if path is None:
            raise VerificationError(f"folds/{place}: has neither done.json nor failed.json")
        return read_record(KeptFold, path).result, place

    def _rows(self, place: str) -> pa.Table:
        return load_table(self.record.folder / "folds" / place / "predictions.parquet")

    def _again(self, fold: FoldResult, place: str) -> FoldResult:
        if fold.status != "done":
            return replace(fold, scores={}, train_scores={})
        seen, scorer = seen_rows(self.record, fold, place), self.record.scorer
        return replace(
            fold,
            num_train=len(train_rows(self.record, self._plans, fold, self.percent)),
            num_valid=len(self._plans[fold.repeat].valid(fold.fold)),
            scores=scorer.score(self._rows(place)),
            train_scores=fold.train_scores if seen is None else scorer.score(seen),
        )

    def problems(self) -> Iterator[str]:
        """Compare each fold's record with its predictions, and their rows with those it held out."""
        uids = self.record.split[0]
        for (fold, place), again in zip(self._written, self.folds, strict=True):
            if fold.status != "done":
                continue
            rows, where = self._rows(place), f"folds/{place}"
            written = {name: fold.scores.get(name) for name in again.scores}
            yield from differences(written, again.scores, f"{where}.scores")
            yield from differences(fold.num_train, again.num_train, f"{where}.num_train")
            held_out = self._plans[fold.repeat].valid(fold.fold)
            yield from other_rows(rows, ids_at(uids, held_out), f"predictions of {where}")
            digests = [reading.predictions for reading in fold.readings]
            yield from differences(digests, [table_digest(rows)], f"{where}.readings")
            yield from train_scores(self.record, fold, place, self.percent)

    def other_labels(self) -> Iterator[str]:
        """Compare the labels with the shuffle that the seed gives, for rows with one label each."""
        uids, columns = self.record.split
        for fold, place in self._written:
            if fold.status != "done" or columns.labels is None:
                continue
            plan, rows = self.record.plans[fold.repeat], self._rows(place)
            seed = derive_seed(fold.seed, "shuffled")
            labels = self.record.row_labels()
            shuffled = shuffle_labels(labels, plan.fold_of_row(), seed=seed, groups=columns.groups)
            held_out = plan.valid(fold.fold)
            again = {"row_id": ids_at(uids, held_out), "label": [shuffled[row] for row in held_out.tolist()]}
            yield from column_differences(
                rows.select(["row_id", "label"]), pa.table(again), f"predictions of folds/{place}"
            )


def control_check(record: Record, name: str, folder: str, compare: Any) -> Check:
    """Check what control runs reached, if their predictions are there."""
    if not any(record.folder.glob(f"folds/**/{folder}/*/done.json")):
        return left_out(name, NOT_THERE)
    return judged(name, "follows from the predictions of its runs", compare)
