import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer import RunConfig
from hf_transfer.selection.search.candidates import Candidate
from hf_transfer.selection.search.climbing import Finalists, find, next_rate
from hf_transfer.selection.search.modes import Selection
from hf_transfer.selection.search.trials import Entry, Trial

RATES = (1e-4, 3e-4, 1e-3, 3e-3)


def candidate(name: str, parameters: int, **more) -> Candidate:
    return Candidate(name, RunConfig(trainable=name), RATES, parameters, 1.0, **more)


HEAD, HALF, ALL = candidate("head", 1), candidate("last:50%", 2), candidate("all", 4)
FIRST = candidate("stem", 3, conditional=True)


@dataclass
class KnownTrials:
    """Trials whose losses are known: (candidate, rate, half) -> loss."""

    loss: object
    asked: list[tuple[str, float, int]] = field(default_factory=list)

    def run(self, wanted):
        self.asked += [(entry.candidate.name, entry.rate, half) for entry, half in wanted]
        return [Trial(entry, half, self.loss(entry, half), 1.0, 0.0) for entry, half in wanted]


def best_of(loss) -> tuple[Entry, KnownTrials]:
    trials = KnownTrials(loss)
    return find(trials, [HEAD, HALF, FIRST, ALL]).chosen, trials


@given(st.integers(0, 3), st.integers(1, 4))
def test_a_valley_is_found_from_either_side_with_few_trials(place, num_rates):
    rates = RATES[:num_rates]
    wanted = rates[min(place, num_rates - 1)]
    losses: dict[float, float] = {}
    while (rate := next_rate(rates, losses)) is not None:
        assert rate not in losses
        losses[rate] = abs(math.log(rate / wanted))
    assert min(losses, key=losses.__getitem__) == wanted
    assert losses.keys() == set(rates) or len(losses) < len(rates)


def test_the_lowest_rate_costs_every_rate_and_the_usual_ones_fewer():
    def count(wanted: float) -> int:
        losses: dict[float, float] = {}
        while (rate := next_rate(RATES, losses)) is not None:
            losses[rate] = abs(math.log(rate / wanted))
        return len(losses)

    assert [count(rate) for rate in RATES] == [4, 4, 3, 2]


def test_the_lowest_mean_loss_of_the_halves_is_chosen():
    chosen, trials = best_of(lambda entry, half: {"head": 0.5, "last:50%": 0.4 + 0.3 * half, "all": 0.6}[
        entry.candidate.name
    ] + abs(math.log(entry.rate / 1e-3)))  # fmt: skip
    assert (chosen.candidate, chosen.rate) == (HEAD, 1e-3)
    assert {half for name, rate, half in trials.asked if (name, rate) == ("head", 1e-3)} == {0, 1}
    assert all(half == 0 for _, rate, half in trials.asked if rate != 1e-3)


def test_full_training_is_judged_at_its_own_best_rate_where_another_choice_leads():
    loss = {"head": 0.5, "last:50%": 0.7, "all": 0.8}
    trials = KnownTrials(lambda entry, half: loss[entry.candidate.name] + 0.1 * (entry.rate != 3e-3))
    found = find(trials, [HEAD, HALF, FIRST, ALL])
    assert [(entry.candidate, entry.rate) for entry in found.survivors] == [(HEAD, 3e-3), (ALL, 3e-3)]
    assert {name for name, rate, _ in trials.asked if rate == 3e-3} == {"head", "all"}


@pytest.mark.parametrize(("most", "tried"), [(0.3, True), (0.5, False)])
def test_the_first_block_is_tried_where_everything_gains_over_the_top(most, tried):
    _, trials = best_of(lambda entry, half: {"all": most, "stem": 0.1}.get(entry.candidate.name, 0.4))
    assert ("stem" in {name for name, *_ in trials.asked}) == tried


def test_a_training_that_failed_is_never_chosen():
    chosen, _ = best_of(lambda entry, half: math.inf if entry.candidate in (HEAD, ALL) else 0.7)
    assert chosen.candidate == HALF
    found = Finalists((Entry(HALF, 1e-3), Entry(ALL, 1e-3)), ((0.7, 0.7), (math.inf, 0.1)))
    assert found.behind == (0.0, math.inf)


def test_full_training_is_judged_beside_any_other_choice_and_else_alone():
    entries, losses = (
        (Entry(HEAD, 1e-3), Entry(HALF, 1e-3), Entry(ALL, 1e-3)),
        ((0.1, 0.1), (0.2, 0.2), (0.3, 0.3)),
    )
    assert Finalists(entries, losses).survivors == (entries[0], entries[2])
    assert Finalists(entries[::-1], losses).survivors == (entries[2],)


def finalists(**losses) -> Finalists:
    """What the trials of one fold led to: for each choice of layers its rate and its two losses."""
    of = {"head": HEAD, "half": HALF, "first": FIRST, "all": ALL}
    lines = sorted(losses.items(), key=lambda line: sum(line[1][1:]))
    return Finalists(
        tuple(Entry(of[name], rate) for name, (rate, *_) in lines),
        tuple(tuple(line[1:]) for _, line in lines),
    )


def test_what_folds_found_is_pooled_by_loss_and_not_by_votes():
    choices = (
        finalists(head=(1e-3, 0.50, 0.50), all=(3e-3, 0.51, 0.51)),
        finalists(head=(1e-3, 0.50, 0.50), all=(1e-3, 0.51, 0.51)),
        finalists(head=(1e-3, 0.90, 0.90), all=(3e-3, 0.30, 0.30)),
    )
    assert [found.chosen.candidate for found in choices] == [HEAD, HEAD, ALL]
    assert Selection("nested", np.arange(3), choices, (), None).entries == (Entry(ALL, 3e-3),)


def test_what_one_fold_alone_tried_is_not_taken_for_all():
    choices = (
        finalists(head=(1e-3, 0.5, 0.5), first=(1e-3, 0.1, 0.1)),
        finalists(head=(1e-4, 0.5, 0.5), all=(1e-3, 0.6, 0.6)),
    )
    assert Selection("nested", np.arange(3), choices, (), None).entries == (Entry(HEAD, 1e-4),)


def test_a_training_that_failed_in_one_fold_is_not_published():
    choices = (
        finalists(head=(1e-3, 0.5, 0.5), all=(1e-3, 0.1, 0.1)),
        finalists(head=(1e-3, 0.5, 0.5), all=(1e-3, math.inf, 0.1)),
    )
    assert Selection("nested", np.arange(3), choices, (), None).entries == (Entry(HEAD, 1e-3),)


def with_whole(found: Finalists, *losses: float) -> Finalists:
    """The same, after trials with nearly all rows of the fold."""
    return replace(found, whole=losses)


def test_nearly_all_rows_of_a_fold_overrule_what_few_chose():
    few = finalists(head=(1e-3, 0.5, 0.5), all=(3e-3, 0.6, 0.6))
    assert few.survivors == (Entry(HEAD, 1e-3), Entry(ALL, 3e-3))
    assert with_whole(few, 0.5, 0.4).chosen == Entry(ALL, 3e-3)
    assert with_whole(few, 0.4, 0.5).chosen == Entry(HEAD, 1e-3)
    assert with_whole(few, 0.5, 0.4).survivors == few.survivors


@pytest.mark.parametrize(("of_all", "best"), [(0.3, Entry(ALL, 3e-3)), (0.7, Entry(HEAD, 1e-3))])
def test_nearly_all_rows_of_all_folds_overrule_what_few_chose(of_all, best):
    few = finalists(head=(1e-3, 0.5, 0.5), half=(1e-3, 0.52, 0.52), all=(3e-3, 0.6, 0.6))
    choices = (with_whole(few, 0.5, of_all), with_whole(few, 0.5, of_all + 0.1), few)
    assert Selection("nested", np.arange(3), choices, (), None).entries == (best,)
