import json
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores import metrics
from hf_transfer.scores import scorer as scorers
from hf_transfer.scores.scorer import ClassificationScorer, TaggingScorer, score_folds, summarise
from hf_transfer.scores.statistics import corrected_resampled_t, effective_folds

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def predictions(num_rows, num_classes, *, num_folds=5, num_repeats=1, seed=0, skill=1.0):
    """Draw a table of predictions whose logits favour the true class by `skill`."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num_rows)
    parts = []
    for repeat in range(num_repeats):
        logits = rng.normal(size=(num_rows, num_classes)).astype(np.float32)
        logits[np.arange(num_rows), labels] += skill
        parts.append(
            pa.table(
                {
                    "row_id": np.arange(num_rows),
                    "repeat": np.full(num_rows, repeat, np.int32),
                    "fold": (rng.permutation(num_rows) % num_folds).astype(np.int32),
                    "label": labels,
                    "prediction": logits.argmax(axis=1),
                    "logits": pa.array(list(logits), pa.list_(pa.float32())),
                }
            )
        )
    return pa.concat_tables(parts)


def tagged(num_rows, *, num_folds=3, num_repeats=1, seed=0):
    """Draw a table of tagged words; three tags in four are predicted right."""
    rng = np.random.default_rng(seed)
    parts = []
    for repeat in range(num_repeats):
        rows = []
        for row in range(num_rows):
            draw = np.random.default_rng(row)
            labels = repair([TAGS[i] for i in draw.integers(0, 5, draw.integers(1, 9))])
            guessed = [tag if rng.random() < 0.75 else TAGS[rng.integers(5)] for tag in labels]
            rows.append({"row_id": f"s{row}", "repeat": repeat, "labels": labels, "predictions": guessed})
        for row, fold in zip(rows, rng.permutation(num_rows) % num_folds, strict=True):
            row |= {"fold": int(fold), "tokens": ["w"] * len(row["labels"])}
        parts.append(pa.Table.from_pylist(rows))
    return pa.concat_tables(parts)


def repair(tags):
    fixed = []
    for tag in tags:
        before = fixed[-1] if fixed else "O"
        fixed.append("B" + tag[1:] if tag[0] == "I" and before[1:] != tag[1:] else tag)
    return fixed


def scorer_of(num_classes):
    return ClassificationScorer([f"class {i}" for i in range(num_classes)])


def floats(scores):
    return {name: float("nan") if value is None else value for name, value in scores.items()}


cases = st.tuples(st.integers(1, 30), st.integers(2, 5), st.integers(1, 4), st.integers(0, 2**32))


@settings(max_examples=40, deadline=None)
@given(cases)
def test_one_fold_pooled_is_that_fold_scored(case):
    num_rows, num_classes, _, seed = case
    table = predictions(num_rows, num_classes, num_folds=1, seed=seed)
    scorer = scorer_of(num_classes)
    assert floats(scorer.pooled(table)) == pytest.approx(floats(scorer.score(table)), nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(cases, st.integers(1, 3))
def test_weights_of_one_give_the_pooled_scores(case, num_repeats):
    num_rows, num_classes, num_folds, seed = case
    table = predictions(num_rows, num_classes, num_folds=num_folds, num_repeats=num_repeats, seed=seed)
    scorer = scorer_of(num_classes)
    resampled = scorer.resampled(table, np.ones((2, table.num_rows), dtype=np.int64))
    assert list(resampled) == list(scorer.higher_is_better)
    for name, value in floats(scorer.pooled(table)).items():
        assert resampled[name].tolist() == pytest.approx([value, value], nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(cases)
def test_weights_count_rows_as_often_as_they_say(case):
    num_rows, num_classes, _, seed = case
    table = predictions(num_rows, num_classes, num_folds=1, seed=seed)
    weights = np.random.default_rng(seed).integers(0, 3, (1, num_rows))
    weights[0, 0] += 1
    scorer = scorer_of(num_classes)
    repeated = table.take(np.repeat(np.arange(num_rows), weights[0]))
    resampled = {name: values[0] for name, values in scorer.resampled(table, weights).items()}
    assert resampled == pytest.approx(floats(scorer.score(repeated)), nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(0, 2**32))
def test_weighted_sentences_count_as_often_as_they_say(num_rows, seed):
    table = tagged(num_rows, num_folds=1, seed=seed)
    weights = np.random.default_rng(seed).integers(0, 3, (1, num_rows))
    weights[0, 0] += 1
    scorer = TaggingScorer(TAGS)
    repeated = table.take(np.repeat(np.arange(num_rows), weights[0]))
    resampled = {name: values[0] for name, values in scorer.resampled(table, weights).items()}
    assert resampled == pytest.approx(floats(scorer.score(repeated)), nan_ok=True)
    assert floats(scorer.pooled(table)) == pytest.approx(floats(scorer.score(table)), nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(cases, st.integers(0, 2**32))
def test_order_of_rows_does_not_matter(case, seed):
    num_rows, num_classes, num_folds, _ = case
    table = predictions(num_rows, num_classes, num_folds=num_folds, num_repeats=2, seed=seed)
    shuffled = table.take(np.random.default_rng(seed).permutation(table.num_rows))
    scorer = scorer_of(num_classes)
    assert floats(scorer.pooled(table)) == pytest.approx(floats(scorer.pooled(shuffled)), nan_ok=True)
    assert scorer.per_class(table) == scorer.per_class(shuffled)
    assert scorer.confusion(table) == scorer.confusion(shuffled)
    first, second = (
        summarise([], rows, scorer, seed=0)["accuracy"]["interval"] for rows in (table, shuffled)
    )
    assert first == pytest.approx(second)


def test_scores_of_a_fold_equal_scikit_learn():
    table = predictions(200, 3, num_folds=1)
    labels, guessed = table["label"].to_numpy(), table["prediction"].to_numpy()
    logits = np.stack(table["logits"].to_numpy()).astype(float)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert scorer_of(3).score(table) == pytest.approx(
        {
            "accuracy": sk.accuracy_score(labels, guessed),
            "balanced_accuracy": sk.balanced_accuracy_score(labels, guessed),
            "precision_macro": sk.precision_score(labels, guessed, average="macro"),
            "recall_macro": sk.recall_score(labels, guessed, average="macro"),
            "f1_macro": sk.f1_score(labels, guessed, average="macro"),
            "f1_micro": sk.f1_score(labels, guessed, average="micro"),
            "f1_weighted": sk.f1_score(labels, guessed, average="weighted"),
            "mcc": sk.matthews_corrcoef(labels, guessed),
            "roc_auc": sk.roc_auc_score(labels, chances, multi_class="ovr"),
            "log_loss": sk.log_loss(labels, chances),
        }
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_scores_of_a_fold_that_lacks_classes_are_those_of_the_metrics(rows):
    ids = tuple(map(np.asarray, zip(*rows, strict=True)))
    table = pa.table({"label": ids[0], "prediction": ids[1], "logits": np.eye(4)[ids[1]].tolist()})
    expected = metrics.accuracy(*ids) | metrics.balanced_accuracy(*ids) | metrics.matthews_correlation(*ids)
    for of, average in [("precision", "macro"), ("recall", "macro"), *(("f1", a) for a in metrics.AVERAGES)]:
        if average is not None:
            expected |= metrics.class_average(of, *ids, labels=range(4), average=average)
    found = scorer_of(4).score(table)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_counts_are_pooled_and_areas_averaged_over_folds():
    table = predictions(60, 2, num_folds=4)
    scorer = scorer_of(2)
    pooled, folds = scorer.pooled(table), score_folds(table, scorer)
    labels, guessed = table["label"].to_numpy(), table["prediction"].to_numpy()
    assert pooled["f1_macro"] == pytest.approx(sk.f1_score(labels, guessed, average="macro"))
    assert pooled["roc_auc"] == pytest.approx(np.mean([scores["roc_auc"] for scores in folds.values()]))
    assert pooled["f1_macro"] != pytest.approx(np.mean([scores["f1_macro"] for scores in folds.values()]))


def test_repeats_are_averaged():
    table = predictions(60, 3, num_repeats=3)
    scorer = scorer_of(3)
    single = [scorer.pooled(table.slice(60 * repeat, 60)) for repeat in range(3)]
    expected = {name: np.mean([scores[name] for scores in single]) for name in single[0]}
    assert scorer.pooled(table) == pytest.approx(expected)


def test_folds_come_in_order_with_their_own_scores():
    table = predictions(30, 2, num_folds=3, num_repeats=2)
    folds = score_folds(table.take(np.arange(60)[::-1]), scorer_of(2))
    assert list(folds) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    rows = [row for row in table.to_pylist() if (row["repeat"], row["fold"]) == (1, 2)]
    assert folds[1, 2]["accuracy"] == pytest.approx(
        np.mean([row["label"] == row["prediction"] for row in rows])
    )


def test_classes_are_listed_with_undefined_values_as_none():
    table = pa.table(
        {
            "row_id": [0, 1, 2, 3], "repeat": [0] * 4, "fold": [0, 0, 1, 1],
            "label": [0, 0, 1, 1], "prediction": [0, 1, 1, 1], "logits": [[0.0, 0.0, 0.0]] * 4,
        }
    )  # fmt: skip
    scorer = ClassificationScorer(["neg", "pos", "mixed"])
    assert scorer.confusion(table) == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert scorer.per_class(table) == [
        {"label": "neg", "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2},
        {
            "label": "pos",
            "precision": pytest.approx(2 / 3),
            "recall": 1.0,
            "f1": pytest.approx(0.8),
            "support": 2,
        },
        {"label": "mixed", "precision": None, "recall": None, "f1": None, "support": 0},
    ]


def test_entity_types_are_listed_with_their_support():
    table = tagged(40, num_repeats=2)
    scorer = TaggingScorer(TAGS)
    rows = scorer.per_class(table)
    true = [tag for row in table.slice(0, 40)["labels"].to_pylist() for tag in row]
    assert [(row["label"], row["support"]) for row in rows] == [
        ("PER", true.count("B-PER")),
        ("LOC", true.count("B-LOC")),
    ]
    assert scorer.confusion(table) is None
    assert 0 < rows[0]["f1"] < 1


def test_a_support_is_that_of_one_repeat():
    table = predictions(50, 2, num_repeats=3)
    assert sum(row["support"] for row in scorer_of(2).per_class(table)) == 50


@pytest.mark.parametrize(
    ("scorer", "table"),
    [(scorer_of(3), predictions(90, 3, num_repeats=2)), (TaggingScorer(TAGS), tagged(60, num_repeats=2))],
    ids=["classes", "tags"],
)
def test_a_summary_holds_plain_numbers_that_survive_json_and_yaml(scorer, table):
    folds = list(score_folds(table, scorer).values())
    summary = summarise(folds, table, scorer, seed=0)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert yaml.safe_load(yaml.safe_dump(summary)) == summary
    assert list(summary) == list(scorer.higher_is_better)
    values = [scores[scorer.primary_metric] for scores in folds]
    first = summary[scorer.primary_metric]
    assert first["mean"] == pytest.approx(np.mean(values))
    assert first["std"] == pytest.approx(np.std(values, ddof=1))
    assert first["num_folds"] == len(folds)
    assert first["interval"][0] < first["pooled"] < first["interval"][1]
    assert first["interval_kind"] == f"bootstrap over out-of-fold {scorer.unit}s, within folds"
    assert first["unit"] == scorer.unit


def test_an_undefined_fold_is_left_out_of_the_mean():
    table = predictions(40, 2, num_folds=2)
    summary = summarise([{"roc_auc": 0.5}, {"roc_auc": None}, {"roc_auc": 0.7}], table, scorer_of(2), seed=0)
    assert (summary["roc_auc"]["mean"], summary["roc_auc"]["num_folds"]) == (pytest.approx(0.6), 2)
    assert (summary["accuracy"]["mean"], summary["accuracy"]["std"], summary["accuracy"]["num_folds"]) == (
        None,
        None,
        0,
    )


def test_one_fold_has_no_standard_deviation():
    table = predictions(40, 2, num_folds=1)
    summary = summarise([scorer_of(2).score(table)], table, scorer_of(2), seed=0)
    assert summary["accuracy"]["std"] is None


def test_a_score_that_is_undefined_everywhere_is_none():
    table = predictions(30, 2, num_folds=3).set_column(3, "label", pa.array([1] * 30))
    summary = summarise(list(score_folds(table, scorer_of(2)).values()), table, scorer_of(2), seed=0)
    for name in ("roc_auc", "mcc"):
        found = summary[name]
        assert [found[key] for key in ("mean", "std", "pooled", "interval", "num_folds")] == [None] * 4 + [0]


def test_a_score_from_elsewhere_gets_what_follows_from_the_folds_only():
    table = predictions(40, 2, num_folds=2)
    found = summarise([{"bleu": 25.0}, {"bleu": 75.0}], table, scorer_of(2), seed=0)["bleu"]
    assert (found["mean"], found["num_folds"]) == (50, 2)
    assert (found["pooled"], found["interval"]) == (None, None)
    # Its range is not known, so that nothing is cut off.
    assert found["conservative_interval"] == pytest.approx(corrected_resampled_t([25, 75], 2).interval)


@pytest.mark.parametrize(("num_repeats", "headline"), [(1, "both"), (2, "both"), (3, "conservative")])
def test_the_conservative_interval_is_the_corrected_t_of_all_folds(num_repeats, headline):
    table = predictions(90, 2, num_folds=5, num_repeats=num_repeats)
    folds = list(score_folds(table, scorer_of(2)).values())
    found = summarise(folds, table, scorer_of(2), seed=0)["accuracy"]
    expected = corrected_resampled_t([scores["accuracy"] for scores in folds], 5).interval
    assert found["conservative_interval"] == pytest.approx(expected)
    assert found["headline"] == headline


def test_uneven_folds_count_by_their_rows():
    table = predictions(60, 2, num_folds=5)
    folds = list(score_folds(table, scorer_of(2)).values())
    even, uneven = (
        summarise(folds, table, scorer_of(2), seed=0, num_folds=num_folds)["accuracy"]
        for num_folds in (None, effective_folds([(10, 10), (20, 10), (30, 10), (40, 10)]))
    )
    assert np.ptp(uneven["conservative_interval"]) > np.ptp(even["conservative_interval"])
    assert uneven["interval"] == even["interval"]


def test_walking_forward_counts_for_fewer_folds_than_it_has():
    assert effective_folds([(80, 20)] * 5) == pytest.approx(5)
    ratio = np.mean([1, 1 / 2, 1 / 3, 1 / 4])
    assert effective_folds([(10, 10), (20, 10), (30, 10), (40, 10)]) == pytest.approx(1 + 1 / ratio)


@pytest.mark.parametrize(
    ("values", "interval"),
    [([0.5], None), ([0.5, None], None), ([0.9, 0.9, 0.9], None), ([0.7, 0.99], [0.0, 1.0])],
)
def test_the_conservative_interval_is_cut_to_what_a_score_can_be(values, interval):
    table = predictions(40, 2, num_folds=2)
    found = summarise([{"accuracy": value} for value in values], table, scorer_of(2), seed=0)["accuracy"]
    assert found["conservative_interval"] == interval
    assert found["headline"] == "both"


def test_ranges_other_than_from_0_to_1_are_kept():
    table = predictions(40, 2, num_folds=2)
    folds = [{"mcc": -0.6, "log_loss": 0.2}, {"mcc": 0.4, "log_loss": 3.0}]
    found = summarise(folds, table, scorer_of(2), seed=0)
    assert found["mcc"]["conservative_interval"] == [-1, 1]
    low, high = found["log_loss"]["conservative_interval"]
    assert low == 0
    assert high == pytest.approx(corrected_resampled_t([0.2, 3.0], 2).interval[1])


@pytest.mark.parametrize("name", ["accuracy", "roc_auc", "log_loss"])
def test_one_score_alone_is_the_same_as_among_all(name):
    table = predictions(60, 3, num_repeats=2)
    weights = np.random.default_rng(0).integers(0, 3, (5, 120)).astype(float)
    alone, among = scorer_of(3).resampler(table, [name])(weights), scorer_of(3).resampler(table)(weights)
    assert list(alone) == [name]
    np.testing.assert_array_equal(alone[name], among[name])


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
    assert (rows["unit"], groups["unit"]) == ("row", "group")
    assert groups["interval_kind"] == "bootstrap over out-of-fold groups, within folds"
    assert np.ptp(groups["interval"]) > 2 * np.ptp(rows["interval"])


def test_a_row_is_drawn_as_often_in_every_repeat():
    # Were its repeats drawn apart, the interval would shrink as if they were new rows.
    single = predictions(300, 2, num_folds=3)
    again = single.set_column(1, "repeat", pa.array([1] * 300, pa.int32()))
    once = summarise([], single, scorer_of(2), seed=0)["accuracy"]["interval"]
    twice = summarise([], pa.concat_tables([single, again]), scorer_of(2), seed=0)["accuracy"]["interval"]
    assert twice == pytest.approx(once)


def test_chunks_do_not_change_resampled_scores(monkeypatch):
    table = predictions(50, 3)
    weights = np.random.default_rng(0).integers(0, 3, (20, 50))
    whole = scorer_of(3).resampled(table, weights)
    monkeypatch.setattr(scorers, "CHUNK", 150)
    for name, values in scorer_of(3).resampled(table, weights).items():
        np.testing.assert_allclose(values, whole[name])


@pytest.mark.parametrize(("num_rows", "num_classes", "num_resamples"), [(1500, 1000, 20), (20_000, 2, 1000)])
def test_many_classes_or_rows_fit_in_memory(num_rows, num_classes, num_resamples):
    table = predictions(num_rows, num_classes)
    weights = np.ones((num_resamples, num_rows), dtype=np.int8)
    tracemalloc.start()
    scorer_of(num_classes).resampled(table, weights)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500e6


def change(name, values):
    return lambda table: table.set_column(table.column_names.index(name), name, pa.array(values))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change("label", [0, 1, -100, 0]), "label holds -100; 1 of 4 entries are out of range"),
        (change("prediction", [0, 1, 2, 0]), r"prediction holds 2; .* Class ids go from 0 to 1"),
        (change("prediction", [0.0, 1.0, 0.0, 0.0]), r"prediction must be class ids, .*, got 0\.0"),
        (change("label", [0, 1, None, 0]), "Column 'label' of the predictions has 1 empty entries"),
        (change("logits", [[0.0, 1.0]] * 3 + [[float("nan"), 1.0]]), r"logits holds \[nan, 1\.0\] in row 3"),
        (change("logits", [[0.0] * 3] * 4), r"'logits' has \[3\] entries a row, expected 2: one for each"),
        (change("logits", [[0.0] * 2] * 3 + [[0.0]]), r"'logits' has \[2, 1\] entries a row"),
        (lambda table: table.drop_columns("label"), "No column 'label' in the predictions; they have row_id"),
        (change("row_id", [0, 1, 1, 2]), "1 of 4 predictions are for a row that has one already"),
    ],
)  # fmt: skip
def test_wrong_predictions_are_refused(spoil, message):
    with pytest.raises(DataError, match=message):
        scorer_of(2).pooled(spoil(predictions(4, 2, num_folds=1)))


@pytest.mark.parametrize(
    ("labels", "guessed", "message"),
    [
        (["B-ORG"], ["O"], r"The predictions hold \['B-ORG'\]; label_names has O, B-PER"),
        (["I-PER"], ["O"], "references hold 'I-PER' after 'O' in row 0"),
        (["O"], ["O", "O"], "as many entries in each column of row 0"),
        (["O"], ["PER"], "predictions hold 'PER'"),
    ],
)
def test_wrong_tags_are_refused(labels, guessed, message):
    table = pa.table(
        {"row_id": [0], "repeat": [0], "fold": [0], "labels": [labels], "predictions": [guessed]}
    )
    with pytest.raises(DataError, match=message):
        TaggingScorer(TAGS).score(table)


def test_several_folds_are_not_scored_as_one():
    with pytest.raises(DataError, match=r"one fold, got 5 folds\. Use score_folds\(\) or pooled\(\)"):
        scorer_of(2).score(predictions(20, 2))


def test_rows_without_folds_are_scored():
    table = predictions(20, 2)
    assert scorer_of(2).score(table.drop_columns(["repeat", "fold"]))["accuracy"] > 0.5


@pytest.mark.parametrize("weights", [np.ones(4), np.ones((2, 3))])
def test_weights_have_a_column_for_each_row(weights):
    with pytest.raises(DataError, match=r"Expected weights of shape \(b, 4\), got"):
        scorer_of(2).resampled(predictions(4, 2), weights)


@pytest.mark.parametrize("names", [[], ["one"], ["a", "a"]])
def test_label_names_are_two_or_more_different_ones(names):
    with pytest.raises(ConfigError, match="label_names must be two or more different names, got"):
        ClassificationScorer(names)


def test_tags_that_are_no_iob2_are_refused_as_label_names():
    with pytest.raises(ConfigError, match="label_names must be O, B-type and I-type, got O, PER"):
        TaggingScorer(["O", "PER"])


def test_scoring_a_table_never_warns():
    table = predictions(12, 6, num_folds=6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summarise(list(score_folds(table, scorer_of(6)).values()), table, scorer_of(6), seed=0)


def test_recomputing_from_a_file_imports_no_torch(tmp_path):
    pq.write_table(predictions(40, 2), tmp_path / "classes.parquet")
    pq.write_table(tagged(40), tmp_path / "tags.parquet")
    code = f"""
import sys
import pyarrow.parquet as pq
from hf_transfer.scores.scorer import ClassificationScorer, TaggingScorer, score_folds, summarise
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
