import sys

import numpy as np
import pytest
from small_runs import make_run, plain_config

from hf_transfer import ImageTextClassification, cross_validate, open_dataset
from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError, RunError
from hf_transfer.study.final import export
from hf_transfer.study.final.predict import predict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run("text", tmp_path_factory.mktemp("export"), final="refit", num_folds=2, card=False)


def test_without_the_extra_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "onnx", sys)
    with pytest.raises(ConfigError, match=r"needs onnxruntime, .* pip install 'hf-transfer-kit\[export\]'"):
        export.export_onnx(run)


def test_the_exported_model_answers_as_the_run_does(run, capsys):
    runtime = pytest.importorskip("onnxruntime")
    from transformers import AutoConfig, AutoTokenizer

    assert main(["export", str(run), "--onnx"]) == 0
    path = run / "onnx" / "model.onnx"
    assert capsys.readouterr().out.strip() == str(path)
    texts = ["A wonderful little radio.", "Fine.", "It broke and nobody answered for weeks."]
    encoded = AutoTokenizer.from_pretrained(path.parent)(texts, padding=True, return_tensors="np")
    (logits,) = runtime.InferenceSession(path).run(["logits"], dict(encoded))
    names = AutoConfig.from_pretrained(path.parent).id2label
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for said, row in zip(predict(run, texts), shares, strict=True):
        assert said["label"] == names[int(row.argmax())]
        assert said["probability"] == pytest.approx(row.max(), abs=1e-5)


@pytest.mark.parametrize("kind", ["pictures", "words", "sounds"])
def test_other_inputs_are_exported_too(kind, tmp_path):
    pytest.importorskip("onnxruntime")
    run = make_run(kind, tmp_path, final="refit", card=False)
    assert export.export_onnx(run).is_file()


def test_a_model_that_differs_is_not_written(run, monkeypatch, tmp_path):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(export, "MOST_DIFFERENCE", -1.0)
    before = sorted(run.rglob("*"))
    with pytest.raises(RunError, match=r"differ by .* Nothing was written"):
        export.export_onnx(run)
    assert sorted(run.rglob("*")) == before


def test_a_picture_with_a_text_is_exported_by_its_own_names(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    config = plain_config(
        base_model="builtin:tiny-clip", dataset="builtin:digit_texts", max_rows=20, num_folds=2, num_epochs=1,
        trainable="head", output_dir=str(tmp_path / "run"),
    )  # fmt: skip
    data = open_dataset(config, ImageTextClassification)
    cross_validate(ImageTextClassification(config, data.target), data, config)
    session = runtime.InferenceSession(export.export_onnx(tmp_path / "run"))
    assert {"pixel_values", "input_ids", "present"} <= {one.name for one in session.get_inputs()}
