"""Parameters of which each process holds a part, as FSDP2 makes them: read, written, hashed, stored.

They are known by what they can do, as what makes them takes long to import, and few runs need it.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.processes import wait_for_all

if TYPE_CHECKING:
    from accelerate import Accelerator


def is_shard(tensor: Tensor) -> bool:
    """Whether this process holds only a part of a tensor."""
    return hasattr(tensor, "full_tensor")


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor: all, unless it is a shard."""
    shard: Any = tensor
    return cast(Tensor, shard.to_local()) if is_shard(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; of a shard, every process must ask for it."""
    shard: Any = tensor
    return cast(Tensor, shard.full_tensor()) if is_shard(tensor) else tensor


def write(tensor: Tensor, value: Tensor) -> None:
    """Write a whole value into a tensor; into a shard, every process must do so."""
    if is_shard(tensor):
        from torch.distributed.tensor import distribute_tensor

        shard: Any = tensor
        value = distribute_tensor(value.to(tensor.dtype), shard.device_mesh, shard.placements)
    tensor.copy_(value)


def joined(digests: Sequence[bytes], tensors: Sequence[Tensor]) -> list[bytes]:
    """Join the digests that all processes have of their parts of some tensors; whole tensors need none."""
    if not any(map(is_shard, tensors)):
        return list(digests)
    gathered: list[Sequence[bytes]] = [()] * dist.get_world_size()
    dist.all_gather_object(gathered, list(digests))
    return [b"".join(parts) for parts in zip(*gathered, strict=True)]


def reshard(model: nn.Module) -> None:
    """Let go of what a pass without training has gathered.

    The outermost layers stay whole after a forward pass, for the backward pass that follows. Without one
    they would not be shards any more when an optimizer or a digest looks at them.
    """
    for module in model.modules():
        let_go: Any = getattr(module, "reshard", None)
        if let_go is not None:
            let_go()


def write_shards(folder: Path, tensors: Mapping[str, Tensor], accelerator: "Accelerator") -> None:
    """Write each process's shards into a new folder, as safetensors; all processes must call this."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    if accelerator.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    wait_for_all(accelerator)
    save(dict(tensors), storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
    wait_for_all(accelerator)


def read_shards(folder: Path, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read shards laid out like some others; all processes must call this."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    found: dict[str, Any] = {name: torch.empty_like(tensor.detach()) for name, tensor in like.items()}
    if found:
        load(found, storage_reader=HuggingFaceStorageReader(str(folder)))
    return cast(dict[str, Tensor], found)
