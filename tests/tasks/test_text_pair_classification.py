"""Pairs are encoded as plain pipelines encode them, by every kind of tokenizer."""

import json

import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from hf_transfer import RunConfig, TextPairClassification
from hf_transfer.errors import ModelError
from hf_transfer.models.saving import save_model

PAIRS = [
    {"text": "the film was slow", "text_pair": "bad"},
    {"text": "bad", "text_pair": "a warm film and the film was bad and slow and dull"},
    {"text": "a warm film " * 9, "text_pair": "bad " * 30},
]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


def words(special, template=None):
    made = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    texts = [text for pair in PAIRS for text in pair.values()]
    made.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=["[UNK]", *special.values()]))
    if template is not None:
        ids = [(token, made.token_to_id(token)) for token in special.values()]
        made.post_processor = processors.TemplateProcessing(
            single=template[0], pair=template[1], special_tokens=ids
        )
    return made


def bert(folder):
    made = words(
        {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"},
        ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    save(folder, made, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", model_input_names=names)
    config = hf.BertConfig(vocab_size=made.get_vocab_size(), max_position_embeddings=24, **SMALL)
    hf.BertForSequenceClassification(config).save_pretrained(folder)


def roberta(folder):
    special = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    made = words(special, ("<s> $A </s>", "<s> $A </s> </s> $B </s>"))
    save(folder, made, **special)
    pad = made.token_to_id("<pad>")
    config = hf.RobertaConfig(
        vocab_size=made.get_vocab_size(), max_position_embeddings=25 + pad, pad_token_id=pad,
        type_vocab_size=1, **SMALL,
    )  # fmt: skip
    hf.RobertaForSequenceClassification(config).save_pretrained(folder)


def llama(folder):
    made = words({"eos_token": "</s>"})
    save(folder, made, eos_token="</s>")
    config = hf.LlamaConfig(
        vocab_size=made.get_vocab_size(), max_position_embeddings=24, pad_token_id=None, **SMALL
    )
    hf.LlamaForCausalLM(config).save_pretrained(folder)


def save(folder, made, **special):
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", model_max_length=24, **special
    )
    tokenizer.save_pretrained(folder)


FAMILIES = {"bert": bert, "roberta": roberta, "llama": llama}


@pytest.fixture(params=FAMILIES)
def base(request, tmp_path):
    torch.manual_seed(0)
    FAMILIES[request.param](tmp_path / "base")
    return request.param, tmp_path / "base"


def task_of(folder, **settings):
    return TextPairClassification(RunConfig(base_model=str(folder), **settings), ("no", "yes"))


def rows_of(task, pairs):
    encoded = task.encode({"input": pairs, "label": [0] * len(pairs)}, range(len(pairs)))
    return [dict(zip(encoded, values, strict=True)) for values in zip(*encoded.values(), strict=True)]


def logits(model, task, rows):
    batch = {name: tensor for name, tensor in task.collate(rows).items() if name != "labels"}
    with torch.no_grad():
        return model(**batch).logits


def test_a_pair_has_the_same_logits_alone_in_a_batch_and_by_a_plain_pipeline(base, tmp_path):
    _, folder = base
    task = task_of(folder)
    model = task.build_model().eval()
    rows = rows_of(task, PAIRS)
    together = logits(model, task, rows)
    alone = torch.cat([logits(model, task, [row]) for row in rows])
    assert torch.allclose(alone, together, atol=1e-5)
    save_model(model, tmp_path / "out")
    task.save_processor(tmp_path / "out")
    plain = hf.pipeline("text-classification", model=str(tmp_path / "out"), function_to_apply="none", top_k=2)
    scores = [{one["label"]: one["score"] for one in plain([pair], truncation=True)[0]} for pair in PAIRS]
    ours = [dict(zip(("no", "yes"), row, strict=True)) for row in alone.tolist()]
    assert scores == [pytest.approx(row, abs=1e-6) for row in ours]


def test_the_longer_text_is_cut_first_and_what_is_lost_is_counted(base):
    name, folder = base
    special = {"bert": 3, "roberta": 4, "llama": 0}[name]
    rows = rows_of(task_of(folder), PAIRS)
    assert [row["cut"] for row in rows] == [0, 0, 27 + 30 + special - 24]
    assert [row["size"] for row in rows] == [5 + special, 13 + special, 24]
    tokenizer = task_of(folder).tokenizer.tokenizer
    kept = tokenizer.convert_ids_to_tokens(rows[2]["input_ids"])
    assert abs(sum(token in {"a", "warm", "film"} for token in kept) - kept.count("bad")) <= 1
    short = rows_of(task_of(folder), [{"text": "bad", "text_pair": "bad " * 40}])[0]
    assert tokenizer.convert_ids_to_tokens(short["input_ids"]).count("bad") == 24 - special


def test_bert_is_told_which_text_is_which(tmp_path):
    bert(tmp_path)
    task = task_of(tmp_path)
    batch = task.collate(rows_of(task, PAIRS[:2]))
    assert batch["token_type_ids"].tolist() == [[0] * 6 + [1] * 2 + [0] * 8, [0] * 3 + [1] * 13]


def test_nothing_between_the_texts_is_told(base):
    name, folder = base
    told = any("puts nothing between the two texts of a pair" in note for note in task_of(folder).notes)
    assert told == (name == "llama")


def test_a_tokenizer_that_leaves_the_second_text_out_is_refused(tmp_path, monkeypatch):
    bert(tmp_path)
    whole = hf.PreTrainedTokenizerFast.__call__
    monkeypatch.setattr(
        hf.PreTrainedTokenizerFast, "__call__", lambda self, text, *_, **options: whole(self, text, **options)
    )
    with pytest.raises(ModelError, match=r"reads one text at a time, and the rows are pairs\. Take a model"):
        rows_of(task_of(tmp_path), PAIRS)


def test_two_texts_need_room(base):
    name, folder = base
    if name == "llama":
        pytest.skip("it adds no tokens of its own")
    with pytest.raises(ModelError, match=r"max_length=4 leaves no room for two texts beside [34] special"):
        rows_of(task_of(folder, max_length=4), PAIRS)


def test_a_head_on_the_mean_reads_both_texts_as_one_input(tmp_path):
    bert(tmp_path / "base")
    task = task_of(tmp_path / "base", pooling="mean")
    model = task.build_model().eval()
    ours = logits(model, task, rows_of(task, PAIRS))
    save_model(model, tmp_path / "out")
    task.save_processor(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "modules.json").read_text())[1]["path"] == "1_Pooling"
    sentences = pytest.importorskip("sentence_transformers").SentenceTransformer(str(tmp_path / "out"))
    found = sentences.encode([tuple(pair.values()) for pair in PAIRS], convert_to_tensor=True)
    assert torch.allclose(found.cpu(), ours, atol=1e-6)
