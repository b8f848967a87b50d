"""Open a labelled data set, whatever its storage, as rows that all tasks read in one way."""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.data.rows import LabelledData, find_kind, label_rows, open_dataset

__all__ = ["LabelledData", "find_kind", "label_rows", "open_dataset"]
