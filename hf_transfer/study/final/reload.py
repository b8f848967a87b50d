"""Load a saved model as plain libraries do, and compare its outputs with those that it had."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.layers.adapters import merged
from hf_transfer.machine.devices import has_doubles
from hf_transfer.models.base_model import quiet
from hf_transfer.replay.batching import Batches
from hf_transfer.replay.encoding import encode_values
from hf_transfer.runs.final_record import MOST_DIFFERENCE, Reload
from hf_transfer.runs.run_folder import reader_digests
from hf_transfer.study.final.model_folder import task_in
from hf_transfer.tasks.task import Task

if TYPE_CHECKING:
    import torch

    Batch = dict[str, torch.Tensor]

NUM_RELOADED = 4  # rows


def reload_check(task: Task, model: Any, folders: Sequence[Path], values: Sequence[Any]) -> Reload:
    """Compare the saved models with the trained one, or each with what the kit makes of its folder.

    Inputs are encoded once by the task and once by the processor that was saved, so that a tokenizer or a
    picture processor that comes back different shows, as weights and settings do.

    Args:
        task: What the model was trained for.
        model: What was saved; None where it is not in memory, as of the folds' models.
        folders: Where it was saved; of an ensemble one a member.
        values: Some inputs.
    """
    import torch

    some, differences, error = list(values), [0.0], None
    with torch.inference_mode():
        for folder in folders:
            saved = task_in(task, folder)
            own = merged(model if model is not None else saved.build_model()).eval()
            device = next(own.parameters()).device
            batches = _batch(task, some, device), _batch(saved, some, device)
            try:
                differences.append(_largest(task, folder, own, batches))
            except (OSError, ValueError, KeyError, RuntimeError, TypeError) as found:
                error = f"{type(found).__name__}: {str(found).splitlines()[0]}"
    place = folders[0] if len(folders) == 1 else folders[0].parent
    largest = None if error else float(max(differences))
    return Reload(len(some), largest, reader_digests(place), error)


def _largest(task: Task, folder: Path, own: Any, batches: "tuple[Batch, Batch]") -> float:
    """Largest difference between a model and what plain libraries load from its folder.

    One that is above what is allowed is taken again in double precision: libraries add up in another order.
    """
    import torch

    ours, theirs = batches
    wanted = own(**ours).logits
    found = max(_distance(wanted, logits) for logits in _plain(task, folder, theirs, torch.float32))
    if found <= MOST_DIFFERENCE or not has_doubles(wanted.device):
        return found
    wanted = deepcopy(own).double()(**_in_double(ours)).logits
    return max(
        _distance(wanted, logits) for logits in _plain(task, folder, _in_double(theirs), torch.float64)
    )


def _in_double(batch: "Batch") -> "Batch":
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in batch.items()}


def _batch(task: Task, values: Sequence[Any], device: "torch.device") -> "dict[str, torch.Tensor]":
    batches, positions = Batches(task, encode_values(task, values), device), np.arange(len(values))
    if batches.alike is not None:  # the others can't share a batch with the first
        positions = np.flatnonzero(batches.alike == batches.alike[0])
    batch = batches.collate(positions)
    return {name: tensor for name, tensor in batch.items() if name != "labels"}


def _plain(task: Task, folder: Path, batch: "Batch", dtype: "torch.dtype") -> "Iterator[torch.Tensor]":
    """What plain libraries give for a batch: transformers, and timm where it has the architecture."""
    import transformers

    place: Any = {"device": next(iter(batch.values())).device, "dtype": dtype}
    if task.library not in ("transformers", "timm"):
        yield task_in(task, folder).build_model().eval().to(**place)(**batch).logits
        return
    with quiet():
        model = getattr(transformers, task.auto_class).from_pretrained(
            folder, trust_remote_code=task.settings.trust_remote_code
        )
    if task.target.problem_type != model.config.problem_type:
        raise ValueError(f"config.json has problem_type {model.config.problem_type!r}.")
    yield model.eval().to(**place)(**batch).logits
    if task.library == "timm":
        import timm

        (pixels,) = batch.values()
        yield timm.create_model(f"local-dir:{folder}", pretrained=True).eval().to(**place)(pixels)


def _distance(wanted: "torch.Tensor", found: "torch.Tensor") -> float:
    """Largest difference, in units of the largest output where that is above 1."""
    if wanted.shape != found.shape:
        raise ValueError(f"outputs are of shape {tuple(found.shape)}, and were {tuple(wanted.shape)}.")
    wanted, found = wanted.double().cpu(), found.double().cpu()
    return float((wanted - found).abs().max() / wanted.abs().max().clamp(min=1.0))
