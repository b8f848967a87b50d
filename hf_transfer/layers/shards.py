"""Parameters of which each process holds a part, as FSDP2 makes them."""

from collections.abc import Sequence

import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from hf_transfer import _guard  # noqa: F401


def is_shard(tensor: Tensor) -> bool:
    """Whether this process holds only a part of a tensor."""
    return isinstance(tensor, DTensor)


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor: all, unless it is a shard."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; of a shard, every process must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def write(tensor: Tensor, value: Tensor) -> None:
    """Write a whole value into a tensor; into a shard, every process must do so."""
    if isinstance(tensor, DTensor):
        value = distribute_tensor(value.to(tensor.dtype), tensor.device_mesh, tensor.placements)
    tensor.copy_(value)


def joined(digests: Sequence[bytes], tensors: Sequence[Tensor]) -> list[bytes]:
    """Join the digests that all processes have of their parts of some tensors; whole tensors need none."""
    if not any(map(is_shard, tensors)):
        return list(digests)
    gathered: list[Sequence[bytes]] = [()] * dist.get_world_size()
    dist.all_gather_object(gathered, list(digests))
    return [b"".join(parts) for parts in zip(*gathered, strict=True)]
