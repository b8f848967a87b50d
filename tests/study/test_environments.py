"""A run that goes on elsewhere says so, and is refused where that changes bits."""

import json

import pytest
import torch
from small_runs import KINDS, plain_config

from hf_transfer import cross_validate, open_dataset
from hf_transfer.errors import ConfigError


@pytest.fixture
def threads():
    """Set another number of threads, and the old one afterwards."""
    before = torch.get_num_threads()
    yield lambda: torch.set_num_threads(before + 1)
    torch.set_num_threads(before)


def run(folder, **changes):
    task, settings = KINDS["pictures"]
    config = plain_config(**settings | {"final": "none"} | changes, output_dir=str(folder))
    data = open_dataset(config, task)
    return cross_validate(task(config, data.target), data, config).results


def lose_a_fold(folder) -> None:
    """Leave a run as one that was killed in its second fold."""
    (folder / "folds" / "r0f1" / "done.json").unlink()
    (folder / "results.json").unlink()


def test_each_fold_says_what_it_was_trained_with(tmp_path):
    results = run(tmp_path / "run")
    assert {fold.environment.threads for fold in results.folds} == {torch.get_num_threads()}
    assert {fold.environment.torch_version for fold in results.folds} == {torch.__version__}
    assert not [note for note in results.notes if "Not all folds" in note]


def test_another_number_of_threads_is_refused(tmp_path, threads):
    run(tmp_path / "run")
    lose_a_fold(tmp_path / "run")
    number = torch.get_num_threads()
    threads()
    with pytest.raises(ConfigError, match=rf"OMP_NUM_THREADS={number} .*--mixed_environments"):
        run(tmp_path / "run")
    results = run(tmp_path / "run", mixed_environments=True)
    (note,) = [note for note in results.notes if "Not all folds were trained with the same" in note]
    assert f"threads {number} (1 fold), {number + 1} (1 fold)" in note


@pytest.mark.slow
def test_a_finished_run_is_read_with_any_number_of_threads(tmp_path, threads):
    before = run(tmp_path / "run")
    threads()
    assert run(tmp_path / "run").scores == before.scores


@pytest.mark.slow
def test_another_version_is_told(tmp_path):
    run(tmp_path / "run")
    lose_a_fold(tmp_path / "run")
    path = tmp_path / "run" / "folds" / "r0f0" / "done.json"
    kept = json.loads(path.read_text())
    kept["environment"] |= {"torch_version": "2.0.0", "kit_version": "0.0.9"}
    del kept["digest"]  # as of an earlier version, which kept none
    path.write_text(json.dumps(kept))
    (note,) = [note for note in run(tmp_path / "run").notes if "Not all folds" in note]
    assert "torch_version 2.0.0 (1 fold)" in note
    assert "kit_version 0.0.9 (1 fold)" in note
