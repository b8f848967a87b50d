"""Candidates of a search: choices of layers, each with suitable learning rates."""

from dataclasses import dataclass, replace

from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.config.setting import AUTO
from hf_transfer.errors import ConfigError
from hf_transfer.layers import Freezing, adaptable, layer_groups, peft_installed
from hf_transfer.layers.phases import freeze_for
from hf_transfer.study.defaults import model_facts, settle
from hf_transfer.tasks.task import Task

_AROUND = (1 / 3, 1.0, 3.0)  # the usual rate, and where else it may be better

FIRST_BLOCK, ADAPTERS = "the first block", "the head with adapters"

# What a search decides, whatever the settings say.
SETTLED = (
    *("trainable", "trainables", "layer_decay", "head_start", "head_solver", "schedule"),
    *("learning_rate", "learning_rates", "weight_decay", "weight_decays", "num_epochs", "warmup"),
)


@dataclass(frozen=True)
class Candidate:
    """A choice of layers, with all settings fixed except the learning rate.

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
        """The configuration at one learning rate; 0 stands for none."""
        return replace(self.config, learning_rate=rate) if rate else self.config

    @property
    def passes(self) -> float:
        """Cost of a training, in forward passes over its rows."""
        return self.cost * self.config.num_epochs if self.cost else 0.0


def propose(task: Task, config: RunConfig, num_rows: int) -> tuple[Candidate, ...]:
    """Choices of layers worth trying for a model, from the fewest trained parameters to the most.

    The head alone; adapters beside the attention, where there is some and peft is installed; the top
    quarter and the top half of the blocks (a quarter often gives most of what there is to gain);
    everything, with rates that fall from group to group; and the first block, which is what an unusual
    input asks for. Each learns as the kit would by itself, but for what the settings say, at the rate that
    it would choose and at those around it.

    Args:
        task: Whose base model it is.
        config: Of which everything is taken but what learns and how fast. `learning_rates` replace
            the usual ones.
        num_rows: Rows that a fold learns from.

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
    facts = model_facts(model, pretrained=True, solver=task.target.solvers[0])
    candidates: dict[frozenset[str], Candidate] = {}
    for name, trainable in _choices(model).items():
        settled = settle(_plain(config, trainable), model, facts, num_rows)
        freezing = freeze_for(model, settled)
        size = sum(p.numel() for n, p in model.named_parameters() if n in freezing.trainable)
        candidate = Candidate(
            name,
            settled,
            _rates(config, settled),
            size,
            cost_of(freezing),
            conditional=name == FIRST_BLOCK,
        )
        # Of a model with two blocks, a quarter and a half are the same block.
        candidates.setdefault(freezing.trainable, candidate)
    return tuple(sorted(candidates.values(), key=lambda candidate: candidate.parameters))


def cost_of(freezing: Freezing) -> float:
    """Cost of an epoch in forward passes; a backward pass counts two for the layers it crosses."""
    groups = freezing.groups[:-1]  # the head costs next to nothing
    # An adapter has a gradient pass through its block, and needs none of the block's own weights.
    learning = [len(freezing.trainable & set(group.parameters)) / len(group.parameters) for group in groups]
    if not any(learning):
        return 0.0
    above = len(groups) - next(place for place, share in enumerate(learning) if share)
    # Forward, and the gradient of what passes through, from the lowest that learns; and of its weights.
    return (2 * above + sum(learning)) / len(groups)


def _plain(config: RunConfig, trainable: str) -> RunConfig:
    """Settings of one choice of layers, without those that the search determines."""
    lists = {"trainables": (), "learning_rates": (), "weight_decays": ()}
    found = {"learning_rate": AUTO, "layer_decay": AUTO, "head_start": AUTO, "head_solver": "gradient"}
    if trainable == "head" and not config.learning_rates:  # in closed form, where that can be
        found |= {"head_solver": AUTO, "num_epochs": AUTO, "warmup": AUTO}
    return config.changed(lists | found | {"schedule": "constant", "trainable": trainable})


def _choices(model: nn.Module) -> dict[str, str]:
    """Choices of layers by readable names."""
    names = [group.name for group in layer_groups(model)]
    choices = {
        "the head": "head",
        "the top quarter": "last:25%",
        "the top half": "last:50%",
        "everything": "all",
        FIRST_BLOCK: ",".join([*names[:2], names[-1]]),
    }
    if adaptable(model) and peft_installed():
        choices[ADAPTERS] = "head+lora"  # the last, as it puts them into the model
    return choices


def _rates(config: RunConfig, candidate: RunConfig) -> tuple[float, ...]:
    """Rates to try: the given ones, or the usual one and its neighbours; 0 for a closed-form head."""
    if candidate.solved:
        return (0.0,)
    return config.learning_rates or tuple(float(f"{candidate.learning_rate * f:.2g}") for f in _AROUND)
