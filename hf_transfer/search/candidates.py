"""What a search tries: choices of layers, each with the learning rates that suit it."""

from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config import RunConfig
from hf_transfer.errors import ConfigError, LayerSelectionError
from hf_transfer.layers import Freezing, adaptable, layer_groups, peft_installed
from hf_transfer.layers.selection import is_norm
from hf_transfer.schedule import freeze_for, output_layer
from hf_transfer.tasks.base import Task

# Three apart, where the papers of these families look; of AdamW, as that is what is used.
HEAD_RATES = (1e-4, 3e-4, 1e-3, 3e-3)  # from where it was solved
TRANSFORMER_RATES = (1e-5, 3e-5, 1e-4, 3e-4)
CONVOLUTIONAL_RATES = (1e-4, 3e-4, 1e-3, 3e-3)
ADAPTER_RATES = (1e-4, 3e-4, 1e-3, 3e-3)

# Rate factor from group to group downwards when everything learns.
DECAYS = {"text": 0.9, "tokens": 0.9, "image": 0.75, "convolutional": 1.0}


FIRST_BLOCK, ADAPTERS = "the first block", "the head with adapters"

# What a search decides, whatever the settings say.
SETTLED = (
    *("trainable", "trainables", "layer_decay", "head_start", "head_solver", "schedule"),
    *("learning_rate", "learning_rates", "weight_decays"),
)


@dataclass(frozen=True)
class Candidate:
    """A choice of layers, with everything but the learning rate settled.

    Attributes:
        name: In words.
        config: How it learns.
        rates: Peak learning rates to try.
        parameters: Number of parameters that learn.
        cost: Of an epoch, in forward passes over its rows: what is frozen below comes from the store.
        conditional: Tried only where the lowest layers have something to gain.
    """

    name: str
    config: RunConfig
    rates: tuple[float, ...]
    parameters: int
    cost: float
    conditional: bool = False

    def at(self, rate: float) -> RunConfig:
        """The configuration at one learning rate."""
        return replace(self.config, learning_rate=rate)


def propose(task: Task, config: RunConfig) -> tuple[Candidate, ...]:
    """The choices of layers worth trying for a model, from the fewest trained parameters to the most.

    The head alone; adapters beside the attention, where there is some and peft is installed; the top
    quarter and the top half of the blocks (a quarter often gives most of what there is to gain);
    everything, with rates that fall from group to group; and the first block, which is what an unusual
    input asks for. They start from the solved head, where it stays a solution as training begins.

    Args:
        task: Whose base model it is.
        config: Of which everything is taken but what learns and how fast. `learning_rates` replace
            the usual ones.

    Raises:
        ConfigError: If there is nothing pretrained to choose layers of.

    References:
        Lee, Tang and Lin, 2019, https://arxiv.org/abs/1911.03090: a fourth of the layers. Lee et al.,
        "Surgical Fine-Tuning", ICLR 2023, https://arxiv.org/abs/2210.11466: the first block. Hu et al.,
        "LoRA", ICLR 2022, https://arxiv.org/abs/2106.09685: the adapters.
    """
    if config.from_scratch or not task.base.has_weights:
        raise ConfigError(
            f"search chooses which pretrained layers to keep, and {config.base_model!r} has no pretrained "
            "weights here. Give a base model that has, or leave from_scratch out."
        )
    model = task.build_model()
    found: dict[frozenset[str], Candidate] = {}
    for name, settings in _choices(model, task.kind).items():
        wanted = _plain(config).changed(settings)
        freezing = freeze_for(model, wanted)
        head_only = freezing.trainable <= set(freezing.groups[-1].parameters)
        wanted = replace(wanted, head_start=_start(model, head_only))
        size = sum(p.numel() for n, p in model.named_parameters() if n in freezing.trainable)
        candidate = Candidate(
            name,
            wanted,
            config.learning_rates or (HEAD_RATES if head_only else _rates(name, model)),
            size,
            cost_of(freezing),
            conditional=name == FIRST_BLOCK,
        )
        # Of a model with two blocks, a quarter and a half are the same block.
        found.setdefault(freezing.trainable, candidate)
    return tuple(sorted(found.values(), key=lambda candidate: candidate.parameters))


def cost_of(freezing: Freezing) -> float:
    """What an epoch costs, in forward passes: a backward pass counts two, for what it has to go through."""
    groups = freezing.groups[:-1]  # the head costs next to nothing
    # An adapter has a gradient pass through its block, and needs none of the block's own weights.
    learning = [len(freezing.trainable & set(group.parameters)) / len(group.parameters) for group in groups]
    if not any(learning):
        return 0.0
    above = len(groups) - next(place for place, share in enumerate(learning) if share)
    # Forward, and the gradient of what passes through, from the lowest that learns; and of its weights.
    return (2 * above + sum(learning)) / len(groups)


def convolutional(model: nn.Module) -> bool:
    """Whether a model has no attention."""
    return not any("attention" in type(module).__name__.lower() for module in model.modules())


def _plain(config: RunConfig) -> RunConfig:
    lists = {"trainables": (), "learning_rates": (), "weight_decays": ()}
    return config.changed(lists | {"schedule": "constant", "head_solver": "gradient"})


def _choices(model: nn.Module, kind: str) -> dict[str, dict[str, Any]]:
    names = [group.name for group in layer_groups(model)]
    decay = DECAYS["convolutional" if convolutional(model) else kind]
    choices: dict[str, dict[str, Any]] = {
        "the head": {"trainable": "head"},
        "the top quarter": {"trainable": "last:25%"},
        "the top half": {"trainable": "last:50%"},
        "everything": {"trainable": "all", "layer_decay": decay},
        FIRST_BLOCK: {"trainable": ",".join([*names[:2], names[-1]])},
    }
    if adaptable(model) and peft_installed():
        choices[ADAPTERS] = {"trainable": "head+lora"}  # the last, as it puts them into the model
    return choices


def _rates(name: str, model: nn.Module) -> tuple[float, ...]:
    if name == ADAPTERS:
        return ADAPTER_RATES
    return CONVOLUTIONAL_RATES if convolutional(model) else TRANSFORMER_RATES


def _start(model: nn.Module, head_only: bool) -> str:
    """The solved output layer, where what it was solved on does not change under it at once; else random.

    It does where BatchNorm turns from stored to batch statistics, and where a head has other layers (a
    pooler, say): their output may hardly differ from row to row, so that the solved weights are huge.
    """
    try:
        name, _ = output_layer(model)
    except LayerSelectionError:
        return "random"
    others = [other for other in layer_groups(model)[-1].parameters if not other.startswith(f"{name}.")]
    alone = all(is_norm(model.get_submodule(other.rpartition(".")[0])) for other in others)
    still = head_only or not any(isinstance(module, _BatchNorm) for module in model.modules())
    return "probe" if alone and still else "random"
