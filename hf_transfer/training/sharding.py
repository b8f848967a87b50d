"""Share one model out over all processes (FSDP2), keep its shards in checkpoints, and put it together again.

References:
    Zhao et al., "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel", VLDB 2023,
    https://arxiv.org/abs/2304.11277; its second version shards every parameter by itself, so that frozen
    and learning ones may share a layer.
"""

import shutil
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import FullyShardedDataParallelPlugin, fsdp2_prepare_model
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.layers.groups import layer_groups
from hf_transfer.layers.phases import freeze_for
from hf_transfer.machine.processes import wait_for_all
from hf_transfer.tasks.task import Task


def shard(model: nn.Module, accelerator: Accelerator) -> None:
    """Share a frozen model out, block by block, each process keeping its part of every parameter.

    All processes must have built the same model. It may lie in main memory: what goes to the device is a
    block at a time, and what stays there are the shards.
    """
    bf16 = accelerator.mixed_precision == "bf16"
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, torch.float32) if bf16 else None
    # Set by hand, as Accelerate takes a plan for GPUs only, and tests run on processors.
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        reshard_after_forward=True,
        cpu_ram_efficient_loading=False,
        mixed_precision_policy=policy,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=_block_classes(model),
    )
    model.to(memory_format=torch.contiguous_format)
    fsdp2_prepare_model(accelerator, model)


def _block_classes(model: nn.Module) -> list[str]:
    """Class names of the modules that hold a block each, by which FSDP2 gathers and lets go."""
    holders = []
    for group in layer_groups(model)[1:-1]:
        above = [name.split(".")[:-1] for name in group.modules]
        shared = takewhile(lambda parts: len(set(parts)) == 1, zip(*above, strict=False))
        holders.append(model.get_submodule(".".join(parts[0] for parts in shared)))
    no_layers = (nn.ModuleList, nn.ModuleDict)  # which cannot be run
    return list(
        dict.fromkeys(
            type(one).__name__ for one in holders if one is not model and type(one) not in no_layers
        )
    )


def reshard(model: nn.Module) -> None:
    """Let go of what a pass without training has gathered.

    The outermost layers stay whole after a forward pass, for the backward pass that follows. Without one
    they would not be shards any more when an optimizer or a digest looks at them.
    """
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole_model(
    task: Task, model: nn.Module, config: RunConfig, accelerator: Accelerator
) -> nn.Module | None:
    """Put a sharded model together in main memory of the main process; None on the others.

    All processes must call this.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(model, options=options)
    if not accelerator.is_main_process:
        return None
    plain = task.build_model()
    freeze_for(plain, config)  # which makes the adapters
    nn.Module.load_state_dict(plain, state)  # not by timm's wrapper, which renames
    return plain.eval()


def write_shards(folder: Path, tensors: Mapping[str, Tensor], accelerator: Accelerator) -> None:
    """Write each process's shards into a new folder, as safetensors; all processes must call this."""
    if accelerator.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    wait_for_all(accelerator)
    save(dict(tensors), storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
    wait_for_all(accelerator)


def read_shards(folder: Path, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read shards laid out like some others; all processes must call this."""
    found: dict[str, Any] = {name: torch.empty_like(tensor.detach()) for name, tensor in like.items()}
    if found:
        load(found, storage_reader=HuggingFaceStorageReader(str(folder)))
    return cast(dict[str, Tensor], found)
