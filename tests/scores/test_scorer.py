import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_tables import TAGS, predictions, scorer_of, tagged
from sklearn import metrics as sk

from hf_transfer.errors import ConfigError, DataError
from hf_transfer.scores import metrics
from hf_transfer.scores import scorer as scorers
from hf_transfer.scores.class_scorer import ClassificationScorer
from hf_transfer.scores.over_folds import score_folds, summarise
from hf_transfer.scores.scorer import ClassScores
from hf_transfer.scores.tag_scorer import TaggingScorer


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
    first, second = (summarise([], rows, scorer, seed=0)["accuracy"].interval for rows in (table, shuffled))
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
        ClassScores("neg", precision=1.0, recall=0.5, f1=pytest.approx(2 / 3), support=2),
        ClassScores("pos", precision=pytest.approx(2 / 3), recall=1.0, f1=pytest.approx(0.8), support=2),
        ClassScores("mixed", precision=None, recall=None, f1=None, support=0),
    ]


def test_entity_types_are_listed_with_their_support():
    table = tagged(40, num_repeats=2)
    scorer = TaggingScorer(TAGS)
    rows = scorer.per_class(table)
    true = [tag for row in table.slice(0, 40)["labels"].to_pylist() for tag in row]
    assert [(row.label, row.support) for row in rows] == [
        ("PER", true.count("B-PER")),
        ("LOC", true.count("B-LOC")),
    ]
    assert scorer.confusion(table) is None
    assert 0 < rows[0].f1 < 1


def test_a_support_is_that_of_one_repeat():
    table = predictions(50, 2, num_repeats=3)
    assert sum(row.support for row in scorer_of(2).per_class(table)) == 50


@pytest.mark.parametrize("name", ["accuracy", "roc_auc", "log_loss"])
def test_one_score_alone_is_the_same_as_among_all(name):
    table = predictions(60, 3, num_repeats=2)
    weights = np.random.default_rng(0).integers(0, 3, (5, 120)).astype(float)
    alone, among = scorer_of(3).resampler(table, [name])(weights), scorer_of(3).resampler(table)(weights)
    assert list(alone) == [name]
    np.testing.assert_array_equal(alone[name], among[name])


def test_a_row_is_drawn_as_often_in_every_repeat():
    # Were its repeats drawn apart, the interval would shrink as if they were new rows.
    single = predictions(300, 2, num_folds=3)
    again = single.set_column(1, "repeat", pa.array([1] * 300, pa.int32()))
    once = summarise([], single, scorer_of(2), seed=0)["accuracy"].interval
    twice = summarise([], pa.concat_tables([single, again]), scorer_of(2), seed=0)["accuracy"].interval
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
