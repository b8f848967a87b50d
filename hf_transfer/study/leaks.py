"""The price of a leak: the probe under folds that part related rows, beside folds that keep them together.

Where the folds of a run keep rows apart by group or time, random folds are set beside them. Where they
keep nothing, rows that may be related are tested first; if they are, blocks of them stand beside.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.data.sources import column_of, in_words, sources_of
from hf_transfer.errors import FoldError
from hf_transfer.folds import FoldPlan, kept_apart, plan_at_random
from hf_transfer.machine.files import write_json
from hf_transfer.machine.processes import wait_for_all
from hf_transfer.runs.controls import price_part
from hf_transfer.runs.leak_record import APART, RANDOM, Candidate, CandidateTests, Leak, Price
from hf_transfer.runs.reading import read_record
from hf_transfer.runs.schema import to_json
from hf_transfer.scores.neighbours import Floats, Ints, Labelled, alike, blocks
from hf_transfer.study.experiment import Experiment, Unit
from hf_transfer.study.fold_runner import FoldRunner
from hf_transfer.study.probing import Features, Probing

if TYPE_CHECKING:
    from hf_transfer.study.study import Study

STORED_ORDER = "order of the rows"


def find_leak(study: "Study", probing: Probing) -> Leak | None:
    """Score the probe under two splits, if related rows are known or found; all processes must call this.

    Args:
        study: The finished study.
        probing: The linear model on its stored features.

    Returns:
        None without stored features, where nothing can be said for seconds.
    """
    experiment = study.experiment
    kept = kept_apart(experiment.columns, experiment.plans[0].scheme)
    if kept is None:
        return _among_candidates(study, probing)
    settings = {"groups": "group_by", "times": "time_by", "folds": "fold_column"}
    column = getattr(experiment.config, settings[kept])
    try:
        plan = plan_at_random(
            experiment.uids,
            experiment.columns,
            experiment.config,
            experiment.plans[0],
            experiment.decision.aside,
        )
    except FoldError:
        return None
    alone = [name for name in experiment.data.rows.column_names if name not in ("group", "time", "fold")]
    rows = experiment.data.rows.select_columns(alone)
    price = _price(study, probing, _beside(study, probing, rows, (plan,), RANDOM))
    return Leak(kept=kept, column=column, tested=[], price=price) if price else None


def _price(study: "Study", probing: Probing, beside: tuple[FoldRunner, list[Unit]]) -> Price | None:
    """Score both splits; the run's folds are the random ones unless random ones stand beside."""
    (runner, units), probe = beside, study.probe_units(probing.config)
    if not (probing.score(study.runner, probe) and probing.score(runner, units)):
        return None
    own, others = study.results_of(probe), [runner.result(unit) for unit in units]
    pair = [(own, study.predictions_of(probe, own)), (others, study.predictions_of(units, others))]
    random, apart = reversed(pair) if units[0].purpose == RANDOM else pair
    return price_part(random, apart, study.experiment.task.target.scorer)


def _beside(
    study: "Study", probing: Probing, rows: Dataset, plans: tuple[FoldPlan, ...], name: str
) -> tuple[FoldRunner, list[Unit]]:
    """A runner of the same rows with other columns to split by, and the folds as units of the probe.

    Raises:
        FoldError: If the rows cannot be split so.
    """
    experiment = study.experiment
    num_folds = experiment.plans[0].num_folds
    other = replace(
        experiment,
        data=replace(experiment.data, rows=rows),
        config=replace(
            experiment.config, scheme="auto", num_folds=num_folds, num_repeats=1, strict=False, gap=0
        ),
        given_plans=plans,
    )
    units = [
        study.control_unit(Unit(probing.config, 0, fold, ""), name, purpose=name)
        for fold in other.plans[0].scored_folds
    ]
    return FoldRunner(other, study.runner.accelerator, study.runner.folder), units


def _among_candidates(study: "Study", probing: Probing) -> Leak | None:
    """Test what may relate rows, and score blocks of what does."""
    tested = _tested(study, probing)
    if tested is None:
        return None
    leak = Leak(kept=None, column=None, tested=tested, price=None)
    if (found := leak.found) is None:
        return leak
    experiment = study.experiment
    keys = next(keys for name, keys in _candidates(experiment).items() if in_words(name) == found.name)
    rows = experiment.data.rows.select_columns(["row_id", "input", "label"])
    if found.is_order:
        folds = blocks(_classes(experiment), keys, experiment.plans[0].num_folds)
        rows = rows.add_column("fold", folds)
    else:
        rows = rows.add_column("group", keys)
    try:
        beside = _beside(study, probing, rows, (), APART)
    except FoldError:
        return leak
    return replace(leak, column=found.column, price=_price(study, probing, beside))


def _tested(study: "Study", probing: Probing) -> list[Candidate] | None:
    """What the candidates showed, from the run's folder where they were tested before."""
    folder, accelerator = study.runner.folder, study.runner.accelerator
    unit = study.control_unit(Unit(probing.config, 0, 0, ""), APART, purpose=APART)
    path = folder.unit(unit.place).parent.with_name("related.json")
    done = path.is_file()
    wait_for_all(accelerator)  # all have looked before anyone writes
    if not done and not probing.config.reinit_top:
        study.runner.replay.prepare()
        if accelerator.is_main_process and probing.features is not None:
            found = CandidateTests(tested=_test(study.experiment, probing.features))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, to_json(found))
    wait_for_all(accelerator)
    return read_record(CandidateTests, path).tested if path.is_file() else None


def _test(experiment: Experiment, features: Features) -> list[Candidate]:
    """Test each candidate among the rows that are in a fold."""
    rows = np.flatnonzero(experiment.plans[0].fold_of_row() >= 0)
    labels = experiment.data.rows["label"][:]

    def errors_of(halves: Ints) -> Floats:
        of_all = np.full(len(labels), -1)
        of_all[rows] = halves
        return features.errors(of_all)[rows]

    strata = experiment.task.target.strata(labels)
    found = alike(
        features.of_rows(features.values)[rows],
        errors_of,
        Labelled(strata[rows], _classes(experiment)[rows]),
        {name: keys[rows] for name, keys in _candidates(experiment).items()},
        seed=experiment.config.seed,
    )
    return [
        Candidate(name=in_words(name), column=column_of(name), **vars(one), speaks=one.speaks)
        for name, one in found.items()
    ]


def _candidates(experiment: Experiment) -> dict[str, Ints]:
    """A number for each row, by what it is the number of."""
    return {STORED_ORDER: np.arange(len(experiment.uids)), **sources_of(experiment.data.rows)}


def _classes(experiment: Experiment) -> NDArray[np.int64]:
    """What folds are balanced by, where a row has one class."""
    labels = experiment.columns.labels
    if labels is None:
        return np.zeros(len(experiment.uids), np.int64)
    return np.unique(np.asarray(labels), return_inverse=True)[1]
