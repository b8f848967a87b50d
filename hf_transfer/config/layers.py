"""Settings of the layers: which of them learn, and when."""

from dataclasses import dataclass

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.setting import AUTO, Group, is_auto, setting


@dataclass(frozen=True, kw_only=True)
class LayerSettings(Group):
    """Which layers learn, and when."""

    heading = "What learns"

    trainable: str = setting(
        "all", "What learns: all, head, last:N, last:50%, from:NAME, globs; +norm, +bias and +lora add to it."
    )
    trainables: tuple[str, ...] = setting(
        (), "Several choices of what learns, comma-separated, combined with each learning rate."
    )
    schedule: str = setting(
        "constant",
        "When it learns: constant, lp-ft (the head first), or gradual (from the top down).",
        choices=("constant", "lp-ft", "gradual"),
    )
    layer_decay: float = setting(AUTO, "Learning rate factor for each layer group below the head; auto: 1.")
    reinit_top: int = setting(0, "Give the top N blocks new random weights.", at_least=0)
    norm: str = setting(
        "auto",
        "Normalisation layers: auto (as their group), freeze (all of the backbone's), train (all).",
        choices=("auto", "freeze", "train"),
    )

    def problems(self) -> list[str]:
        """Errors in numbers."""
        if is_auto(self.layer_decay) or 0 < self.layer_decay <= 1:
            return []
        return [f"layer_decay={self.layer_decay!r} must be above 0 and at most 1, e.g. 0.9."]
