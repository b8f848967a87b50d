"""One run's settings: flat, frozen, checked together. Defaults, then a YAML file, then flags; flags win.

Numbers that may be left to the kit are `auto` here until `defaults.settle` has chosen them for the rows and
the model at hand; what trains and scores sees numbers only.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self, get_type_hints

import yaml

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.config.flags import (
    AUTO,
    is_auto,
    read_flags,
    read_settings_file,
    setting,
    setting_names,
    shown_value,
    typed,
    unknown_setting,
)
from hf_transfer.errors import ConfigError
from hf_transfer.machine.files import write_bytes
from hf_transfer.machine.secrets import holds_secret

Kind = Literal["image", "text", "tokens"]  # what a row's input is

# What a preset says of other settings.
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"trainable": "head"},
    "good": {},
    "best": {"final": "ensemble", "sealed": 0.1},
}

# Settings that take lists, under their names with an "s", and are then combined.
GRID_SETTINGS = ("trainable", "learning_rate", "weight_decay")


@dataclass(frozen=True)
class RunConfig:
    """Every setting of a run. Raises `ConfigError` naming all that is wrong at once."""

    preset: str = setting(
        "good",
        "quick: a frozen backbone and a head in closed form; good: what the other settings say; best: a "
        "search for layers and rate, the folds' models together, judged on sealed rows. What is given wins.",
        choices=tuple(PRESETS),
        scored=False,
    )
    base_model: str = setting(
        "",
        "Hub id, local folder, builtin:NAME, or timm:ARCH (random weights) or timm:ARCH@FILE to start from.",
        aliases=("model_name_or_path", "model"),
    )
    revision: str | None = setting(None, "Branch, tag or commit of a base model on the Hub.")
    trust_remote_code: bool = setting(False, "Run code that comes with the base model. Never on by itself.")
    dataset: str = setting(
        "",
        "Hub id, folder, CSV, JSON, JSON Lines or Parquet file, or builtin:NAME.",
        aliases=("dataset_name", "data"),
    )
    dataset_config: str | None = setting(
        None, "Configuration of a Hub dataset.", aliases=("dataset_config_name",)
    )
    split: str | None = setting(
        None, "Split to cross-validate; 'train' where there is one.", aliases=("train_split",)
    )
    test_split: str | None = setting(None, "Split kept untouched, scored once by the final model.")
    sealed: float = setting(
        0.0, "Share of the rows to set aside before the split, in no fold; scored by the final model."
    )
    input_column: str | None = setting(
        None,
        "Column of pictures, texts or word lists; found by its usual names when not given.",
        aliases=("text_column", "image_column", "tokens_column", "text_column_name", "image_column_name"),
    )
    label_column: str | None = setting(
        None, "Column of labels; found by its usual names when not given.", aliases=("label_column_name",)
    )
    id_column: str | None = setting(None, "Column that identifies a row; its number when not given.")
    max_rows: int | None = setting(
        None, "Keep only so many rows, chosen by the seeded hash.", aliases=("max_train_samples",)
    )
    on_bad_image: str = setting("fail", "What to do with unreadable pictures.", choices=("fail", "skip"))

    num_folds: int = setting(5, "Number of folds, k.", aliases=("folds", "n_splits"))
    num_repeats: int = setting(
        AUTO,
        "How often to repeat with other folds; auto takes 3 where a repeat costs little, else 1.",
        aliases=("repeats", "n_repeats"),
        auto=True,
    )
    scheme: str = setting(
        "auto",
        "How rows are split; auto takes predefined, time, (stratified-)group, entity or stratified.",
        choices=(
            "auto", "random", "stratified", "group", "stratified-group",
            "time", "walk-forward", "predefined", "entity",
        ),
        aliases=("cv",),
    )  # fmt: skip
    group_by: str | None = setting(
        None,
        "Column whose equal values stay in one fold (patient, author).",
        aliases=("group_on", "group_column"),
    )
    time_by: str | None = setting(None, "Column to order rows by, for blocks of time.", aliases=("time_on",))
    fold_column: str | None = setting(None, "Column that holds each row's fold number.")
    gap: int = setting(0, "Rows dropped from training on each side of a held-out block of time.")
    seed: int = setting(0, "Seed of the folds, the new weights and the order of rows.")
    strict: bool = setting(False, "Stop where the kit would adjust a setting and say so.")

    from_scratch: bool = setting(False, "Same architecture, random weights: the control arm.")
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
    layer_decay: float = setting(
        AUTO,
        "Learning rate factor for each layer group below the head; auto: 1.",
        auto=True,
    )
    reinit_top: int = setting(0, "Give the top N blocks new random weights.")
    norm: str = setting(
        "auto",
        "Normalisation layers: auto (as their group), freeze (all of the backbone's), train (all).",
        choices=("auto", "freeze", "train"),
    )

    head_solver: str = setting(
        AUTO,
        "With trainable=head: gradient steps, or the output layer in closed form (weight_decay is its L2); "
        "auto takes lbfgs where nothing is asked for that only gradient steps have.",
        choices=(AUTO, "gradient", "lbfgs", "ridge"),
    )
    head_start: str = setting(
        AUTO,
        "Where the head starts: random weights (auto), or the output layer solved on pretrained features.",
        choices=(AUTO, "random", "probe"),
    )
    learning_rate: float = setting(
        AUTO,
        "Peak learning rate; auto by what learns, and the kind and width of the model.",
        aliases=("lr",),
        auto=True,
    )
    learning_rates: tuple[float, ...] = setting(
        (), "Several peak learning rates, comma-separated, all under the same folds; the best is named."
    )
    num_epochs: int = setting(
        AUTO,
        "Passes over the training rows; auto takes more of few rows, as it is updates that count.",
        aliases=("num_train_epochs", "epochs"),
        auto=True,
    )
    batch_size: int = setting(32, "Rows for each update, over all processes together.")
    per_device_batch_size: int | None = setting(
        None,
        "Most rows a process takes at once; the rest is accumulated.",
        aliases=("per_device_train_batch_size",),
        scored=False,
    )
    optimizer: str = setting("adamw", "Optimizer.", choices=("adamw", "sgd"), aliases=("optim",))
    weight_decay: float = setting(
        AUTO,
        "Decay of weight matrices, never of norms and biases; auto takes 0.01, and of a head in closed form "
        "the strength that is best on inner folds of the training rows.",
        auto=True,
    )
    weight_decays: tuple[float, ...] = setting(
        (), "Several weight decays, comma-separated, combined with each learning rate."
    )
    warmup: float = setting(
        AUTO,
        "Rising learning rate first: a share of all updates below 1, a number of them from 1 on; auto: 0.1.",
        aliases=("warmup_ratio", "warmup_steps"),
        auto=True,
    )
    scheduler: str = setting(
        "linear",
        "Learning rate after warm-up.",
        choices=("linear", "cosine", "constant"),
        aliases=("lr_scheduler_type",),
    )
    max_grad_norm: float = setting(1.0, "Longest gradient; 0 does not clip.")
    label_smoothing: float = setting(
        0.0, "Share of the target spread over all classes.", aliases=("label_smoothing_factor",)
    )
    class_weights: str = setting(
        "none", "Weights of the classes in the loss, from training rows only.", choices=("none", "balanced")
    )
    early_stopping: bool = setting(False, "Stop by the loss on an inner split of the training rows.")
    patience: int = setting(
        3, "Epochs without a better inner loss before stopping.", aliases=("early_stopping_patience",)
    )
    augmentation: str = setting(
        "none", "Random changes to training pictures.", choices=("none", "flip", "crop", "crop-flip")
    )
    max_length: int | None = setting(
        None, "Most tokens of a text; the model's limit when not given.", aliases=("max_seq_length",)
    )
    pooling: str = setting(
        "auto",
        "How a classifier reads a text: by its first token (as most models of transformers do), by the mean "
        "of all, or as the checkpoint was made for (auto).",
        choices=("auto", "first", "mean"),
    )
    mixed_precision: str | None = setting(
        None,
        "Precision of the arithmetic; what the launcher says when not given.",
        choices=("no", "bf16", "fp16"),
    )
    compile: bool = setting(False, "Compile the model with torch.compile.", aliases=("torch_compile",))
    parallel: str = setting(
        "auto",
        "Several processes: each takes whole folds, or all share each batch; auto prefers folds.",
        choices=("auto", "folds", "data"),
        scored=False,
    )
    folds_per_device: int = setting(
        1,
        "Folds to train side by side on this device, each in a process with its part of the cores.",
        scored=False,
    )
    replay: bool = setting(
        True,
        "Compute the output of frozen layers once and reuse it, where that changes nothing.",
        scored=False,
    )
    cached_views: int = setting(
        0, "With augmentation and frozen layers: store so many changed versions of each picture."
    )
    cache_gb: float = setting(20.0, "Most gigabytes of disk for what frozen layers put out.", scored=False)
    num_threads: int | None = setting(
        None, "Processor threads for each process; equal numbers give equal bits.", scored=False
    )
    metrics: tuple[str, ...] = setting(
        (), "More `evaluate` metrics of the Hub by name, comma-separated.", scored=False
    )
    learning_curve: bool = setting(
        False,
        "Train on 10, 20, 40 and 80 % of the rows too, and say what twice as many would give.",
        scored=False,
    )
    shuffled_labels: int = setting(
        0,
        "Train so many of the folds on shuffled labels too: can it learn rows by heart, do labels leak?",
        scored=False,
    )

    output_dir: str = setting("runs/run", "Folder of the run.", scored=False)
    overwrite: bool = setting(False, "Replace another run in the output folder.", scored=False)
    resume: bool = setting(
        True,
        "Go on with what the output folder holds of the same run.",
        aliases=("resume_from_checkpoint",),
        scored=False,
    )
    checkpoint_minutes: float | None = setting(
        5.0,
        "Most minutes of a fold's training to lose when the run is killed; none keeps no checkpoints.",
        aliases=("save_minutes",),
        scored=False,
    )
    final: str = setting(
        "refit",
        "What to publish: a model of all rows, the folds' models together, their mean weights, or none.",
        choices=("refit", "ensemble", "soup", "none"),
        scored=False,
    )
    report_to: str = setting(
        "none", "Tracker.", choices=("none", "tensorboard", "wandb", "trackio", "mlflow"), scored=False
    )
    push_to_hub: str | None = setting(
        None, "Repository user/name to publish to.", aliases=("hub_model_id",), scored=False
    )
    private: bool = setting(
        False, "Make the repository private.", aliases=("hub_private_repo",), scored=False
    )
    license: str | None = setting(None, "Licence identifier for the model card.", scored=False)
    debug: bool = setting(False, "Show the whole traceback of an error.", scored=False)

    def __post_init__(self) -> None:
        problems = self._secrets() or [*self._wrong_choices(), *self._wrong_numbers(), *self._conflicts()]
        if problems:
            raise ConfigError("\n".join(problems))

    def _secrets(self) -> list[str]:
        """Settings that hold a token. They are saved, and the message is kept too: it may not be repeated."""
        return [
            f"{f.name} holds what looks like a token or a password, and settings are saved with the run. "
            "Take it out: the kit reads a token from HF_TOKEN or `hf auth login` only."
            for f in fields(self)
            if holds_secret(str(getattr(self, f.name)))
        ]

    def _wrong_choices(self) -> list[str]:
        return [
            f"{f.name}={getattr(self, f.name)!r} is not one of {', '.join(f.metadata['choices'])}."
            for f in fields(self)
            if f.metadata["choices"]
            and getattr(self, f.name) is not None
            and getattr(self, f.name) not in f.metadata["choices"]
        ]

    def _wrong_numbers(self) -> list[str]:
        at_least = {
            "num_folds": 2, "num_repeats": 1, "num_epochs": 1, "batch_size": 1, "per_device_batch_size": 1,
            "max_rows": 2, "max_length": 3, "patience": 1, "num_threads": 1, "gap": 0, "reinit_top": 0,
            "weight_decay": 0, "warmup": 0, "max_grad_norm": 0, "label_smoothing": 0, "cached_views": 0,
            "cache_gb": 0, "shuffled_labels": 0, "checkpoint_minutes": 0, "folds_per_device": 1,
        }  # fmt: skip
        problems = [
            f"{name}={value!r} is too small; use {low} or more."
            for name, low in at_least.items()
            if (value := getattr(self, name)) not in (None, AUTO) and not value >= low
        ]
        if not 0 <= self.seed < 2**32:
            problems.append(f"seed={self.seed!r} must be from 0 to 4294967295.")
        for rate in (self.learning_rate, *self.learning_rates):
            if not is_auto(rate) and not 0 < rate < 100:
                problems.append(f"learning_rate={rate!r} must be above 0 (2e-5 is usual for BERT).")
        problems += [
            f"weight_decay={decay!r} is too small; use 0 or more."
            for decay in self.weight_decays
            if decay < 0
        ]
        if not is_auto(self.layer_decay) and not 0 < self.layer_decay <= 1:
            problems.append(f"layer_decay={self.layer_decay!r} must be above 0 and at most 1, e.g. 0.9.")
        if not 0 <= self.sealed <= 0.2:
            problems.append(
                f"sealed={self.sealed!r} must be from 0 to 0.2, e.g. 0.1; the folds need the rest."
            )
        if not self.label_smoothing < 1:
            problems.append(f"label_smoothing={self.label_smoothing!r} must be from 0 to below 1.")
        return problems

    def _conflicts(self) -> list[str]:
        problems = []
        if self.folds_per_device > 1 and self.parallel == "data":
            problems.append(
                f"folds_per_device={self.folds_per_device} gives each process folds of its own, and "
                "parallel='data' each process a part of every batch. Leave out one of them."
            )
        for scheme, name in _NEEDS_COLUMN.items():
            if self.scheme == scheme and getattr(self, name) is None:
                problems.append(f"scheme={scheme!r} needs {name}; give the column's name.")
        if self.gap and self.time_by is None:
            problems.append(f"gap={self.gap} needs time_by, the column that orders the rows.")
        if self.group_by and self.time_by:
            problems.append("group_by and time_by cannot be used together; leave one out.")
        if self.test_split and self.final == "none":
            problems.append("test_split is scored by the final model, so it needs final='refit'.")
        repeats = 1 if is_auto(self.num_repeats) else self.num_repeats
        if self.shuffled_labels > (most := self.num_folds * repeats):
            problems.append(
                f"shuffled_labels={self.shuffled_labels} is more than the {most} folds there are."
            )
        if self.preset == "quick" and self.from_scratch:
            problems.append(
                "preset='quick' freezes a pretrained backbone, and from_scratch leaves none. Leave one out."
            )
        problems += self._solver_conflicts()
        problems += self._final_conflicts()
        if self.schedule != "constant" and not is_auto(self.num_epochs) and self.num_epochs < 2:
            problems.append(f"schedule={self.schedule!r} has several phases; set num_epochs to 2 or more.")
        return problems

    def _final_conflicts(self) -> list[str]:
        problems = []
        if self.sealed and self.final == "none":
            problems.append(
                "sealed rows are scored by the final model, so they need final='refit' or another."
            )
        if self.final == "soup" and not self.sealed:
            problems.append(
                "final='soup' needs sealed rows to show that the mean of the weights is a good model; "
                "add sealed=0.1."
            )
        if self.final == "soup" and any("+lora" in spec for spec in (self.trainable, *self.trainables)):
            problems.append(
                "final='soup' averages weights, and +lora publishes adapters added into them; use "
                "final='refit' or 'ensemble'."
            )
        if self.final in {"ensemble", "soup"} and self.scheme == "walk-forward":
            problems.append(
                f"final={self.final!r} joins the folds' models, and the first of scheme='walk-forward' learn "
                "from few rows; use final='refit'."
            )
        return problems

    def _solver_conflicts(self) -> list[str]:
        if is_auto(self.head_solver) or not self.solved:
            return []
        given = f"head_solver={self.head_solver!r}"
        problems = []
        if self.trainable != "head":
            problems.append(f"{given} needs trainable='head', not {self.trainable!r}.")
        if self.trainables:
            problems.append(f"{given} needs trainable='head' alone; leave trainables out.")
        problems += [
            f"{given} {why}; leave {f.name} out."
            for f in fields(self)
            if (why := _NOT_SOLVED.get(f.name)) and getattr(self, f.name) != f.default
        ]
        return problems

    @classmethod
    def from_args(
        cls, defaults: Self, argv: Sequence[str] | None = None, *, description: str | None = None
    ) -> Self:
        """Read `[FILE.yaml] [--setting value …]` over `defaults`.

        Args:
            defaults: The recipe's own settings.
            argv: Words of the command line; those of this process when not given.
            description: What `--help` says first.

        Raises:
            ConfigError: If a setting is unknown (with the nearest name), or a value is not usable.
        """
        given, file = read_flags(cls, sys.argv[1:] if argv is None else argv, description)
        written = {} if file is None else read_settings_file(Path(file))
        preset = given.get("preset", written.get("preset", defaults.preset))
        of_preset = PRESETS.get(str(preset), {})  # of another word, the choices are told below
        return (
            defaults.changed(of_preset)
            .changed(written, source=str(file))
            .changed(given, source="the command line")
        )

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read settings that `save` wrote, or that a person wrote by hand."""
        return cls().changed(read_settings_file(Path(path)), source=str(path))

    def changed(self, values: Mapping[str, Any], *, source: str = "the settings") -> Self:
        """Give a copy with some settings replaced; aliases and `-` for `_` are understood.

        Raises:
            ConfigError: If a name is unknown, or a value has the wrong type.
        """
        types = get_type_hints(type(self))
        names = setting_names(type(self))
        automatic = {f.name: f.metadata["auto"] for f in fields(self)}
        problems: list[str] = []
        clean: dict[str, Any] = {}
        for name, value in values.items():
            known = names.get(str(name).replace("-", "_"))
            if known is None:
                problems.append(unknown_setting(str(name), names, source))
                continue
            if automatic[known] and str(value).strip().lower() == AUTO:
                clean[known] = AUTO
                continue
            try:
                clean[known] = typed(value, types[known])
            except ValueError as error:
                other = " Or leave it to the kit: auto." if automatic[known] else ""
                problems.append(f"{known}={shown_value(value)} {error}{other}")
        if problems:
            raise ConfigError("\n".join(problems))
        return replace(self, **clean)

    def grid(self) -> "tuple[Self, ...]":
        """One configuration for each combination of the lists; this one alone without such lists."""
        lists: dict[str, list[Any]] = {
            name: list(dict.fromkeys(getattr(self, f"{name}s") or (getattr(self, name),)))
            for name in GRID_SETTINGS
        }
        alone = {f"{name}s": () for name in lists}
        found = (dict(zip(lists, values, strict=True)) for values in product(*lists.values()))
        return tuple(self.changed(alone | values) for values in found)

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain values, ready for YAML and JSON."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @property
    def solved(self) -> bool:
        """Whether the head is solved in closed form, and so has no rate and no epochs."""
        return self.head_solver in {"lbfgs", "ridge"}

    @property
    def at_any_rate(self) -> Self:
        """What it has in common with those that differ from it in rate and weight decay only."""
        return replace(self, weight_decay=0.0, learning_rate=self.learning_rate if self.solved else 1.0)

    @property
    def shared_start(self) -> bool:
        """Whether all folds draw their new weights from one seed, as the mean of what they become needs."""
        return self.final == "soup"

    def scored(self) -> dict[str, Any]:
        """Only the settings that change a score: two runs that agree here are the same experiment."""
        values = self.to_dict() | {"new_weights": "of all folds" if self.shared_start else "of each fold"}
        scored = [f.name for f in fields(self) if f.metadata["scored"]]
        return {name: values[name] for name in (*scored, "new_weights")}

    def save(self, path: str | Path) -> None:
        """Write all settings as YAML."""
        write_bytes(Path(path), yaml.safe_dump(self.to_dict(), sort_keys=False).encode())


def differing(configs: Sequence[RunConfig]) -> list[str]:
    """The settings in which some configurations differ."""
    return [f.name for f in fields(RunConfig) if len({getattr(config, f.name) for config in configs}) > 1]


_NEEDS_COLUMN = {
    "group": "group_by", "stratified-group": "group_by", "time": "time_by",
    "walk-forward": "time_by", "predefined": "fold_column",
}  # fmt: skip

# What a head in closed form has no use for, and why.
_NOT_SOLVED = {
    "schedule": "learns in one step",
    "optimizer": "has a solver of its own",
    "learning_rate": "has no rate (weight_decay is its L2)",
    "learning_rates": "has no rate (weight_decays is its L2)",
    "num_epochs": "has no epochs",
    "warmup": "has no rate to warm up",
    "scheduler": "has no rate to lower",
    "max_grad_norm": "has no gradient to clip",
    "layer_decay": "has no rate to lower",
    "head_start": "has no start",
    "label_smoothing": "minimises the loss without smoothing",
    "early_stopping": "has no epochs to stop",
    "augmentation": "sees each picture once",
}
