"""Export a run's final model to ONNX, and check that it gives the same logits."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, RunError
from hf_transfer.machine.files import new_folder
from hf_transfer.machine.paths import refuse_folders_elsewhere
from hf_transfer.runs.hub.files import ONNX_FOLDER
from hf_transfer.study.final.model_folder import task_in
from hf_transfer.study.final.trained import TrainedModel

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hf_transfer.tasks.task import Task

MOST_DIFFERENCE = 1e-4  # between logits of the two, of the largest where that is above 1
_ROWS = (2, 7)  # of the batch that is traced, and of one that is only checked


def export_onnx(run: str | Path, *, trust_remote_code: bool = False) -> Path:
    """Write the final model to `onnx/` in the run's folder, with its processor; give the path of model.onnx.

    The folder appears only once ONNX Runtime has given the logits of the model itself, for batches of other
    sizes and lengths than the one that was traced.

    Args:
        run: A finished run's folder with its final model.
        trust_remote_code: Run code that lies in the model's folder.

    Raises:
        ConfigError: If the extra `export` is not installed, or the final model is an ensemble.
        RunError: If the model cannot be exported, or its logits differ by more than 1e-4.
    """
    model = TrainedModel.open(run, trust_remote_code=trust_remote_code)
    _require()
    refuse_folders_elsewhere(model.run)
    if len(model.members) > 1:
        raise ConfigError(
            f"{run} published an ensemble, which is several models. Export one of --final refit."
        )
    task = task_in(model.task, model.members[0])
    network = _eager(task.build_model()).eval()
    batches = [_batch(task, number) for number in _ROWS]
    folder = model.run / ONNX_FOLDER
    with new_folder(folder) as beside, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, of its age and of what it cannot see
        _trace(network, batches[0], beside / "model.onnx")
        _check(network, batches, beside / "model.onnx")
        network.config.save_pretrained(beside)
        task.save_processor(beside)
    return folder / "model.onnx"


def _require() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"An export needs {error.name}, which is not installed: pip install 'hf-transfer-kit[export]'."
        ) from error


def _eager(network: Any) -> Any:
    """The network with plain attention, as the exporter cannot follow how a fused one treats padding.

    Nor does it follow what a decoder keeps for texts that it would write.
    """
    if getattr(network.config, "use_cache", False):
        network.config.use_cache = False
    if hasattr(network, "set_attn_implementation"):
        network.set_attn_implementation("eager")
    return network


def _batch(task: "Task", number: int) -> "dict[str, Tensor]":
    """A batch of built-in inputs of the task's kind."""
    import torch

    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.data import builtin
    from hf_transfer.data.opening import open_dataset
    from hf_transfer.replay.batching import Batches
    from hf_transfer.replay.encoding import encode_values

    name = builtin.names(task.input.name)[0]
    rows = open_dataset(RunConfig(dataset=name, max_rows=number, seed=number), task.input.name).rows
    batches = Batches(task, encode_values(task, rows["input"][:]), torch.device("cpu"))
    alike = max(batches.stackable(np.arange(number)), key=len)  # sounds of some models must not be padded
    batch = batches.collate(np.resize(alike, number))
    return {key: tensor for key, tensor in batch.items() if key != "labels"}


def _trace(network: "nn.Module", batch: "dict[str, Tensor]", path: Path) -> None:
    import torch

    with torch.inference_mode():
        logits = network(**batch).logits
    axes = {
        name: {0: "batch"} | ({1: "length"} if tensor.ndim == 2 else {}) for name, tensor in batch.items()
    }
    axes["logits"] = {0: "batch"} | ({1: "length"} if logits.ndim > 2 else {})
    try:
        torch.onnx.export(
            _by_place(network, list(batch)),
            tuple(batch.values()),
            path,
            input_names=list(batch),
            output_names=["logits"],
            dynamic_axes=axes,
            dynamo=False,  # the newer exporter cannot read the masks of transformers
        )
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{type(network).__name__} cannot be exported to ONNX: {str(error).splitlines()[0]}. Nothing was "
            "written."
        ) from error


def _by_place(network: "nn.Module", names: Sequence[str]) -> "nn.Module":
    """The network as one that takes its inputs in this order: the exporter passes some names by."""
    from torch import nn

    class ByPlace(nn.Module):
        """Gives logits alone."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *inputs: "Tensor") -> Any:
            """Compute logits."""
            return self.network(**dict(zip(names, inputs, strict=True))).logits

    return ByPlace().eval()  # the exporter puts it back as it was, dropout too


def _check(network: "nn.Module", batches: "list[dict[str, Tensor]]", path: Path) -> None:
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    known = {one.name for one in session.get_inputs()}
    for batch in batches:
        inputs = {name: tensor.numpy() for name, tensor in batch.items() if name in known}
        (found,) = session.run(["logits"], inputs)
        with torch.inference_mode():
            wanted = network(**batch).logits.numpy()
        difference = float(np.abs(found - wanted).max())
        allowed = MOST_DIFFERENCE * max(1.0, float(np.abs(wanted).max()))  # numbers may be in thousands
        if not difference <= allowed:
            raise RunError(
                f"The logits of the exported model differ by {difference:.2g} from its own; at most "
                f"{allowed:.2g} is allowed. Nothing was written."
            )
