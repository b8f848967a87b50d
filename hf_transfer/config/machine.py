"""Settings of the machine: precision, processes, cached features."""

from dataclasses import dataclass

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.setting import Group, setting


@dataclass(frozen=True, kw_only=True)
class MachineSettings(Group):
    """How the machine is used: precision, processes, cached features."""

    heading = "The machine"

    mixed_precision: str | None = setting(
        None,
        "Numeric precision; the launcher's when not given.",
        choices=("no", "bf16", "fp16"),
    )
    compile: bool = setting(False, "Compile the model with torch.compile.", aliases=("torch_compile",))
    parallel: str = setting(
        "auto",
        "Several processes: each takes whole folds, or all share each batch (data), or the model too, for "
        "one that no device holds (fsdp); auto prefers folds.",
        choices=("auto", "folds", "data", "fsdp"),
        scored=False,
    )
    folds_per_device: int = setting(
        1,
        "Folds to train at the same time on a device, each in its own process.",
        scored=False,
        at_least=1,
    )
    num_threads: int | None = setting(
        None, "CPU threads of each process; the same number gives the same bits.", scored=False, at_least=1
    )
    replay: bool = setting(
        True,
        "Compute the output of frozen layers once and reuse it, where that changes nothing.",
        scored=False,
    )
    cached_views: int = setting(
        0,
        "With augmentation and frozen layers: augmented versions of each picture to store.",
        at_least=0,
    )
    cache_gb: float = setting(
        20.0, "Most gigabytes of disk for the stored output of frozen layers.", scored=False, at_least=0
    )

    def problems(self) -> list[str]:
        """Settings that exclude each other."""
        problems = []
        if self.folds_per_device > 1 and self.parallel in {"data", "fsdp"}:
            problems.append(
                f"folds_per_device={self.folds_per_device} gives each process folds of its own, and "
                f"parallel={self.parallel!r} each process a part of every batch. Leave out one of them."
            )
        if self.parallel == "fsdp" and self.mixed_precision == "fp16":
            problems.append("parallel='fsdp' goes with mixed_precision='bf16' or 'no', and not with fp16.")
        if self.parallel == "fsdp" and self.compile:
            problems.append("parallel='fsdp' takes the model apart, and compile as a whole. Leave out one.")
        return problems
