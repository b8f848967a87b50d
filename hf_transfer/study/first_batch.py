"""One forward pass of a batch of this data through this model, before anything is trained."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ModelError, TransferError
from hf_transfer.machine.memory import attempt, is_out_of_memory
from hf_transfer.models.base_model import first_line
from hf_transfer.replay.batching import as_rows
from hf_transfer.tasks.task import Task

if TYPE_CHECKING:
    from datasets import Dataset


def first_batch(task: Task, rows: "Dataset") -> dict[str, Tensor]:
    """Make a batch of the first row and the longest, without labels.

    Raises:
        ModelError: If the model's tokenizer or image processor cannot read them.
    """
    with _told(task):
        chosen = sorted({0, _longest(rows)})
        encoded = task.encode(rows[chosen], range(len(chosen)))
        batch = task.transform(task.collate(as_rows(encoded)[:2]))
    return {name: tensor for name, tensor in batch.items() if name != "labels"}


def check_first_batch(
    task: Task, model: nn.Module, batch: Mapping[str, Tensor], device: torch.device
) -> None:
    """Let a model read its first batch; it is moved to the device and put into eval mode.

    Raises:
        ModelError: If it cannot, or has another number of outputs than there are labels.
        ShortOfMemoryError: If not even that fits on the device.
    """

    def read() -> int:
        model.to(device).eval()  # outside of inference mode, or what is moved could never learn
        inputs = {name: tensor.to(device) for name, tensor in batch.items()}
        with torch.inference_mode():
            return int(model(**inputs).logits.shape[-1])

    with _told(task):
        width = attempt(read, "at a first batch of this data")
    if width != len(task.label_names):
        raise ModelError(
            f"base_model={task.base.name!r} gives {width} numbers for {len(task.label_names)} labels: its "
            "classifier is made for answers of its own. Take another model."
        )


@contextmanager
def _told(task: Task) -> Iterator[None]:
    """Turn whatever a library raises at a batch that it cannot read into one line."""
    try:
        yield
    except TransferError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"base_model={task.base.name!r} cannot read a first batch of this data: {first_line(error)} Its "
            f"configuration and its tokenizer or image processor must be of one model, and for "
            f"{task.input.nouns}: save matching ones together, or take another model."
        ) from error


def _longest(rows: "Dataset") -> int:
    """Position of the longest text or sentence; 0 for pictures."""
    inputs = rows.select_columns(["input"]).with_format("arrow")[:].column("input")
    if pa.types.is_string(inputs.type) or pa.types.is_large_string(inputs.type):
        lengths = pc.utf8_length(inputs)
    elif pa.types.is_struct(inputs.type) and inputs.type.get_field_index("bytes") < 0:  # not a picture's
        texts = [one for one in inputs.flatten() if pa.types.is_string(one.type)]
        lengths = reduce(pc.add, map(pc.utf8_length, texts))
    elif pa.types.is_list(inputs.type):
        lengths = pc.list_value_length(inputs)
    else:
        return 0
    return int(pc.index(lengths, pc.max(lengths)).as_py())
