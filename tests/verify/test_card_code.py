"""What a card tells to run is run, on the folder that it tells of."""

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import transformers as hf
import yaml
from PIL import Image
from small_runs import make_run
from sound_models import noise

from hf_transfer.tasks.inputs.sounds import encode_samples, read_sound


@pytest.fixture(scope="module")
def tiny_vit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    size = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 1}
    hf.ViTForImageClassification(hf.ViTConfig(**size, image_size=8, patch_size=4)).save_pretrained(folder)
    hf.ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(folder)
    return folder


def read_file(path, *, dtype, always_2d):
    """What soundfile does, which is not installed everywhere."""
    assert (dtype, always_2d) == ("float32", True)
    sound = read_sound(path)
    return sound.samples, sound.rate


@pytest.mark.parametrize(
    ("kind", "changes", "library", "blocks"),
    [
        ("pictures", {}, "timm", 2),
        pytest.param(
            *("pictures", {"base_model": "vit", "trainable": "head"}, "transformers", 1),
            marks=pytest.mark.slow,
        ),
        ("sounds", {}, "transformers", 1),
        pytest.param(*("text", {"final": "refit"}, "transformers", 1), marks=pytest.mark.slow),
        pytest.param(*("words", {"final": "refit"}, "transformers", 1), marks=pytest.mark.slow),
        ("text", {"final": "ensemble"}, "transformers", 1),
        pytest.param(
            *("words", {"final": "ensemble", "num_folds": 2}, "transformers", 1), marks=pytest.mark.slow
        ),
        pytest.param(
            *("text", {"final": "soup", "sealed": 0.2, "num_folds": 2}, "transformers", 1),
            marks=pytest.mark.slow,
        ),
        ("text", {"base_model": "sentences", "pooling": "mean", "final": "refit"}, "sentences", 1),
    ],
)
def test_the_blocks_of_code_run(
    kind, changes, library, blocks, tiny_vit, sentence_encoder, tmp_path, monkeypatch
):
    if library == "sentences":
        pytest.importorskip("sentence_transformers")
    if "base_model" in changes:
        folder = sentence_encoder if library == "sentences" else tiny_vit
        changes = changes | {"base_model": str(folder)}
    run = make_run(kind, tmp_path, card=True, **changes)
    text = (run / "README.md").read_text(encoding="utf-8")
    assert ("timm" in yaml.safe_load(text.split("---\n")[1])["tags"]) is (library == "timm")
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.jpg")
    (tmp_path / "sound.wav").write_bytes(encode_samples(np.stack([noise(0.3), noise(0.3)]), 44_100))
    monkeypatch.setitem(sys.modules, "soundfile", SimpleNamespace(read=read_file))
    monkeypatch.chdir(tmp_path)
    use, files = text.split("<!-- hf-transfer:end use -->")
    codes = re.findall(r"```python\n(.*?)```", use, re.S)
    assert len(codes) == blocks
    for code in codes:
        exec(code, {})
    monkeypatch.chdir(run)  # the other blocks read its files, and follow from one another
    known = {}
    for code in re.findall(r"```python\n(.*?)```", files, re.S):
        exec(code, known)
    assert {"plan", "rows"} <= set(known)
