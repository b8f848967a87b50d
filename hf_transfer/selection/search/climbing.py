"""Find each choice of layers' best learning rate, then the best choice, in few trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.selection.search.candidates import Candidate
from hf_transfer.selection.search.trials import HALVES, Entry, Trials

_LEADING = 2  # choices of layers that are tried on both halves, besides full training


@dataclass(frozen=True)
class Finalists:
    """Each choice of layers at its best rate, tried on both halves, best first.

    Attributes:
        losses: Of each on each half, (m, 2); infinite where a training failed.
        whole: Losses of the `survivors` with four fifths of a fold's training rows, where that was tried.
    """

    entries: tuple[Entry, ...]
    losses: tuple[tuple[float, ...], ...]
    whole: tuple[float, ...] = ()

    @property
    def chosen(self) -> Entry:
        """The entry with the lowest loss, without a bonus for freezing, which few rows favour anyway."""
        if self.whole:
            return self.survivors[int(np.argmin(self.whole))]
        return self.entries[0]

    @property
    def survivors(self) -> tuple[Entry, ...]:
        """Entries for the real folds: the choice, and the one that trains the most if that differs.

        A few rows cannot tell that freezing is better, only that it is with so few. That training
        everything is better they can: with more rows it will be all the more.
        """
        most = max(self.entries, key=lambda entry: entry.candidate.parameters)
        return (most,) if most == self.entries[0] else (self.entries[0], most)

    @property
    def behind(self) -> tuple[float, ...]:
        """How far each mean loss is above the lowest."""
        means = np.mean(self.losses, axis=1)
        return tuple(float(mean - means[0]) if np.isfinite(mean) else np.inf for mean in means)


def find(trials: Trials, candidates: Sequence[Candidate], *, thorough: bool = False) -> Finalists:
    """Choose layers and rate by trials on two halves of some rows.

    Each choice of layers is tried at its usual rate on the first half. Those that lead there, and what
    trains everything, are tried on the second half too. The rates around the usual one are then tried for
    the best and for full training, which the real folds judge: what a better rate gives another choice is
    seldom more than what it is behind.

    A candidate that is `conditional` is tried only where everything does better than the top half
    in the first half: where the lowest layers have nothing to gain, they are not tried alone.

    Args:
        trials: On the rows to select by.
        candidates: With their rates.
        thorough: Try every choice at its best rate on both halves, at several times the cost.
    """
    plain = [candidate for candidate in candidates if not candidate.conditional]
    start = climb if thorough else try_usual
    best = start(trials, plain)
    if _lower_layers_gain(best):
        best |= start(trials, [candidate for candidate in candidates if candidate.conditional])
    leading = list(best) if thorough else _leading(best)
    finalists = _ordered(trials, [Entry(candidate, best[candidate][0]) for candidate in leading])
    if thorough:
        return finalists
    better = climb(trials, [entry.candidate for entry in finalists.survivors])
    more = [Entry(candidate, rate) for candidate, (rate, _) in better.items()]
    tried = _ordered(trials, list(dict.fromkeys([*finalists.entries, *more])))
    best_rate = {entry.candidate: entry for entry in reversed(tried.entries)}
    return _ordered(trials, list(best_rate.values()))


def try_usual(trials: Trials, candidates: Sequence[Candidate]) -> dict[Candidate, tuple[float, float]]:
    """Try each candidate at its usual rate on the first half."""
    entries = [Entry(candidate, usual_rate(candidate.rates)) for candidate in candidates]
    return {
        trial.entry.candidate: (trial.entry.rate, trial.loss)
        for trial in trials.run([(e, 0) for e in entries])
    }


def _leading(best: Mapping[Candidate, tuple[float, float]]) -> list[Candidate]:
    """The two candidates with the lowest losses, and full training in any case."""
    first = sorted(best, key=lambda candidate: (best[candidate][1], candidate.parameters))[:_LEADING]
    most = max(best, key=lambda candidate: candidate.parameters)
    return [candidate for candidate in best if candidate in first or candidate == most]


def _ordered(trials: Trials, entries: Sequence[Entry]) -> Finalists:
    """Sort entries by mean loss over both halves; ties go to fewer trained parameters."""
    entries = sorted(entries, key=lambda entry: entry.candidate.parameters)
    results = trials.run([(entry, half) for entry in entries for half in range(HALVES)])
    losses = np.array([trial.loss for trial in results]).reshape(len(entries), HALVES)
    order = np.argsort(losses.mean(axis=1), kind="stable")
    return Finalists(tuple(entries[i] for i in order), tuple(map(tuple, losses[order].tolist())))


def most_trials(candidates: Sequence[Candidate], *, thorough: bool = False) -> list[Candidate]:
    """The candidate of each trial that `find` runs in the worst case."""
    dearest = sorted(candidates, key=lambda candidate: -candidate.cost)
    if thorough:
        return [one for one in candidates for _ in range(len(one.rates) + HALVES - 1)]
    rates = [one for one in dearest[:2] for _ in range(len(one.rates))]
    return [*candidates, *dearest[: _LEADING + 1], *rates]


def climb(trials: Trials, candidates: Sequence[Candidate]) -> dict[Candidate, tuple[float, float]]:
    """Find the best rate of each candidate on the first half; all candidates advance together."""
    losses: dict[Candidate, dict[float, float]] = {candidate: {} for candidate in candidates}
    while untried := [
        Entry(candidate, rate)
        for candidate, of_rates in losses.items()
        if (rate := next_rate(candidate.rates, of_rates)) is not None
    ]:
        for trial in trials.run([(entry, 0) for entry in untried]):
            losses[trial.entry.candidate][trial.entry.rate] = trial.loss
    return {
        candidate: min(of_rates.items(), key=lambda item: (item[1], item[0]))
        for candidate, of_rates in losses.items()
    }


def usual_rate(rates: Sequence[float]) -> float:
    """The second highest rate: with few updates, too low a rate is the more common mistake."""
    return sorted(rates)[max(0, len(rates) - 2)]


def next_rate(rates: Sequence[float], losses: Mapping[float, float]) -> float | None:
    """The next rate to try beside the best so far, the higher first; None once both are tried.

    It begins with the usual rate.

    Args:
        rates: All that may be tried.
        losses: Of those that were.
    """
    rates = sorted(rates)
    if not losses:
        return usual_rate(rates)
    best = rates.index(min(losses, key=lambda rate: (losses[rate], rate)))
    neighbours = rates[best + 1 : best + 2] + rates[max(0, best - 1) : best]
    return next((rate for rate in neighbours if rate not in losses), None)


def _lower_layers_gain(best: Mapping[Candidate, tuple[float, float]]) -> bool:
    """Whether training all layers beats training any upper part, on the first half."""
    *others, (_, most) = sorted(best.items(), key=lambda item: item[0].parameters)
    return all(most[1] < loss for _, (_, loss) in others)
