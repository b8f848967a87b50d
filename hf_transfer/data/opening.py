"""Open a labelled dataset from any storage; imports a reader only if it is needed."""

from dataclasses import replace
from typing import TYPE_CHECKING

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import Kind, RunConfig
from hf_transfer.errors import DataError
from hf_transfer.machine.collection import no_collection

if TYPE_CHECKING:
    from hf_transfer.data.rows import LabelledData


def open_dataset(config: RunConfig, kind: Kind) -> "LabelledData":
    """Open what `config.dataset` names: a local path, builtin:NAME, or a Hub id, in this order.

    Args:
        config: Of which the dataset, its split and its columns are used.
        kind: What a row's input is.

    Raises:
        DataError: If the data cannot be found, read, or used as it is.
    """
    with no_collection():
        from hf_transfer.data.origins import find_origin
        from hf_transfer.data.rows import label_rows
    origin = find_origin(config, kind)
    split = origin.find_split(config.split)
    test_split = origin.find_split(config.test_split) if config.test_split else None
    if test_split == split:
        raise DataError(f"split and test_split are both {split!r}; the test rows must be others.")
    dataset, notes = origin.splits[split]()
    test, test_notes = origin.splits[test_split]() if test_split else (None, ())
    data = label_rows(dataset, config, kind, test=test, origin=origin)
    return replace(data, split=split, notes=(*notes, *test_notes, *data.notes))


def find_kind(config: RunConfig) -> Kind:
    """Find the kind of input of `config.dataset`, trying the most specific kind first.

    Raises:
        DataError: If it opens as none of them, with each one's reason.
    """
    problems = []
    kinds: tuple[Kind, ...] = ("tokens", "image", "text")
    for kind in kinds:
        try:
            open_dataset(replace(config, max_rows=20), kind)
        except DataError as error:
            problems.append(f"as {kind}: {error}")
        else:
            return kind
    raise DataError("The data set opens as no kind of input.\n" + "\n".join(problems))
