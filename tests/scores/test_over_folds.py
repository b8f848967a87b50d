import json
import subprocess
import sys
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from scored_tables import TAGS, predictions, scorer_of, tagged

from hf_transfer.runs.schema import to_json
from hf_transfer.scores.class_scorer import ClassificationScorer
from hf_transfer.scores.over_folds import score_folds, summarise
from hf_transfer.scores.statistics import corrected_resampled_t, effective_folds
from hf_transfer.scores.tag_scorer import TaggingScorer


def test_folds_come_in_order_with_their_own_scores():
    table = predictions(30, 2, num_folds=3, num_repeats=2)
    folds = score_folds(table.take(np.arange(60)[::-1]), scorer_of(2))
    assert list(folds) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    rows = [row for row in table.to_pylist() if (row["repeat"], row["fold"]) == (1, 2)]
    assert folds[1, 2]["accuracy"] == pytest.approx(
        np.mean([row["label"] == row["prediction"] for row in rows])
    )


@pytest.mark.parametrize(
    ("scorer", "table"),
    [(scorer_of(3), predictions(90, 3, num_repeats=2)), (TaggingScorer(TAGS), tagged(60, num_repeats=2))],
    ids=["classes", "tags"],
)
def test_a_summary_holds_plain_numbers_that_survive_json_and_yaml(scorer, table):
    folds = list(score_folds(table, scorer).values())
    summary = summarise(folds, table, scorer, seed=0)
    plain = to_json(summary)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert yaml.safe_load(yaml.safe_dump(plain)) == plain
    assert list(summary) == list(scorer.higher_is_better)
    values = [scores[scorer.primary_metric] for scores in folds]
    first = summary[scorer.primary_metric]
    assert first.mean == pytest.approx(np.mean(values))
    assert first.std == pytest.approx(np.std(values, ddof=1))
    assert first.num_folds == len(folds)
    assert first.interval[0] < first.pooled < first.interval[1]
    assert first.interval_kind == f"bootstrap over out-of-fold {scorer.unit}s, within folds"
    assert first.unit == scorer.unit


def test_an_undefined_fold_is_left_out_of_the_mean():
    table = predictions(40, 2, num_folds=2)
    summary = summarise([{"roc_auc": 0.5}, {"roc_auc": None}, {"roc_auc": 0.7}], table, scorer_of(2), seed=0)
    assert (summary["roc_auc"].mean, summary["roc_auc"].num_folds) == (pytest.approx(0.6), 2)
    assert (summary["accuracy"].mean, summary["accuracy"].std, summary["accuracy"].num_folds) == (
        None,
        None,
        0,
    )


def test_one_fold_has_no_standard_deviation():
    table = predictions(40, 2, num_folds=1)
    summary = summarise([scorer_of(2).score(table)], table, scorer_of(2), seed=0)
    assert summary["accuracy"].std is None


def test_a_score_that_is_undefined_everywhere_is_none():
    table = predictions(30, 2, num_folds=3).set_column(3, "label", pa.array([1] * 30))
    summary = summarise(list(score_folds(table, scorer_of(2)).values()), table, scorer_of(2), seed=0)
    for name in ("roc_auc", "mcc"):
        found = summary[name]
        assert [getattr(found, key) for key in ("mean", "std", "pooled", "interval", "num_folds")] == [
            None
        ] * 4 + [0]


def test_a_score_from_elsewhere_gets_what_follows_from_the_folds_only():
    table = predictions(40, 2, num_folds=2)
    found = summarise([{"bleu": 25.0}, {"bleu": 75.0}], table, scorer_of(2), seed=0)["bleu"]
    assert (found.mean, found.num_folds) == (50, 2)
    assert (found.pooled, found.interval) == (None, None)
    # Its range is not known, so that nothing is cut off.
    assert found.conservative_interval == pytest.approx(corrected_resampled_t([25, 75], 2).interval)


@pytest.mark.parametrize(("num_repeats", "headline"), [(1, "both"), (2, "both"), (3, "conservative")])
def test_the_conservative_interval_is_the_corrected_t_of_all_folds(num_repeats, headline):
    table = predictions(90, 2, num_folds=5, num_repeats=num_repeats)
    folds = list(score_folds(table, scorer_of(2)).values())
    found = summarise(folds, table, scorer_of(2), seed=0)["accuracy"]
    expected = corrected_resampled_t([scores["accuracy"] for scores in folds], 5).interval
    assert found.conservative_interval == pytest.approx(expected)
    assert found.headline == headline


def test_uneven_folds_count_by_their_rows():
    table = predictions(60, 2, num_folds=5)
    folds = list(score_folds(table, scorer_of(2)).values())
    even, uneven = (
        summarise(folds, table, scorer_of(2), seed=0, num_folds=num_folds)["accuracy"]
        for num_folds in (None, effective_folds([(10, 10), (20, 10), (30, 10), (40, 10)]))
    )
    assert np.ptp(uneven.conservative_interval) > np.ptp(even.conservative_interval)
    assert uneven.interval == even.interval


def test_walking_forward_counts_for_fewer_folds_than_it_has():
    assert effective_folds([(80, 20)] * 5) == pytest.approx(5)
    ratio = np.mean([1, 1 / 2, 1 / 3, 1 / 4])
    assert effective_folds([(10, 10), (20, 10), (30, 10), (40, 10)]) == pytest.approx(1 + 1 / ratio)


@pytest.mark.parametrize(
    ("values", "interval"),
    [([0.5], None), ([0.5, None], None), ([0.9, 0.9, 0.9], None), ([0.7, 0.99], (0.0, 1.0))],
)
def test_the_conservative_interval_is_cut_to_what_a_score_can_be(values, interval):
    table = predictions(40, 2, num_folds=2)
    found = summarise([{"accuracy": value} for value in values], table, scorer_of(2), seed=0)["accuracy"]
    assert found.conservative_interval == interval
    assert found.headline == "both"


def test_ranges_other_than_from_0_to_1_are_kept():
    table = predictions(40, 2, num_folds=2)
    folds = [{"mcc": -0.6, "log_loss": 0.2}, {"mcc": 0.4, "log_loss": 3.0}]
    found = summarise(folds, table, scorer_of(2), seed=0)
    assert found["mcc"].conservative_interval == (-1, 1)
    low, high = found["log_loss"].conservative_interval
    assert low == 0
    assert high == pytest.approx(corrected_resampled_t([0.2, 3.0], 2).interval[1])


def test_a_conservative_interval_is_not_the_narrower_one():
    table = pa.table(
        {
            "row_id": np.arange(20), "repeat": np.zeros(20, np.int32), "fold": np.arange(20) % 2,
            "label": np.tile([0, 0, 1, 1, 1], 4), "prediction": np.tile([0, 1, 1, 0, 1], 4),
            "logits": [[0.0, 0.1]] * 20,
        }
    )  # fmt: skip
    scorer = ClassificationScorer(["a", "b"])
    found = summarise([{"accuracy": 0.6}, {"accuracy": 0.601}], table, scorer, seed=0)["accuracy"]
    (low, high), (lower, higher) = found.interval, found.conservative_interval
    assert lower <= low < high <= higher


def test_grouped_rows_are_resampled_by_group():
    hits = np.repeat(np.random.default_rng(0).random(40) < 0.75, 10)
    units = np.repeat(np.arange(40), 10)
    table = pa.table(
        {
            "row_id": np.arange(400), "repeat": np.zeros(400, np.int32), "fold": units % 5,
            "label": np.zeros(400, np.int64), "prediction": (~hits).astype(np.int64),
            "logits": pa.array([[0.0, 0.0]] * 400),
        }
    )  # fmt: skip
    rows = summarise([], table, scorer_of(2), seed=0)["accuracy"]
    groups = summarise([], table.append_column("unit", pa.array(units)), scorer_of(2), seed=0)["accuracy"]
    assert (rows.unit, groups.unit) == ("row", "group")
    assert groups.interval_kind == "bootstrap over out-of-fold groups, within folds"
    assert np.ptp(groups.interval) > 2 * np.ptp(rows.interval)


def test_scoring_a_table_never_warns():
    table = predictions(12, 6, num_folds=6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summarise(list(score_folds(table, scorer_of(6)).values()), table, scorer_of(6), seed=0)


@pytest.mark.slow
def test_recomputing_from_a_file_imports_no_torch(tmp_path):
    pq.write_table(predictions(40, 2), tmp_path / "classes.parquet")
    pq.write_table(tagged(40), tmp_path / "tags.parquet")
    code = f"""
import sys
import pyarrow.parquet as pq
from hf_transfer.runs.schema import to_json
from hf_transfer.scores.class_scorer import ClassificationScorer
from hf_transfer.scores.over_folds import score_folds, summarise
from hf_transfer.scores.tag_scorer import TaggingScorer
for name, scorer in [("classes", ClassificationScorer(["a", "b"])), ("tags", TaggingScorer({TAGS}))]:
    table = pq.read_table(f"{{sys.argv[1]}}/{{name}}.parquet")
    summarise(list(score_folds(table, scorer).values()), table, scorer, seed=0)
    scorer.per_class(table), scorer.confusion(table)
print(sorted({{"torch", "transformers", "evaluate", "datasets"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
