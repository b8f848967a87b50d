"""Settings of the run: preset, output folder, resuming, seed."""

from dataclasses import dataclass
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.setting import Group, setting

# What a preset says of other settings.
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"trainable": "head"},
    "good": {},
    "best": {"final": "ensemble", "sealed": 0.1},
}


@dataclass(frozen=True, kw_only=True)
class RunSettings(Group):
    """Preset, output folder, resuming, seed."""

    heading = "The run"

    preset: str = setting(
        "good",
        "quick: a frozen backbone and a head in closed form; good: what the other settings say; best: a "
        "search for layers and rate, the folds' models together, judged on sealed rows. What you give wins.",
        choices=tuple(PRESETS),
        scored=False,
    )
    output_dir: str = setting("runs/run", "Folder of the run.", scored=False)
    overwrite: bool = setting(False, "Replace another run in the output folder.", scored=False)
    resume: bool = setting(
        True,
        "Resume the same run in the output folder.",
        aliases=("resume_from_checkpoint",),
        scored=False,
    )
    checkpoint_minutes: float | None = setting(
        5.0,
        "Minutes of training between checkpoints; none writes no checkpoints.",
        aliases=("save_minutes",),
        scored=False,
        at_least=0,
    )
    mixed_environments: bool = setting(
        False,
        "Go on with folds that were trained, or features that a cluster computed, under another number of "
        "threads or on another kind of device; the card says so of folds.",
        scored=False,
    )
    seed: int = setting(0, "Seed of the folds, the new weights and the order of rows.")
    strict: bool = setting(False, "Stop with an error where the kit would otherwise adjust a setting.")
    debug: bool = setting(False, "Show the whole traceback of an error.", scored=False)

    def problems(self) -> list[str]:
        """Errors in numbers."""
        if 0 <= self.seed < 2**32:
            return []
        return [f"seed={self.seed!r} must be from 0 to 4294967295."]
