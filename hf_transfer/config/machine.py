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
        "Several processes: each takes whole folds, or all share each batch; auto prefers folds.",
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
        if self.folds_per_device <= 1 or self.parallel != "data":
            return []
        return [
            f"folds_per_device={self.folds_per_device} gives each process folds of its own, and "
            "parallel='data' each process a part of every batch. Leave out one of them."
        ]
