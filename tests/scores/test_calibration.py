import numpy as np
import pyarrow as pa
import pytest

from hf_transfer.scores.calibration import calibrate
from hf_transfer.scores.class_scorer import ClassificationScorer
from hf_transfer.scores.statistics import apply_temperature, expected_calibration_error, fit_temperature
from hf_transfer.scores.tag_scorer import TaggingScorer

SCORER = ClassificationScorer(["a", "b", "c"])


def drawn(num_rows, factor=1.0, *, num_folds=5, num_repeats=1, seed=0):
    """Draw labels with the probabilities of logits, and give these logits times a factor."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(scale=1.5, size=(num_rows, 3))
    totals = apply_temperature(truth, 1).cumsum(axis=1)
    labels = (rng.random((num_rows, 1)) > totals[:, :-1]).sum(axis=1)
    parts = [
        pa.table(
            {
                "row_id": np.arange(num_rows),
                "repeat": np.full(num_rows, repeat, np.int32),
                "fold": (rng.permutation(num_rows) % num_folds).astype(np.int32),
                "label": labels,
                "prediction": truth.argmax(axis=1),
                "logits": pa.array(list((factor * truth).astype(np.float32))),
            }
        )
        for repeat in range(num_repeats)
    ]
    return pa.concat_tables(parts)


def test_models_that_are_too_sure_are_found_and_mended():
    found = calibrate(drawn(3000, 3.0), SCORER, seed=0)
    assert found.temperature == pytest.approx(3, rel=0.05)
    assert found.ece_before > 5 * found.floor_before
    assert found.ece_after < 1.5 * found.floor_after
    assert found.classwise_after < found.classwise_before / 3
    assert found.log_loss_after < found.log_loss_before


def test_models_that_are_right_about_themselves_stay_as_they_are():
    found = calibrate(drawn(3000), SCORER, seed=0)
    assert found.temperature == pytest.approx(1, rel=0.05)
    assert found.ece_before == pytest.approx(found.ece_after, abs=0.01)
    assert found.ece_before < 1.5 * found.floor_before


def test_what_helps_no_other_fold_is_not_published():
    # Each fold alone asks for a temperature that harms the other.
    table = drawn(2000, num_folds=2)
    factor = np.where(np.asarray(table["fold"]) == 1, 4.0, 0.25)
    logits = np.stack(table["logits"].to_pylist()) * factor[:, None]
    table = table.set_column(5, "logits", pa.array(list(logits.astype(np.float32))))
    found = calibrate(table, SCORER, seed=0)
    assert found.log_loss_after > found.log_loss_before
    assert found.temperature == 1.0 != fit_temperature(SCORER.logits(table), np.asarray(table["label"]))


def test_each_fold_takes_its_temperature_from_the_others():
    # One fold is far too sure of itself. Only the other fold may learn from that.
    table = drawn(2000, num_folds=2)
    fold, labels = np.asarray(table["fold"]), np.asarray(table["label"])
    logits = np.stack(table["logits"].to_pylist()) * np.where(fold == 1, 5.0, 1.0)[:, None]
    table = table.set_column(5, "logits", pa.array(list(logits.astype(np.float32))))
    logits = SCORER.logits(table)
    crossed = np.empty_like(logits)
    for one in (0, 1):
        temperature = fit_temperature(logits[fold != one], labels[fold != one])
        crossed[fold == one] = apply_temperature(logits[fold == one], temperature)
    found = calibrate(table, SCORER, seed=0)
    assert found.ece_after == pytest.approx(expected_calibration_error(crossed, labels))
    assert found.ece_after > 0.1


def test_a_row_of_another_repeat_teaches_nothing():
    table = drawn(400, num_repeats=2)
    spoiled = np.asarray(table["label"]).copy()
    spoiled[400:] = 2 - spoiled[400:]
    table = table.set_column(3, "label", pa.array(spoiled))
    both, *each = (calibrate(part, SCORER, seed=0) for part in (table, table.slice(0, 400), table.slice(400)))
    assert both.ece_after == pytest.approx(np.mean([one.ece_after for one in each]))


def test_the_order_of_rows_does_not_matter():
    table = drawn(200, 2.0)
    order = np.random.default_rng(1).permutation(200)
    straight, shuffled = calibrate(table, SCORER, seed=0), calibrate(table.take(order), SCORER, seed=0)
    for name in ("temperature", "ece_before", "ece_after", "classwise_before", "classwise_after"):
        assert getattr(shuffled, name) == pytest.approx(getattr(straight, name))


def test_bins_count_every_prediction_before_and_after():
    found = calibrate(drawn(150, num_repeats=2), SCORER, seed=0)
    assert [sum(line.count for line in found.bins[when]) for when in ("before", "after")] == [300, 300]
    assert found.num_bins == 15


def test_what_has_no_temperature_has_no_calibration():
    tags = pa.table({"row_id": [0], "repeat": [0], "fold": [0], "labels": [["O"]], "predictions": [["O"]]})
    assert calibrate(tags, TaggingScorer(["O", "B-X", "I-X"]), seed=0) is None
    table = drawn(40)
    assert calibrate(table.set_column(3, "label", pa.array([1] * 40)), SCORER, seed=0) is None
    assert calibrate(table.slice(0, 0), SCORER, seed=0) is None
    in_one_fold = table.set_column(2, "fold", pa.array([0] * 40, pa.int32()))
    assert calibrate(in_one_fold, SCORER, seed=0) is None  # no other fold to learn from
