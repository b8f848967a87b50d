"""What plain libraries load is compared in double precision where single precision leaves a doubt."""

import pytest
from safetensors.torch import load_file, save_file
from small_runs import make_run

from hf_transfer import RunConfig, open_dataset
from hf_transfer.study.final import reload
from hf_transfer.study.final.model_folder import task_in
from hf_transfer.tasks import task_of_kind


@pytest.mark.parametrize("kind", ["pictures", pytest.param("text", marks=pytest.mark.slow)])
def test_a_doubtful_difference_is_taken_again_in_double_precision(tmp_path, monkeypatch, kind):
    run = make_run(kind, tmp_path, card=False, final="refit", num_folds=2)
    config = RunConfig.load(run / "config.yaml")
    data = open_dataset(config, task_of_kind("text" if kind == "text" else "image"))
    task, values = data.task(config, data.target), data.rows["input"][:4]
    monkeypatch.setattr(reload, "MOST_DIFFERENCE", -1.0)  # nothing in single precision is near enough
    found = reload.reload_check(task, None, [run / "model"], values)
    assert found.error is None
    assert found.difference < 1e-12
    model = task_in(task, run / "model").build_model()
    path = run / "model" / "model.safetensors"
    weights = {
        name: tensor * (1 + 1e-4) for name, tensor in load_file(path).items() if tensor.is_floating_point()
    }
    save_file(load_file(path) | weights, path, {"format": "pt"})
    assert reload.reload_check(task, model, [run / "model"], values).difference > 1e-6
