"""Pipes and links where a run's files are: nothing waits for ever, and nothing is written elsewhere."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from kill_points import ended, in_child
from small_runs import make_run, plain_config, wrong

from hf_transfer import RunConfig, open_dataset
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.machine.files import write_json
from hf_transfer.runs.run_folder import RunFolder
from hf_transfer.study.final import export
from hf_transfer.verify.verify_run import verify_run

SECONDS = 20


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_run("pictures", tmp_path_factory.mktemp("runs"), card=False, final="refit")


@pytest.fixture
def run(made, tmp_path) -> Path:
    shutil.copytree(made, tmp_path / "pictures")
    return tmp_path / "pictures"


@pytest.fixture(autouse=True)
def in_time(made):
    """Nothing here may wait for what never comes."""

    def late(*_):
        raise TimeoutError(f"not done after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe_at(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "name",
    ["predictions.parquet", "folds.parquet", "config.yaml", "folds/r0f0/done.json",
     "folds/r0f0/history.jsonl", "folds/r0f1/predictions.parquet", "final/done.json", "model/config.json",
     "model/model.safetensors"],
)  # fmt: skip
def test_verify_does_not_wait_for_a_pipe(run, name):
    pipe_at(run / name)
    assert {check.state for check in verify_run(run)} - {"ok"}


@pytest.mark.parametrize(
    "name", ["done.json", "history.jsonl", "predictions.parquet", "train_predictions.parquet"]
)
def test_a_fold_with_a_pipe_in_it_is_trained_again(run, name, capsys):
    pipe_at(run / "folds" / "r0f1" / name)
    folder = RunFolder(run)
    assert folder.finished("r0f1", "") is None
    said = capsys.readouterr().err
    assert ("Fold r0f1 is trained again" in said) is (
        name != "done.json"
    )  # which then is as if never written


def test_a_pipe_for_results_is_no_run(run):
    pipe_at(run / "results.json")
    with pytest.raises(ConfigError, match="holds no finished run"):
        verify_run(run)


def test_a_pipe_for_a_sound_is_told(tmp_path):
    for label in ("a", "b"):
        (tmp_path / "sounds" / label).mkdir(parents=True)
        for number in range(3):
            os.mkfifo(tmp_path / "sounds" / label / f"{number}.wav")
    config = RunConfig(dataset=str(tmp_path / "sounds"))
    with pytest.raises(DataError, match="it is a pipe, not a file"):
        open_dataset(config, "audio")


def test_a_run_is_verified_through_a_link_to_its_folder(run, tmp_path):
    (tmp_path / "link").symlink_to(run)
    assert wrong(tmp_path / "link") == ""


@pytest.mark.parametrize("name", ["onnx", "plots"])
def test_an_export_does_not_write_through_a_link(run, tmp_path, monkeypatch, name):
    monkeypatch.setattr(export, "_require", lambda: None)
    (tmp_path / "mine").mkdir()
    (run / name).symlink_to(tmp_path / "mine")
    with pytest.raises(
        ConfigError, match=f"{name} is a link to .*mine, and a run writes only inside its own"
    ):
        export.export_onnx(run)
    assert not list((tmp_path / "mine").iterdir())


def test_a_run_that_was_killed_with_the_lock_in_its_hand_goes_on(tmp_path, capsys):
    config = plain_config(
        base_model="builtin:tiny-bert", dataset="builtin:reviews", output_dir=str(tmp_path / "run")
    )

    def work():
        with RunFolder(config.output_dir).held(config):
            write_json(tmp_path / "run" / "half.json", {})
            os.kill(os.getpid(), signal.SIGKILL)

    child = in_child(work, tmp_path / "log")
    assert ended(child) == -signal.SIGKILL
    with RunFolder(config.output_dir).held(config):
        assert f"Going on with the run of process {child} " in capsys.readouterr().err
