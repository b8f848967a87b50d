"""All settings of a run: defaults, then a YAML file, then flags; checked together.

A setting is declared in its group, beside what is checked of that group alone; here they are one.

Numbers that may be left to the kit are `auto` here until `defaults.settle` has chosen them for the rows and
the model at hand; what trains and scores sees numbers only.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any, Self, get_type_hints

import yaml

from hf_transfer import _guard  # noqa: F401  (says what is wrong when another package hides ours)
from hf_transfer.config.data import DataSettings
from hf_transfer.config.flags import (
    read_flags,
    read_settings_file,
    setting_names,
    shown_value,
    typed,
    unknown_setting,
)
from hf_transfer.config.folds import FoldSettings
from hf_transfer.config.layers import LayerSettings
from hf_transfer.config.machine import MachineSettings
from hf_transfer.config.measuring import MeasuringSettings
from hf_transfer.config.model import ModelSettings
from hf_transfer.config.publishing import PublishingSettings
from hf_transfer.config.run import PRESETS, RunSettings
from hf_transfer.config.setting import AUTO, groups_of, is_auto
from hf_transfer.config.training import TrainingSettings
from hf_transfer.errors import ConfigError
from hf_transfer.machine.files import write_bytes
from hf_transfer.machine.paths import is_utf_8
from hf_transfer.machine.secrets import holds_secret

# Settings that take lists, under their names with an "s", and are then combined.
GRID_SETTINGS = ("trainable", "learning_rate", "weight_decay")


@dataclass(frozen=True, kw_only=True, repr=False)
class RunConfig(  # from the last group to the first, as dataclasses put the fields of the last base first
    MachineSettings,
    PublishingSettings,
    MeasuringSettings,
    TrainingSettings,
    LayerSettings,
    FoldSettings,
    DataSettings,
    ModelSettings,
    RunSettings,
):
    """Every setting of a run. Raises `ConfigError` that names all errors at once."""

    def __post_init__(self) -> None:
        problems = (
            self._secrets()
            or self._not_utf_8()
            or [*self._wrong_choices(), *self._too_small(), *self.problems()]
        )
        if problems:
            raise ConfigError("\n".join(problems))

    def __repr__(self) -> str:
        """What differs from the defaults."""
        given = (f for f in fields(self) if getattr(self, f.name) != f.default)
        return f"RunConfig({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in given)})"

    def problems(self) -> list[str]:
        """All errors within the groups of settings and between them."""
        within = [problem for group in groups_of(type(self)) for problem in group.problems(self)]
        return [
            *within,
            *self._model_conflicts(),
            *self._measuring_conflicts(),
            *self._solver_conflicts(),
            *self._final_conflicts(),
            *self._wise_conflicts(),
            *self._sharding_conflicts(),
        ]

    def _secrets(self) -> list[str]:
        """Refuse settings that hold a token, as settings are saved; the message must not repeat it."""
        if not holds_secret("\n".join(str(getattr(self, f.name)) for f in fields(self))):
            return []  # one look for all: to ask for the account's token costs more than to look for it
        return [
            f"{f.name} holds what looks like a token or a password, and settings are saved with the run. "
            "Take it out: the kit reads a token from HF_TOKEN or `hf auth login` only."
            for f in fields(self)
            if holds_secret(str(getattr(self, f.name)))
        ]

    def _not_utf_8(self) -> list[str]:
        """Refuse names that no file of a run can hold: of files whose bytes are no UTF-8."""
        return [
            f"{f.name}={value!r} is not UTF-8. Rename what it names, e.g. by convmv."
            for f in fields(self)
            if not is_utf_8(value := str(getattr(self, f.name)))
        ]

    def _wrong_choices(self) -> list[str]:
        return [
            f"{f.name}={getattr(self, f.name)!r} is not one of {', '.join(f.metadata['choices'])}."
            for f in fields(self)
            if f.metadata["choices"]
            and getattr(self, f.name) is not None
            and getattr(self, f.name) not in f.metadata["choices"]
        ]

    def _too_small(self) -> list[str]:
        return [
            f"{f.name}={value!r} is too small; use {low} or more."
            for f in fields(self)
            if (low := f.metadata["at_least"]) is not None
            and (value := getattr(self, f.name)) not in (None, AUTO)
            and not value >= low
        ]

    def _model_conflicts(self) -> list[str]:
        problems = []
        if self.preset == "quick" and self.from_scratch:
            problems.append(
                "preset='quick' freezes a pretrained backbone, and from_scratch leaves none. Leave one out."
            )
        if self.schedule != "constant" and not is_auto(self.num_epochs) and self.num_epochs < 2:
            problems.append(f"schedule={self.schedule!r} has several phases; set num_epochs to 2 or more.")
        return problems

    def _measuring_conflicts(self) -> list[str]:
        most = self.num_folds * (1 if is_auto(self.num_repeats) else self.num_repeats)
        if self.shuffled_labels <= most:
            return []
        return [f"shuffled_labels={self.shuffled_labels} is more than the {most} folds there are."]

    def _final_conflicts(self) -> list[str]:
        problems = []
        if self.test_split and self.final == "none":
            problems.append("test_split is scored by the final model, so it needs final='refit'.")
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

    def _wise_conflicts(self) -> list[str]:
        """What leaves no pretrained end to average with, or none that all the weights have."""
        specs = self.trainables or (self.trainable,)
        reasons = {
            "from_scratch leaves no pretrained weights": self.from_scratch,
            "reinit_top gives the top new weights": self.reinit_top > 0,
            "trainable=head lets nothing below the head learn": "head" in specs,
            "adapters (+lora) are no weights of the pretrained model": any("+lora" in one for one in specs),
            "head_start=random leaves the head unsolved": self.head_start == "random",
            "final=soup averages the folds, which start from other heads": self.final == "soup",
        }
        if self.wise is None:
            return []
        how = "wise averages fine-tuned weights with the pretrained ones and a solved head"
        return [f"{how}, and {why}. Leave one out." for why, is_so in reasons.items() if is_so]

    def _sharding_conflicts(self) -> list[str]:
        """What needs the whole model in one process."""
        reasons = {
            f"head_solver={self.head_solver!r} solves a head": not is_auto(self.head_solver) and self.solved,
            "head_start='probe' solves a head first": self.head_start == "probe",
            "wise averages with a solved head": self.wise is not None,
            f"final={self.final!r} joins the folds' models": self.final in {"ensemble", "soup"},
        }
        why = "parallel='fsdp' gives each process a part of the model, and"
        return [
            f"{why} {reason} in one process. Leave out one of them."
            for reason, is_so in reasons.items()
            if self.parallel == "fsdp" and is_so
        ]

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
        """Read flags and an optional YAML file, on top of `defaults`; flags win.

        Args:
            defaults: The recipe's own settings.
            argv: Words of the command line; those of this process when not given.
            description: What `--help` says first.

        Raises:
            ConfigError: If a setting is unknown (with the nearest name), or a value is not usable.
        """
        given, file = read_flags(defaults, sys.argv[1:] if argv is None else argv, description)
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
        """Read settings from a YAML file, written by `save` or by hand."""
        return cls().changed(read_settings_file(Path(path)), source=str(path))

    @classmethod
    def from_record(cls, values: Mapping[str, Any], where: str) -> Self:
        """Read the settings that a run's record holds; those of other versions are passed over."""
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        return cls().changed(known, source=where)

    def changed(self, values: Mapping[str, Any], *, source: str = "the settings") -> Self:
        """Return a copy with some settings replaced; aliases, and `-` for `_`, are understood.

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
        """One configuration for each combination of the lists; without lists, this one alone."""
        lists: dict[str, list[Any]] = {
            name: list(dict.fromkeys(getattr(self, f"{name}s") or (getattr(self, name),)))
            for name in GRID_SETTINGS
        }
        alone = {f"{name}s": () for name in lists}
        choices = (dict(zip(lists, values, strict=True)) for values in product(*lists.values()))
        return tuple(self.changed(alone | values) for values in choices)

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain values, ready for YAML and JSON."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @property
    def at_any_rate(self) -> Self:
        """This configuration with rate and weight decay blanked; equal if only these two differ."""
        return replace(self, weight_decay=0.0, learning_rate=self.learning_rate if self.solved else 1.0)

    @property
    def shared_start(self) -> bool:
        """Whether all folds draw their new weights from the same seed, as averaging weights requires."""
        return self.final == "soup"

    def scored(self) -> dict[str, Any]:
        """The settings that change a score: two runs that agree here are the same experiment.

        They come by name, as digests are taken of them, and settings may move between groups.
        """
        values = self.to_dict() | {"new_weights": "of all folds" if self.shared_start else "of each fold"}
        scored = [f.name for f in fields(self) if f.metadata["scored"]]
        return {name: values[name] for name in sorted((*scored, "new_weights"))}

    def save(self, path: str | Path) -> None:
        """Write all settings as YAML."""
        write_bytes(Path(path), yaml.safe_dump(self.to_dict(), sort_keys=False).encode())


def differing(configs: Sequence[RunConfig]) -> list[str]:
    """Names of the settings in which some configurations differ."""
    return [f.name for f in fields(RunConfig) if len({getattr(config, f.name) for config in configs}) > 1]


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
    "wise": "leaves nothing to average",
    "label_smoothing": "minimises the loss without smoothing",
    "number_loss": "minimises the squared error",
    "early_stopping": "has no epochs to stop",
    "augmentation": "sees each picture once",
}
