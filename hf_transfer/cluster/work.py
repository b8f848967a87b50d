"""What a node does: train what it is sent in a folder of its own, and give back the bytes of the files."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cluster.parcel import Plain, read_config, read_unit, unpack
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
        about: Of the parcel of the experiment.
        bulk: Of the same.

    Returns:
        `files`: what was written, by its path in the run's folder; `gone`: paths of files that came with the
        order and were deleted; `error`: in words; and what the kind of work finds.
    """
    torch.set_num_threads(order["threads"])
    folder = _desk().folder
    try:
        _empty(folder)
        before = order.get("files", {})
        found = _KINDS[order["kind"]](_study(about, bulk, before), order)
        files = _read(folder)
        return {
            "error": None,
            "files": {name: content for name, content in files.items() if before.get(name) != content},
            "gone": sorted(before.keys() - files.keys()),
        } | (found or {})
    except TransferError as error:
        return {"error": f"{type(error).__name__}: {error}", "files": {}, "gone": []}
    finally:
        _empty(folder)


class _Desk:
    """The folder of this process, and the experiment that it has unpacked last, with its batches."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="hf-transfer-node-"))
        self.folder = self.root / "run"
        self.key: str | None = None
        self.experiment: Experiment | None = None
        self.replay: Replay | None = None
        atexit.register(shutil.rmtree, self.root, ignore_errors=True)


_DESKS: list[_Desk] = []


def _desk() -> _Desk:
    """That of this process, which is made once."""
    if not _DESKS:
        _DESKS.append(_Desk())
    return _DESKS[0]


def _study(about: Plain, bulk: Plain, files: Mapping[str, bytes]) -> Study:
    """A study of the experiment in the process's folder; its batches are kept for the next work on it."""
    desk = _desk()
    if desk.key != about["key"] or desk.experiment is None:
        desk.replay = None
        shutil.rmtree(desk.root / "model", ignore_errors=True)
        desk.experiment = unpack(about, bulk, desk.folder, desk.root / "model")
        desk.key = about["key"]
    for name, content in files.items():
        path = desk.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    replay = desk.replay
    study = Study(
        desk.experiment,
        make_accelerator(desk.experiment.config),
        RunFolder(desk.folder),
        make_replay=None if replay is None else lambda: replay,
    )
    desk.replay = study.runner.replay
    desk.replay.prepare()
    return study


def _units(order: Plain) -> list[Unit]:
    return [read_unit(values, _desk().folder) for values in order["units"]]


def _train(study: Study, order: Plain) -> None:
    """Train each of some folds."""
    for unit in _units(order):
        study.runner.run(unit)


def _train_heads(study: Study, order: Plain) -> None:
    """Train the heads of some folds together; leaves nothing where they cannot be."""
    study.runner.run_heads(_units(order))


def _finish(study: Study, order: Plain) -> Plain:
    """Make the final model from the files of the folds, which came with the order."""
    config = read_config(order["config"], _desk().folder)
    final, _ = make_final(study, config, study.results_of(study.experiment.units_of(config)))
    return {"failed": final.error}


def _price(study: Study, order: Plain) -> Plain:
    """Predict the seconds of a training of each configuration on this node."""
    configs = [read_config(values, _desk().folder) for values in order["configs"]]
    return {"seconds": training_seconds(study.runner, configs, study.experiment.units[0])}


_KINDS: Mapping[str, Callable[[Study, Plain], Plain | None]] = {
    "units": _train,
    "heads": _train_heads,
    "final": _finish,
    "price": _price,
}


def _read(folder: Path) -> dict[str, bytes]:
    """The bytes of all files of a folder, by their paths in it."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
