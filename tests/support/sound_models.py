"""Small models of sounds with weights, and rows of tones."""

from pathlib import Path

import numpy as np
import torch
import transformers as hf
from datasets import Dataset

from hf_transfer.data import builtin

WIDTHS = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
}  # fmt: skip
WAVES = WIDTHS | {
    "conv_dim": (8, 8, 8), "conv_kernel": (10, 8, 4), "conv_stride": (10, 8, 4), "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 8,
    "layerdrop": 0.5, "mask_time_prob": 0.4, "mask_time_length": 2,
}  # fmt: skip
MASKED = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
FAMILIES = {
    "wav2vec2": (hf.Wav2Vec2Config, hf.Wav2Vec2Model, {}),
    "wav2vec2-layer": (hf.Wav2Vec2Config, hf.Wav2Vec2Model, MASKED),
    "hubert": (hf.HubertConfig, hf.HubertModel, {}),
    "wavlm": (hf.WavLMConfig, hf.WavLMModel, {}),
    "ast": (hf.ASTConfig, hf.ASTModel, None),
}


def save_model(folder: Path, family: str) -> str:
    """Save a base model of a family, without a head, and its feature extractor."""
    config_class, model_class, changes = FAMILIES[family]
    torch.manual_seed(3)
    if changes is None:
        config = config_class(**WIDTHS, max_length=32, num_mel_bins=32)
        extractor = hf.ASTFeatureExtractor(max_length=32, num_mel_bins=32)
    else:
        config = config_class(**WAVES | changes)
        extractor = hf.Wav2Vec2FeatureExtractor(return_attention_mask=bool(changes))
    model_class(config).save_pretrained(folder)
    extractor.save_pretrained(folder)
    return str(folder)


def tones(target: str = "classes", num_rows: int = 36) -> Dataset:
    """Some of the built-in tones, with labels of a kind."""
    rows = builtin.load("tones", "audio").select(range(num_rows))
    if target == "classes":
        return rows
    ids = rows["label"][:]
    if target == "numbers":
        labels = [0.5 + number for number in ids]
    else:
        labels = [["up"] * (number == 1) + ["odd"] * (row % 2) for row, number in enumerate(ids)]
    return rows.remove_columns("label").add_column("label", labels)


def noise(seconds: float, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """Samples of noise."""
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate)).astype(np.float32)
