"""Features of a data set, for what compares data sets: what the output layer of one base model reads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from datasets import Dataset
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.audit import RowId, audit, without_repeats
from hf_transfer.data.labelled import LabelledData, fingerprint
from hf_transfer.data.opening import find_task, open_dataset
from hf_transfer.data.pretrained import base_origin
from hf_transfer.errors import DataError
from hf_transfer.machine.progress import own_bars
from hf_transfer.machine.wording import count
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.replay.features.engine import FeatureEngine, fill
from hf_transfer.replay.features.output_inputs import output_inputs, stored_outputs
from hf_transfer.tasks import Task, task_of_kind

# Settings of the first data set's folds, which the second has no use for.
_OF_FOLDS: dict[str, Any] = {
    "time_by": None, "fold_column": None, "site_column": None, "scheme": "auto", "gap": 0, "sealed": 0.0,
    "test_split": None,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class OpenedRows:
    """The rows of a data set without repeats, and the base model that they are for.

    Attributes:
        data: The rows; without labels, each has a stand-in for one.
        task: What encodes them; it builds the model.
        labelled: Whether there are labels that can be used.
        notes: What was left out or found, a sentence each.
    """

    data: LabelledData
    task: Task
    labelled: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class DomainFeatures:
    """The rows of a data set without repeats, and what the output layer of a base model reads of each.

    Attributes:
        data: The rows; without labels, each has a stand-in for one.
        task: What encoded them; it builds the model.
        values: Features, (n, d) in float32.
        labels: Of each row as the target has them, (n, …); None where the data have none that can be used.
        row_ids: Of each row.
        label_names: In the order of their ids.
        groups: A number for the group of each row, (n,); None where there are none.
        reused: Whether the features were found stored.
        seconds: To compute the features, or to find them.
        notes: What was left out or found, a sentence each.
    """

    data: LabelledData
    task: Task
    values: NDArray[np.float32]
    labels: NDArray[Any] | None
    row_ids: tuple[RowId, ...]
    label_names: tuple[str, ...]
    groups: NDArray[np.int64] | None
    reused: bool
    seconds: float
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.row_ids)


def labelled_features(
    config: RunConfig,
    accelerator: Accelerator,
    *,
    kind: str | None = None,
    engine: FeatureEngine | None = None,
) -> DomainFeatures:
    """Open a labelled data set and compute, or find, its features by a base model.

    Args:
        config: Of which the data set, `base_model` and the seed are used.
        accelerator: Of which the device is used.
        kind: What a row's input is; found by itself when not given.
        engine: Computes them elsewhere; None computes them here.

    Raises:
        DataError: If the rows cannot be used.
        ModelError: If the model cannot be used.
    """
    (found,) = features_of([open_labelled(config, kind=kind)], accelerator, engine)
    return found


def open_labelled(config: RunConfig, *, kind: str | None = None) -> OpenedRows:
    """Open a labelled data set for a base model.

    Args:
        config: Of which the data set and `base_model` are used.
        kind: What a row's input is; found by itself when not given.

    Raises:
        DataError: If the rows cannot be used.
        ModelError: If the model cannot be used.
    """
    task = task_of_kind(kind) if kind else find_task(config)
    data = open_dataset(config, task.input.name)
    if data.target.per_word:
        raise DataError(
            f"{data.name} has a label for each word, and data sets are compared by rows. Give rows of "
            "one label each."
        )
    own = data.task(config, data.target)
    origin = base_origin(own.base, data, config)
    notes = (*data.notes, origin.words) if origin else data.notes
    return _without_repeats(replace(data, notes=notes), own, labelled=True)


def open_domain(config: RunConfig, like: OpenedRows) -> OpenedRows:
    """Open another data set for the same model; its labels are used if it has the same ones.

    Args:
        config: Of which the data set, its split and its columns are used.
        like: The first data set.

    Raises:
        DataError: If the rows cannot be used.
    """
    data, labelled = _opened(replace(config, **_OF_FOLDS), like.data)
    return _without_repeats(data, like.task, labelled=labelled)


def features_of(
    opened: Sequence[OpenedRows], accelerator: Accelerator, engine: FeatureEngine | None = None
) -> list[DomainFeatures]:
    """Compute, or find, features of some data sets.

    Args:
        opened: Rows, and the base model of each; one or more.
        accelerator: Of which the device is used.
        engine: Computes them elsewhere; None computes them here.

    Raises:
        DataError: If a model has no finite features of some rows.
        ModelError: If a model cannot be used.
    """
    wanted = (
        stored_outputs(one.task, _encoded(one, accelerator), one.task.settings, accelerator) for one in opened
    )
    fill(engine, opened[0].task.settings, wanted)
    return [_features(one, accelerator) for one in opened]


def _opened(config: RunConfig, like: LabelledData) -> tuple[LabelledData, bool]:
    """The rows, and whether their labels can be used; without groups where they have no such column."""
    from hf_transfer.data.unlabelled import holds_lines, open_unlabelled

    settings = [config, *([replace(config, group_by=None)] if config.group_by else [])]
    why = "" if not holds_lines(Path(config.dataset), like.input) else "it has one input a line."
    for one in () if why else settings:
        try:
            return _with_labels_of(open_dataset(one, like.input.name), like), True
        except DataError as error:
            why = str(error).splitlines()[0]
    for one in settings:
        try:
            data = open_unlabelled(one, like.task, like.target)
            break
        except DataError:
            if one is settings[-1]:
                raise
    return replace(data, notes=(*data.notes, f"No labels of {data.name} are used: {why}")), False


@dataclass(frozen=True)
class SharedRows:
    """Rows of a second data set that the first one holds too.

    Attributes:
        exact: Their ids.
        near: Ids of those that are almost the same as one of the first.
    """

    exact: tuple[RowId, ...]
    near: tuple[RowId, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """Itself in a sentence, if there are any."""
        if not self.exact and not self.near:
            return ()
        return (
            f"Rows of the second data set that the first one holds too: {len(self.exact):,} exactly, "
            f"{len(self.near):,} almost.",
        )


def shared_rows(first: LabelledData, second: LabelledData) -> SharedRows:
    """Find rows that are in both of two data sets."""
    found = audit(replace(first, test=second.rows, test_digests=second.digests))
    exact = tuple(dict.fromkeys(row for _, row in found.in_test))
    near = dict.fromkeys(row for _, row in found.near_test)
    return SharedRows(exact, tuple(row for row in near if row not in {*exact}))


def without(features: DomainFeatures, row_ids: Sequence[RowId]) -> DomainFeatures:
    """The same without some rows."""
    gone = {*row_ids}
    return chosen(features, [i for i, row_id in enumerate(features.row_ids) if row_id not in gone])


def chosen(features: DomainFeatures, positions: Sequence[int] | NDArray[np.int64]) -> DomainFeatures:
    """Some rows of a data set, in the given order."""
    rows = np.asarray(positions, np.int64)
    labels, groups = features.labels, features.groups
    return replace(
        features,
        data=replace(features.data, rows=features.data.rows.select(rows)),
        values=features.values[rows],
        labels=None if labels is None else labels[rows],
        row_ids=tuple(features.row_ids[row] for row in rows.tolist()),
        groups=None if groups is None else groups[rows],
    )


def _with_labels_of(data: LabelledData, like: LabelledData) -> LabelledData:
    """The same rows with their labels in the numbers of another data set."""
    if type(data.target) is not type(like.target):
        raise DataError(f"its labels are {data.target.name}, and those of {like.name} {like.target.name}.")
    labels = like.target.renumbered(data.rows["label"][:], data.label_names, data.name)
    kind = like.target.label_type(like.label_names)
    with own_bars():
        rows = data.rows.remove_columns("label").add_column("label", labels, feature=kind)
    known = fingerprint(rows, like.input, like.label_names)  # by which encoded rows are stored, labels too
    return replace(data, rows=rows, target=like.target, label_names=like.label_names, fingerprint=known)


def _without_repeats(data: LabelledData, task: Task, *, labelled: bool) -> OpenedRows:
    kept, repeats = without_repeats(data, audit(data))
    return OpenedRows(kept, task, labelled, (*kept.notes, *repeats))


def _encoded(opened: OpenedRows, accelerator: Accelerator) -> Dataset:
    return encode_rows(opened.task, opened.data.rows, opened.data.fingerprint, accelerator)


def _features(opened: OpenedRows, accelerator: Accelerator) -> DomainFeatures:
    data, task, rows = opened.data, opened.task, opened.data.rows
    found = output_inputs(task, _encoded(opened, accelerator), task.settings, accelerator)
    if not (finite := np.isfinite(found.values).all(axis=1)).all():
        bad = int((~finite).sum())
        raise DataError(
            f"The model gives no finite features for {count(bad, 'row')} of {data.name}. Give another "
            "--base_model, or leave those rows out."
        )
    return DomainFeatures(
        data=data,
        task=task,
        values=found.values,
        labels=task.target.of_items(rows["label"][:]) if opened.labelled else None,
        row_ids=tuple(rows["row_id"]),
        label_names=data.label_names,
        groups=_groups(rows),
        reused=found.reused,
        seconds=found.seconds,
        notes=(*opened.notes, *found.notes),
    )


def _groups(rows: Dataset) -> NDArray[np.int64] | None:
    if "group" not in rows.column_names:
        return None
    return np.unique(np.asarray(rows["group"][:]), return_inverse=True)[1].astype(np.int64)
