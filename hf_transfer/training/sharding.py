"""Share one model out over all processes (FSDP2), and put it together again.

References:
    Zhao et al., "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel", VLDB 2023,
    https://arxiv.org/abs/2304.11277; its second version shards every parameter by itself, so that frozen
    and learning ones may share a layer.
"""

from itertools import takewhile

import torch
from accelerate.utils import FullyShardedDataParallelPlugin, fsdp2_prepare_model
from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.layers.groups import layer_groups
from hf_transfer.layers.phases import freeze_for
from hf_transfer.tasks.task import Task
from hf_transfer.training.workers import Workers


def shard(model: nn.Module, workers: Workers) -> None:
    """Share a frozen model out, block by block, where processes keep a part of every parameter each.

    All processes must have built the same model. It may lie in main memory: what goes to the device is a
    block at a time, and what stays there are the shards.
    """
    if not workers.sharded:
        return
    from torch.distributed.fsdp import MixedPrecisionPolicy

    accelerator = workers.accelerator
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


def whole_model(task: Task, model: nn.Module, config: RunConfig, workers: Workers) -> nn.Module | None:
    """Put a sharded model together in main memory of the main process; None on the others.

    All processes must call this. One that is not sharded is given back.
    """
    if not workers.sharded:
        return model
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(model, options=options)
    if workers.rank:
        return None
    plain = task.build_model()
    freeze_for(plain, config)  # which makes the adapters
    nn.Module.load_state_dict(plain, state)  # not by timm's wrapper, which renames
    return plain.eval()
