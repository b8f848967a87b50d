import shutil

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import pipeline
from zero_shot_models import NAMES, entailment, pictures_and_texts, word_tokenizer

from hf_transfer import RunConfig
from hf_transfer.errors import ModelError
from hf_transfer.models.base_model import open_base_model
from hf_transfer.tasks import task_of_kind
from hf_transfer.tasks.inputs.judges import ChatJudge, PictureJudge, TextJudge

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
        assert shares == pytest.approx([by_name[name] for name in NAMES], abs=1e-5)


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
        assert shares == pytest.approx([by_name[name] for name in MOODS], abs=1e-5)


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """A tiny decoder with random weights that can be asked: its tokenizer has a template and letters."""
    pytest.importorskip("transformers.decision")
    folder = tmp_path_factory.mktemp("chat")
    letters = " ".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    tokenizer = word_tokenizer([letters, "Yes No Which label fits the text best", *TEXTS, *MOODS])
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    torch.manual_seed(0)
    config = hf.Qwen2Config(
        vocab_size=len(tokenizer),
        intermediate_size=32,
        initializer_range=0.5,
        max_position_embeddings=400,
        **sizes,
    )
    hf.Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.model_max_length = 400
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("each", [False, True])
def test_texts_are_judged_by_a_chat_model_as_a_plain_pipeline_does(each, chat):
    judge = ChatJudge(opened(chat), MOODS, None, each=each)
    with torch.inference_mode():
        found = judge.answers(TEXTS, CPU)
    model, tokenizer = hf.AutoModelForCausalLM.from_pretrained(chat), hf.AutoTokenizer.from_pretrained(chat)
    plain = pipeline(
        "decision", model=model, tokenizer=tokenizer
    )  # a path would be tried as other models first
    for text, values in zip(TEXTS, found, strict=True):
        if each:
            asked = {
                mood: {"type": "noul", "instructions": f"Does this label fit the text: {mood}?"}
                for mood in MOODS
            }
            answers = plain({"state": text, "questions": asked})
            wanted, own = [answers[mood]["noul"] for mood in MOODS], values.sigmoid()
        else:
            asked = {"type": "choice", "instructions": "Which label fits the text best?"}
            asked["criteria"] = dict.fromkeys(MOODS)
            answers = plain({"state": text, "questions": {"label": asked}})["label"]["probabilities"]
            wanted, own = [answers[mood] for mood in MOODS], values.softmax(0)
        assert own.tolist() == pytest.approx(wanted, abs=1e-6)
    assert not torch.allclose(found[0], found[1])


def test_a_long_text_leaves_room_for_the_question(chat):
    judge = ChatJudge(opened(chat), MOODS, None, each=False)
    with torch.inference_mode():
        whole, cut = judge.answers(["bad " * 1000, "bad " * 144], CPU)
    assert torch.equal(whole, cut)


def test_a_decoder_that_cannot_be_asked_is_refused(chat, tmp_path):
    base = opened(chat)
    with pytest.raises(ModelError, match="answers by a letter, and here are 27 labels: more than 26"):
        ChatJudge(base, [f"n{i}" for i in range(27)], None, each=False)
    shutil.copytree(chat, tmp_path / "plain")
    for name in ("chat_template.jinja",):
        (tmp_path / "plain" / name).unlink()
    with pytest.raises(ModelError, match="has no chat template, so it cannot be asked"):
        ChatJudge(opened(tmp_path / "plain"), MOODS, None, each=False)
    task = task_of_kind("text")
    assert isinstance(task.input.judge(base, MOODS, None, each=False), ChatJudge)


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
