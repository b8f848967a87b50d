import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import pipeline
from zero_shot_models import NAMES, entailment, pictures_and_texts

from hf_transfer import RunConfig
from hf_transfer.errors import ModelError
from hf_transfer.models.base_model import open_base_model
from hf_transfer.tasks.inputs.judges import PictureJudge, TextJudge

CPU = torch.device("cpu")
TEXTS = ["a warm film", "bad " * 100, "slow and dull"]
MOODS = ("negative", "positive")


def opened(path):
    return open_base_model(RunConfig(base_model=str(path)))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    paths = [folder / f"{place}.png" for place in range(3)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (20, 24, 3), np.uint8)).save(path)
    return [str(path) for path in paths]


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_pictures_are_judged_as_a_plain_pipeline_does(kind, pictures, tmp_path):
    path = pictures_and_texts(tmp_path, kind=kind)
    judge = PictureJudge(opened(path), NAMES, "{} here", each=kind == "siglip")
    with torch.inference_mode():
        found = judge.answers(pictures, CPU)
        alone = torch.cat([judge.answers([picture], CPU) for picture in pictures])
    assert torch.allclose(found, alone, atol=1e-5)
    own = found.sigmoid() if kind == "siglip" else found.softmax(1)
    plain = pipeline("zero-shot-image-classification", model=path)
    for picture, shares in zip(pictures, own.tolist(), strict=True):
        answers = plain(picture, candidate_labels=list(NAMES), hypothesis_template="{} here")
        by_name = {answer["label"]: answer["score"] for answer in answers}
        assert shares == pytest.approx([by_name[name] for name in NAMES], abs=1e-6)


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize(
    "labels", [("contradiction", "neutral", "entailment"), ("entailment", "not_entailment")]
)
def test_texts_are_judged_as_a_plain_pipeline_does(each, labels, tmp_path):
    path = entailment(tmp_path, labels)
    judge = TextJudge(opened(path), MOODS, None, each=each)
    with torch.inference_mode():
        found = judge.answers(TEXTS, CPU)
        alone = torch.cat([judge.answers([text], CPU) for text in TEXTS])
    assert torch.allclose(found, alone, atol=1e-5)
    own = found.sigmoid() if each else found.softmax(1)
    plain = pipeline("zero-shot-classification", model=path)
    for text, shares in zip(TEXTS, own.tolist(), strict=True):
        answer = plain(text, list(MOODS), multi_label=each)
        by_name = dict(zip(answer["labels"], answer["scores"], strict=True))
        assert shares == pytest.approx([by_name[name] for name in MOODS], abs=1e-6)


def test_names_are_put_into_the_template(tmp_path):
    base = opened(pictures_and_texts(tmp_path))
    assert PictureJudge(base, ["red_fox"], None, each=False).prompts == ["a photo of a red fox."]
    assert PictureJudge(base, ["red_fox"], "a {}", each=False).prompts == ["a red fox"]


def test_models_of_another_kind_are_refused(tmp_path):
    clip, bert = (
        opened(pictures_and_texts(tmp_path / "clip")),
        opened(entailment(tmp_path / "nli", ("a", "b"))),
    )
    with pytest.raises(ModelError, match="sets names against each other, and here a row may have several"):
        PictureJudge(clip, NAMES, None, each=True)
    with pytest.raises(ModelError, match="is a bert, which does not set pictures beside sentences"):
        PictureJudge(bert, NAMES, None, each=False)
    with pytest.raises(ModelError, match=r"has no label 'entailment' \(but a, b\)"):
        TextJudge(bert, MOODS, None, each=False)


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path):
    base = opened(pictures_and_texts(tmp_path))
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "projection" not in name}
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ModelError, match=r"lacks 2 weights \(text_projection.weight, visual_projection.weight\)"
    ):
        _ = PictureJudge(base, NAMES, None, each=False).model
