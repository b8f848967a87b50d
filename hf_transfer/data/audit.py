"""Look at the rows before they are split: what repeats, what contradicts itself, how classes are spread."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from PIL import Image

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.data.rows import LabelledData
from hf_transfer.data.similarity import (
    Groups,
    equal_groups,
    plain_text,
    similar_pictures,
    similar_texts,
    thumbnail,
)  # fmt: skip
from hf_transfer.errors import DataError
from hf_transfer.folds import FoldPlan
from hf_transfer.machine.wording import aligned, count, fold_name, some
from hf_transfer.tasks.inputs.pictures import scan_pictures
from hf_transfer.tasks.targets.iob import entity_types

RowId = int | str
_EXAMPLES = 3  # groups shown of each kind
_WIDTH = 60  # characters of a text shown


@dataclass(frozen=True)
class Audit:
    """What was found; rows are named by their `row_id`.

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

    @property
    def rarest(self) -> tuple[str, int]:
        """The label with the fewest rows, and how many."""
        return min(self.class_counts.items(), key=lambda item: item[1])

    def to_dict(self) -> dict[str, Any]:
        """All findings as plain values, ready for JSON."""
        plain = {name: _as_lists(value) for name, value in asdict(self).items()}
        return plain | {"rarest": list(self.rarest)}

    def warnings(self) -> list[str]:
        """Write what endangers a score, a sentence each; empty when nothing does."""
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
        if self.sorted_by_label:
            found.append("The rows are stored sorted by label: parts cut in this order would lack classes.")
        return found


def audit(data: LabelledData) -> Audit:
    """Look for repeats within the rows and between them and the test rows, and count classes.

    Pictures are decoded once more for it. Blank pictures and texts never count as almost the same.
    """
    parts = [data.rows] if data.test is None else [data.rows, data.test]
    ids: list[RowId] = [row_id for part in parts for row_id in part["row_id"]]
    labels = [label for part in parts for label in part["label"]]
    keys, near = _contents(parts, data.kind)
    size = len(data.rows)
    exact = equal_groups(keys)
    inside, across = _divide(exact, size)
    near_inside, near_across = _divide(near, size)
    return Audit(
        num_rows=size,
        num_test_rows=len(ids) - size,
        class_counts=data.class_counts,
        duplicates=_named(inside, ids),
        near_duplicates=_named(near_inside, ids),
        conflicts=_named([group for group in inside if _differ(group, labels)], ids),
        in_test=tuple((ids[row], ids[test]) for row, test in across),
        near_test=tuple((ids[row], ids[test]) for row, test in near_across),
        sorted_by_label=data.kind != "tokens" and _is_sorted(labels[:size]),
        lengths=_lengths(data),
    )


def report(found: Audit, data: LabelledData, plan: FoldPlan) -> str:
    """Write the findings for a terminal: schema, classes, repeats, and what each fold will hold."""
    sections = [_schema(data), _classes(found, data, plan), _repeats(found, data)]
    notes = [*data.notes, *plan.notes, *found.warnings()]
    if notes:
        sections.append("\n".join(["Notes", *(f"  {note}" for note in notes)]))
    return "\n\n".join(sections)


def _contents(parts: Sequence[Dataset], kind: str) -> tuple[list[Any], Groups]:
    """A key of each row's content, and groups of rows that are almost the same."""
    if kind != "image":
        texts = [plain_text(" ".join(_words(text))) for part in parts for text in part["input"]]
        return texts, _near(texts, lambda firsts: similar_texts([texts[row] for row in firsts]))
    keys: list[Any] = []
    small = []

    def visit(_: int, picture: Image.Image) -> None:
        keys.append(hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).digest())
        small.append(thumbnail(picture))

    for bad in (bad for part in parts for bad in scan_pictures(part, visit=visit)):
        raise DataError(
            f"{bad.path or f'The picture at {bad.position}'} has changed since it was read: {bad.reason}."
        )
    return keys, _near(keys, lambda firsts: similar_pictures(np.array(small)[firsts]))


def _near(keys: Sequence[Any], similar: Callable[[list[int]], Groups]) -> Groups:
    """Groups among the first rows of each content: exact repeats are told of elsewhere."""
    first: dict[Any, int] = {}
    for row, key in enumerate(keys):
        first.setdefault(key, row)
    firsts = list(first.values())
    return [[firsts[i] for i in group] for group in similar(firsts)]


def _divide(groups: Groups, size: int) -> tuple[Groups, list[tuple[int, int]]]:
    """Groups of at least two rows, and pairs of a row and a test row; test rows come from `size` on."""
    inside = [[row for row in group if row < size] for group in groups]
    across = [
        (row, test) for group in groups for row in group if row < size for test in group if test >= size
    ]
    return [group for group in inside if len(group) > 1], across


def _named(groups: Groups, ids: Sequence[RowId]) -> tuple[tuple[RowId, ...], ...]:
    return tuple(tuple(ids[row] for row in group) for group in groups)


def _differ(group: list[int], labels: Sequence[Any]) -> bool:
    return any(labels[row] != labels[group[0]] for row in group)


def _is_sorted(labels: Sequence[int]) -> bool:
    return sum(one != other for one, other in pairwise(labels)) == len(set(labels)) - 1


def _words(text: str | list[str]) -> list[str]:
    return text.split() if isinstance(text, str) else text


def _lengths(data: LabelledData) -> dict[str, float] | None:
    if data.kind == "image":
        return None
    sizes = np.array([len(_words(text)) for text in data.rows["input"]])
    most = {
        "min": sizes.min(),
        "median": np.median(sizes),
        "p95": np.percentile(sizes, 95),
        "max": sizes.max(),
    }
    return {name: float(value) for name, value in most.items()}


def _schema(data: LabelledData) -> str:
    test = f", {count(len(data.test), 'test row')}" if data.test is not None else ""
    lines = [
        f"{data.name}, split {data.split}: {count(len(data.rows), 'row')} of {data.kind}{test}",
        f"  input from column {data.input_column!r}, labels from {data.label_column!r}",
        f"  fingerprint {data.fingerprint}",
    ]
    others = [name for name in data.rows.column_names if name not in ("row_id", "input", "label")]
    return "\n".join([*lines, f"  also {', '.join(others)}"] if others else lines)


def _classes(found: Audit, data: LabelledData, plan: FoldPlan) -> str:
    """A line for each class: how many rows in all, and how many in each fold."""
    num_classes = len(found.class_counts)
    counts = _class_matrix(data)
    folds = plan.fold_of_row()
    head = ["class", "entities" if data.kind == "tokens" else "rows", "share"]
    head += [fold_name(0, index, 1) for index in plan.scored_folds]
    table = [
        [name, f"{rows:,}", f"{rows / max(1, counts.sum()):.1%}"] for name, rows in found.class_counts.items()
    ]
    sizes = ["all rows", f"{found.num_rows:,}", "100.0%"]
    for index in plan.scored_folds:
        held = counts[folds == index]
        sizes.append(f"{len(held):,}")
        for line, number in zip(table, held.sum(axis=0), strict=True):
            line.append(f"{number:,}")
    title = (
        f"{num_classes} classes in {plan.num_folds} folds, {plan.scheme}; the rarest is {found.rarest[0]!r}"
    )
    return f"{title}\n{aligned([head, *table, sizes])}"


def _class_matrix(data: LabelledData) -> NDArray[np.int64]:
    """Rows or entities of each class in each row, (n, c)."""
    names = list(data.class_counts)
    counts = np.zeros((len(data.rows), len(names)), np.int64)
    for row, label in enumerate(data.rows["label"]):
        tags = [data.label_names[one] for one in label] if data.kind == "tokens" else None
        for name in entity_types(tags) if tags is not None else [data.label_names[label]]:
            counts[row, names.index(name)] += 1
    return counts


def _repeats(found: Audit, data: LabelledData) -> str:
    kinds = {
        "Exact duplicates": found.duplicates,
        "Almost the same": found.near_duplicates,
        "Duplicates with different labels": found.conflicts,
    }
    positions = {row_id: position for position, row_id in enumerate(data.rows["row_id"])}
    lines = []
    for title, groups in kinds.items():
        lines.append(f"{title}: {count(len(groups), 'group')}")
        for group in groups[:_EXAMPLES]:
            lines.append(f"  {some(group)}: {_excerpt(data.rows[positions[group[0]]]['input'])}")
    if data.test is not None:
        lines.append(
            f"Also in the test split: {len(found.in_test):,} pairs, {len(found.near_test):,} almost the same"
        )
    if found.lengths is not None:
        lines.append(
            "Words a row: " + ", ".join(f"{name} {value:g}" for name, value in found.lengths.items())
        )
    return "\n".join(lines)


def _excerpt(content: Any) -> str:
    if isinstance(content, dict):
        return "/".join(Path(content["path"]).parts[-2:]) if content["path"] else "a picture in memory"
    text = " ".join(_words(content))
    return repr(text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…")


def _as_lists(value: Any) -> Any:
    return [_as_lists(one) for one in value] if isinstance(value, tuple) else value
