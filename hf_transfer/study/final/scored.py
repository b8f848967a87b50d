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
from hf_transfer.folds.columns import read_ranks
from hf_transfer.machine.wording import count
from hf_transfer.runs.records import Results
from hf_transfer.runs.scored_record import RowScore, ScoredRows
from hf_transfer.scores.over_folds import sampling_units
from hf_transfer.scores.scorer import Scores
from hf_transfer.scores.statistics import bootstrap_interval
from hf_transfer.study.final.trained import TrainedModel
from hf_transfer.study.fold_scorer import listed, metrics_of
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


def score_rows(model: TrainedModel, config: RunConfig) -> tuple[ScoredRows, pa.Table]:
    """Score the final model on labelled rows; give the record and the predictions.

    Args:
        model: The run's.
        config: Names the rows; see `scoring_config`.

    Raises:
        DataError: If the rows cannot be used, have a label that the run has not, or were all learned from.
    """
    results, task = model.results, model.task
    data = open_dataset(config, type(task) if task.input.table else task.input.name)
    labels = task.target.renumbered(data.rows["label"][:], data.label_names, data.name)
    numbered = data.rows.remove_columns("label").add_column(
        "label", labels, feature=type(task.target).label_type(task.label_names)
    )
    unseen, num_seen, note = _unseen(results, replace(data, rows=numbered, target=task.target))
    rows = numbered.select(unseen)
    said = [note for note in data.notes if note not in data.fold_notes]
    if not len(rows):
        raise DataError(
            " ".join(
                [
                    f"All {len(data.rows):,} rows of {data.name} are among those that the model has "
                    "learned from. Give others: a score on these says nothing.",
                    *said,
                ]
            )
        )
    outputs = model.outputs(rows["input"][:], title="Scoring")
    columns: dict[str, Any] = {
        "row_id": rows["row_id"][:],
        "repeat": pa.array([0] * len(rows), pa.int32()),
        "fold": pa.array([0] * len(rows), pa.int32()),
    }
    columns |= {name: listed(values) for name, values in task.target.columns(rows, outputs).items()}
    if "group" in rows.column_names:
        columns["unit"] = read_ranks(rows["group"][:], "groups")  # as published: nobody's name
    table = pa.table(columns)
    return _record(model, replace(data, rows=rows), table, num_seen, [*said, *note]), table


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
