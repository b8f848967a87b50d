"""Search modes: which rows choose layers and rate, and which rows score the choice."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.folds import SLICES, nested_rows
from hf_transfer.machine.wording import fold_key
from hf_transfer.runs.search_record import Mode
from hf_transfer.selection.search.candidates import SETTLED, Candidate
from hf_transfer.selection.search.climbing import Finalists, find
from hf_transfer.selection.search.trials import Entry, Trial, Trials, inner_plan
from hf_transfer.study.experiment import Experiment, RowNumbers
from hf_transfer.study.study import Study

MODES = ("design-slice", "nested", "shared")
_ENOUGH_FOR_A_SLICE = 1000  # rows; below, a fifth of them is too few to choose by
WHOLE_PARTS = 5  # of a fold's training rows, of which one is held out where few rows cannot tell
_FEWEST_TO_CHOOSE_BY = 200  # rows, where they need not be set aside

OnTrial = Callable[[Trial, bool], None]


@dataclass(frozen=True)
class Selection:
    """A choice of layers and rate, and the rows it was made by.

    Attributes:
        mode: One of `MODES`.
        rows: Rows that the choice was made by; of `nested`, those of the first fold.
        finalists: Of each choice made: one, or of `nested` one for each fold and repeat.
        trials: All that were run.
        study: What is left to do: the configurations to judge, on the rows to judge them by.
    """

    mode: str
    rows: RowNumbers
    finalists: tuple[Finalists, ...]
    trials: tuple[Trial, ...]
    study: Study

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Entries that go on to the real folds."""
        if self.mode != "nested":
            return self.finalists[0].survivors
        return (_pooled(self.finalists),)


def usual_mode(experiment: Experiment) -> Mode:
    """A separate slice of rows if there are enough, else the first fold's training rows."""
    return "design-slice" if len(experiment.uids) >= _ENOUGH_FOR_A_SLICE else "shared"


def select(study: Study, candidates: Sequence[Candidate], mode: str, on_trial: OnTrial) -> Selection:
    """Choose by rows that do not score the choice; the mode `shared` breaks this rule and says so.

    Args:
        study: Of all rows; its replay serves all trials.
        candidates: To choose among.
        mode: `design-slice` chooses by a fifth of the rows, which no fold holds then; `nested`
            chooses anew in the training part of every fold; `shared` chooses in that of the first.
        on_trial: Is told of each trial.
    """
    if mode == "nested":
        return _nested(study, candidates, on_trial)
    experiment = study.experiment
    everything = np.arange(len(experiment.uids))
    if mode == "shared":
        learned, aside = np.sort(experiment.plans[0].train(experiment.plans[0].scored_folds[0])), ()
        rows, num_learned = part_of(experiment, learned), len(learned)
    else:
        rows = np.sort(inner_plan(experiment, everything, "design-slice", SLICES).valid(0))
        aside = tuple(rows.tolist())
        num_learned = (
            (len(everything) - len(rows)) * (experiment.config.num_folds - 1) // experiment.config.num_folds
        )
    trials = Trials(study.runner, rows, mode, num_learned, on_trial)
    finalists = find(trials, candidates)
    given = tuple(entry.candidate.at(entry.rate) for entry in finalists.survivors)
    costs = tuple(float(entry.candidate.parameters) for entry in finalists.survivors)
    costs = costs if len(given) > 1 else ()
    decided = experiment.decided(configs=given, aside=aside, costs=costs, settled=SETTLED)
    judged = study.of(replace(decided, config=given[0]))
    return Selection(mode, rows, (finalists,), tuple(trials.done.values()), judged)


def _nested(study: Study, candidates: Sequence[Candidate], on_trial: OnTrial) -> Selection:
    experiment = study.experiment
    found: dict[tuple[int, int], Finalists] = {}
    done: list[Trial] = []
    for repeat, plan in enumerate(experiment.plans):
        for fold in plan.scored_folds:
            learned = np.sort(plan.train(fold))
            key = fold_key(repeat, fold)
            trials = Trials(study.runner, part_of(experiment, learned), key, len(learned), on_trial)
            whole = Trials(study.runner, learned, f"{key}-whole", len(learned), on_trial, WHOLE_PARTS)
            found[repeat, fold] = on_more_rows(whole, find(trials, candidates, thorough=True))
            done += [*trials.done.values(), *whole.done.values()]
    first = part_of(experiment, np.sort(experiment.plans[0].train(experiment.plans[0].scored_folds[0])))
    selection = Selection("nested", first, tuple(found.values()), tuple(done), study)
    (most,) = selection.entries
    config = most.candidate.at(most.rate)
    chosen = {place: f.chosen.candidate.at(f.chosen.rate) for place, f in found.items()}
    decided = experiment.decided(configs=(config,), of_folds=chosen, settled=SETTLED)
    return replace(selection, study=study.of(replace(decided, config=config)))


def on_more_rows(trials: Trials, found: Finalists) -> Finalists:
    """Try the choice and full training on nearly all training rows, if few rows chose to freeze."""
    if len(found.survivors) == 1:
        return found
    last = len(trials.halves) - 1  # walking forward, the last part has the most to learn from
    tried = trials.run([(entry, last) for entry in found.survivors])
    return replace(found, whole=tuple(trial.loss for trial in tried))


def _pooled(choices: Sequence[Finalists]) -> Entry:
    """The entry with the lowest mean loss over all folds' choices, at the most frequent rate.

    Votes of the folds would throw away how close each of them was. Nearly all rows of the folds, where they
    were tried, decide between that and full training.
    """
    losses: dict[Candidate, list[float]] = {}
    rates: dict[Candidate, Counter[float]] = {}
    for found in choices:
        for entry, of_halves in zip(found.entries, found.losses, strict=True):
            losses.setdefault(entry.candidate, []).append(fmean(of_halves))
            rates.setdefault(entry.candidate, Counter())[entry.rate] += 1
    everywhere = [candidate for candidate, found in losses.items() if len(found) == len(choices)]
    best = min(everywhere, key=lambda candidate: (fmean(losses[candidate]), candidate.parameters))
    whole = [found.whole for found in choices if found.whole]
    if sum(full for _, full in whole) < sum(few for few, _ in whole):
        best = choices[0].survivors[-1].candidate
    return Entry(best, max(rates[best], key=lambda rate: (rates[best][rate], -rate)))


def rows_to_choose_by(experiment: Experiment, mode: str) -> int:
    """Approximate number of rows that a choice is made by."""
    num_rows, num_folds = len(experiment.uids), experiment.config.num_folds
    if mode == "design-slice":
        return num_rows // SLICES
    return min(max(num_rows // SLICES, _FEWEST_TO_CHOOSE_BY), num_rows * (num_folds - 1) // num_folds)


def part_of(experiment: Experiment, rows: RowNumbers) -> RowNumbers:
    """A sample of a fold's training rows for trials, as large as a slice or a few hundred rows."""
    percent = math.ceil(100 * rows_to_choose_by(experiment, "shared") / len(rows))
    if percent >= 100:
        return rows
    return nested_rows(
        rows, percent, uids=experiment.uids, seed=experiment.config.seed, columns=experiment.coded
    )
