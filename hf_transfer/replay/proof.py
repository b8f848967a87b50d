"""Find the cheapest cut that provably leaves the logits unchanged."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hf_transfer import _guard  # noqa: F401
from hf_transfer.layers.freezing import Freezing
from hf_transfer.machine.devices import on_processor
from hf_transfer.machine.memory import is_out_of_memory
from hf_transfer.replay.calls import Recording, record, seeded
from hf_transfer.replay.candidates import candidates
from hf_transfer.replay.cut import Cut, Suffix, features_at

_SEED = 0  # of the proof's random draws: the same for both ways


def find_cut(
    model: nn.Module,
    freezing: Freezing,
    probes: Sequence[Mapping[str, Tensor]],
    context: AbstractContextManager[Any],
) -> Cut | None:
    """Find the cheapest cut above all frozen layers that gives the same logits; None without one.

    Each candidate is tried on every probe, in train mode and with the same random draws, against the
    untouched model. The stand-ins are NaN, so that whatever still depends on them cannot agree.

    Args:
        model: After `freeze`. Statistics of its BatchNorm layers may move: throw it away.
        freezing: What `freeze` gave.
        probes: Model inputs of batches of different sizes, which tell how shapes follow the batch.
        context: Of the arithmetic: mixed precision or nothing.
    """
    model.train()
    with context, _shaken(model):
        passes = [record(model, probe, seed=_SEED) for probe in probes]
        for candidate in candidates(model, freezing, passes, probes):
            if all(
                _proven(model, candidate, probe, seen) for probe, seen in zip(probes, passes, strict=True)
            ):
                return candidate
    return None


@contextmanager
def _shaken(model: nn.Module) -> Iterator[None]:
    """Perturb the trained weights for the test, as a head of zeros would hide every difference."""
    learning = [p for p in model.parameters() if p.requires_grad]
    original = [p.detach().clone() for p in learning]
    with seeded(_SEED), torch.no_grad():
        for p in learning:
            p.add_(torch.randn_like(p), alpha=0.02)
    try:
        yield
    finally:
        with torch.no_grad():
            for p, value in zip(learning, original, strict=True):
                p.copy_(value)


def _proven(model: nn.Module, cut: Cut, probe: Mapping[str, Tensor], seen: Recording) -> bool:
    """Whether running from the cut gives the same logits as the whole model."""
    entered = seen.of(cut.module)[0].tensor
    assert entered is not None  # a candidate has one
    try:
        with seeded(_SEED), torch.no_grad(), _no_shared_writes():
            features = _stored(model, cut, probe)
            if not _agree(features, entered[:, :1] if cut.first_only else entered):
                return False  # attention, say, may drop out by itself, without a module of that name
            logits = Suffix(model, cut)(features, **_without_floats(model, probe))
    except (
        RuntimeError,
        ValueError,
        TypeError,
        IndexError,
        AttributeError,
        KeyError,
        AssertionError,
        Warning,
    ) as error:
        if is_out_of_memory(error):
            raise
        return False  # a model that cannot run on stand-ins is no error: it is run whole
    return logits.shape == seen.logits.shape and _agree(logits, seen.logits)


@contextmanager
def _no_shared_writes() -> Iterator[None]:
    """Stop where a model writes into a stand-in whose numbers are all one: they would be NaN no more."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".* on expanded tensors is deprecated")
            yield
    finally:
        torch.set_warn_always(before)


def _stored(model: nn.Module, cut: Cut, probe: Mapping[str, Tensor]) -> Tensor:
    """Features as a store would hold them: computed in eval mode."""
    model.eval()
    try:
        return features_at(model, cut, probe)
    finally:
        model.train()


def _without_floats(model: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A batch as in replay: with NaN in place of pixels, which lie below the cut."""
    kept: tuple[str, ...] = getattr(model, "read_at_top", ())
    return {
        name: torch.full_like(value, float("nan"))
        if value.is_floating_point() and name not in kept
        else value
        for name, value in batch.items()
    }


def _agree(tensor: Tensor, expected: Tensor) -> bool:
    """Whether two tensors are equal bit for bit; on a GPU, up to the noise of its kernels."""
    if on_processor(tensor.device):
        return torch.equal(tensor, expected)
    scale = float(expected.float().abs().max())
    near = 1e-5 if expected.dtype == torch.float32 else 2e-2
    return bool(((tensor - expected).abs().float() <= near * max(scale, 1)).all())
