"""Make `builtin:tiny-wav2vec2`: a wav2vec2 configuration and its feature extractor, no weights.

    python benchmarks/builtin/make_tiny_wav2vec2.py

As in wav2vec2-base, filters are normalised over a whole sound, so that padding would change features.
"""

from pathlib import Path

from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor

from hf_transfer.data import builtin

HERE = Path(builtin.__file__).parent


def main() -> None:
    """Write the folder."""
    folder = HERE / "tiny-wav2vec2"
    config = Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 8, 4),
        conv_stride=(10, 8, 4),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=4,
        classifier_proj_size=32,
        mask_time_prob=0.0,
    )
    config.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=16_000, return_attention_mask=False).save_pretrained(folder)


if __name__ == "__main__":
    main()
