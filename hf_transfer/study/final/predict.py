"""Label new inputs with a run's final model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from hf_transfer import _guard  # noqa: F401
from hf_transfer.data.labelled_file import check_output, write_labelled
from hf_transfer.data.new_inputs import read_new_inputs
from hf_transfer.errors import ConfigError
from hf_transfer.runs.reading import damage_told, read_table
from hf_transfer.scores.statistics import apply_temperature, best_threshold
from hf_transfer.study.final.trained import TrainedModel
from hf_transfer.tasks.targets.reading import Reading

Answers = list[dict[str, Any]]


@dataclass(frozen=True)
class PredictOptions:
    """How to label inputs.

    Attributes:
        raw: Take the outputs as they were learned, without the temperature and the cut points that were
            fitted to the out-of-fold ones.
        threshold: For two classes, the metric by which to tune the probability that decides.
        top_k: How many labels to give with their probabilities, the chosen one first.
        all_probabilities: Give the probability of every label.
        trust_remote_code: Run code that lies in the model's folder, whatever the run's settings say.

    Raises:
        ConfigError: If they do not go together.
    """

    raw: bool = False
    threshold: str | None = None
    top_k: int = 1
    all_probabilities: bool = False
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ConfigError(f"top_k={self.top_k} must be 1 or more: it is a number of labels.")
        if self.all_probabilities and self.top_k > 1:
            raise ConfigError("top_k and all_probabilities are both given. Leave one of them out.")


def predict(
    run: str | Path,
    inputs: str | Path | Mapping[str, Any] | Sequence[str | Mapping[str, Any]],
    *,
    output: str | Path | None = None,
    **options: Any,
) -> Answers:
    """Label texts, pictures or sentences with a run's final model.

    Args:
        run: A finished run's folder with its final model, or the repository it was pushed to, `user/name`.
        inputs: Pictures or folders of them; texts; or a file of them, .txt (one a line) or what a run reads.
            An input of several parts may be a mapping, as its JSON would be.
        output: A .csv, .jsonl or .parquet file for the answers, with all columns of the inputs' file.
        options: Those of `PredictOptions`: `raw`, `threshold`, `top_k`, `all_probabilities`,
            `trust_remote_code`.

    Returns:
        What is said of each input, in their order.

    Raises:
        ConfigError: If the run kept no final model, or a threshold is asked for other than two classes.
        DataError: If an input is not usable.
        HubError: If the repository cannot be fetched.
    """
    given = [inputs] if isinstance(inputs, str | Path | Mapping) else inputs
    words = [json.dumps(dict(one)) if isinstance(one, Mapping) else str(one) for one in given]
    return predict_inputs(run, words, output=output, **options)[0]


def predict_inputs(
    run: str | Path, inputs: Sequence[str], *, output: str | Path | None = None, **options: Any
) -> tuple[Answers, str]:
    """Do what `predict` does; return values, and text to print."""
    wanted = PredictOptions(**options)
    path = check_output(output, inputs) if output else None
    model = TrainedModel.open(run, trust_remote_code=wanted.trust_remote_code)
    reading = _reading(model, wanted)
    slices = read_new_inputs(inputs, _input(model), model.results.dataset.column, model.results.config)
    target = model.task.target
    outputs = model.outputs(slices.values, raw=wanted.raw, title="Predicting")
    outputs += [target.average([outputs[i] for i in volume], 1.0) for volume in slices.volumes]
    found = slices.with_volumes
    target = target.deciding(()) if wanted.raw else target
    columns = target.columns(Dataset.from_dict({"input": found.values}), outputs)
    answers, text = target.answers(found.names, columns | {"outputs": outputs}, reading)
    if path is not None:
        return answers, write_labelled(path, found.rows, answers)
    return answers, text


def _input(model: TrainedModel) -> Any:
    """What the model takes, read from texts as the run's rows were."""
    path = model.run / "predictions.parquet"
    input = model.task.input
    return input.like(lambda name: read_table(path, (name,))) if path.is_file() else input


def _reading(model: TrainedModel, wanted: PredictOptions) -> Reading:
    target, top_k = model.task.target, None if wanted.all_probabilities else wanted.top_k
    if target.scales and top_k != 1:
        raise ConfigError(
            f"{model.run} gives {target.name}, which have no probabilities. Leave --top_k and "
            "--all_probabilities out."
        )
    if wanted.threshold is None:
        return Reading(top_k=top_k)
    if model.joined:
        raise ConfigError(
            f"{model.run} is one of several models that answer together. Leave --threshold out."
        )
    if target.not_two_classes:
        raise ConfigError(
            f"A threshold decides between two classes, and {model.run} {target.not_two_classes}. Leave "
            "--threshold out."
        )
    rows = read_table(model.run / "predictions.parquet", ("label", "logits"))
    with damage_told(model.run):
        shares = apply_temperature(
            np.stack(rows["logits"].to_numpy()), 1.0 if wanted.raw else model.temperature
        )
        found = best_threshold(shares[:, 1], rows["label"].to_numpy(), wanted.threshold)
    about = {"metric": wanted.threshold, "positive": target.label_names[1], "rows": rows.num_rows}
    about |= asdict(found) | {"tuned_on": "the same out-of-fold rows"}
    return Reading(threshold=found, about=about, top_k=top_k)
