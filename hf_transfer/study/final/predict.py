"""Label new inputs with a run's final model."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.data.new_inputs import read_new_inputs
from hf_transfer.errors import ConfigError
from hf_transfer.machine.wording import aligned
from hf_transfer.runs.hub.fetch import fetch_run, is_repository
from hf_transfer.runs.reading import AGAIN, damage_told, place_inside, read_json_file, read_table
from hf_transfer.runs.records import Results
from hf_transfer.runs.results import read_results
from hf_transfer.scores.statistics import Threshold, apply_temperature, best_threshold
from hf_transfer.study.final.model_folder import CALIBRATION_FILE, task_in
from hf_transfer.tasks import task_class

if TYPE_CHECKING:
    from hf_transfer.tasks.task import Task


@dataclass(frozen=True)
class Reading:
    """How logits become labels: temperature and threshold.

    Attributes:
        label_names: In the order of their ids.
        temperature: What the model's logits are divided by; 1 leaves them as they are.
        threshold: The probability from which on the second of two classes is chosen; None takes the likelier.
        about: Where the threshold comes from.
    """

    label_names: Sequence[str]
    temperature: float = 1.0
    threshold: Threshold | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def choose(self, probabilities: NDArray[Any]) -> list[int]:
        """Label of each row, from logits (n, c)."""
        if self.threshold is None:
            return [int(best) for best in probabilities.argmax(1)]
        return [int(share >= self.threshold.value) for share in probabilities[:, 1]]

    def sentence(self) -> str:
        """Explain the threshold."""
        about = self.about
        return (
            f"{about['positive']} from a probability of {about['value']:.4f} on: {about['metric']} "
            f"{about['score']:.3f} on {about['rows']:,} out-of-fold rows. It was tuned on these rows, so "
            "expect less on others."
        )


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
    reading = _reading(run, folder, results, raw=raw, threshold=threshold)
    kind = task_class(results.task).kind
    shown, values = read_new_inputs(inputs, kind, results.dataset.column)
    members = [place_inside(folder, name) for name in results.final.members or ()]
    if results.final.kind != "ensemble":
        members = [folder]
    settings = replace(results.config, trust_remote_code=trust_remote_code)
    task = task_class(results.task)(settings, results.label_names)
    logits = _logits(task_in(task, members[0]), members, values, reading.temperature)
    columns = task.target.columns(Dataset.from_dict({"input": values}), logits)
    return _described(shown, columns, reading)


def _logits(task: "Task", folders: list[Path], values: list[Any], temperature: float) -> list[NDArray[Any]]:
    """Log of the models' mean probabilities for each input, (m, c)."""
    from hf_transfer.replay.batching import Batches
    from hf_transfer.replay.encoding import encode_values
    from hf_transfer.study.final.ensemble import logits_of, mean_log_probabilities
    from hf_transfer.training.workers import Workers, make_accelerator

    workers = Workers(make_accelerator(task.settings), together=False)
    batches = Batches(task, encode_values(task, values), workers.accelerator.device)
    found = mean_log_probabilities(
        (logits_of(task, folder, batches, workers) for folder in folders), temperature
    )
    nothing = np.zeros((0, len(task.label_names)), np.float32)  # for a sentence without words
    return [found.get(row, nothing) for row in range(len(values))]


def _model_folder(run: Path, results: Results) -> Path:
    """Folder of the model: `model/` in a run, the top of a repository."""
    folder = place_inside(run, results.final.path or "model")
    return folder if folder.is_dir() else run


def _reading(run: Path, folder: Path, results: Results, *, raw: bool, threshold: str | None) -> Reading:
    names = results.label_names
    fitted, in_weights = _temperature(folder / CALIBRATION_FILE)
    temperature = 1.0 if raw else fitted
    own = temperature / fitted if in_weights else temperature
    if threshold is None:
        return Reading(names, own)
    if task_class(results.task).kind == "tokens" or len(names) != 2:
        has = "tags words" if task_class(results.task).kind == "tokens" else f"has {len(names)} classes"
        raise ConfigError(
            f"A threshold decides between two classes, and {run} {has}. Leave --threshold out: "
            "the likeliest is taken."
        )
    rows = read_table(run / "predictions.parquet", ("label", "logits"))
    with damage_told(run):
        shares = apply_temperature(np.stack(rows["logits"].to_numpy()), temperature)
        found = best_threshold(shares[:, 1], rows["label"].to_numpy(), threshold)
    about = {"metric": threshold, "positive": names[1], "rows": rows.num_rows} | asdict(found)
    return Reading(names, own, found, about | {"tuned_on": "the same out-of-fold rows"})


def _temperature(file: Path) -> tuple[float, bool]:
    """What out-of-fold logits are to be divided by, and whether the weights are divided already."""
    if not file.is_file():
        return 1.0, False
    value = read_json_file(file)
    found = value.get("temperature") if isinstance(value, dict) else None
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 < found < math.inf:
        raise ConfigError(f"{file} must hold a temperature above 0. Remove it to do without one. {AGAIN}")
    return float(found), value.get("in_weights") is True


def _described(
    shown: list[str], columns: dict[str, Any], reading: Reading
) -> tuple[list[dict[str, Any]], str]:
    if "logits" not in columns:
        pairs = zip(columns["tokens"], columns["predictions"], strict=True)
        found = [{"tokens": tokens, "tags": tags} for tokens, tags in pairs]
        return found, "\n\n".join(
            aligned([list(p) for p in zip(f["tokens"], f["tags"], strict=True)]) for f in found
        )
    probabilities = apply_temperature(columns["logits"], 1.0)  # they are logarithms of probabilities
    found = [
        {"input": name, "label": reading.label_names[best], "probability": float(row[best])}
        for name, best, row in zip(shown, reading.choose(probabilities), probabilities, strict=True)
    ]
    text = aligned([[f["label"], f"{f['probability']:.3f}", f["input"]] for f in found])
    if reading.threshold is None:
        return found, text
    return [one | {"threshold": reading.about} for one in found], f"{text}\n\n{reading.sentence()}"
