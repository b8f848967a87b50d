"""The rows behind a run's predictions, as far as the data set can still be opened."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import Kind
from hf_transfer.errors import DataError, TransferError
from hf_transfer.runs.records import Results

_KINDS: dict[str, Kind] = {"image-classification": "image", "text-classification": "text"}
_PIXELS = 176  # the longer side of a thumbnail: twice what it is shown at, for dense screens
_LETTERS = 400  # of a text


@dataclass(frozen=True)
class Original:
    """What stood in one row: a text, or a picture as a data: URI."""

    text: str | None = None
    picture: str | None = None


@dataclass(frozen=True)
class Originals:
    """What stood in some rows, by their ids; and why there is nothing, if so."""

    rows: Mapping[Any, Original] = field(default_factory=dict)
    reason: str | None = None


def find_originals(results: Results, row_ids: Sequence[Any]) -> Originals:
    """Open a run's data set again for a few of its rows; what cannot be opened is told, not raised.

    Args:
        results: What results.json holds.
        row_ids: Which rows.
    """
    kind = _KINDS.get(results.task)
    if kind is None or not row_ids:
        return Originals()
    from hf_transfer.data.opening import open_dataset  # here, as `datasets` is slow to import

    try:
        data = open_dataset(results.config, kind)
    except TransferError as error:
        return Originals(reason=f"The data set cannot be opened here: {' '.join(str(error).split())}")
    if data.fingerprint != results.dataset.fingerprint:
        return Originals(reason="The data set has changed since the run, so its rows are not shown.")
    wanted = set(row_ids)
    places = {row_id: place for place, row_id in enumerate(data.rows["row_id"]) if row_id in wanted}
    inputs = zip(places, data.rows.select(list(places.values()))["input"], strict=True)
    return Originals({row_id: _original(content, kind) for row_id, content in inputs})


def _original(content: Any, kind: Kind) -> Original:
    if kind == "text":
        text: str = content
        return Original(text=text if len(text) <= _LETTERS else f"{text[:_LETTERS]}…")
    return Original(picture=_thumbnail(content))


def _thumbnail(content: Any) -> str | None:
    """Shrink a picture and make it a data: URI; None for one that cannot be read."""
    from hf_transfer.tasks.inputs.pictures import read_picture

    try:
        image = read_picture(content)
    except DataError:
        return None
    image.thumbnail((_PIXELS, _PIXELS))
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
