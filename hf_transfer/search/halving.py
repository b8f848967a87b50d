"""Successive halving: many trained briefly on one split, the better ones for longer and on all."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.search.candidates import Candidate
from hf_transfer.search.trials import Entry, Trials
from hf_transfer.statistics import corrected_error, one_standard_error

FINALISTS = 4  # that are tried on every inner split
_KEPT = 1 / 3  # of the first rung


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
        """The two to judge by the real folds: the frugal choice and the best, or the best two."""
        other = 0 if self.chosen else 1
        return tuple(self.entries[i] for i in (self.chosen, other) if i < len(self.entries))


def halve(trials: Trials, candidates: Sequence[Candidate], num_epochs: int) -> Finalists:
    """Find the entries with the lowest loss on inner splits.

    All are trained for half the epochs on one split; the better third for all epochs; and the best
    four on every split.

    Args:
        trials: On the rows to select by.
        candidates: With their rates.
        num_epochs: Of a whole training.

    Returns:
        The finalists. One standard error decides between them: the fewest trained parameters, then
        the lower rate.
    """
    entries = [Entry(candidate, rate) for candidate in candidates for rate in candidate.rates]
    first = rung(trials, entries, math.ceil(num_epochs / 2))
    second = rung(trials, first[: num_kept(len(entries))], num_epochs)[:FINALISTS]
    return judge(trials, second, num_epochs)


def num_kept(num_entries: int) -> int:
    """How many go on from the first rung."""
    return min(num_entries, max(FINALISTS, math.ceil(num_entries * _KEPT)))


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
