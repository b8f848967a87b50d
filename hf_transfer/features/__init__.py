"""What each layer group of a model makes of every row, in one forward pass that later commands find again."""

from hf_transfer import _guard  # noqa: F401
from hf_transfer.features.forward import LayerFeatures, layer_features
from hf_transfer.features.sample import rows_of_words

__all__ = ["LayerFeatures", "layer_features", "rows_of_words"]
