"""Settings of the machine: precision, processes, cached features."""

from dataclasses import dataclass

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.parts import part_problem
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
    engine: str = setting(
        "here",
        "Who trains the folds: this launch; the nodes of a Ray cluster, which compute the features of rank, "
        "shift, adapt, shots, combine and features too; or parts of the run that were started one by one "
        "(`part`), which are then joined.",
        choices=("here", "ray", "parts"),
        scored=False,
    )
    ray_address: str = setting(
        "auto", "Of the Ray cluster: auto is the one that this machine belongs to.", scored=False
    )
    gpus_per_unit: float | None = setting(
        None,
        "With engine=ray: GPUs for each piece of work, 0.5 lets two share one. One where a node has any.",
        scored=False,
        at_least=0,
    )
    part: str | None = setting(
        None,
        "With engine=parts: train only this part of the folds, such as 3/10 for the fourth of ten, beside "
        "the run's folder.",
        scored=False,
    )
    dry_run: bool = setting(False, "Say what the run will cost, and train nothing.", scored=False)
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
        if self.engine == "ray" and (self.folds_per_device > 1 or self.parallel != "auto"):
            problems.append(
                "engine='ray' hands out the folds itself. Leave folds_per_device and parallel out; "
                "gpus_per_unit=0.5 lets two share a GPU."
            )
        if self.engine != "ray" and self.gpus_per_unit is not None:
            problems.append(
                f"gpus_per_unit={self.gpus_per_unit!r} is for engine='ray'. Add it, or leave this out."
            )
        if self.part is not None:
            problems += part_problem(self.part, "part")
            if self.engine != "parts":
                problems.append(f"part={self.part!r} is for engine='parts'. Add it, or leave this out.")
        return problems
