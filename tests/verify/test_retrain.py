"""Folds that are trained again give the stored predictions, and invented ones do not."""

import json
import shutil
from pathlib import Path

import pytest
from small_runs import edit, edit_rows, make_run

from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError, VerificationError
from hf_transfer.verify.verify_run import verify_run


@pytest.fixture(
    scope="module",
    params=["text", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("pictures", "groups"))],
)
def run(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    return make_run(request.param, folder, sealed=0.2 * (request.param == "pictures"), card=False)


def again(run: Path, **how):
    (check,) = [check for check in verify_run(run, **how) if check.name == "trained again"]
    return check


def test_an_honest_run_gives_the_same_again(run):
    check = again(run, retrain=2, seed=1)
    assert check.state == "ok", check
    assert check.found.startswith("folds r0f")


def test_the_reader_s_seed_draws_the_folds(run):
    drawn = {again(run, retrain=1, seed=seed).found.split("drawn")[0] for seed in (0, 2)}
    assert len(drawn) > 1


@pytest.fixture
def copy(tmp_path_factory, tmp_path) -> Path:
    made = make_run("text", tmp_path_factory.mktemp("text"), card=False)
    return Path(shutil.copytree(made, tmp_path / "copy"))


def better(rows):
    for row in rows:
        row["prediction"] = row["label"]
        row["logits"] = [5.0 * (row["label"] == i) for i in range(len(row["logits"]))]


def test_invented_predictions_are_found(copy):
    edit_rows(copy, better)
    check = again(copy, retrain=1, seed=0)
    assert check.state == "wrong"
    assert "accuracy stored 1.0000, again 0." in check.differences[0]


def test_elsewhere_the_shares_are_told_and_not_judged(copy):
    edit(copy, lambda values: values["versions"].update(torch="1.0"))
    check = again(copy, retrain=1, seed=0)
    assert check.state == "not checked"
    assert "torch 1.0, here" in check.found
    assert "100.0% of the predictions agree" in check.found


def test_other_data_are_refused(copy):
    edit(copy, lambda values: values["dataset"].update(fingerprint="0" * 64))
    with pytest.raises(VerificationError, match="fingerprint of the rows: 0000"):
        again(copy, retrain=1)


def test_no_number_of_folds_is_refused(copy):
    with pytest.raises(ConfigError, match="retrain=-1: give the number"):
        verify_run(copy, retrain=-1)


def test_from_the_command_line(copy, capsys):
    assert main(["verify", str(copy), "--retrain", "1", "--seed", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[-1]["state"] == "ok"
