"""The model that all heads share, and the start and result of each head."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.folds.order import derive_seed
from hf_transfer.layers.freezing import Freezing, frozen_hash, parameter_groups
from hf_transfer.layers.phases import freeze_for
from hf_transfer.replay.batching import Positions
from hf_transfer.replay.replayed_batches import ReplayedBatches
from hf_transfer.scores.regression import Split
from hf_transfer.training.column_scale import ColumnScale
from hf_transfer.training.heads.optimizer import State
from hf_transfer.training.job import Epoch, Fitted
from hf_transfer.training.scale import fold_scale
from hf_transfer.training.start import fresh_model, start_hash

if TYPE_CHECKING:
    from hf_transfer.replay.replayed import Replay


@dataclass(frozen=True)
class Rows:
    """A fold's rows: to learn from, to stop by, and to choose a penalty by; and its seed."""

    seed: int
    train: Positions
    inner: Positions | None = None
    splits: Sequence[Split] = ()


@dataclass
class Head:
    """A trained head: its weights, and the record of its training."""

    state: State
    history: list[Epoch]
    best_epoch: int
    hash_before: str | None
    start_hash: str | None
    scale: Tensor | None = None
    columns: ColumnScale | None = None


@dataclass(frozen=True)
class Start:
    """A fold's start: the weights above the cut, the RNG state, and digests.

    The first digest is of the frozen part, the second of the whole where the folds share their start.
    """

    state: State
    generator: Tensor
    frozen_hash: str | None
    whole_hash: str | None


class Template:
    """One model that takes on the weights of each head in turn."""

    def __init__(self, replay: "Replay", config: RunConfig) -> None:
        self.replay, self.config = replay, config
        self.device = replay.accelerator.device
        self.model, self.freezing, _ = self.fresh(derive_seed(config.seed, "template"))
        self.batches = replay.batches(self.model, self.freezing)
        self.learner = self.batches.learner(self.model)
        self.starts: dict[int, Start] = {}

    @property
    def shared(self) -> bool:
        """Whether only a head is trained, and on stored features alone."""
        if not isinstance(self.batches, ReplayedBatches) or not self.batches.cut.chain:
            return False  # or what is frozen has new weights in each fold, and so others than were stored
        statistics = any(
            name.rpartition(".")[0] in self.freezing.moving and buffer.is_floating_point()
            for name, buffer in self.model.named_buffers()
        )
        known = all(
            "drop" not in type(module).__name__.lower()
            or type(module) in (nn.Dropout, nn.Identity)
            or not _rate(module)
            for module in self.learner.modules()
        )
        return (
            self.freezing.trainable <= set(self.freezing.groups[-1].parameters) and not statistics and known
        )

    @property
    def by_token(self) -> bool:
        """Whether stored features have a dimension for tokens."""
        return cast(ReplayedBatches, self.batches).cut.shape.by_token

    @cached_property
    def frozen_hash(self) -> str | None:
        """Digest of the frozen part before training."""
        return frozen_hash(self.model, self.freezing)

    def start(self, seed: int) -> Start:
        """The start of a fold with this seed; computed once a seed."""
        if seed not in self.starts:
            model, freezing, generator = self.fresh(seed)
            learner = self.batches.learner(model)
            named = (*learner.named_parameters(), *learner.named_buffers())
            state = {name: tensor.detach().clone() for name, tensor in named}
            # What lies below is the same, or there were no stored features for it.
            same = all(torch.equal(tensor, state[name]) for name, tensor in self._frozen_above.items())
            before = self.frozen_hash if same else frozen_hash(model, freezing)
            self.starts[seed] = Start(state, generator, before, start_hash(model, self.config))
        return self.starts[seed]

    @cached_property
    def _frozen_above(self) -> State:
        """Frozen tensors above the cut, by name."""
        named = chain(self.learner.named_parameters(), self.learner.named_buffers())
        return {name: tensor.detach().clone() for name, tensor in named if name not in self.learned}

    def fresh(self, seed: int) -> tuple[nn.Module, Freezing, Tensor]:
        """Build a new model as `fit` does, and return the RNG state that follows."""
        model = fresh_model(self.replay.task, self.config, seed, self.device)
        state = torch.get_rng_state()
        return model, freeze_for(model, self.config), state

    @property
    def learned(self) -> State:
        """Trained tensors, by name."""
        return {name: p for name, p in self.learner.named_parameters() if p.requires_grad}

    @property
    def decays(self) -> dict[str, bool]:
        """Whether weight decay applies, for each trained tensor."""
        groups = parameter_groups(self.learner, learning_rate=1.0, weight_decay=1.0)
        decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
        return {name: id(parameter) in decayed for name, parameter in self.learned.items()}

    def with_head(self, head: Head, hash_after: str | None) -> Fitted:
        """Put a head's weights into the model, and return it as a training result."""
        with torch.no_grad():
            for name, tensor in head.state.items():
                self._own[name].copy_(tensor)
        fold_scale(self.model, head.scale)
        if head.columns:
            head.columns.fold(self.model)
        return self.fitted(
            history=head.history,
            best_epoch=head.best_epoch,
            hash_before=head.hash_before,
            hash_after=hash_after,
            start_hash=head.start_hash,
        )

    def fitted(self, **how: Any) -> Fitted:
        """Return the model as a training result."""
        self.model.eval()
        return Fitted(self.model, self.freezing, self.batches, **how)

    @cached_property
    def _own(self) -> State:
        return dict(chain(self.learner.named_parameters(), self.learner.named_buffers()))


def _rate(module: nn.Module) -> Any:
    return next((rate for name in ("p", "drop_prob", "prob") if (rate := getattr(module, name, 0))), 0)
