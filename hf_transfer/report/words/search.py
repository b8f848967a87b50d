"""Put a search's results into words: which layers should learn, and at which rate. No torch."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import setting
from hf_transfer.runs.records import Tried
from hf_transfer.runs.search_record import Judged, Search, TrialRecord
from hf_transfer.tasks import metric_name

_SETTLED = 0.5  # more than this share of the folds has to choose the same


@dataclass(frozen=True)
class Answer:
    """A short answer, and its evidence in sentences."""

    answer: str
    words: str


class Answers(NamedTuple):
    """Which layers should learn, and at which rate."""

    layers: Answer
    rate: Answer


class Agreement(NamedTuple):
    """The share of choices with the layers that were judged, and of those with their rate."""

    layers: float
    rate: float


def search_answers(search: Search) -> Answers:
    """Say which layers should learn and at which rate; "can't tell" if the folds chose differently.

    Args:
        search: What search.json holds.
    """
    judged = search.judged
    if judged is None:
        rate = "Can't tell: nothing was scored by the real folds."
        return Answers(Answer("can't tell", _unjudged(search)), Answer("can't tell", rate))
    agreed = agreement(search, judged)
    layers = f"trainable={judged.trainable}"
    rate = "none" if judged.solved else setting(judged.learning_rate)
    return Answers(
        Answer(layers if agreed.layers > _SETTLED else "can't tell", _layers(search, judged)),
        Answer(rate if agreed.rate > _SETTLED else "can't tell", _rate(search, judged)),
    )


def agreement(search: Search, judged: Judged) -> Agreement:
    """Share of the choices that agree with the scored one, on the layers and on the rate.

    There is one choice for each fold of a nested search; other searches make one choice, and agree.
    """
    if search.mode != "nested":
        return Agreement(1.0, 1.0)
    name = _name(search, judged.trainable)
    layers, rates = [layers for layers, _ in chosen(search)], _best_rates(search, name)
    rate = 1.0 if judged.solved else rates.count(judged.learning_rate) / len(rates)
    return Agreement(layers.count(name) / len(layers), rate)


def _best_rates(search: Search, name: str) -> list[float]:
    """The best learning rate for some layers, according to each choice."""
    entries = [entry for finalists in search.finalists for entry in finalists]
    return [entry.learning_rate for entry in entries if entry.candidate == name]


def chosen(search: Search) -> list[tuple[str, float]]:
    """The layers and the rate of each choice: one choice, or one a fold in a nested search."""
    return [
        (entry.candidate, entry.learning_rate)
        for finalists in search.finalists or ()
        for entry in finalists
        if entry.chosen
    ]


def _unjudged(search: Search) -> str:
    reason = search.partial or "Nothing was scored by the real folds."
    if not search.finalists:
        best = min(search.trials, key=_loss, default=None)
        if best is None or best.loss is None:
            return f"Can't tell. {reason}"
        where = f"{best.candidate} at {best.learning_rate:g} had the lowest loss so far, {best.loss:.3f}"
        return f"Can't tell yet. {reason} {where[0].upper()}{where[1:]}, on half of the rows to choose by."
    layers, rate = chosen(search)[0]
    first = f"By trials on few rows alone, train {layers} at {rate:g}."
    return f"{first} {reason} The choice has no honest score yet."


def _loss(trial: TrialRecord) -> float:
    return float("inf") if trial.loss is None else float(trial.loss)


def _layers(search: Search, judged: Judged) -> str:
    score, share = judged.score, 100 * judged.parameters / judged.total
    low, high = score.interval or (None, None)
    between = f" ({low:.3f} to {high:.3f})" if low is not None else ""
    first = (
        f"Train {_name(search, judged.trainable)} (trainable={judged.trainable}): {share:.1f} % of the "
        f"parameters, {metric_name(judged.metric)} {score.mean:.3f}{between} by the folds."
    )
    return " ".join([first, *_others(judged), _by_which_rows(search, judged), search.skipped or ""]).strip()


def _others(judged: Judged) -> list[str]:
    """Compare the chosen configuration with the best of the others."""
    metric, found = judged.metric, []
    best = next(one for one in judged.tried if _is_chosen(one, judged))
    others = [one for one in judged.tried if not _is_chosen(one, judged)]
    for other in sorted(others, key=lambda one: -(one.scores[metric].mean or 0))[:1]:
        mine, theirs = best.scores[metric].mean, other.scores[metric].mean
        if mine is None or theirs is None:
            continue
        how = "in closed form" if other.solved else f"at {other.learning_rate:g}"
        what = f"trainable={other.settings['trainable']} {how} reached {theirs:.3f}"
        if theirs > mine:
            found.append(f"{what}, not more than one standard error above it with more to train.")
        else:
            found.append(f"The next, {what}.")
    return found


def _is_chosen(entry: Tried, judged: Judged) -> bool:
    return (entry.settings["trainable"], entry.learning_rate) == (judged.trainable, judged.learning_rate)


def _by_which_rows(search: Search, judged: Judged) -> str:
    mode, chosen_by = search.mode, search.rows.selection if search.rows else None
    if mode == "design-slice":
        last = " but that between the last two" if len(judged.tried) > 1 else ""
        return (
            f"It was chosen by {chosen_by:,} rows that are in no fold, and scored by the other "
            f"{judged.num_rows:,}: the score owes nothing to the choice{last}."
        )
    if mode == "nested":
        return _chosen_by_folds(search, judged)
    if mode == "shared":
        return (
            "It was chosen by the first fold's training rows, which the other folds hold out: the score is "
            "somewhat too good."
        )
    tried = len(judged.tried)
    return f"It is the best of {tried} on the same folds: its score is somewhat too good."


def _chosen_by_folds(search: Search, judged: Judged) -> str:
    choices = chosen(search)
    frequent = Counter(layers for layers, _ in choices).most_common()
    by = ", ".join(f"{layers} in {often} of {len(choices)}" for layers, often in frequent)
    words = (
        f"Each fold chose anew within its own training rows: {by}. "
        "The score is that of choosing and training together."
    )
    if agreement(search, judged).layers > _SETTLED:
        return words
    return (
        f"{words} No more than half of the folds chose what did best over all of them: "
        "more rows are needed to tell."
    )


def _rate(search: Search, judged: Judged) -> str:
    rate, name = judged.learning_rate, _name(search, judged.trainable)
    if judged.solved:
        return f"None: {name} is solved in closed form."
    tried = next(one.learning_rates for one in search.candidates if one.trainable == judged.trainable)
    words = [f"Peak learning rate {rate:g} for {name}, of {_listed(tried)}."]
    if search.mode == "nested":
        words.append(f"The folds found best for these layers: {_listed(sorted(_best_rates(search, name)))}.")
    if len(tried) > 1 and rate in (min(tried), max(tried)):
        side, beyond = ("lowest", "lower") if rate == min(tried) else ("highest", "higher")
        words.append(
            f"It is the {side} that was tried, so a {beyond} one may be better: give --learning_rates."
        )
    return " ".join(words)


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)


def _name(search: Search, trainable: str) -> str:
    return str(next(one.name for one in search.candidates if one.trainable == trainable))
