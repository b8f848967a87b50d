"""Qwen, Llama and SmolLM with random weights and few numbers."""

import torch
import transformers as hf
from target_rows import WORDS
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "intermediate_size": 32, "max_position_embeddings": 24, "pad_token_id": None,
}  # fmt: skip
MODELS = {
    "qwen2": lambda **sizes: hf.Qwen2ForCausalLM(hf.Qwen2Config(**sizes)),
    "llama": lambda **sizes: hf.LlamaForCausalLM(hf.LlamaConfig(**sizes)),
    "smollm": lambda **sizes: hf.LlamaForCausalLM(hf.LlamaConfig(tie_word_embeddings=True, **sizes)),
}
END = "<|endoftext|>"


def decoder(name, folder):
    """Write a decoder with random weights, and a tokenizer that has an end of text and no padding."""
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    pieces.train_from_iterator([" ".join(WORDS)], trainer)
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token=END, model_max_length=24)
    torch.manual_seed(0)
    MODELS[name](vocab_size=len(tokenizer), initializer_range=0.3, **SMALL).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
