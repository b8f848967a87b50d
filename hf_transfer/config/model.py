"""Settings of the base model."""

from dataclasses import dataclass

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.setting import Group, setting


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Group):
    """The base model that a run starts from."""

    heading = "The model"

    base_model: str = setting(
        "",
        "Hub id, local folder, builtin:NAME, or timm:ARCH (random weights) or timm:ARCH@FILE to start from.",
        aliases=("model_name_or_path", "model"),
    )
    revision: str | None = setting(None, "Branch, tag or commit of a base model on the Hub.")
    trust_remote_code: bool = setting(False, "Run code that comes with the base model. Never on by itself.")
    from_scratch: bool = setting(False, "Same architecture, random weights: the control arm.")
    transductive: bool = setting(
        False,
        "Take a base model that `pretrain` or another run trained on rows of this data set too; the card "
        "says so.",
    )
    pooling: str = setting(
        "auto",
        "How a classifier reads a text: by its first token (as most models of transformers do), by the mean "
        "of all, or as the checkpoint was made for (auto).",
        choices=("auto", "first", "mean"),
    )
    image_size: int | None = setting(
        None,
        "Side of the pictures in pixels, for models that can take another than they were made for.",
        aliases=("img_size",),
        at_least=8,
    )
