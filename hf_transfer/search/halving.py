"""Successive halving: many trained briefly on one split, the better ones for longer and on all."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.search.candidates import Candidate
from hf_transfer.search.trials import Entry, Trials
from hf_transfer.statistics import corrected_error, one_standard_error

FINALISTS = 4  # choices of layers that are tried on every inner split


@dataclass(frozen=True)
class Finalists:
    """The entries that were tried on every inner split, the best first.

    Attributes:
        losses: Of each on each split, (m, J).
        chosen: The one with the fewest trained parameters among those not clearly worse than the best.
    """

    entries: tuple[Entry, ...]
    losses: tuple[tuple[float, ...], ...]
    chosen: int

    @property
    def survivors(self) -> tuple[Entry, ...]:
        """The two to judge by the real folds: the frugal choice, and what trains the most.

        A part of the rows favours freezing, as little can be learned from few. So what it chooses is
        set beside full training on all that the folds have; or beside the best of the others, where
        it chooses that itself.
        """
        frugal = self.entries[self.chosen]
        others = [entry for entry in self.entries if entry != frugal]
        most = max(self.entries, key=lambda entry: entry.candidate.parameters)
        return (frugal, *([most] if most != frugal else others[:1]))


def halve(trials: Trials, candidates: Sequence[Candidate], num_epochs: int) -> Finalists:
    """Find the choices of layers with the lowest loss on inner splits, each at its best rate.

    All are trained for half the epochs on one split, at every rate; each choice of layers at its
    best rate for all epochs; and the best of these, with the one that trains the most, on every split.

    Args:
        trials: On the rows to select by.
        candidates: With their rates.
        num_epochs: Of a whole training.

    Returns:
        The finalists. One standard error decides between them: the fewest trained parameters.
    """
    entries = [Entry(candidate, rate) for candidate in candidates for rate in candidate.rates]
    first = rung(trials, entries, math.ceil(num_epochs / 2))
    # Rates of one choice of layers must not crowd out the others.
    best = {entry.candidate: entry for entry in reversed(first)}
    kept = [entry for entry in first if best[entry.candidate] is entry]
    second = rung(trials, kept, num_epochs)
    most = max(second, key=lambda entry: entry.candidate.parameters)
    finalists = [entry for entry in second if entry != most][: FINALISTS - 1]
    return judge(trials, [*finalists, most], num_epochs)


def rung(trials: Trials, entries: Sequence[Entry], num_epochs: int) -> list[Entry]:
    """The entries by their loss on the first inner split, the lowest first."""
    found = trials.run([(entry, 0, num_epochs) for entry in entries])
    losses = {trial.entry: trial.loss for trial in found}
    return sorted(losses, key=losses.__getitem__)


def judge(trials: Trials, entries: Sequence[Entry], num_epochs: int) -> Finalists:
    """Try entries on every inner split, and choose among those that are not clearly worse than the best."""
    splits = range(len(trials.splits))
    found = trials.run([(entry, split, num_epochs) for entry in entries for split in splits])
    by_place = {(trial.entry, trial.split): trial.loss for trial in found}
    losses = np.array([[by_place[entry, split] for split in splits] for entry in entries])
    order = np.argsort(losses.mean(1), kind="stable")
    entries, losses = [entries[i] for i in order], losses[order]
    finite = np.isfinite(losses).all(1)
    if not finite.any():
        return Finalists(tuple(entries), tuple(map(tuple, losses.tolist())), 0)
    entries = [entry for entry, kept in zip(entries, finite, strict=True) if kept]
    losses = losses[finite]
    # A tie in parameters goes to the lower rate, which is the safer one.
    costs = np.argsort(np.lexsort(([e.rate for e in entries], [e.candidate.parameters for e in entries])))
    chosen = one_standard_error(losses - losses[0], costs, len(splits)) if len(splits) > 1 else 0
    return Finalists(tuple(entries), tuple(map(tuple, losses.tolist())), int(chosen))


def shortfall(finalists: Finalists) -> list[tuple[float, float]]:
    """How much worse than the best each is, with its corrected standard error."""
    losses = np.array(finalists.losses)
    return [
        (float(line.mean()), float(corrected_error(line, losses.shape[1]))) for line in losses - losses[0]
    ]
