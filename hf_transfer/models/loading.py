"""What transformers says of a checkpoint that it has loaded."""

from collections.abc import Mapping
from typing import Any

from hf_transfer import _guard  # noqa: F401


def new_weights(report: Mapping[str, Any]) -> list[str]:
    """Names of the weights that are new: those that the checkpoint lacks, or has in another shape.

    Args:
        report: What `from_pretrained` gives with `output_loading_info`.
    """
    return [*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])]
