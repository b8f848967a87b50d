"""Draw rows of a data set at random to be labelled by hand, and judge a model by those labels."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.data.audit import RowId
from hf_transfer.data.data_files import read_file
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.folds import derive_seed, hash_order
from hf_transfer.machine.files import write_bytes
from hf_transfer.machine.wording import count, some
from hf_transfer.report.page.label import RowToLabel, label_page
from hf_transfer.runs.shift_record import DrawnRows, LabelledAccuracy
from hf_transfer.scores.shift.estimate import greatest_probability
from hf_transfer.scores.shift.few_labels import exact_interval, prediction_powered
from hf_transfer.scores.statistics import fit_temperature
from hf_transfer.transfer.features import DomainFeatures, chosen
from hf_transfer.transfer.heads import SourceHead

TABLE, PAGE = "to_label.csv", "to_label.html"

_WHOLE = 2**31  # letters of a text in the table: all of them
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the start of a formula


def draw_rows(target: DomainFeatures, number: int, seed: int) -> list[RowId]:
    """Ids of rows drawn at random: the first by a seeded hash.

    Raises:
        ConfigError: If there are not so many rows.
    """
    if not 1 <= number <= len(target):
        raise ConfigError(
            f"label_target={number} must be from 1 to {len(target)}, the number of rows of "
            f"{target.data.name}; thirty are a good start."
        )
    order = hash_order(target.row_ids, derive_seed(seed, "to label"))
    return [target.row_ids[row] for row in order[:number].tolist()]


def write_to_label(target: DomainFeatures, row_ids: Sequence[RowId], seed: int, folder: Path) -> DrawnRows:
    """Write the drawn rows as a table and as a page, each to be filled with labels.

    Raises:
        ConfigError: If a table is there that somebody has written into.
    """
    places = {row_id: place for place, row_id in enumerate(target.row_ids)}
    drawn = chosen(target, [places[row_id] for row_id in row_ids])
    input, values = target.data.input, list(drawn.data.rows["input"])
    table = _table(row_ids, [input.excerpt(value, _WHOLE) for value in values])
    path = folder / TABLE
    if path.exists() and path.read_bytes() != table:
        raise ConfigError(
            f"{path} is there and is not as it was written: it may hold labels. Give it by --labels {path}, "
            "or remove it, or take another --output_dir."
        )
    rows = [RowToLabel(row_id, input.original(value)) for row_id, value in zip(row_ids, values, strict=True)]
    write_bytes(path, table)
    write_bytes(folder / PAGE, label_page(rows, target.label_names, target.data.name).encode())
    return DrawnRows(seed, list(row_ids), str(path), str(folder / PAGE))


def _table(row_ids: Sequence[RowId], excerpts: Sequence[str]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["row_id", "input", "label"])
    for row_id, text in zip(row_ids, excerpts, strict=True):
        writer.writerow([row_id, f"'{text}" if text.startswith(_FORMULA) else text, ""])
    return stream.getvalue().encode("utf-8", "backslashreplace")


def read_labels(path: Path, drawn: DrawnRows, label_names: Sequence[str]) -> dict[RowId, int]:
    """Read the labels of the drawn rows: of all of them, and of no others.

    Args:
        path: A file with the columns `row_id` and `label`.
        drawn: The rows.
        label_names: In the order of their ids.

    Raises:
        DataError: If a column or a label is missing, a label is unknown, or a row was not drawn.
    """
    given = _given(path)
    ids = {str(row_id): row_id for row_id in drawn.row_ids}
    if others := [name for name in given if name not in ids]:
        raise DataError(
            f"{count(len(others), 'row')} in {path.name} were not drawn: {some(others)}. Only rows drawn at "
            "random say what holds for all: leave the others out."
        )
    missing = [name for name in ids if not given.get(name, "").strip()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(ids)} drawn rows have no label in {path.name}: {some(missing)}. Label "
            "all: the ones left out may be the hard ones."
        )
    numbers = {name: number for number, name in enumerate(label_names)}
    unknown = sorted({label.strip() for label in given.values()} - numbers.keys())
    if unknown:
        raise DataError(
            f"Labels in {path.name} that the model does not know: {', '.join(map(repr, unknown[:5]))}. It "
            f"knows {', '.join(map(repr, label_names[:20]))}; they must be written alike."
        )
    return {ids[name]: numbers[label.strip()] for name, label in given.items()}


def _given(path: Path) -> Mapping[str, str]:
    rows, _ = read_file(path)
    for name in ("row_id", "label"):
        if name not in rows.column_names:
            raise DataError(
                f"{path.name} has no column {name!r}; it has {', '.join(map(repr, rows.column_names))}. Give "
                "the table that --label_target wrote, or the one that its page gives."
            )
    ids = [str(row_id) for row_id in rows["row_id"]]
    if len(set(ids)) < len(ids):
        twice = sorted({row_id for row_id in ids if ids.count(row_id) > 1})
        raise DataError(f"{path.name} has {some(twice)} more than once. Keep one line of each.")
    labels = ["" if label is None else str(label) for label in rows["label"]]
    return dict(zip(ids, labels, strict=True))


def judge_by_labels(
    head: SourceHead, target: DomainFeatures, labels: Mapping[RowId, int]
) -> LabelledAccuracy:
    """Say how accurate a head is on a data set, by labels of rows that were drawn from it at random.

    Args:
        head: Learned from another data set.
        target: All rows of this one.
        labels: Of the drawn rows.
    """
    logits = head.whole.scores(target.values)
    temperature = fit_temperature(head.out_of_fold, np.asarray(head.features.labels))
    sureness = greatest_probability(logits / temperature)
    places = np.array([place for place, row_id in enumerate(target.row_ids) if row_id in labels])
    given = np.array([labels[target.row_ids[place]] for place in places])
    right = logits[places].argmax(axis=1) == given
    rest = np.delete(sureness, places)
    powered = prediction_powered(right, sureness[places], rest)
    return LabelledAccuracy(
        num_rows=len(right),
        num_right=int(right.sum()),
        accuracy=float(right.mean()),
        exact=exact_interval(int(right.sum()), len(right)),
        powered=powered.accuracy,
        powered_interval=powered.interval,
        weight=powered.weight,
    )
