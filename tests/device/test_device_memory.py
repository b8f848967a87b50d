"""Memory of a device that ends, and the scale of fp16: whole runs on the pretend GPU."""

import re

import pytest

RUN = {
    "base_model": "builtin:tiny-bert", "dataset": "builtin:reviews", "max_rows": 60, "num_folds": 3,
    "num_epochs": 1, "batch_size": 32, "learning_rate": 1e-3, "max_length": 48, "trainable": "all",
    "final": "none",
}  # fmt: skip
IMAGES = {"base_model": "builtin:digits-resnet", "dataset": "builtin:digits_5to9", "max_length": None}


def run(folder, **settings):
    """Cross-validate; what became of each fold, notes, logits, and the most memory that was in use."""
    import datasets
    import torch
    from small_runs import plain_config

    from hf_transfer import ImageClassification, SequenceClassification, cross_validate, open_dataset

    datasets.config.HF_DATASETS_CACHE = f"{folder}/cache"
    torch.accelerator.reset_peak_memory_stats()
    config = plain_config(**(RUN | {"output_dir": f"{folder}/run"} | settings))
    kind = ImageClassification if "digits" in config.dataset else SequenceClassification
    data = open_dataset(config, kind)
    result = cross_validate(kind(config, data.label_names), data, config)
    rows = sorted(result.predictions.to_pylist(), key=lambda row: (row["fold"], str(row["row_id"])))
    return {
        "status": [fold.status for fold in result.folds],
        "notes": [*result.results.notes, *(note for fold in result.folds for note in fold.notes)],
        "logits": {str(f): [n for row in rows if row["fold"] == f for n in row["logits"]] for f in range(3)},
        "peak": torch.accelerator.max_memory_allocated(),
    }


def assert_close(found, wanted):
    for fold, logits in wanted["logits"].items():
        assert found["logits"][fold] == pytest.approx(logits, abs=1e-5)


@pytest.mark.device
def test_rows_that_do_not_fit_together_learn_in_parts(device, tmp_path):
    """With moments and gradients beside them; equal to a run that took as few rows from the start."""
    most = device.call(run, str(tmp_path / "whole")).checked()["peak"]
    least = device.call(run, str(tmp_path / "least"), per_device_batch_size=1).checked()["peak"]
    assert most > 1.2 * least
    for share in (0.8, 0.4):
        limit, folder = int(least + share * (most - least)), tmp_path / str(share)
        found = device.call(run, str(folder / "short"), memory=limit).checked()
        assert found["status"] == ["done"] * 3
        (rows,) = {re.findall(r"from there on (\d+) rows?", note)[-1] for note in found["notes"][-1:]}
        small = device.call(run, str(folder / "small"), per_device_batch_size=int(rows)).checked()
        assert_close(found, small)


@pytest.mark.device
def test_frozen_layers_and_scores_are_computed_in_what_memory_there_is(device, tmp_path):
    settings = IMAGES | {"trainable": "head", "max_rows": 120}
    whole = device.call(run, str(tmp_path / "whole"), **settings).checked()
    outcomes = []
    for share in (0.8, 0.65, 0.5):  # the peak differs by a sixth: by time, frozen layers are kept or not
        limit = int(share * whole["peak"])
        found = device.call(run, str(tmp_path / str(share)), memory=limit, **settings)
        outcomes.append(found.error.partition(":")[0])
        if found.error:
            assert found.error.startswith(
                ("ShortOfMemoryError: Memory ran out", "RunError: Every fold failed")
            )
        else:
            assert any("emory ran out" in note for note in found.value["notes"])
            assert_close(found.value, whole)
    assert "" in outcomes


def starts(folder, failing):
    """Memory in use on the device as each fold starts, where the first ones fail in their way."""
    import torch

    from hf_transfer.study.fold_runner import FoldRunner
    from hf_transfer.training.loop import Loop

    begun, in_use, fold, loss = FoldRunner._run, [], [], Loop._loss

    def watched(self, unit):
        in_use.append(torch.accelerator.memory_allocated())
        fold[:] = [unit.fold]
        return begun(self, unit)

    def spoiled(self, batch):
        found = loss(self, batch)
        if fold == [2]:
            return found
        if failing == "memory":
            raise torch.OutOfMemoryError("npu out of memory. Tried.")
        return found * float("nan")

    FoldRunner._run, Loop._loss = watched, spoiled
    settings = {"mixed_precision": "fp16"} if failing == "nan in fp16" else {}
    return {"in_use": in_use, "status": run(folder, **settings)["status"]}


@pytest.mark.device
@pytest.mark.parametrize("failing", ["memory", "nan", "nan in fp16"])
def test_a_fold_that_failed_leaves_nothing_on_the_device(device, tmp_path, failing):
    found = device.call(starts, str(tmp_path), failing).checked()
    assert found["status"] == ["failed", "failed", "done"]
    first, *later = found["in_use"]
    assert all(bytes_in_use <= first + 1024 for bytes_in_use in later), found["in_use"]


def half(folder, schedule, overflows):
    """Cross-validate in fp16, where the gradients of the first fold may overflow."""
    import torch

    from hf_transfer.training.loop import Loop

    gradients = Loop._gradients

    def overflowing(self, batch, epoch):
        loss = gradients(self, batch, epoch)
        if overflows and self.job.title == "fold 1":
            next(p for p in self.model.parameters() if p.grad is not None).grad.fill_(torch.inf)
        return loss

    Loop._gradients = overflowing
    return run(folder, schedule=schedule, mixed_precision="fp16", num_epochs=2, batch_size=16)


@pytest.mark.device
@pytest.mark.parametrize("schedule", ["constant", "lp-ft"])
def test_a_fold_in_fp16_is_the_same_whatever_became_of_those_before(device, tmp_path, schedule):
    calm = device.call(half, str(tmp_path / "calm"), schedule, False).checked()
    wild = device.call(half, str(tmp_path / "wild"), schedule, True).checked()
    assert calm["status"] == wild["status"] == ["done"] * 3
    assert calm["logits"]["0"] != wild["logits"]["0"]
    for fold in ("1", "2"):
        assert calm["logits"][fold] == wild["logits"][fold]
