"""Choose the settings that are left to the kit, from other settings, the model's kind, and counts.

No row is looked at, so that nothing leaks: the same numbers would be chosen for any rows. How they were
found, and what they lose against a grid under the same folds, stands in `benchmarks/README.md`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.config.setting import is_auto
from hf_transfer.errors import LayerSelectionError
from hf_transfer.layers import layer_groups
from hf_transfer.layers.adapters import adapter_rank
from hf_transfer.layers.output import output_layer
from hf_transfer.layers.phases import freeze_for
from hf_transfer.layers.spec import is_norm

_USUAL_BATCH = 32  # rows, for which the rates below hold

# Peak rates of AdamW.
_HEAD_RATE = 1e-2  # of a linear layer on features
_DEEP_HEAD_RATE = 3e-3  # of a head with layers of its own, such as BERT's pooler
_ADAPTER_RATE = 1e-3
_CONVOLUTIONAL_RATE = 1.5e-3
_CONVOLUTIONAL_RATE_FROM_SCRATCH = 3e-3
_TRANSFORMER_RATE, _TRANSFORMER_WIDTH, _SMALLER_BY_WIDTH = 3e-4, 384, 2.0
_HIGHEST_TRANSFORMER_RATE, _HIGHEST_OF_ALL_LAYERS = 1e-3, 4e-4
_TOP_TO_ALL = 3.0  # rate of a few upper layers beside that of all: less is torn apart
_SGD_TO_ADAMW = 30.0  # a rate of SGD with momentum beside one of AdamW that does as well

# Updates that a training needs, whatever the number of rows; and the fewest and most passes that give them.
_UPDATES = {"head": 300, "top": 200, "all": 200, "scratch": 400}
_PASSES = {"head": (5, 40), "top": (3, 30), "all": (3, 30), "scratch": (5, 30)}

REPEATS_WHERE_CHEAP = 3
_FEW_ROWS, _SMALL_MODEL = 1_000, 1_000_000  # of which every repeat takes seconds
_FEW_ROWS_FOR_A_HEAD = 5_000

# Settings that only gradient steps have: who gives one of them wants these.
# A head in closed form leaves them open.
_OF_GRADIENTS = ("learning_rate", "num_epochs", "warmup", "layer_decay", "head_start")


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a model that defaults depend on.

    Attributes:
        convolutional: It has no attention.
        width: Numbers that enter its output layer; None where that is no linear layer with a bias.
        plain_head: Its head is that output layer alone, but for normalisation.
        parameters: Number of its parameters.
        pretrained: It has weights that were learned before.
        solver: How its head is solved in closed form for the labels at hand.
    """

    convolutional: bool
    width: int | None
    plain_head: bool
    parameters: int
    pretrained: bool
    solver: str = "lbfgs"


def model_facts(model: nn.Module, *, pretrained: bool, solver: str = "lbfgs") -> ModelFacts:
    """Describe a model for `settle`."""
    width, plain = None, False
    try:
        name, layer = output_layer(model)
        others = [one for one in layer_groups(model)[-1].parameters if not one.startswith(f"{name}.")]
        width = layer.in_features
        plain = all(is_norm(model.get_submodule(one.rpartition(".")[0])) for one in others)
    except LayerSelectionError:
        pass
    return ModelFacts(
        convolutional=convolutional(model),
        width=width,
        plain_head=plain,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        pretrained=pretrained,
        solver=solver,
    )


def convolutional(model: nn.Module) -> bool:
    """Whether a model is without attention."""
    return not any("attention" in type(module).__name__.lower() for module in model.modules())


def settle(config: RunConfig, model: nn.Module, facts: ModelFacts, num_rows: int) -> RunConfig:
    """Replace every `auto` of a configuration; given values stay.

    Args:
        config: One configuration, without lists.
        model: Which it will train; it is frozen as the configuration says.
        facts: Of the model.
        num_rows: Rows that a fold learns from.

    References:
        Mosbach et al., "On the Stability of Fine-tuning BERT", ICLR 2021, https://arxiv.org/abs/2006.04884,
        and Zhang et al., "Revisiting Few-sample BERT Fine-tuning", ICLR 2021,
        https://arxiv.org/abs/2006.05987: few rows need more passes. Malladi et al., NeurIPS 2022,
        https://arxiv.org/abs/2205.10287: the rate goes with the square root of the batch.
    """
    if is_auto(config.head_solver):
        config = replace(config, head_solver=facts.solver if _solved(config, facts) else "gradient")
    if config.solved:
        return config  # its penalty is chosen within each fold
    learns = what_learns(model, config, facts)
    chosen: dict[str, Any] = {
        "learning_rate": _rate(config, facts, learns),
        "num_epochs": _epochs(config, learns, num_rows),
        "warmup": 0.1,
        "weight_decay": 0.01,
        # Of what was tried on few rows, one rate for all layers and a head from random weights lost least.
        "layer_decay": 1.0,
        "head_start": "probe" if config.wise else "random",
    }
    return replace(config, **{name: chosen[name] for name in chosen if is_auto(getattr(config, name))})


def in_common(config: RunConfig, settled: Sequence[RunConfig]) -> RunConfig:
    """Set the defaults that all configurations of a grid share."""
    names = (f.name for f in fields(RunConfig) if is_auto(getattr(config, f.name)))
    values = {name: {getattr(one, name) for one in settled} for name in names}
    return replace(config, **{name: found.pop() for name, found in values.items() if len(found) == 1})


def settled_words(before: RunConfig, after: RunConfig, num_rows: int) -> str | None:
    """Describe the chosen defaults, and the reasons; None if nothing was left to the kit.

    What is the same for all models and rows is not named: `--help` tells it.
    """
    shown = ["head_solver"] if after.solved else ["learning_rate", "num_epochs"]
    chosen = [name for name in shown if is_auto(getattr(before, name)) and not is_auto(getattr(after, name))]
    if not chosen:
        return None
    named = ", ".join(f"{name} {_value(getattr(after, name))}" for name in chosen)
    what = "random weights" if after.from_scratch else f"trainable={after.trainable}"
    makes = "" if after.solved else f" ({_updates(after, num_rows):,} updates of {after.batch_size})"
    return (
        f"Chosen for {what}, this kind of model and {num_rows:,} training rows: {named}{makes}. "
        "What you give yourself is kept."
    )


def _updates(config: RunConfig, num_rows: int) -> int:
    return config.num_epochs * math.ceil(num_rows / config.batch_size)


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def what_learns(model: nn.Module, config: RunConfig, facts: ModelFacts) -> str:
    """What a configuration trains: `scratch`, `head`, `adapters`, `top` or `all`."""
    if config.from_scratch or not facts.pretrained:
        return "scratch"
    if adapter_rank(config.trainable):
        return "adapters"
    freezing = freeze_for(model, config)
    if freezing.trainable <= set(freezing.groups[-1].parameters):
        return "head"
    lowest = next(group for group in freezing.groups if freezing.trainable & set(group.parameters))
    return "all" if lowest in freezing.groups[:2] else "top"


def num_repeats(config: RunConfig, facts: ModelFacts, num_rows: int) -> int:
    """Number of repeats, if left to the kit: more where they cost little."""
    if not is_auto(config.num_repeats):
        return config.num_repeats
    if len(config.grid()) > 1 or config.scheme in _ONE_SPLIT or config.time_by or config.fold_column:
        return 1
    few = _FEW_ROWS_FOR_A_HEAD if config.trainable == "head" and _stored(config) else _FEW_ROWS
    cheap = (config.trainable == "head" and _stored(config)) or facts.parameters <= _SMALL_MODEL
    return REPEATS_WHERE_CHEAP if cheap and num_rows <= few else 1


_ONE_SPLIT = ("time", "walk-forward", "predefined")  # which another seed would not change


def _stored(config: RunConfig) -> bool:
    """Whether the output of frozen layers can be computed once for all folds."""
    return config.replay and config.augmentation == "none" and not config.from_scratch


def _solved(config: RunConfig, facts: ModelFacts) -> bool:
    """Whether to solve the head in closed form: it alone is trained, and no setting needs gradients."""
    return (
        config.trainable == "head"
        and config.parallel != "fsdp"
        and facts.width is not None
        and facts.plain_head  # other layers of a head may be new, and would stay at random
        and facts.pretrained
        and not config.from_scratch
        and all(is_auto(getattr(config, name)) for name in _OF_GRADIENTS)
        and not (config.early_stopping or config.label_smoothing or config.reinit_top)
        and config.number_loss == "mse"
        and config.augmentation == "none"
        and config.optimizer == "adamw"
    )


def _rate(config: RunConfig, facts: ModelFacts, learns: str) -> float:
    rate = _usual_rate(facts, learns)
    share = config.batch_size / _USUAL_BATCH
    rate *= _SGD_TO_ADAMW * share if config.optimizer == "sgd" else math.sqrt(share)
    return float(f"{rate:.2g}")


def _usual_rate(facts: ModelFacts, learns: str) -> float:
    """Usual peak learning rate of AdamW at the usual batch size."""
    if learns == "head":
        return _HEAD_RATE if facts.plain_head else _DEEP_HEAD_RATE
    if learns == "adapters":
        return _ADAPTER_RATE
    if facts.convolutional:
        return _CONVOLUTIONAL_RATE_FROM_SCRATCH if learns == "scratch" else _CONVOLUTIONAL_RATE
    narrower = _TRANSFORMER_WIDTH / (facts.width or 2 * _TRANSFORMER_WIDTH)
    rate = _TRANSFORMER_RATE * narrower**_SMALLER_BY_WIDTH * (_TOP_TO_ALL if learns == "top" else 1.0)
    highest = _HIGHEST_OF_ALL_LAYERS if learns == "all" else _HIGHEST_TRANSFORMER_RATE
    return float(min(highest, rate))


def _epochs(config: RunConfig, learns: str, num_rows: int) -> int:
    """Number of epochs that gives enough updates."""
    budget = "top" if learns == "adapters" else learns
    fewest, most = _PASSES[budget]
    updates = math.ceil(num_rows / config.batch_size)
    return min(most, max(fewest, math.ceil(_UPDATES[budget] / updates)))
