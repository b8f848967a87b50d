import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from hf_transfer import RunConfig
from hf_transfer.errors import ModelError
from hf_transfer.models.base_model import open_base_model
from hf_transfer.models.building import longest_input
from hf_transfer.models.saving import save_model
from hf_transfer.tasks import SequenceClassification, TokenClassification

TEXTS = ["a warm film", "bad", "the film was slow and dull and bad"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


def word_tokenizer(**special):
    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.train_from_iterator(TEXTS, trainers.WordLevelTrainer(special_tokens=["[UNK]", "</s>"]))
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", model_max_length=24, **special
    )


def gpt2(num_tokens, **config):
    return hf.GPT2LMHeadModel(
        hf.GPT2Config(vocab_size=num_tokens, n_positions=24, n_embd=16, n_layer=2, n_head=2, **config)
    )


def llama(num_tokens):
    config = hf.LlamaConfig(vocab_size=num_tokens, max_position_embeddings=24, pad_token_id=None, **SMALL)
    return hf.LlamaForCausalLM(config)


def xlnet(num_tokens):
    return hf.XLNetLMHeadModel(
        hf.XLNetConfig(vocab_size=num_tokens, d_model=16, n_layer=2, n_head=2, d_inner=16, pad_token_id=1)
    )


# Padding as people's checkpoints have it: none, the end of text, one beyond the embeddings, one on the left.
DECODERS = {
    "no padding token": (gpt2, {}, None),
    "padded with the end of text": (gpt2, {"pad_token": "</s>"}, None),
    "a padding token that the model does not know": (gpt2, {}, "[PAD]"),
    "padded on the left": (gpt2, {"pad_token": "</s>", "padding_side": "left"}, None),
    "Llama, padding in its tokenizer alone": (llama, {"pad_token": "</s>"}, None),
    "XLNet, which reads the last place": (xlnet, {"pad_token": "</s>", "padding_side": "left"}, None),
}


def logits_by(model, tokenizer, texts):
    with torch.no_grad():
        return model(**tokenizer(texts, padding=True, return_tensors="pt")).logits


@pytest.mark.parametrize("name", DECODERS)
def test_a_row_has_the_same_logits_in_a_batch_here_and_as_published(name, tmp_path):
    make, special, added = DECODERS[name]
    torch.manual_seed(0)
    tokenizer = word_tokenizer(eos_token="</s>", **special)
    make(len(tokenizer)).save_pretrained(tmp_path / "base")
    if added:
        tokenizer.add_special_tokens({"pad_token": added})
    tokenizer.save_pretrained(tmp_path / "base")
    task = SequenceClassification(RunConfig(base_model=str(tmp_path / "base")), ("a", "b"))
    model = task.build_model().eval()
    rows = [
        {key: values[0] for key, values in task.encode({"input": [text], "label": [0]}, [0]).items()}
        for text in TEXTS
    ]
    with torch.no_grad():
        alone, together = (
            torch.cat(
                [
                    model(**{k: v for k, v in task.collate(some).items() if k != "labels"}).logits
                    for some in split
                ]
            )
            for split in ([[row] for row in rows], [rows])
        )
    assert torch.allclose(alone, together, atol=1e-5)
    save_model(model, tmp_path / "out")
    task.save_processor(tmp_path / "out")
    published = hf.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    plain = hf.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert torch.allclose(logits_by(published, plain, TEXTS), alone, atol=1e-5)


def test_a_tokenizer_with_nothing_to_pad_with_is_refused(tmp_path):
    words = Tokenizer(models.WordLevel({"a": 0}))
    hf.PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path)
    gpt2(1).save_pretrained(tmp_path)
    task = SequenceClassification(RunConfig(base_model=str(tmp_path)), ("a", "b"))
    with pytest.raises(ModelError, match=r"has no padding token, nor an end of text to pad with\. Set its"):
        task.encode({"input": ["a"], "label": [0]}, [0])


@pytest.mark.parametrize(
    ("name", "longest"),
    [
        *((name, 64) for name in ("roberta", "camembert", "data2vec-text", "ibert", "luke", "mpnet", "xmod")),
        *((name, 64) for name in ("roberta-prelayernorm", "xlm-roberta-xl", "lilt", "esm", "longformer")),
        ("bert", 66), ("bart", 66), ("canine", 66), ("llama", 66), ("xlnet", None), ("t5", None),
    ],
)  # fmt: skip
def test_the_longest_text_is_what_positions_can_number(name, longest, tmp_path):
    sizes = {"vocab_size": 20, "pad_token_id": 1, "max_position_embeddings": 66, "num_hidden_layers": 1}
    if name in {"xlnet", "t5"}:
        sizes = {}
    hf.CONFIG_MAPPING[name](**sizes).save_pretrained(tmp_path)
    base = open_base_model(RunConfig(base_model=str(tmp_path)))
    assert longest_input(base) == longest


@pytest.mark.slow
def test_words_are_aligned_by_a_tokenizer_without_a_fast_version(tmp_path):
    hf.CanineTokenizer(model_max_length=16).save_pretrained(tmp_path)
    hf.CanineConfig(max_position_embeddings=32, **SMALL).save_pretrained(tmp_path)
    task = TokenClassification(RunConfig(base_model=str(tmp_path)), ("O", "B-X"))
    encoded = task.encode({"input": [["Ann", "in", "Rome"]], "label": [[1, 0, 1]]}, [0])
    assert encoded["labels"] == [[-100, 1, -100, -100, 0, -100, 1, -100, -100, -100, -100]]
    assert [len(ids) for ids in encoded["input_ids"]] == [11]
    long = task.encode({"input": [["Rome"] * 9], "label": [[1] * 9]}, [0])
    assert max(map(len, long["input_ids"])) <= 16
    assert sum(labels.count(1) for labels in long["labels"]) == 9
