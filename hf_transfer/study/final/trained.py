"""A run's final model, opened to label rows that it has not seen."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError
from hf_transfer.runs.combine_record import Joined, joined_members
from hf_transfer.runs.hub.fetch import fetch_run, is_repository
from hf_transfer.runs.reading import AGAIN, place_inside, read_json_file
from hf_transfer.runs.records import Results
from hf_transfer.runs.results import read_results
from hf_transfer.runs.run_folder import CALIBRATION_FILE
from hf_transfer.scores.statistics import apply_temperature
from hf_transfer.study.final.model_folder import task_in, with_table_of
from hf_transfer.tasks import target_of_run, task_class

if TYPE_CHECKING:
    from hf_transfer.tasks.task import Task


@dataclass(frozen=True)
class TrainedModel:
    """The final model of a run, which may be several that answer together.

    Attributes:
        run: The run's folder.
        results: What its results.json holds.
        task: With the settings and the labels of the run.
        members: The folder of each model.
        temperature: What out-of-fold logits are to be divided by.
        in_weights: Whether the weights are divided already.
        joined: Models of other runs that answer instead, with the weight of each.
    """

    run: Path
    results: Results
    task: "Task"
    members: tuple[Path, ...]
    temperature: float
    in_weights: bool
    joined: tuple[tuple["TrainedModel", float], ...] = ()

    @classmethod
    def open(cls, run: str | Path, *, trust_remote_code: bool = False) -> "TrainedModel":
        """Open the final model of a run's folder, or of the repository that it was pushed to.

        Raises:
            ConfigError: If the run kept no final model.
            HubError: If the repository cannot be fetched.
        """
        run = fetch_run(str(run))[0] if is_repository(run) else Path(run)
        if joined := joined_members(run):
            models = [cls.open(one.run, trust_remote_code=trust_remote_code) for one in joined]
            _check_together(run, joined, models)
            return replace(models[0], joined=tuple(zip(models, [one.weight for one in joined], strict=True)))
        results = read_results(run)
        if results.final.path is None:
            raise ConfigError(f"{run} kept no final model (final=none). Run it again with --final refit.")
        folder = place_inside(run, results.final.path or "model")
        folder = folder if folder.is_dir() else run  # the top of a repository
        settings = replace(results.config, trust_remote_code=trust_remote_code)
        target = target_of_run(results.task, results.label_names, results.target, input=results.input)
        names = (results.final.members or ()) if results.final.kind == "ensemble" else ()
        members = tuple(place_inside(folder, name) for name in names) or (folder,)
        kind = with_table_of(task_class(results.task, results.input), settings, members[0])
        task = kind(settings, target)
        task.target = task.target.deciding(results.cuts.points if results.cuts else ())
        return cls(
            run,
            results,
            task,
            members,
            *_temperature(folder / CALIBRATION_FILE),
        )

    def outputs(self, values: Sequence[Any], *, raw: bool = False, title: str = "") -> list[NDArray[Any]]:
        """What the models answer together for each input, (m, c).

        Args:
            values: Inputs as the task encodes them.
            raw: Take the logits as they were learned, without the temperature.
            title: Of a progress bar; none is shown without one.
        """
        if self.joined:
            return _weighted([(one.outputs(values, raw=raw, title=title), w) for one, w in self.joined])
        from hf_transfer.replay.batching import Batches
        from hf_transfer.replay.encoding import encode_values
        from hf_transfer.study.final.ensemble import average_outputs, logits_of
        from hf_transfer.training.workers import Workers, make_accelerator

        task = task_in(self.task, self.members[0])
        workers = Workers(make_accelerator(task.settings), together=False)
        encoded = encode_values(task, values)
        notes = task.encoded_notes(encoded)
        print(*notes, sep="\n", end="\n" * bool(notes), file=sys.stderr)
        batches = Batches(task, encoded, workers.accelerator.device)
        wanted = 1.0 if raw else self.temperature
        found = average_outputs(
            (logits_of(task, folder, batches, workers, title) for folder in self.members),
            task.target,
            wanted / self.temperature if self.in_weights else wanted,
        )
        nothing = np.zeros((0, len(task.label_names)), np.float32)  # for a sentence without words
        return [found.get(row, nothing) for row in range(len(values))]


def _check_together(run: Path, joined: Sequence[Joined], models: Sequence[TrainedModel]) -> None:
    """Refuse members that were changed for others: the weights are those of these models and labels.

    Raises:
        ConfigError: Naming the member.
    """
    for one, model in zip(joined, models, strict=True):
        there = model.results
        if there.config.base_model != one.base_model:
            said, is_there = f"of {one.base_model}", f"of {there.config.base_model}"
        elif there.label_names != models[0].results.label_names:
            said, is_there = f"for {models[0].results.label_names}", f"for {there.label_names}"
        else:
            continue
        raise ConfigError(
            f"{one.run} is a run {is_there}, and {run} weighs one {said}: what they say together would be "
            "wrong. Run combine again into another --output_dir."
        )


def _weighted(found: Sequence[tuple[Sequence[NDArray[Any]], float]]) -> list[NDArray[Any]]:
    """Logarithms of the weighted mean of several models' probabilities for each input."""
    smallest = np.finfo(np.float32).tiny  # a probability of 0 has no logarithm
    shares = [[weight * apply_temperature(one, 1.0) for one in outputs] for outputs, weight in found]
    return [np.log(np.maximum(sum(row), smallest)).astype(np.float32) for row in zip(*shares, strict=True)]


def _temperature(file: Path) -> tuple[float, bool]:
    """What out-of-fold logits are to be divided by, and whether the weights are divided already."""
    if not file.is_file():
        return 1.0, False
    value = read_json_file(file)
    found = value.get("temperature") if isinstance(value, dict) else None
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 < found < math.inf:
        raise ConfigError(f"{file} must hold a temperature above 0. Remove it to do without one. {AGAIN}")
    return float(found), value.get("in_weights") is True
