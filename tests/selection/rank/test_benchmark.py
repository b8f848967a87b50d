import numpy as np
import pytest
from datasets import Dataset

from hf_transfer import RunConfig, open_dataset
from hf_transfer.data.rows import label_rows
from hf_transfer.data.sealing import fold_columns
from hf_transfer.errors import ConfigError
from hf_transfer.folds import plan_folds
from hf_transfer.scores.transferability import Probe
from hf_transfer.selection.rank.benchmark import make_benchmark
from hf_transfer.tasks import task_of_kind


def texts(n=40, **columns):
    rows = {
        "text": [f"text of number {i} {'ab' * (i % 7)}" for i in range(n)],
        "label": [i % 2 for i in range(n)],
    }
    return Dataset.from_dict(rows | columns)


def benchmark_of(dataset, kind="text", num_repeats=None, **changes):
    config = RunConfig(num_folds=4).changed(changes)
    return make_benchmark(label_rows(dataset, config, kind), config, num_repeats)


def test_a_row_that_repeats_another_is_left_out():
    rows = texts()
    again = Dataset.from_dict(
        {"text": [*rows["text"], *rows["text"][:5]], "label": [*rows["label"], *[1] * 5]}
    )
    benchmark = benchmark_of(again)
    assert len(benchmark.data.rows) == 40
    assert benchmark.notes[0].startswith("5 rows left out, as they repeat another exactly")
    assert (
        benchmark.data.fingerprint == benchmark_of(again.select(range(40))).data.fingerprint
    )  # the same rows


def test_the_folds_are_those_of_a_run():
    config = RunConfig(dataset="builtin:reviews", max_rows=60)
    benchmark = make_benchmark(open_dataset(config, "text"), config)
    columns = fold_columns(task_of_kind("text")(config, benchmark.data.label_names), benchmark.data, config)
    plan = plan_folds(benchmark.uids, 5, seed=0, columns=columns)
    assert np.array_equal(benchmark.plans[0].permutation, plan.permutation)
    assert benchmark.num_folds == 5
    assert len(benchmark.splits) == 25


@pytest.mark.parametrize(("n", "repeats"), [(40, 5), (600, 3), (2100, 1)])
def test_few_rows_are_split_more_often(n, repeats):
    assert benchmark_of(texts(n)).num_repeats == repeats


def test_no_repeat_is_refused():
    with pytest.raises(ConfigError, match="num_repeats=0 is too small; use 1 or more"):
        benchmark_of(texts(), num_repeats=0)


def test_folds_that_no_seed_changes_are_not_repeated():
    dated = texts(time=list(range(40)))
    assert benchmark_of(dated, time_by="time").num_repeats == 1
    assert benchmark_of(dated, time_by="time").in_time
    assert benchmark_of(texts(fold=[i % 3 for i in range(40)]), fold_column="fold").num_repeats == 1
    assert not benchmark_of(texts()).in_time


def test_groups_are_drawn_together():
    benchmark = benchmark_of(texts(who=[f"p{i // 4}" for i in range(40)]), group_by="who")
    assert np.array_equal(benchmark.units, np.arange(40) // 4)
    assert np.array_equal(benchmark_of(texts()).units, np.arange(40))


def test_words_stand_in_their_sentence():
    config = RunConfig(dataset="builtin:mentions", max_rows=40)
    benchmark = make_benchmark(open_dataset(config, "tokens"), config, 1)
    assert benchmark.measure.name == "f1_words"
    assert benchmark.data.label_names[benchmark.measure.outside] == "O"
    assert len(benchmark.labels) == sum(map(len, benchmark.data.rows["label"]))
    assert np.array_equal(benchmark.units, benchmark.row_of)
    for train, valid in benchmark.splits:
        assert not set(benchmark.row_of[train]) & set(benchmark.row_of[valid])


def test_of_many_rows_some_are_shuffled(monkeypatch):
    monkeypatch.setattr("hf_transfer.selection.rank.benchmark._MOST_TO_SHUFFLE", 24)
    benchmark = benchmark_of(texts())
    places, splits = benchmark.to_shuffle()
    assert len(places) == 24
    assert sorted(np.concatenate([valid for _, valid in splits])) == list(range(24))
    for (train, valid), (_, whole) in zip(splits, benchmark.splits, strict=False):
        assert set(places[valid]) <= set(whole)
        assert not set(train) & set(valid)


def test_scores_are_those_of_the_folds():
    benchmark = benchmark_of(texts(), num_repeats=1)
    always = tuple(np.eye(2)[np.zeros(len(valid), int)] for _, valid in benchmark.splits)
    scores = benchmark.fold_scores(Probe(benchmark.splits, always))
    assert scores == pytest.approx([(benchmark.labels[valid] == 0).mean() for _, valid in benchmark.splits])
