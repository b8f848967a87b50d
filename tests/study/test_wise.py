"""Averaged weights under folds: the share is chosen on training rows, and both ends stand beside."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_runs import edit, edit_rows, make_run, wrong

from hf_transfer.errors import ConfigError
from hf_transfer.report.card.card import card_text
from hf_transfer.runs.results import read_results
from hf_transfer.runs.summary import summary_text
from hf_transfer.runs.wise import ENDS, FOLDERS, START, TUNED
from hf_transfer.study.fold_runner import FoldRunner
from hf_transfer.verify.verify_run import verify_run

SMALL = {"trainable": "last:1", "num_folds": 2, "head_start": "auto", "max_rows": 30, "final": "none"}


def train(folder: Path, **settings) -> Path:
    folder.mkdir(exist_ok=True)
    return make_run("pictures", folder, card=False, **SMALL | settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("runs"), wise="auto", final="refit")


def rows(run: Path, folder: str = "") -> list[list[float]]:
    """The logits of all held-out rows, in the order of folds."""
    paths = sorted(run.glob(f"folds/{folder}/r0f*/predictions.parquet" if folder else "folds/r0f*/pred*"))
    return [logits for path in paths for logits in pq.read_table(path)["logits"].to_pylist()]


def test_each_fold_and_the_final_model_take_the_share_of_least_loss(run):
    results = read_results(run)
    for wise in [*(fold.wise for fold in results.folds), results.final.wise]:
        assert wise.tried == [0.0, 0.25, 0.5, 0.75, 1.0]
        assert wise.share == wise.tried[wise.losses.index(min(wise.losses))]


def test_the_share_is_chosen_by_training_rows_alone(tmp_path, monkeypatch):
    learned = []
    plain = FoldRunner.fit_plain

    def told(self, rows, seed, title, **options):
        learned.append((options["folder"], set(rows.tolist())))
        return plain(self, rows, seed, title, **options)

    monkeypatch.setattr(FoldRunner, "fit_plain", told)
    train(tmp_path / "a", wise="auto")
    whole = {path: rows for path, rows in learned if "inner" not in path.name}
    inner = [(path.parents[1], rows) for path, rows in learned if "inner" in path.name]
    assert len(whole) == 2
    assert len(inner) == 6
    assert all(rows < whole[fold] for fold, rows in inner)


@pytest.mark.parametrize(("share", "end"), [("1", TUNED), ("0", START)])
def test_at_an_end_the_predictions_are_those_of_the_end_to_the_bit(run, tmp_path, share, end):
    other = train(tmp_path / "a", wise=share)
    assert rows(other) == rows(other, FOLDERS[ENDS[end]]) == rows(run, FOLDERS[ENDS[end]])
    assert all(fold.wise.tried == [] for fold in read_results(other).folds)


def test_plain_fine_tuning_is_the_run_without_it(run, tmp_path):
    other = train(tmp_path / "a", head_start="probe")
    assert rows(other) == rows(run, FOLDERS[1])
    assert read_results(other).wise is None


def test_card_and_summary_tell_shares_and_the_comparison(run):
    results = read_results(run)
    card = card_text(run, results, "a run", list)
    assert "Is averaging with the pretrained weights worth it?" in card
    assert "Share of the fine-tuned weights" in card
    assert f"averaged with the start (share of the fine-tuned weights: {results.final.wise.share:g})" in card
    assert f"averaged weights: {results.wise.verdict}" in summary_text(results)
    wise = results.wise
    assert [pair.first for pair in (wise.against_start, wise.against_tuned)] == [START, TUNED]


@pytest.mark.slow
def test_it_is_verified_and_a_forged_end_is_found(run, tmp_path):
    (check,) = [check for check in verify_run(run) if check.name == "averaged weights"]
    assert check.state == "ok"
    assert wrong(run) == ""
    copy = train(tmp_path / "a", wise="0.5")
    edit(copy, lambda values: values["wise"]["means"][TUNED].update(mean=0.99))
    assert f"wise.means.{TUNED}.mean" in wrong(copy)
    edit_rows(
        copy, lambda rows: rows[0].update(logits=[9.0] * 5), "folds/wise-tuned/r0f0/predictions.parquet"
    )
    assert "folds/wise-tuned/r0f0" in wrong(copy)


def test_a_finished_run_is_not_trained_again(run, monkeypatch):
    monkeypatch.setattr(FoldRunner, "fit_plain", lambda *_, **__: pytest.fail("it was trained again"))
    before = read_results(run)
    train(run.parent, wise="auto", final="refit")
    assert read_results(run).wise == before.wise


def test_nothing_below_the_head_learns_by_patterns_either(tmp_path):
    with pytest.raises(ConfigError, match=r"trainable='timm_model\.fc\.\*' lets nothing learn there"):
        train(tmp_path / "a", wise="auto", trainable="timm_model.fc.*")
