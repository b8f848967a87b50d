"""Audit rows before the split: duplicates, contradicting labels, class counts."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.data.labelled import LabelledData, fingerprint
from hf_transfer.data.sources import Source, column_of, listed_sources
from hf_transfer.data.telling import Telling, telling_columns
from hf_transfer.machine.wording import count
from hf_transfer.tasks.inputs.similarity import Groups, equal_groups

RowId = int | str


@dataclass(frozen=True)
class Audit:
    """Findings of an audit; rows are named by their `row_id`.

    Attributes:
        num_rows: Rows to cross-validate.
        num_test_rows: Rows kept untouched.
        class_counts: Rows of each label, or entities of each type.
        duplicates: Rows of equal pixels, or of texts equal but for case and spaces.
        near_duplicates: Rows that look or read almost the same, of which one of each duplicates.
        conflicts: Those duplicates whose labels differ.
        in_test: Pairs of a row and a test row that are duplicates.
        near_test: Pairs of a row and a test row that are almost the same.
        sorted_by_label: Whether all rows of a label stand together.
        lengths: Words of the texts: least, median, 95th percentile and most.
        sources: Columns and parts of names with equal values, of which rows may belong together; none
            where the folds keep something together already.
        near_follow: Near duplicates that stand beside each other.
        telling: Columns of the table of which one alone nearly tells the label.
    """

    num_rows: int
    num_test_rows: int
    class_counts: dict[str, int]
    duplicates: tuple[tuple[RowId, ...], ...]
    near_duplicates: tuple[tuple[RowId, ...], ...]
    conflicts: tuple[tuple[RowId, ...], ...]
    in_test: tuple[tuple[RowId, RowId], ...]
    near_test: tuple[tuple[RowId, RowId], ...]
    sorted_by_label: bool
    lengths: dict[str, float] | None
    sources: tuple[Source, ...] = ()
    near_follow: int = 0
    telling: tuple[Telling, ...] = ()

    @property
    def rarest(self) -> tuple[str, int]:
        """The label with the fewest rows, and how many."""
        return min(self.class_counts.items(), key=lambda item: item[1])

    def to_dict(self) -> dict[str, Any]:
        """All findings as plain values, ready for JSON."""
        plain = {name: _as_lists(value) for name, value in asdict(self).items()}
        return plain | {"rarest": list(self.rarest)}

    def warnings(self) -> list[str]:
        """Findings that endanger a score, a sentence each."""
        found = []
        if self.duplicates:
            extra = count(sum(len(group) - 1 for group in self.duplicates), "row")
            found.append(
                f"Exact repeats of another row: {extra}. Remove them, or keep them together by group_by."
            )
        if self.near_duplicates:
            found.append(f"Rows that are almost the same: {count(len(self.near_duplicates), 'group')}.")
        if self.conflicts:
            found.append(f"Duplicates with different labels: {count(len(self.conflicts), 'group')}.")
        if self.in_test or self.near_test:
            exact = f"{len({row for row, _ in self.in_test}):,} exactly"
            near = f"{len({row for row, _ in self.near_test}):,} almost"
            found.append(f"Rows that are also in the test split: {exact}, {near}.")
        likely = [source for source in self.sources if source.likely]
        if likely:
            names = ", ".join(source.words for source in likely)
            column = next((column_of(source.name) for source in likely if column_of(source.name)), None)
            found.append(
                f"Rows may belong together by {names}. If they come from one source, keep them in one fold: "
                f"--group_by {column or 'NAME, a column that says which'}."
            )
        if self.near_follow > len(self.near_duplicates) / 2:
            found.append(
                f"Of {count(len(self.near_duplicates), 'group')} of rows that are almost the same, "
                f"{self.near_follow:,} stand beside each other: such rows may come from one "
                "source. Name the column that says which by --group_by."
            )
        found += [
            f"Column {column.name!r} of the table alone tells {column.right:.1%} of the labels, and the "
            f"commonest label is {column.commonest:.1%} of them. If it is written after the label is known, "
            "it is a leak: leave it out."
            for column in self.telling
        ]
        if self.sorted_by_label:
            found.append("The rows are stored sorted by label: parts cut in this order would lack classes.")
        return found


def audit(data: LabelledData) -> Audit:
    """Find duplicates among the rows and between them and the test rows, and count classes.

    Pictures are decoded once more for it. Blank pictures and texts never count as almost the same.
    """
    parts = [data.rows] if data.test is None else [data.rows, data.test]
    ids: list[RowId] = [row_id for part in parts for row_id in part["row_id"]]
    labels = [label for part in parts for label in part["label"]]
    keys, similar = data.input.likeness(parts)
    near = _near(keys, similar)
    size = len(data.rows)
    exact = equal_groups(keys)
    inside, across = _divide(exact, size)
    near_inside, near_across = _divide(near, size)
    kept = {"group", "time", "fold"} & set(data.rows.column_names)
    return Audit(
        num_rows=size,
        num_test_rows=len(ids) - size,
        class_counts=data.class_counts,
        duplicates=_named(inside, ids),
        near_duplicates=_named(near_inside, ids),
        conflicts=_named([group for group in inside if _differ(group, labels)], ids),
        in_test=tuple((ids[row], ids[test]) for row, test in across),
        near_test=tuple((ids[row], ids[test]) for row, test in near_across),
        sorted_by_label=not data.target.per_word and _is_sorted(data.target.tabled(labels[:size])[1]),
        lengths=data.input.lengths(data.rows),
        sources=() if kept else listed_sources(data.rows),
        telling=telling_columns(data),
        near_follow=0 if kept else sum(group[1] - group[0] == 1 for group in map(sorted, near_inside)),
    )


def without_repeats(data: LabelledData, found: Audit) -> tuple[LabelledData, tuple[str, ...]]:
    """Leave out rows that repeat another exactly; say how many they were, in a sentence if any.

    Args:
        data: The rows.
        found: Their audit.
    """
    repeats = {row_id for group in found.duplicates for row_id in group[1:]}
    if not repeats:
        return data, ()
    kept = [row for row, row_id in enumerate(data.rows["row_id"]) if row_id not in repeats]
    rows = data.rows.select(kept)
    known = fingerprint(rows, data.input, data.label_names)
    note = f"{count(len(repeats), 'row')} left out, as they repeat another exactly."
    return replace(data, rows=rows, fingerprint=known), (note,)


def _near(keys: Sequence[Any], similar: Callable[[list[int]], Groups]) -> Groups:
    """Groups of near duplicates among the first rows of each content."""
    first: dict[Any, int] = {}
    for row, key in enumerate(keys):
        first.setdefault(key, row)
    firsts = list(first.values())
    return [[firsts[i] for i in group] for group in similar(firsts)]


def _divide(groups: Groups, size: int) -> tuple[Groups, list[tuple[int, int]]]:
    """Separate groups of rows from pairs of a row and a test row; test rows start at `size`."""
    inside = [[row for row in group if row < size] for group in groups]
    across = [
        (row, test) for group in groups for row in group if row < size for test in group if test >= size
    ]
    return [group for group in inside if len(group) > 1], across


def _named(groups: Groups, ids: Sequence[RowId]) -> tuple[tuple[RowId, ...], ...]:
    return tuple(tuple(ids[row] for row in group) for group in groups)


def _differ(group: list[int], labels: Sequence[Any]) -> bool:
    return any(labels[row] != labels[group[0]] for row in group)


def _is_sorted(counts: NDArray[np.int64]) -> bool:
    """Whether all rows of a class stand together; not where a row has several, or none."""
    if not (counts.sum(axis=1) == 1).all():
        return False
    classes = counts.argmax(axis=1)
    return int((np.diff(classes) != 0).sum()) == len(np.unique(classes)) - 1


def _as_lists(value: Any) -> Any:
    return [_as_lists(one) for one in value] if isinstance(value, list | tuple) else value
