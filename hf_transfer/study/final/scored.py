"""Score a run's final model on labelled rows that it has not learned from."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.labelled import LabelledData
from hf_transfer.data.opening import open_dataset
from hf_transfer.data.sealing import seal_rows
from hf_transfer.errors import DataError, TransferError
from hf_transfer.machine.wording import count
from hf_transfer.runs.records import Results
from hf_transfer.runs.scored_record import PREDICTIONS, WISE_CURVE, RowScore, ScoredRows
from hf_transfer.scores.over_folds import sampling_units
from hf_transfer.scores.scorer import Scores
from hf_transfer.scores.statistics import bootstrap_interval
from hf_transfer.study.final.shares import SharesScored, predicted_rows
from hf_transfer.study.final.trained import TrainedModel
from hf_transfer.study.fold_scorer import metrics_of
from hf_transfer.tasks import task_class

# Settings of the run's rows that say nothing of others.
_OF_THE_RUN: dict[str, Any] = {
    "dataset_config": None, "split": None, "test_split": None, "sealed": 0.0, "max_rows": None,
    "scheme": "auto", "group_by": None, "time_by": None, "fold_column": None, "gap": 0,
    "final": "refit",  # what is published stands in the record; a soup would ask for sealed rows
}  # fmt: skip


def scoring_config(results: Results, dataset: str) -> RunConfig:
    """The run's settings for rows of another data set; its columns are looked for there too."""
    several = len(task_class(results.task, results.input).targets) > 1
    target = results.target if results.target and several else "auto"  # read as the run's labels were
    return replace(results.config, dataset=dataset, target=target, **_OF_THE_RUN)


def score_rows(
    model: TrainedModel, config: RunConfig, *, wise_curve: bool = False
) -> tuple[ScoredRows, dict[str, pa.Table]]:
    """Score the final model on labelled rows; give the record, and tables of predictions by name.

    Args:
        model: The run's.
        config: Names the rows; see `scoring_config`.
        wise_curve: Whether to score every share of the fine-tuned weights too.

    Raises:
        ConfigError: If a curve is asked for, and the run keeps not both ends.
        DataError: If the rows cannot be used, have a label that the run has not, or were all learned from.
    """
    shares = SharesScored(model) if wise_curve else None  # refuses before anything is read
    data, num_seen, notes = _fresh_rows(model, config)
    outputs = model.outputs(data.rows["input"][:], title="Scoring")
    table = predicted_rows(data.rows, outputs, model.task.target)
    record = _record(model, data, table, num_seen, notes)
    if shares is None:
        return record, {PREDICTIONS: table}
    points, predicted = shares.score(data.rows)
    record = replace(record, wise_curve=points, notes=[*notes, *shares.notes])
    return record, {PREDICTIONS: table, WISE_CURVE: predicted}


def _fresh_rows(model: TrainedModel, config: RunConfig) -> tuple[LabelledData, int | None, list[str]]:
    """Rows that the model has not learned from, labelled as the run's; how many it has, and what to say."""
    results, task = model.results, model.task
    data = open_dataset(config, type(task) if task.input.table else task.input.name)
    labels = task.target.renumbered(data.rows["label"][:], data.label_names, data.name)
    numbered = data.rows.remove_columns("label").add_column(
        "label", labels, feature=type(task.target).label_type(task.label_names)
    )
    unseen, num_seen, note = _unseen(results, replace(data, rows=numbered, target=task.target))
    said = [note for note in data.notes if note not in data.fold_notes]
    if not unseen:
        raise DataError(
            " ".join(
                [
                    f"All {len(data.rows):,} rows of {data.name} are among those that the model has "
                    "learned from. Give others: a score on these says nothing.",
                    *said,
                ]
            )
        )
    return replace(data, rows=numbered.select(unseen)), num_seen, [*said, *note]


def _record(
    model: TrainedModel, data: LabelledData, table: pa.Table, num_seen: int | None, notes: list[str]
) -> ScoredRows:
    scorer, results = model.task.target.scorer, model.results
    unit, units = sampling_units(table, scorer)
    intervals = bootstrap_interval(
        scorer.resampler(table), np.zeros(table.num_rows), units=units, seed=results.config.seed
    )
    scores: Scores = metrics_of(table, scorer, results.config.metrics)
    folds = results.scores
    counted = replace(data, target=model.task.target)
    return ScoredRows(
        kit_version=__version__,
        name=data.name,
        split=data.split,
        fingerprint=data.fingerprint,
        num_rows=table.num_rows,
        num_seen=num_seen,
        class_counts=counted.class_counts,
        primary_metric=scorer.primary_metric,
        unit=unit,
        scores={
            name: RowScore(value, intervals.get(name), folds[name].mean if name in folds else None)
            for name, value in scores.items()
        },
        per_class=scorer.per_class(table),
        confusion=scorer.confusion(table),
        sha256=results.final.sha256,
        notes=notes,
    )


def _unseen(results: Results, data: LabelledData) -> tuple[list[int], int | None, list[str]]:
    """Positions of rows whose input the model has not learned from, how many it has, and what to say."""
    everything = list(range(len(data.rows)))
    if data.fingerprint == results.dataset.fingerprint:
        return [], len(everything), []
    try:
        task = data.task(results.config, data.target)
        learned = seal_rows(task, open_dataset(results.config, data.input.name), results.config)
    except (TransferError, OSError) as error:
        why = str(error).split(". ")[0]
        return everything, None, [f"Not known is whether rows were learned from: {why}."]
    known = set(_contents(learned))
    unseen = [row for row, content in enumerate(_contents(data)) if content not in known]
    num_seen = len(everything) - len(unseen)
    note = f"{count(num_seen, 'row')} left out, as the model has learned from the same inputs."
    return unseen, num_seen, [note] if num_seen else []


def _contents(data: LabelledData) -> list[tuple[str | bytes, ...]]:
    return [tuple(data.input.content(value)) for value in data.rows["input"]]
