"""The zero-shot arm: each row is judged once, by the names of the classes, and scored under the folds."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.config.setting import is_auto
from hf_transfer.errors import ModelError
from hf_transfer.machine.cache import StoreFolder, stores_folder
from hf_transfer.machine.devices import arithmetic_of
from hf_transfer.machine.digests import json_digest
from hf_transfer.machine.memory import attempt, in_parts
from hf_transfer.machine.processes import wait_for_all
from hf_transfer.machine.progress import progress_bar
from hf_transfer.models.base_model import open_base_model
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.records import ZeroShot
from hf_transfer.runs.zero_shot import Asked, zero_shot_part
from hf_transfer.study.experiment import Experiment

if TYPE_CHECKING:
    from hf_transfer.study.study import Study
    from hf_transfer.tasks.inputs.judges import Judge

_ROWS_AT_ONCE = 32


def judge_of(experiment: Experiment) -> "Judge":
    """Open the model that `zero_shot` names; its weights are loaded when it first judges.

    Raises:
        ModelError: If it is not there, or of another kind.
    """
    config, task = experiment.config, experiment.task
    base = task.base
    if not is_auto(config.zero_shot):
        named = replace(config, base_model=config.zero_shot or "", revision=None, trust_remote_code=False)
        try:
            base = open_base_model(replace(named, image_size=None))
        except ModelError as error:
            raise ModelError(str(error).replace("base_model=", "zero_shot=", 1)) from error
    each = task.target.answers_by_name == "each"
    return task.input.judge(base, task.label_names, config.zero_shot_template, each=each)


def zero_shot(study: "Study", config: RunConfig, results: Sequence[FoldResult]) -> ZeroShot:
    """Judge all rows without training, and test the run against it; all processes must call this.

    Args:
        study: The finished study.
        config: The configuration that is reported; of a grid, the best.
        results: Of its folds.
    """
    runner, experiment = study.runner, study.experiment
    judge = judge_of(experiment)
    asked = _asked(judge)
    units = [
        study.control_unit(unit, asked.folder, purpose="zero-shot") for unit in experiment.units_of(config)
    ]
    done = all(runner.finished(unit) for unit in units)
    wait_for_all(runner.accelerator)  # all have looked before anyone writes
    if not done and runner.accelerator.is_main_process:
        outputs = _stored(experiment, judge, runner.accelerator.device)
        by_row = dict(enumerate(outputs[:, None, :]))
        weights = json_digest([asked.model, asked.revision])
        for unit in units:
            if runner.finished(unit) is None:
                runner.keep_outputs(unit, by_row, weights)
    wait_for_all(runner.accelerator)
    judged = study.results_of(units)
    tables = study.predictions_of(units, judged), study.predictions(config, results)
    target = experiment.task.target
    return zero_shot_part(asked, (judged, results), tables, target, target.scorer, seed=config.seed)


def _asked(judge: "Judge") -> Asked:
    """Who judges by which words; other words have another folder."""
    base = judge.base
    folder = f"zero-shot-{json_digest([base.name, base.revision, judge.prompts], 4)}"
    return Asked(base.name, base.revision, judge.template, judge.prompts, folder)


def _stored(experiment: Experiment, judge: "Judge", device: torch.device) -> NDArray[np.float32]:
    """The answers for all rows, (n, c): those of an earlier run, or new ones that are kept for later runs."""
    config, base, shape = experiment.config, judge.base, (len(experiment.uids), len(judge.prompts))
    folder = StoreFolder(stores_folder(), config.cache_gb * 1e9)
    key = json_digest([
        "zero-shot", experiment.data.fingerprint, base.name, base.revision, judge.prompts, judge.each,
        torch.__version__, arithmetic_of(device), torch.get_num_threads(),
    ])  # fmt: skip
    if folder.found(key):
        found: NDArray[Any] = np.load(folder.file(key), allow_pickle=False)
        if found.shape == shape and found.dtype == np.float32:
            folder.used(key)
            return found
    outputs = _judged(experiment, judge, device)
    about = {"kind": "zero-shot", "base_model": base.name, "dataset": config.dataset, "rows": shape[0]}
    if folder.make_room(outputs.nbytes) is None:
        try:
            np.save(folder.unfinished(key), outputs)
            folder.finish(folder.unfinished(key), key, about)
        except OSError:  # they are in memory all the same
            folder.unfinished(key).unlink(missing_ok=True)
    return outputs


def _judged(experiment: Experiment, judge: "Judge", device: torch.device) -> NDArray[np.float32]:
    """Judge every row, some at a time, on the device."""
    rows, outputs = experiment.data.rows, []
    attempt(lambda: judge.model.to(device), "as the model that judges was moved to the device")
    parts = np.split(np.arange(len(rows)), range(_ROWS_AT_ONCE, len(rows), _ROWS_AT_ONCE))

    def judged(part: NDArray[np.int64]) -> NDArray[np.float32]:
        answers: NDArray[np.float32] = judge.answers(rows[part]["input"], device).numpy()
        return answers

    with torch.inference_mode(), progress_bar("zero-shot", total=len(rows), unit="row") as bar:
        for part, answers in in_parts(judged, parts, "as rows were judged"):
            outputs.append(answers)
            bar.update(len(part))
    return np.concatenate(outputs)
