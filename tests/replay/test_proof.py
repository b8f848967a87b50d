"""What only the proof of a cut can notice: models whose modules do not tell what they do."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
import transformers as hf
from torch import nn
from torch.nn import functional

from hf_transfer.layers import freeze
from hf_transfer.machine.devices import seeded
from hf_transfer.replay.cut import Suffix, features_at
from hf_transfer.replay.proof import find_cut

TEXT = {
    "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 16,
    "vocab_size": 50, "pad_token_id": 0,
}  # fmt: skip


class Pixels(nn.Module):
    """A picture model of nobody's family, whose forward pass ends as `end` says."""

    main_input_name = "pixel_values"

    def __init__(self, end, last=nn.ReLU) -> None:
        super().__init__()
        self.config = SimpleNamespace(image_size=32)
        self.stem = nn.Conv2d(3, 4, 4, 4)
        blocks = [nn.Sequential(nn.Conv2d(4, 4, 1), last()) for _ in range(3)]
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(4, 2)
        self.end = end

    def forward(self, pixel_values):
        x = self.stem(pixel_values)
        for block in self.blocks:
            x = block(x)
        return SimpleNamespace(logits=self.end(self, pixel_values, x))


def plainly(model, pixels, x):
    return model.head(x.mean((2, 3)))


def with_the_pixels(model, pixels, x):
    return model.head(x.mean((2, 3))) + pixels.mean((1, 2, 3)).unsqueeze(-1)


def with_the_stem(model, pixels, x):
    return model.head(x.mean((2, 3))) + model.stem(pixels).mean((1, 2, 3)).unsqueeze(-1)


def looking_at_it(model, pixels, x):
    assert x.isfinite().all()
    return plainly(model, pixels, x) + x.mean()


def over_the_rows(model, pixels, x):
    return plainly(model, pixels, x - x.mean(0))


def cut_of(model: nn.Module, spec: str):
    freezing = freeze(model, spec)
    probes = [{"pixel_values": torch.randn(rows, 3, 32, 32)} for rows in (2, 3, 5)]
    return find_cut(model, freezing, probes, nullcontext()), freezing


@pytest.mark.parametrize("spec", ["head", "last:1", "last:50%"])
@pytest.mark.parametrize("end", [with_the_pixels, with_the_stem])
def test_a_model_that_reads_its_pixels_above_is_not_cut(spec, end):
    assert cut_of(Pixels(end), spec)[0] is None
    assert cut_of(Pixels(plainly), spec)[0] is not None


def test_a_model_that_refuses_stand_ins_is_run_whole():
    assert cut_of(Pixels(looking_at_it), "head")[0] is None


def test_a_row_that_depends_on_the_others_is_cut_where_it_does_not_yet():
    model = Pixels(over_the_rows)
    cut, _ = cut_of(model, "last:1")
    batch = {"pixel_values": torch.randn(4, 3, 32, 32)}
    with torch.no_grad():
        alone = [features_at(model, cut, {"pixel_values": row[None]}) for row in batch["pixel_values"]]
        found = Suffix(model, cut)(torch.cat(alone), **batch)
        assert torch.allclose(found, model(**batch).logits, atol=1e-6)


class DropConv(nn.Conv2d):
    """A layer that learns, whatever its name says."""


def test_a_layer_that_learns_is_above_the_cut_whatever_its_name():
    model = Pixels(plainly, lambda: DropConv(4, 4, 1))
    cut, freezing = cut_of(model, "blocks.1.1.*")
    assert "blocks.1.1.weight" in freezing.trainable
    assert freezing.trainable.isdisjoint(cut.below)


class Dropping(nn.Module):
    """A block that drops out by itself between two layers, as some attention does."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.above(functional.dropout(self.below(x), 0.5, self.training))


def test_a_block_that_drops_out_by_itself_is_not_cut_above_that():
    model = Pixels(plainly, Dropping)
    freezing = freeze(model, "blocks.2.1.above.*")
    assert "blocks.2.1.below.weight" not in freezing.trainable  # but the block is in train mode
    probes = [{"pixel_values": torch.randn(rows, 3, 32, 32)} for rows in (2, 3, 5)]
    cut = find_cut(model, freezing, probes, nullcontext())
    assert cut is None or "blocks.2.1.below.weight" not in cut.below


def texts(rows: int, length: int) -> dict[str, torch.Tensor]:
    """Token ids of which the first row's last ones are padding."""
    ids = torch.randint(5, 45, (rows, length))
    mask = torch.ones_like(ids)
    mask[0, length - 3 :] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


BUILDERS = {
    "bert": lambda: hf.BertForSequenceClassification(hf.BertConfig(**TEXT)),
    "roberta tagger": lambda: hf.RobertaForTokenClassification(hf.RobertaConfig(**TEXT)),
    "modernbert": lambda: hf.ModernBertForSequenceClassification(hf.ModernBertConfig(**TEXT)),
    "mpnet": lambda: hf.MPNetForSequenceClassification(hf.MPNetConfig(**TEXT)),
    "deberta-v2": lambda: hf.DebertaV2ForSequenceClassification(
        hf.DebertaV2Config(relative_attention=True, pos_att_type=["c2p", "p2c"], **TEXT)
    ),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_what_stands_in_the_padding_is_nobodys(name):
    """A store keeps no padding, so that zeros stand there when it is read."""
    model = BUILDERS[name]()
    probes = [texts(rows, length) for rows, length in ((2, 5), (3, 12), (5, 9))]
    cut = find_cut(model, freeze(model, "last:1"), probes, nullcontext())
    assert cut is not None
    batch = texts(4, 10)
    inside = batch["attention_mask"].bool()
    model.eval()
    with seeded(0, torch.device("cpu")), torch.no_grad():
        features = features_at(model, cut, batch).masked_fill(~inside.unsqueeze(-1), 0)
        found, expected = Suffix(model, cut)(features, **batch), model(**batch).logits
    kept = inside if expected.ndim == 3 else ...
    assert torch.allclose(found[kept], expected[kept], atol=1e-6)


class Writes(nn.Module):
    """A model that clears the padding of what its stem gives, as speech encoders do, and reads it again."""

    main_input_name = "input_ids"

    def __init__(self, *, reads: bool) -> None:
        super().__init__()
        self.config = SimpleNamespace()
        self.stem, self.reads = nn.Embedding(50, 4), reads
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)) for _ in range(3))
        self.head = nn.Linear(4, 2)

    def forward(self, input_ids, attention_mask):
        x = first = self.stem(input_ids)
        first[~attention_mask.bool()] = 0
        for block in self.blocks:
            x = block(x)
        again = first.sum((1, 2)).unsqueeze(-1) if self.reads else 0
        return SimpleNamespace(logits=self.head(x.mean(1) + x[:, 0]) + again)


@pytest.mark.parametrize("reads", [False, True])
def test_a_stand_in_that_a_model_writes_to_still_reveals_what_reads_it(reads):
    model = Writes(reads=reads)
    freezing = freeze(model, "last:1")
    probes = [
        {"input_ids": torch.randint(0, 50, (rows, size)), "attention_mask": torch.ones(rows, size)}
        for rows, size in ((2, 3), (3, 7), (5, 6))
    ]
    for probe in probes:
        probe["attention_mask"][0, -1] = 0
    cut = find_cut(model, freezing, probes, nullcontext())
    stands_in = cut is not None and "stem" in cut.stand_ins
    assert stands_in is not reads
    assert not stands_in or cut.written_to
