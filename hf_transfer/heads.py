"""Train the heads of many folds and settings at once, as one batched program over stored features."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from hf_transfer import _guard  # noqa: F401
from hf_transfer.batches import Positions
from hf_transfer.config import RunConfig
from hf_transfer.layers import Freezing, freeze, frozen_hash, parameter_groups
from hf_transfer.models import placed
from hf_transfer.progress import progress_bar
from hf_transfer.replay import Replay, ReplayedBatches
from hf_transfer.schedule import learning_rate_factor
from hf_transfer.tasks.base import IGNORE_INDEX
from hf_transfer.training import Epoch, Fitted, class_weights, effective_batches, epoch_order, smoothed

_BYTES_AT_ONCE = (
    8e6  # weights trained together: more would not fit in a processor's cache with Adam's two moments
)
_ROWS_TO_LOOK_AT = 64

State = dict[str, Tensor]


@dataclass(frozen=True)
class Rows:
    """One fold's part in the batch: its seed, what it learns from, and what it stops by."""

    seed: int
    train: Positions
    inner: Positions | None = None


@dataclass
class Head:
    """One trained head: its weights by their names in the model, and how it went."""

    state: State
    history: list[Epoch]
    best_epoch: int
    hash_before: str | None


def batchable(replay: Replay, config: RunConfig) -> bool:
    """Whether only a head learns, and it can be trained from stored features without the model around it."""
    if (
        len(replay.prepared) != 1
        or config.per_device_batch_size
        or config.compile
        or config.mixed_precision == "fp16"
    ):
        return False
    (found,) = replay.prepared.values()
    if not found.batches.cut.chain:
        return False
    models = [replay.task.build_model() for _ in range(2)]
    freezings = [freeze(model, config.trainable, norm=config.norm) for model in models]
    if any(replay.batches(m, f) is not found.batches for m, f in zip(models, freezings, strict=True)):
        return False  # what is frozen has new weights in each fold
    model, freezing = models[0], freezings[0]
    learner = found.batches.learner(model)
    statistics = any(
        name.rpartition(".")[0] in freezing.moving and buffer.is_floating_point()
        for name, buffer in model.named_buffers()
    )
    known = all(
        "drop" not in type(module).__name__.lower()
        or type(module) in (nn.Dropout, nn.Identity)
        or not _rate(module)
        for module in learner.modules()
    )
    return freezing.trainable <= set(freezing.groups[-1].parameters) and not statistics and known


def fit_heads(
    replay: Replay, configs: Sequence[RunConfig], folds: Sequence[Rows], *, title: str = "heads"
) -> Iterator[tuple[int, int, Fitted]]:
    """Train a head for every configuration and fold; each is what `fit` gives for it, up to rounding.

    The configurations may differ in their learning rate and weight decay only. Each head has its own
    rows, order of rows, dropout, schedule, gradient norm and early stopping.

    Args:
        replay: Prepared, and `batchable`.
        configs: The settings to try.
        folds: The rows of each fold.
        title: Of the progress bar.

    Yields:
        Position of the configuration, position of the fold, and the trained model, which is the same
        object each time: use it before going on. A head whose loss is not finite is left out.
    """
    template = _Template(replay, configs[0])
    per_head = sum(p.numel() * p.element_size() for p in template.learned.values())
    room = max(1, int(_BYTES_AT_ONCE // per_head))
    num_folds = min(len(folds), room)
    num_configs = max(1, room // num_folds)
    parts = [
        (range(f, min(f + num_folds, len(folds))), range(c, min(c + num_configs, len(configs))))
        for f in range(0, len(folds), num_folds)
        for c in range(0, len(configs), num_configs)
    ]
    with progress_bar(title, total=len(parts) * configs[0].num_epochs, unit="epoch") as bar:
        for some_folds, some_configs in parts:
            program = _Program(template, [configs[c] for c in some_configs], [folds[f] for f in some_folds])
            program.train(bar.update)
            hash_after = frozen_hash(template.model, template.freezing)
            for f, c, head in program.heads():
                yield some_configs[c], some_folds[f], template.with_head(head, hash_after)


class _Template:
    """One model that takes on the heads in turn."""

    def __init__(self, replay: Replay, config: RunConfig) -> None:
        self.replay, self.config = replay, config
        (found,) = replay.prepared.values()
        self.batches: ReplayedBatches = found.batches
        self.device = replay.accelerator.device
        self.model, self.freezing, _ = self.fresh(config.seed)
        self.learner = self.batches.learner(self.model)

    def fresh(self, seed: int) -> tuple[nn.Module, Freezing, Tensor]:
        """A new model as `fit` starts with it, and the state of the generator after it was made."""
        torch.manual_seed(seed)
        model = placed(self.replay.task.build_model(), self.device)
        state = torch.get_rng_state()
        return model, freeze(model, self.config.trainable, norm=self.config.norm), state

    @property
    def learned(self) -> State:
        """What learns, by its name in the learner."""
        return {name: p for name, p in self.learner.named_parameters() if p.requires_grad}

    def with_head(self, head: Head, hash_after: str | None) -> Fitted:
        """The model with a head's weights, which are all that this changes."""
        own = dict(self.learner.named_parameters())
        with torch.no_grad():
            for name, tensor in head.state.items():
                own[name].copy_(tensor)
        self.model.eval()
        return Fitted(
            self.model,
            self.freezing,
            self.batches,
            history=head.history,
            best_epoch=head.best_epoch,
            hash_before=head.hash_before,
            hash_after=hash_after,
        )


@dataclass
class _Stopping:
    """Early stopping of (f, g) heads, as `fit` does it for one."""

    smooth: Tensor
    best: Tensor
    best_epoch: Tensor
    kept: State = field(default_factory=dict)


class _Program:
    """Heads of F folds and G configurations: every tensor begins with (F, G)."""

    def __init__(self, template: _Template, configs: Sequence[RunConfig], folds: Sequence[Rows]) -> None:
        self.template, self.configs, self.folds = template, configs, folds
        self.config, self.device = configs[0], template.device
        self.batches, self.learner = template.batches, template.learner
        self.generators: list[torch.Generator] = []
        self.hashes: list[str | None] = []
        self.state = self._stack([self._start(fold.seed) for fold in folds])
        self.optimizer = _Optimizer(self, configs)
        self.weights = self._class_weights()
        self.active = torch.ones(len(folds), len(configs), dtype=torch.bool, device=self.device)
        self.history: list[dict[str, Any]] = []
        self.stopping = self._stopping()
        self.dropouts = [m for m in self.learner.modules() if type(m) is nn.Dropout and m.p > 0]
        self.by_token = self.batches.cut.shape.by_token
        self.masks: list[Tensor] = []
        self.current: list[Tensor] | None = None
        self.seen: list[tuple[int, ...]] = []
        self.shapes: dict[tuple[int, ...], list[tuple[int, ...]]] = {}

    @property
    def learned(self) -> list[str]:
        """Names of the weights that learn."""
        return list(self.template.learned)

    def train(self, tick: Callable[[], Any]) -> None:
        """All epochs of all heads."""
        total = [len(effective_batches(fold.train, self.config.batch_size, 1)) for fold in self.folds]
        with _Masked(self.dropouts, self):
            for epoch in range(1, self.config.num_epochs + 1):
                began = time.monotonic()
                losses, rate = self._epoch(epoch, total)
                record = {"epoch": epoch, "phase": "all", "train_loss": losses, "learning_rate": rate}
                self.history.append(record | {"inner_loss": self._look(epoch), "active": self.active.clone()})
                self.history[-1]["seconds"] = (time.monotonic() - began) / self.active.numel()
                tick()
                if not bool(self.active.any()):
                    break

    def _epoch(self, epoch: int, total: Sequence[int]) -> tuple[Tensor, list[float]]:
        """One pass of every fold over its rows; gives the mean loss of each head and the last rates."""
        self.learner.train()
        orders = [
            effective_batches(epoch_order(fold.train, fold.seed, epoch), self.config.batch_size, 1)
            for fold in self.folds
        ]
        losses = torch.zeros(len(self.folds), len(self.configs), device=self.device)
        factors = [0.0] * len(self.folds)
        for step in range(max(total)):
            present = [step < count for count in total]
            for f, here in enumerate(present):
                if here:
                    done, whole = (epoch - 1) * total[f] + step, total[f] * self.config.num_epochs
                    factors[f] = learning_rate_factor(
                        self.config, step=done, total=whole, phase_step=done, phase_total=whole
                    )
            rows = [
                order[step] if here else order[0][:1] for order, here in zip(orders, present, strict=True)
            ]
            losses += self._update(rows, torch.tensor(present, device=self.device), factors)
        rates = [config.learning_rate * factors[0] for config in self.configs]
        return losses / torch.tensor(total, device=self.device)[:, None], rates

    def _update(self, rows: Sequence[Positions], present: Tensor, factors: Sequence[float]) -> Tensor:
        """One step of every head that still learns; gives their losses, 0 where there was no step."""
        features, labels = self._batch(rows)
        learned = {name: self.state[name].detach().requires_grad_() for name in self.learned}
        here = present.tolist()
        counts = [len(r) if p else 0 for r, p in zip(rows, here, strict=True)]
        self._draw_masks(features, counts, [int(self.batches.sizes[r].max()) for r in rows])
        logits = self._forward(self.state | learned, features)
        loss = self._loss(logits, labels)
        gradients = torch.autograd.grad(loss.sum(), list(learned.values()))
        moving = self.active & present[:, None]
        self.optimizer.step(dict(zip(learned, gradients, strict=True)), moving, factors)
        return loss.detach() * moving

    def _batch(self, rows: Sequence[Positions]) -> tuple[Tensor, Tensor]:
        """Features (F, b, …) and labels (F, b, …), filled up to the longest with rows that do not count."""
        longest = max(len(r) for r in rows)
        filled = np.concatenate([np.pad(r, (0, longest - len(r)), mode="edge") for r in rows])
        batch, shape = self.batches.collate(filled), (len(rows), longest)
        labels = batch["labels"].reshape(shape + batch["labels"].shape[1:]).clone()
        for fold, r in enumerate(rows):
            labels[fold, len(r) :] = IGNORE_INDEX
        return batch["features"].reshape(shape + batch["features"].shape[1:]), labels

    def _forward(self, state: State, features: Tensor) -> Tensor:
        """Logits (F, G, b, …, c)."""
        one = lambda own, x, masks: self._one(own, x, masks)  # noqa: E731  (vmap wants a function)
        context: AbstractContextManager[Any] = self.template.replay.accelerator.autocast()
        with context:
            logits: Tensor = vmap(vmap(one, in_dims=(0, None, None)), in_dims=(0, 0, 0))(
                state, features, self.masks
            )
        return logits.float()

    def _one(self, state: State, features: Tensor, masks: list[Tensor]) -> Any:
        self.current = masks
        return functional_call(self.learner, state, (features,))

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of each head over the labels of its batch, (F, G)."""
        logp = logits.flatten(2, -2).log_softmax(-1)
        labels = labels.flatten(1)[:, None].expand(logp.shape[:-1])
        counted = labels != IGNORE_INDEX
        target = labels.clamp(min=0)
        weights = self.weights[:, None, None, :].expand(logp.shape)
        weight = weights.gather(-1, target.unsqueeze(-1)).squeeze(-1) * counted
        loss = -logp.gather(-1, target.unsqueeze(-1)).squeeze(-1) * weight
        if smoothing := self.config.label_smoothing:
            spread = -(logp * weights).sum(-1) * counted / logp.shape[-1]
            loss = (1 - smoothing) * loss + smoothing * spread
        return loss.sum(-1) / weight.sum(-1).clamp(min=1e-12)

    def _class_weights(self) -> Tensor:
        replay, num = self.template.replay, len(self.template.replay.task.label_names)
        found = [class_weights(replay, self.config, fold.train) for fold in self.folds]
        return torch.stack([torch.ones(num, device=self.device) if w is None else w for w in found])

    def _draw_masks(self, features: Tensor, counts: Sequence[int], lengths: Sequence[int]) -> None:
        """Dropout masks as each fold draws them when it is alone, (F, b, …) for each dropout layer."""
        if not self.dropouts:
            return
        shapes = self._mask_shapes(features[0])
        drawn: list[list[Tensor]] = []
        for generator, rows, length in zip(self.generators, counts, lengths, strict=True):
            own = [(rows, length, *s[2:]) if self.by_token else (rows, *s[1:]) for s in shapes]
            drawn.append(
                [_mask(m.p, o, s, generator) for m, o, s in zip(self.dropouts, own, shapes, strict=True)]
            )
        self.masks = [torch.stack(column).to(self.device) for column in zip(*drawn, strict=True)]

    def _mask_shapes(self, features: Tensor) -> list[tuple[int, ...]]:
        """What each dropout layer gets for such a batch."""
        key = tuple(features.shape)
        if key not in self.shapes:
            seen: list[tuple[int, ...]] = []
            self.current = None
            self.seen = seen
            with torch.no_grad(), self.template.replay.accelerator.autocast():
                self.learner(features)
            self.shapes[key] = seen
        return self.shapes[key]

    def _stopping(self) -> _Stopping | None:
        if all(fold.inner is None for fold in self.folds):
            return None
        shape = (len(self.folds), len(self.configs))
        infinite = torch.full(shape, math.inf, device=self.device)
        return _Stopping(
            torch.full(shape, math.nan, device=self.device), infinite, torch.zeros(shape, device=self.device)
        )

    def _look(self, epoch: int) -> Tensor | None:
        """Score the inner splits; heads that have not become better for `patience` epochs stop."""
        stopping = self.stopping
        if stopping is None:
            return None
        loss = torch.stack([self._inner_loss(f, fold.inner) for f, fold in enumerate(self.folds)])
        first = stopping.smooth.isnan()
        smooth = torch.where(first, loss, smoothed(stopping.smooth, loss))
        stopping.smooth = torch.where(self.active, smooth, stopping.smooth)
        better = (stopping.smooth < stopping.best) & self.active
        stopping.best = torch.where(better, stopping.smooth, stopping.best)
        stopping.best_epoch = torch.where(better, epoch, stopping.best_epoch)
        for name in self.learned:
            old = stopping.kept.get(name, self.state[name])
            stopping.kept[name] = torch.where(_like(better, old), self.state[name], old)
        self.active = self.active & (epoch - stopping.best_epoch < self.config.patience)
        return loss

    def _inner_loss(self, fold: int, inner: Positions | None) -> Tensor:
        """Mean loss of one fold's heads on its inner split, (G,)."""
        assert inner is not None  # all folds have one, or none
        self.learner.eval()
        self.current = None
        state = {name: tensor[fold] for name, tensor in self.state.items()}
        total = torch.zeros(2, len(self.configs), device=self.device)
        with torch.no_grad(), self.template.replay.accelerator.autocast():
            for part in self.batches.by_size(inner, _ROWS_TO_LOOK_AT):
                batch = self.batches.collate(part)
                logits = vmap(lambda own, x: functional_call(self.learner, own, (x,)), in_dims=(0, None))(
                    state, batch["features"]
                )
                labels = batch["labels"].flatten().expand(len(self.configs), -1)
                loss = nn.functional.cross_entropy(
                    logits.float().flatten(1, -2).transpose(1, 2),
                    labels,
                    ignore_index=IGNORE_INDEX,
                    reduction="none",
                )
                total += torch.stack([loss.sum(1), (labels != IGNORE_INDEX).sum(1).float()])
        return total[0] / total[1].clamp(min=1)

    def heads(self) -> Iterator[tuple[int, int, Head]]:
        """Every head whose losses were finite, with its fold and configuration."""
        losses = torch.stack([record["train_loss"] for record in self.history])
        finite = torch.isfinite(losses).all(0)
        for f in range(len(self.folds)):
            for c in range(len(self.configs)):
                if finite[f, c]:
                    yield f, c, self._head(f, c)

    def _head(self, f: int, c: int) -> Head:
        last = len(self.history)
        final = self.state
        best = last
        if self.stopping is not None:
            best, final = int(self.stopping.best_epoch[f, c]), self.state | self.stopping.kept
            last = min(last, best + self.config.patience)
        history = [
            {
                "epoch": record["epoch"],
                "phase": record["phase"],
                "train_loss": float(record["train_loss"][f, c]),
                "learning_rate": record["learning_rate"][c],
                "seconds": record["seconds"],
                "inner_loss": None if record["inner_loss"] is None else float(record["inner_loss"][f, c]),
            }
            for record in self.history[:last]
        ]
        state = {name: tensor[f, c].clone() for name, tensor in final.items()}
        return Head(state, history, best, self.hashes[f])

    def _start(self, seed: int) -> State:
        """The weights above the cut as a fold starts with them."""
        model, freezing, state = self.template.fresh(seed)
        self.generators.append(_generator(state))
        self.hashes.append(frozen_hash(model, freezing))
        learner = self.batches.learner(model)
        return {
            name: t.detach().clone() for name, t in (*learner.named_parameters(), *learner.named_buffers())
        }

    def _stack(self, starts: Sequence[State]) -> State:
        """All heads, those of a fold equal at first."""
        stacked = {}
        for name in starts[0]:
            tensor = torch.stack([start[name] for start in starts])
            stacked[name] = tensor[:, None].expand(-1, len(self.configs), *tensor.shape[1:]).clone()
        return stacked


class _Masked:
    """Dropout layers that take the masks of a program while it trains."""

    def __init__(self, dropouts: Sequence[nn.Module], program: _Program) -> None:
        self.dropouts, self.program = dropouts, program

    def __enter__(self) -> None:
        for number, module in enumerate(self.dropouts):
            module.forward = self._forward(number, module)

    def __exit__(self, *_: object) -> None:
        for module in self.dropouts:
            module.__dict__.pop("forward", None)

    def _forward(self, number: int, module: nn.Module) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            if not module.training:
                return x
            if self.program.current is None:
                self.program.seen.append(tuple(x.shape))
                return x
            return x * self.program.current[number]

        return forward


class _Optimizer:
    """AdamW, or SGD with momentum, for (F, G) heads at once, step by step as PyTorch has them."""

    def __init__(self, program: _Program, configs: Sequence[RunConfig]) -> None:
        self.program, self.config = program, configs[0]
        device = program.device
        self.rates = torch.tensor([c.learning_rate for c in configs], device=device)
        decays = torch.tensor([c.weight_decay for c in configs], device=device)
        groups = parameter_groups(program.learner, learning_rate=1.0, weight_decay=1.0)
        decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
        own = program.template.learned
        self.decays = {name: decays if id(own[name]) in decayed else torch.zeros_like(decays) for name in own}
        self.first = {name: torch.zeros_like(program.state[name]) for name in own}
        self.second = {name: torch.zeros_like(program.state[name]) for name in own}
        self.count = torch.zeros(len(program.folds), len(configs), device=device, dtype=torch.float64)

    def step(self, gradients: State, moving: Tensor, factors: Sequence[float]) -> None:
        """Update the heads that move, after cutting each head's gradient to the longest allowed."""
        if self.config.max_grad_norm:
            gradients = _clipped(gradients, self.config.max_grad_norm)
        rates = torch.tensor(factors, device=self.rates.device)[:, None] * self.rates
        self.count += moving
        update = self._sgd if self.config.optimizer == "sgd" else self._adamw
        everything = bool(moving.all())
        for name, gradient in gradients.items():
            found = update(name, gradient, rates)
            for place, new in zip((self.program.state, self.first, self.second), found, strict=True):
                place[name] = new if everything else torch.where(_like(moving, new), new, place[name])

    def _adamw(self, name: str, gradient: Tensor, rates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight = self.program.state[name] * _like(1 - rates * self.decays[name], gradient)
        first = torch.lerp(self.first[name], gradient, 0.1)
        second = self.second[name].mul(0.999).addcmul_(gradient, gradient, value=0.001)
        count = self.count.clamp(min=1)
        step = _like((rates / (1 - 0.9**count)).float(), gradient)
        root = _like((1 - 0.999**count).sqrt().float(), gradient)
        return weight - step * first / (second.sqrt() / root + 1e-8), first, second

    def _sgd(self, name: str, gradient: Tensor, rates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight = self.program.state[name]
        gradient = gradient + _like(self.decays[name].expand_as(rates), weight) * weight
        first = 0.9 * self.first[name] + gradient
        return weight - _like(rates, weight) * first, first, self.second[name]


def _clipped(gradients: State, longest: float) -> State:
    squares = [gradient.flatten(2).square().sum(-1) for gradient in gradients.values()]
    norm = torch.stack(squares).sum(0).sqrt()
    factor = (longest / (norm + 1e-6)).clamp(max=1)
    return {name: gradient * _like(factor, gradient) for name, gradient in gradients.items()}


def _like(values: Tensor, other: Tensor) -> Tensor:
    """(F, G) values with as many dimensions as a stacked tensor."""
    return values.reshape(*values.shape, *(1,) * (other.ndim - 2))


def _mask(rate: float, own: tuple[int, ...], full: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A dropout mask of a fold's own shape, filled up with ones to the full shape."""
    mask = torch.ones(full)
    mask[tuple(slice(n) for n in own)] = (
        torch.empty(own).bernoulli_(1 - rate, generator=generator).div_(1 - rate)
    )
    return mask


def _generator(state: Tensor) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(state)
    return generator


def _rate(module: nn.Module) -> Any:
    return next((rate for name in ("p", "drop_prob", "prob") if (rate := getattr(module, name, 0))), 0)
