"""A classifier on two towers: its groups, its features, and what it saves."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer
from two_towers import COLOURS, FAMILIES, picture

from hf_transfer import ImageTextClassification, RunConfig, freeze, layer_groups
from hf_transfer.errors import ModelError
from hf_transfer.models.saving import save_model
from hf_transfer.models.two_towers import scaled_rows
from hf_transfer.replay.features.outputs import GroupOutputs
from hf_transfer.tasks.inputs.pictures import read_picture

LABELS = ("red", "blue", "green")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(params=FAMILIES)
def folder(request, tmp_path):
    return FAMILIES[request.param](tmp_path / "base")


def task_of(folder, labels=LABELS, **settings):
    return ImageTextClassification(RunConfig(base_model=str(folder), **settings), labels)


def built(folder, seed=0, **settings):
    torch.manual_seed(seed)
    return task_of(folder, **settings).build_model().eval()


def inputs(rng, texts=("a red warm flat", "the", "cold blue new large")):
    colours = [*COLOURS.values(), (60, 200, 60)]
    return [
        {"image": {"bytes": picture(colour, rng), "path": None}, "text": text}
        for colour, text in zip(colours, texts, strict=True)
    ]


def batch_of(task, values):
    encoded = task.encode({"input": values}, range(len(values)))
    rows = [dict(zip(encoded, one, strict=True)) for one in zip(*encoded.values(), strict=True)]
    batch = task.transform(task.collate(rows))
    return {name: tensor for name, tensor in batch.items() if name != "labels"}


def logits_of(task, model, values):
    with torch.no_grad():
        return model(**batch_of(task, values)).logits


def test_blocks_of_both_towers_are_counted_together_from_the_top(folder):
    groups = layer_groups(built(folder))
    assert [group.name for group in groups] == ["stem", "block.0", "block.1", "block.2", "head"]
    first, second, last = ("\n".join(group.parameters) for group in groups[1:-1])
    found = [
        sorted(set(re.findall(r"(vision|text)_model.encoder.layers.(\d)", one)))
        for one in (first, second, last)
    ]
    assert found == [[("vision", "0")], [("text", "0"), ("vision", "1")], [("text", "1"), ("vision", "2")]]
    assert groups[-1].parameters == ("output.weight", "output.bias")
    assert all("embeddings" in name or "pre_" in name for name in groups[0].parameters)


def test_every_parameter_is_in_one_group_and_gets_a_gradient(folder, rng):
    task = task_of(folder)
    model = built(folder).train()
    names = [name for group in layer_groups(model) for name in group.parameters]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    model(**batch_of(task, inputs(rng))).logits.square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_last_1_trains_the_top_of_both_towers_and_no_more(folder):
    model = built(folder)
    freeze(model, "last:1")
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {"vision", "text"} <= {name.split(".")[2].split("_")[0] for name in learning if "layers" in name}
    assert not any("layers.0." in name or "embeddings" in name for name in learning)


def test_a_row_has_the_same_logits_alone_and_in_a_batch(folder, rng):
    task, model, values = task_of(folder), built(folder), inputs(rng)
    alone = torch.cat([logits_of(task, model, [value]) for value in values])
    assert torch.allclose(alone, logits_of(task, model, values), atol=1e-6)


def test_plain_code_gives_the_same_logits_from_what_is_saved(folder, rng, tmp_path):
    task, model, values = task_of(folder), built(folder, seed=3), inputs(rng)
    saved = tmp_path / "saved"
    save_model(model, saved)
    task.save_processor(saved)
    towers, head = AutoModel.from_pretrained(saved).eval(), load_file(saved / "classifier.safetensors")
    full = towers.config.model_type == "siglip"
    found = []
    for value in values:
        pixels = AutoImageProcessor.from_pretrained(saved)(read_picture(value["image"]), return_tensors="pt")
        tokens = AutoTokenizer.from_pretrained(saved)(
            value["text"], padding="max_length" if full else True, truncation=True, return_tensors="pt"
        )
        tokens = {"input_ids": tokens["input_ids"]} if full else tokens
        with torch.no_grad():
            both = towers(**tokens, **pixels)
        picture_, text = (one * one.shape[1] ** 0.5 for one in (both.image_embeds, both.text_embeds))
        features = torch.cat([picture_, text, picture_ * text, torch.zeros(1, 2)], dim=1)
        found.append(features @ head["weight"].T + head["bias"])
    assert torch.allclose(torch.cat(found), logits_of(task, model, values), atol=1e-6)


def test_what_is_saved_loads_again_with_its_head_to_the_bit(folder, tmp_path):
    model = built(folder, seed=3)
    save_model(model, tmp_path / "saved")
    task_of(folder).save_processor(tmp_path / "saved")
    again = built(tmp_path / "saved", seed=8)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    before, after = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "saved"))
    assert before.keys() == after.keys()  # also what only compares pictures with texts


def test_a_head_of_other_labels_is_new(folder, tmp_path):
    model = built(folder, seed=3)
    save_model(model, tmp_path / "saved")
    task_of(folder).save_processor(tmp_path / "saved")
    task = task_of(tmp_path / "saved", ("x", "y", "z"))
    torch.manual_seed(8)
    assert not torch.equal(task.build_model().output.weight, model.output.weight)
    assert task_of(tmp_path / "saved", ("x", "y")).build_model().output.out_features == 2


@pytest.mark.parametrize("missing", ["picture", "text"])
def test_what_is_missing_has_no_part_in_the_logits(folder, rng, missing):
    task, model = task_of(folder), built(folder)
    values, others = inputs(rng), inputs(rng, ("new", "old old", "a"))
    field, kept, nothing = {"picture": ("image", "text", None), "text": ("text", "image", " ")}[missing]
    first = [value | {field: nothing} for value in values]
    second = [
        other | {kept: value[kept], field: nothing} for value, other in zip(values, others, strict=True)
    ]
    assert torch.equal(logits_of(task, model, first), logits_of(task, model, second))
    assert not torch.allclose(logits_of(task, model, first), logits_of(task, model, values))
    features = model.towers(**batch_of(task, first))
    width = 8 if features.shape[1] == 26 else 16
    assert features[:, -2:].tolist() == [[1.0, 0.0] if missing == "picture" else [0.0, 1.0]] * 3
    assert not features[:, 2 * width : 3 * width].any()  # nor has their product


def test_each_part_has_columns_of_its_own(folder):
    model = built(folder)
    columns = model.columns_alone
    assert columns.keys() == set(ImageTextClassification.input.parts)
    assert not set(columns["picture"]) & set(columns["text"])
    assert len(columns["picture"]) == len(columns["text"]) == (model.output.in_features - 2) // 3 + 1


def test_rows_are_scaled_to_a_mean_square_of_1_and_zeros_stay():
    rows = scaled_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0], [30.0, 40.0]]))
    assert torch.allclose(rows.square().mean(dim=1), torch.tensor([1.0, 0.0, 1.0]))
    assert torch.allclose(rows[0], rows[2])


def test_a_model_without_two_towers_is_refused():
    with pytest.raises(ModelError, match="has not a tower for pictures and one for texts"):
        task_of("builtin:tiny-bert").build_model()


def test_a_group_puts_out_what_both_towers_do_until_they_are_joined(folder, rng):
    task, model = task_of(folder), built(folder)
    batch, outputs = batch_of(task, inputs(rng)), GroupOutputs(model, len(LABELS), head=False)
    with torch.no_grad(), outputs.recorded() as found:
        model(**batch)
        features = model.towers(**batch)
    assert found["stem"].keys() == found["block.1"].keys() == {"picture", "text"}
    assert found["block.0"].keys() == {"picture"}  # the other tower is not so deep
    assert torch.equal(found["block.2"], features)
    pool = task.input.pooling(model)
    vision, text = (model.config.vision_config.hidden_size, model.config.text_config.hidden_size)
    has_class_token = task.base.config.model_type == "clip"
    assert pool(found["block.1"], batch).shape == (3, vision * (1 + has_class_token) + 2 * text)
    assert torch.equal(pool(found["block.2"], batch), features)
