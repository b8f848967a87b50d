"""What a base model reads, to say so where a task needs a model of another kind."""

from typing import Any

from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from hf_transfer import _guard  # noqa: F401

# What the first input of a model is, by its name in transformers.
_READS = {
    "input_ids": "texts", "pixel_values": "pictures", "input_values": "sounds", "input_features": "sounds",
}  # fmt: skip

# What a task needs, by what it loads, and a model that reads it.
_NEEDED = {
    "AutoTokenizer": "texts",
    "AutoImageProcessor": "pictures",
    "AutoFeatureExtractor": "sounds",
    "AutoModelForSequenceClassification": "texts",
    "MeanClassifier": "texts",
    "AutoModelForTokenClassification": "texts",
    "AutoModelForImageClassification": "pictures",
    "AutoModelForAudioClassification": "sounds",
}
_EXAMPLES = {
    "texts": "google-bert/bert-base-uncased",
    "pictures": "google/vit-base-patch16-224",
    "sounds": "facebook/wav2vec2-base",
}


def wrong_kind(name: str, config: PretrainedConfig, loader: Any) -> str | None:
    """Say that a model reads something else than what a task loads it for; None where it does not.

    Args:
        name: Of the base model.
        config: Its configuration.
        loader: The Auto class that could not load it.
    """
    needed = _NEEDED.get(loader.__name__)
    reads = _reads(config)
    if needed is None or reads in (None, needed):
        return None
    return (
        f"base_model={name!r} is a model of {reads} ({config.model_type}), and this task needs one of "
        f"{needed}. Take one such as {_EXAMPLES[needed]}."
    )


def _reads(config: PretrainedConfig) -> str | None:
    if type(config) not in MODEL_MAPPING:
        return None
    found = MODEL_MAPPING[type(config)]
    model = found[0] if isinstance(found, tuple) else found
    return _READS.get(model.main_input_name)
