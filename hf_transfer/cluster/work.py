"""What a node does: its work in a folder of its own, of which it gives back the bytes of the files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cluster.computing import compute_features
from hf_transfer.cluster.desk import desk
from hf_transfer.cluster.handing import Plain
from hf_transfer.cluster.parcel import read_config, read_unit, unpack
from hf_transfer.errors import TransferError
from hf_transfer.replay.replayed import Replay
from hf_transfer.runs.run_folder import RunFolder
from hf_transfer.study.estimate import training_seconds
from hf_transfer.study.experiment import Experiment, Unit
from hf_transfer.study.final.final_model import make_final
from hf_transfer.study.study import Study
from hf_transfer.training.workers import make_accelerator


def work(order: Plain, about: Plain, bulk: Plain) -> Plain:
    """Do one piece of work; takes and gives plain data only.

    An error that the kit raises on purpose is given back in words, so that nobody tries the same again;
    other errors, and the end of a node, are for what carries the work.

    Args:
        order: What to do, see `_KINDS`.
        about: Settings, and what else is small: of the parcel of an experiment, or `plain_pass`.
        bulk: What is large of the same.

    Returns:
        `files`: what was written, by its path in the run's folder; `gone`: paths of files that came with the
        order and were deleted; `error`: in words; and what the kind of work finds.
    """
    torch.set_num_threads(order["threads"])
    own, before = desk(), order.get("files", {})
    try:
        own.empty()
        found = _KINDS[order["kind"]](order, about, bulk)
        files = own.files()
        return {
            "error": None,
            "files": {name: content for name, content in files.items() if before.get(name) != content},
            "gone": sorted(before.keys() - files.keys()),
        } | (found or {})
    except TransferError as error:
        return {"error": f"{type(error).__name__}: {error}", "files": {}, "gone": []}
    finally:
        own.empty()


@dataclass
class _Unpacked:
    """An experiment that came with the last work, and its batches."""

    experiment: Experiment
    replay: Replay | None = None


def _study(order: Plain, about: Plain, bulk: Plain) -> Study:
    """A study of the experiment in the process's folder; its batches are kept for the next work on it."""
    own = desk()
    kept: _Unpacked = own.kept(about["key"], lambda: _Unpacked(unpack(about, bulk, own.folder, own.models)))
    for name, content in order.get("files", {}).items():
        path = own.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    replay = kept.replay
    study = Study(
        kept.experiment,
        make_accelerator(kept.experiment.config),
        RunFolder(own.folder),
        make_replay=None if replay is None else lambda: replay,
    )
    kept.replay = study.runner.replay
    kept.replay.prepare()
    return study


def _units(order: Plain) -> list[Unit]:
    return [read_unit(values, desk().folder) for values in order["units"]]


def _train(order: Plain, about: Plain, bulk: Plain) -> None:
    """Train each of some folds."""
    study = _study(order, about, bulk)
    for unit in _units(order):
        study.runner.run(unit)


def _train_heads(order: Plain, about: Plain, bulk: Plain) -> None:
    """Train the heads of some folds together; leaves nothing where they cannot be."""
    _study(order, about, bulk).runner.run_heads(_units(order))


def _finish(order: Plain, about: Plain, bulk: Plain) -> Plain:
    """Make the final model from the files of the folds, which came with the order."""
    study, config = _study(order, about, bulk), read_config(order["config"], desk().folder)
    final, _ = make_final(study, config, study.results_of(study.experiment.units_of(config)))
    return {"failed": final.error}


def _price(order: Plain, about: Plain, bulk: Plain) -> Plain:
    """Predict the seconds of a training of each configuration on this node."""
    study = _study(order, about, bulk)
    configs = [read_config(values, desk().folder) for values in order["configs"]]
    return {"seconds": training_seconds(study.runner, configs, study.experiment.units[0])}


_KINDS: Mapping[str, Callable[[Plain, Plain, Plain], Plain | None]] = {
    "units": _train,
    "heads": _train_heads,
    "final": _finish,
    "price": _price,
    "features": compute_features,
}
