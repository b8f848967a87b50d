import gc
import pickle
import tempfile
import threading
from pathlib import Path

import datasets
import evaluate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.errors import ConfigError, DataError, HubError
from hf_transfer.scores import evaluate_modules

LABELS = range(4)


NAMES = ["Accuracy", "BalancedAccuracy", "MatthewsCorrelation"]


ids = st.integers(0, 3)


pairs = st.lists(st.tuples(ids, ids), min_size=1, max_size=40)


def make(name):
    metric = getattr(evaluate_modules, name)
    return metric(labels=LABELS) if name in {"Precision", "Recall", "F1", "ConfusionMatrix"} else metric()


def columns(rows):
    references, predictions = zip(*rows, strict=True)
    return {"references": list(references), "predictions": list(predictions)}


@settings(max_examples=10, deadline=None)
@given(pairs, st.randoms(use_true_random=False), st.integers(1, 5))
def test_order_and_batches_do_not_change_a_score(rows, random, size):
    shuffled = random.sample(rows, len(rows))
    for name in [*NAMES, "F1"]:
        metric = make(name)
        for start in range(0, len(rows), size):
            metric.add_batch(**columns(shuffled[start : start + size]))
        assert metric.compute() == pytest.approx(make(name).compute(**columns(rows)))


def test_rows_can_be_added_one_by_one():
    metric = make("Accuracy")
    for reference, prediction in [(0, 0), (1, 0)]:
        metric.add(reference=reference, prediction=prediction)
    assert metric.compute() == {"accuracy": 0.5}
    assert metric.compute(references=[1], predictions=[1]) == {"accuracy": 1.0}


def test_modules_combine_without_sharing_options_or_names():
    together = evaluate.combine(
        [
            evaluate_modules.Accuracy(),
            *(evaluate_modules.F1(labels=range(2), average=kind) for kind in ("macro", "micro")),
            evaluate_modules.RocAuc(),
        ]
    )
    rows = {
        "references": [0, 1, 1],
        "predictions": [0, 1, 0],
        "prediction_scores": [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]],
    }
    expected = {"accuracy": 2 / 3, "f1_macro": 2 / 3, "f1_micro": 2 / 3, "roc_auc": 1.0}
    assert together.compute(**rows) == pytest.approx(expected)
    together.add_batch(**rows)
    assert together.compute() == pytest.approx(expected)


def test_every_module_is_an_evaluate_metric_that_documents_itself():
    for name in evaluate_modules._MODULES:
        metric = make(name)
        assert isinstance(metric, evaluate.Metric)
        assert isinstance(metric, evaluate_modules.KitMetric)
        assert metric.description.startswith(("Compute", "Count", "Score"))
        assert pickle.loads(pickle.dumps(type(metric))) is type(metric)


def test_scores_are_plain_floats_or_none():
    for name in [*NAMES, "F1", "Precision", "Recall"]:
        for value in make(name).compute(references=[0, 1, 1], predictions=[0, 1, 0]).values():
            assert type(value) is float


def test_an_absent_class_is_left_out_and_an_invented_one_counts_as_zero():
    assert evaluate_modules.F1(labels=LABELS).compute(references=[0, 1], predictions=[0, 1]) == {
        "f1_macro": 1.0
    }
    found = evaluate_modules.F1(labels=LABELS).compute(references=[0, 0, 0], predictions=[0, 0, 1])
    assert found == {"f1_macro": pytest.approx((0.8 + 0) / 2)}


@pytest.mark.parametrize(
    ("name", "rows", "expected"),
    [
        ("RocAuc", {"references": [1, 1], "prediction_scores": [0.2, 0.7]}, {"roc_auc": None}),
        ("MatthewsCorrelation", {"references": [1, 1], "predictions": [0, 1]}, {"mcc": None}),
        ("MatthewsCorrelation", {"references": [0, 1], "predictions": [1, 1]}, {"mcc": None}),
        (
            "SeqEval",
            {"references": [["O"]], "predictions": [["O"]]},
            {"precision": None, "recall": None, "f1": None, "accuracy": 1.0, "entities": {}},
        ),
    ],
)
def test_an_undefined_score_is_none(name, rows, expected):
    assert make(name).compute(**rows) == expected


def test_a_curve_needs_the_class_and_another_one():
    scores = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1]])
    assert evaluate_modules.RocAuc().compute(references=[0, 1, 1], prediction_scores=scores) == {
        "roc_auc": 1.0
    }


def test_small_differences_of_scores_count():
    scores = 0.5 + 1e-9 * np.array([0, 1, 2, 3])
    found = evaluate_modules.RocAuc().compute(references=[0, 0, 1, 1], prediction_scores=scores)
    assert found == {"roc_auc": 1.0}


def test_a_sure_error_costs_more_than_the_clipped_36():
    surely_wrong = np.array([[1.0, 1e-100]])
    found = evaluate_modules.LogLoss().compute(references=[1], prediction_scores=surely_wrong)["log_loss"]
    assert found == pytest.approx(100 * np.log(10))


@pytest.mark.parametrize(
    ("name", "rows", "expected"),
    [
        ("MeanAbsoluteError", {"references": [0.0, 1], "predictions": [1.5, 1]}, {"mae": 0.75}),
        ("RootMeanSquaredError", {"references": [0.0, 0], "predictions": [1, 7]}, {"rmse": 5.0}),
        ("RSquared", {"references": [1, 3], "predictions": [1, 2]}, {"r_squared": 0.5}),
        ("Pearson", {"references": [1, 2, 3], "predictions": [3, 2, 1]}, {"pearsonr": -1.0}),
        ("Spearman", {"references": [1, 2, 30], "predictions": [1, 2, 3]}, {"spearmanr": 1.0}),
        ("SetF1", {"references": [[1, 0], [0, 0]], "predictions": [[1, 1], [0, 0]]}, {"f1_micro": 2 / 3}),
        ("HammingLoss", {"references": [[1, 0]], "predictions": [[1, 1]]}, {"hamming_loss": 0.5}),
        ("ExactMatch", {"references": [[1], [0]], "predictions": [[1], [1]]}, {"exact_match": 0.5}),
        (
            "AveragePrecision",
            {"references": [[1, 0], [0, 0]], "prediction_scores": [[0.2, 0.1], [0.9, 0.3]]},
            {"average_precision": 0.5},
        ),
        (
            "SetRocAuc",
            {"references": [[1, 0], [0, 0]], "prediction_scores": [[0.2, 0.1], [0.9, 0.3]]},
            {"roc_auc": 0.0},
        ),
    ],
)
def test_numbers_and_sets_of_labels_have_modules_of_their_own(name, rows, expected):
    assert make(name).compute(**rows) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "predictions", "message"),
    [
        ("RSquared", [0.5, None], "predictions must be numbers, one a row, got object"),
        ("RSquared", [[0.5], [1]], r"predictions must be numbers, one a row, got float64 of shape \(2, 1\)"),
        ("SetF1", [[0.5], [1]], "predictions must be 0 or 1 for each row and label, got float64"),
        ("SetF1", [[1], [1, 0]], "predictions has rows of different length"),
    ],
)
def test_what_is_neither_numbers_nor_sets_is_refused(name, predictions, message):
    with pytest.raises(DataError, match=message):
        make(name).compute(references=[[1], [0]] if name == "SetF1" else [1, 0], predictions=predictions)


@pytest.mark.parametrize("name", ["Accuracy", "F1", "ConfusionMatrix"])
@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (
            [0.9, 0.2],
            r"predictions must be class ids, whole numbers from 0, got 0\.9\. Of probabilities pass",
        ),
        (["1", "0"], "predictions must be class ids, whole numbers from 0, got '1'"),
        ([True, False], "whole numbers from 0, got True"),
        ([True, 0], "whole numbers from 0, got True"),
        ([0, None], "whole numbers from 0, got None"),
        ([0, float("nan")], "whole numbers from 0, got nan"),
        ([0, -100], "predictions holds -100; 1 of 2 entries are out of range"),
        (
            [[0.1, 0.9], [0.9, 0.1]],
            r"got an array of shape \(2, 2\)\. Of logits or probabilities pass the argmax",
        ),
        ([[0], [0, 1]], "predictions has rows of different length"),
        (None, "predictions is missing"),
        ([0], r"as many entries in each column of the batch, got \{'predictions': 1, 'references': 2\}"),
    ],
)
def test_what_is_no_class_id_is_refused(name, predictions, message):
    with pytest.raises(DataError, match=message):
        make(name).compute(references=[0, 1], predictions=predictions)


def test_ignored_positions_in_references_are_refused():
    with pytest.raises(DataError, match=r"references holds -100; .* Drop what is not to be scored"):
        make("Accuracy").compute(references=[0, -100], predictions=[0, 0])


def test_an_id_outside_the_fixed_labels_is_refused():
    with pytest.raises(DataError, match=r"references holds 7; .* Class ids go from 0 to 3"):
        make("F1").compute(references=[0, 7], predictions=[0, 0])


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[0.1, float("nan")]], r"prediction_scores holds \[0\.1, nan\] in row 0"),
        ([["a", "b"]], "must be numbers, one a row and class, got <U1"),
        ([[True, False]], "must be numbers, one a row and class, got bool"),
        (None, "prediction_scores is missing"),
    ],
)
def test_what_is_no_score_is_refused(scores, message):
    with pytest.raises(DataError, match=message):
        evaluate_modules.RocAuc().compute(references=[0], prediction_scores=scores)


@pytest.mark.parametrize("scores", [[[2.0, -1.0]], [[0.5, 0.2]]])
def test_the_log_loss_of_logits_is_refused(scores):
    with pytest.raises(DataError, match=r"must be probabilities that add up to 1 in each row"):
        evaluate_modules.LogLoss().compute(references=[0], prediction_scores=scores)


@pytest.mark.parametrize(
    ("references", "predictions", "message"),
    [
        ([["B-PER"]], [["PER"]], r"predictions hold 'PER'\. Tags are O, B-type or I-type"),
        ([["O"]], [[0]], "predictions hold '0'"),
        ([["S-PER"]], [["O"]], "references hold 'S-PER'"),
        ([["O", "I-PER"]], [["O", "O"]], "references hold 'I-PER' after 'O' in row 0"),
        ([["B-LOC", "I-PER"]], [["O", "O"]], "references hold 'I-PER' after 'B-LOC' in row 0"),
        ([["O"]], ["O"], "predictions must be a list of tags a row"),
        ([["O", "O"]], [["O"]], r"each column of row 0, got \{'references': 2, 'predictions': 1\}"),
        ([["O"], ["O"]], [["O"]], "each column of the batch"),
    ],
)
def test_what_is_no_iob2_is_refused(references, predictions, message):
    with pytest.raises(DataError, match=message):
        evaluate_modules.SeqEval().compute(references=references, predictions=predictions)


def test_a_predicted_inside_without_a_beginning_is_no_entity():
    found = evaluate_modules.SeqEval().compute(references=[["B-PER", "O"]], predictions=[["I-PER", "O"]])
    assert (found["precision"], found["recall"], found["f1"]) == (None, 0.0, 0.0)


def test_nothing_to_score_is_refused():
    metric = make("Accuracy")
    with pytest.raises(DataError, match="Accuracy was given no rows"):
        metric.compute()
    metric.add_batch(references=[], predictions=[])
    with pytest.raises(DataError, match="Accuracy was given no rows"):
        metric.compute()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("F1", {}, r"F1 takes \['average', 'labels'\] and needs \['labels'\], got \[\]"),
        ("Accuracy", {"average": "macro"}, r"Accuracy takes no options and needs none, got \['average'\]"),
        ("F1", {"labels": LABELS, "average": "binary"}, "average must be one of .*, got 'binary'"),
    ],
)
def test_unknown_options_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        getattr(evaluate_modules, name)(**options)


def test_options_at_compute_are_refused():
    with pytest.raises(ConfigError, match=r"Options belong to F1\(…\), not to compute\(\): \['average'\]"):
        make("F1").compute(references=[0], predictions=[0], average="micro")


def test_a_refused_batch_leaves_the_metric_usable():
    metric = make("Accuracy")
    metric.add_batch(references=[0], predictions=[0])
    with pytest.raises(DataError, match=r"got 0\.5"):
        metric.add_batch(references=[0], predictions=[0.5])
    assert metric.compute() == {"accuracy": 1.0}


def test_nothing_stays_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tmp").mkdir()
    metric = make("Accuracy")
    metric.compute(references=[0], predictions=[0])
    gc.disable()  # the folder goes with the last reference, not with a collection some time later
    try:
        del metric
    finally:
        gc.enable()
    assert [path for path in tmp_path.rglob("*") if path.name != "tmp"] == []


def test_several_instances_live_side_by_side_and_none_waits_for_a_lock():
    alive = [make("Accuracy") for _ in range(5)]
    for i, metric in enumerate(alive):
        metric.add_batch(references=[0, 0, 0, 0, 0], predictions=[0] * i + [1] * (5 - i))
    assert [metric.compute()["accuracy"] for metric in alive] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert len({metric.experiment_id for metric in alive}) == 5
    assert all(metric.filelock is None for metric in alive)  # for which a second one would wait a second


def test_threads_have_their_own_instances():
    found = {}

    def work(i):
        found[i] = make("Accuracy").compute(references=[0] * 8, predictions=[0] * i + [1] * (8 - i))[
            "accuracy"
        ]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: i / 8 for i in range(8)}


def test_features_are_as_wide_as_the_numbers():
    dtypes = {value.dtype for value in make("Accuracy").features.values()}
    assert dtypes == {"int64"}
    assert make("RocAuc").features["prediction_scores"] == datasets.List(datasets.Value("float64"))


@pytest.mark.parametrize("name", ["../accuracy", "/tmp/x", "a/b/c", "a..b", "~x", ""])
def test_a_path_is_no_hub_metric(name):
    with pytest.raises(ConfigError, match="is not the name of a metric on the Hub"):
        evaluate_modules.hub_metric(name)


@pytest.mark.parametrize("name", ["accuracy", "owner/thing"])
def test_a_local_folder_of_that_name_is_not_run(name, tmp_path, monkeypatch):
    script = tmp_path / name / f"{Path(name).name}.py"
    script.parent.mkdir(parents=True)
    script.write_text("raise SystemExit('this code was run')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=f"'{name}' is also a path in .*, and evaluate would run the code"):
        evaluate_modules.hub_metric(name)


def test_no_network_is_said_in_words(monkeypatch, tmp_path):
    def unreachable(name, **options):
        raise FileNotFoundError("Couldn't find a module script")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "load", unreachable)
    with pytest.raises(
        HubError, match="The metric 'bleu' could not be fetched: the Hub has none of that name"
    ):
        evaluate_modules.hub_metric("bleu")


def test_a_package_that_a_hub_metric_needs_is_named(monkeypatch, tmp_path):
    def missing(name, **options):
        raise ImportError("No module named 'jiwer'")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "load", missing)
    with pytest.raises(
        ConfigError, match="'wer' needs a package that is not installed: No module named 'jiwer'"
    ):
        evaluate_modules.hub_metric("wer")


def test_a_hub_metric_keeps_its_rows_to_itself(monkeypatch, tmp_path):
    asked = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "load", lambda name, **options: asked.append(options))
    evaluate_modules.hub_metric("bleu", revision="v1")
    evaluate_modules.hub_metric("bleu")
    assert asked[0]["revision"] == "v1"
    assert all(options["keep_in_memory"] for options in asked)
    assert asked[0]["experiment_id"] != asked[1]["experiment_id"]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(
        AttributeError, match=r"module 'hf_transfer\.scores\.evaluate_modules' has no attribute"
    ):
        _ = evaluate_modules.Acuracy
