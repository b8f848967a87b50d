"""Label new inputs with a run's final model."""

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.data.new_inputs import read_new_inputs
from hf_transfer.errors import ConfigError
from hf_transfer.runs.hub.fetch import fetch_run, is_repository
from hf_transfer.runs.reading import AGAIN, damage_told, place_inside, read_json_file, read_table
from hf_transfer.runs.records import Results
from hf_transfer.runs.results import read_results
from hf_transfer.scores.statistics import apply_temperature, best_threshold
from hf_transfer.study.final.model_folder import CALIBRATION_FILE, task_in
from hf_transfer.tasks import target_of_run, task_class
from hf_transfer.tasks.targets.reading import Reading

if TYPE_CHECKING:
    from hf_transfer.tasks.targets.target import Target
    from hf_transfer.tasks.task import Task


def predict_inputs(
    run: str | Path,
    inputs: list[str],
    *,
    raw: bool = False,
    threshold: str | None = None,
    trust_remote_code: bool = False,
) -> tuple[list[dict[str, Any]], str]:
    """Label texts, pictures or sentences; return values, and text to print.

    Args:
        run: A finished run's folder with its final model, or the repository it was pushed to, `user/name`.
        inputs: Pictures or folders of them; texts; or a file of them, .txt (one a line) or what a run reads.
        raw: Take the logits as they were learned, without the temperature that was fitted to the
            out-of-fold ones.
        threshold: For two classes, the metric by which to tune the probability that decides.
        trust_remote_code: Run code that lies in the model's folder, whatever the run's settings say.

    Raises:
        ConfigError: If the run kept no final model, or a threshold is asked for other than two classes.
        DataError: If an input is not usable.
        HubError: If the repository cannot be fetched.
    """
    run = fetch_run(str(run))[0] if is_repository(run) else Path(run)
    results = read_results(run)
    if results.final.path is None:
        raise ConfigError(f"{run} kept no final model (final=none). Run it again with --final refit.")
    folder = _model_folder(run, results)
    settings = replace(results.config, trust_remote_code=trust_remote_code)
    target = target_of_run(results.task, results.label_names, results.target)
    task = task_class(results.task)(settings, target)
    reading = _reading(run, folder, task.target, raw=raw, threshold=threshold)
    shown, values = read_new_inputs(inputs, task.input, results.dataset.column)
    members = [place_inside(folder, name) for name in results.final.members or ()]
    if results.final.kind != "ensemble":
        members = [folder]
    logits = _logits(task_in(task, members[0]), members, values, reading.temperature)
    columns = task.target.columns(Dataset.from_dict({"input": values}), logits)
    return task.target.answers(shown, columns, reading)


def _logits(task: "Task", folders: list[Path], values: list[Any], temperature: float) -> list[NDArray[Any]]:
    """What the models answer together for each input, (m, c)."""
    from hf_transfer.replay.batching import Batches
    from hf_transfer.replay.encoding import encode_values
    from hf_transfer.study.final.ensemble import average_outputs, logits_of
    from hf_transfer.training.workers import Workers, make_accelerator

    workers = Workers(make_accelerator(task.settings), together=False)
    batches = Batches(task, encode_values(task, values), workers.accelerator.device)
    members = (logits_of(task, folder, batches, workers) for folder in folders)
    found = average_outputs(members, task.target, temperature)
    nothing = np.zeros((0, len(task.label_names)), np.float32)  # for a sentence without words
    return [found.get(row, nothing) for row in range(len(values))]


def _model_folder(run: Path, results: Results) -> Path:
    """Folder of the model: `model/` in a run, the top of a repository."""
    folder = place_inside(run, results.final.path or "model")
    return folder if folder.is_dir() else run


def _reading(run: Path, folder: Path, target: "Target", *, raw: bool, threshold: str | None) -> Reading:
    fitted, in_weights = _temperature(folder / CALIBRATION_FILE)
    temperature = 1.0 if raw else fitted
    own = temperature / fitted if in_weights else temperature
    if threshold is None:
        return Reading(own)
    if target.not_two_classes:
        raise ConfigError(
            f"A threshold decides between two classes, and {run} {target.not_two_classes}. Leave "
            "--threshold out: the likeliest is taken."
        )
    rows = read_table(run / "predictions.parquet", ("label", "logits"))
    with damage_told(run):
        shares = apply_temperature(np.stack(rows["logits"].to_numpy()), temperature)
        found = best_threshold(shares[:, 1], rows["label"].to_numpy(), threshold)
    about = {"metric": threshold, "positive": target.label_names[1], "rows": rows.num_rows} | asdict(found)
    return Reading(own, found, about | {"tuned_on": "the same out-of-fold rows"})


def _temperature(file: Path) -> tuple[float, bool]:
    """What out-of-fold logits are to be divided by, and whether the weights are divided already."""
    if not file.is_file():
        return 1.0, False
    value = read_json_file(file)
    found = value.get("temperature") if isinstance(value, dict) else None
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 < found < math.inf:
        raise ConfigError(f"{file} must hold a temperature above 0. Remove it to do without one. {AGAIN}")
    return float(found), value.get("in_weights") is True
