"""A run's folder: one folder a fold, whole files only, one experiment in each."""

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.flags import read_settings_file
from hf_transfer.config.run_config import RunConfig, differing
from hf_transfer.config.setting import AUTO
from hf_transfer.errors import ConfigError
from hf_transfer.machine.digests import bytes_digest, file_digest
from hf_transfer.machine.files import (
    enough_disk,
    json_bytes,
    make_folder,
    remove_stale,
    sync,
    table_bytes,
    write_files,
    write_table,
)
from hf_transfer.machine.lock import LOCK_FILE, locked, refuse_running
from hf_transfer.machine.parsing import parse_json
from hf_transfer.machine.paths import refuse_folders_elsewhere
from hf_transfer.machine.wording import fold_key
from hf_transfer.runs.base_origin import LEARNED_ROWS
from hf_transfer.runs.fold_result import Epoch, FoldResult, KeptFold
from hf_transfer.runs.reading import read_lines, read_record
from hf_transfer.runs.schema import to_json
from hf_transfer.runs.unit_files import DONE, changed_files, with_digests

CHECKPOINT = "checkpoint"  # in the folder of a training that goes on

CALIBRATION_FILE = "calibration.json"  # the temperature, and whether the weights are divided by it
TRAIN_ROWS = (
    "train_predictions.parquet"  # in a fold's folder: predictions of the training rows that were scored
)

# What a run leaves behind. README.md stays on --overwrite: a person may have written in it.
_OWN = (
    "config.yaml",
    "folds.parquet",
    "folds",
    "predictions.parquet",
    "test_predictions.parquet",
    "sealed_predictions.parquet",
    LEARNED_ROWS,
    "results.json",
    "compare.json",
    "plots",
    "model",
    "final",
    "report.html",
)


def place_of(config: RunConfig, grid: Sequence[RunConfig]) -> str:
    """The subfolder of `folds/` for a configuration of a grid; empty if there is only one."""
    if len(grid) == 1:
        return ""
    rates = ("learning_rate", "weight_decay")
    others = [str(getattr(config, name)) for name in differing(grid) if name not in rates]
    rate = "" if config.solved else f"lr{config.learning_rate}-"
    # A choice of layers may hold characters that no folder's name can.
    words = [*map(_folder_name, others), f"{rate}wd{config.weight_decay}"]
    return "-".join(words)


def _folder_name(text: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")
    return plain if plain == text else f"{plain}~{bytes_digest(text.encode(), 2)}"


def fold_place(inside: str, repeat: int, fold: int) -> str:
    """The subfolder of `folds/` for a fold, e.g. `r0f3`; for a control run, e.g. `curve-40/r0f3`."""
    return f"{inside}/{fold_key(repeat, fold)}".lstrip("/")


def weight_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each weights file in a model's folder, by its path there."""
    digests = {}
    for path in sorted(folder.rglob("*.safetensors")):
        if path.is_file():
            digests[path.relative_to(folder).as_posix()] = file_digest(path)
    return digests


def reader_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file beside the weights by which a model's folder is read, by its path there."""
    paths = (
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in {".json", ".txt", ".model", ".jinja"} and path.is_file()
    )
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}


class RunFolder:
    """The output folder of one experiment."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @contextmanager
    def held(self, config: RunConfig) -> Iterator[None]:
        """Open the folder for one run, which has it to itself; only a launch's main process does so.

        Raises:
            ConfigError: If another run is at work in it, or it holds something else.
            DiskFullError: If what the run writes has no room.
        """
        check_output(config)
        make_folder(self.path)
        with enough_disk(self.path), locked(self.path) as dead:
            if dead is not None:
                print(f"Going on with the run of {dead}, which was ended.", file=sys.stderr)
            remove_stale(self.path)
            self.open(config)
            yield

    def open(self, config: RunConfig) -> None:
        """Make the folder, or go on with the same experiment in it.

        Raises:
            ConfigError: If it holds another experiment, or files that are not a run's.
        """
        check_output(config)
        if config.overwrite:
            for name in _OWN:
                target = self.path / name
                shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        self.path.mkdir(parents=True, exist_ok=True)
        config.save(self.path / "config.yaml")
        for done in self.path.glob("**/done.json"):  # of a run that was killed between the two
            shutil.rmtree(done.parent / CHECKPOINT, ignore_errors=True)

    def unit(self, place: str) -> Path:
        """The folder of one fold, e.g. `r0f3`, in a grid within that of its configuration."""
        return self.path / "folds" / place

    def finished(self, place: str, identity: str) -> FoldResult | None:
        """What was found there before, if the same rows and model were used.

        A fold whose files are damaged counts as one that was never finished, which is said.

        Raises:
            ConfigError: If it was found with other rows or another model.
        """
        path = self.unit(place) / DONE
        if not path.is_file():
            return None
        if not _is_whole(path):
            path.unlink(missing_ok=True)
            print(f"Fold {place} is trained again: its files are damaged.", file=sys.stderr)
            return None
        kept = read_record(KeptFold, path)
        if kept.identity != identity:
            raise ConfigError(
                f"{self.path} holds folds of other rows or another base model under the same settings. "
                "Pass --overwrite to replace them, or another --output_dir."
            )
        return kept.result

    def failed(self, place: str) -> FoldResult:
        """The record of a fold that was tried and failed."""
        return read_record(KeptFold, self.unit(place) / "failed.json").result

    def keep_rows(self, name: str, table: pa.Table) -> None:
        """Write predictions that numbers beside the out-of-fold scores come from."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, table)

    def keep(
        self,
        place: str,
        result: FoldResult,
        identity: str,
        history: list[dict[str, Any]],
        table: pa.Table | None,
    ) -> None:
        """Write a fold's files, `done.json` last: it is what says that the others are whole."""
        folder = self.unit(place)
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(epoch) + "\n" for epoch in history)
        kept = to_json(KeptFold(**vars(result), identity=identity))
        files = {"history.jsonl": lines.encode()}
        if table is None:
            files["failed.json"] = json_bytes(kept)
        else:
            (folder / "failed.json").unlink(missing_ok=True)
            files["predictions.parquet"] = table_bytes(table)
            files["scores.json"] = json_bytes(result.scores)
            files[DONE] = json_bytes(with_digests(kept, files | _train_rows(folder)))
        write_files({folder / name: content for name, content in files.items()})
        sync(folder)
        if table is not None:
            shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)


def _train_rows(folder: Path) -> dict[str, bytes]:
    """The file that stood in a fold's folder before its others, if there is one."""
    path = folder / TRAIN_ROWS
    return {TRAIN_ROWS: path.read_bytes()} if path.is_file() else {}


def _is_whole(done: Path) -> bool:
    """Whether a finished fold's files are those that it was kept with.

    Of a fold of an earlier version, which has no digests: whether its record and history are JSON, and its
    predictions a table with an end.
    """
    try:
        if (changed := changed_files(done)) is not None:
            return not changed
        history = (done.parent / "history.jsonl").read_text(encoding="utf-8").split("\n")
        epochs = [parse_json(text) for text in filter(str.strip, history)]
        record = parse_json(done.read_text(encoding="utf-8"))
        by_steps = (
            record["num_epochs"] and record["weight_decay"] is None
        )  # a head in closed form has no epochs
        if by_steps and len(epochs) < record["num_epochs"]:
            return False
        with (done.parent / "predictions.parquet").open("rb") as stream:
            pq.read_metadata(stream)
    except (ValueError, OSError, TypeError, KeyError):  # Arrow's errors are of the first two kinds
        return False
    return True


def check_output(config: RunConfig) -> None:
    """Refuse an output folder that holds another experiment, before anything is computed.

    Raises:
        ConfigError: Naming the settings that differ, or the run that is at work there.
    """
    path = Path(config.output_dir)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"output_dir={config.output_dir!r} is a file. Give a folder.")
    if not path.is_dir() or not any(file for file in path.iterdir() if file.name != LOCK_FILE):
        return
    if not (path / "config.yaml").is_file():
        raise ConfigError(
            f"output_dir={config.output_dir!r} holds files that are no run's. Give an empty folder."
        )
    refuse_folders_elsewhere(path)
    refuse_running(path, "Wait for that run, end it, or give another --output_dir.")
    before, now = _settings_there(path, config.overwrite), config.scored()
    if config.overwrite:
        return
    now = {name: before[name] if value == AUTO else value for name, value in now.items()}  # not yet chosen
    started = (
        any(path.glob("folds/**/done.json"))
        or any(path.glob(f"folds/**/{CHECKPOINT}/step-*"))
        or (path / "results.json").is_file()
    )
    if started and not config.resume:
        raise ConfigError(
            f"output_dir={config.output_dir!r} holds a run that resume=False does not go on with. Pass "
            "--overwrite to replace it, or another --output_dir."
        )
    if started and before != now:
        raise ConfigError(
            f"output_dir={config.output_dir!r} already holds another run: {_differences(before, now)}. "
            "Pass --overwrite to replace it, or another --output_dir."
        )


def _settings_there(path: Path, overwrite: bool) -> dict[str, Any]:
    """The settings of the run in a folder; to be overwritten, they need not be valid but ours."""
    try:
        return RunConfig.load(path / "config.yaml").scored()
    except ConfigError as error:
        ours = {f.name for f in fields(RunConfig)}
        if overwrite and {"base_model", "dataset"} <= read_settings_file(path / "config.yaml").keys() <= ours:
            return {}
        raise ConfigError(
            f"output_dir={str(path)!r} holds a config.yaml that cannot be read as a run's: {error} Give "
            "another --output_dir."
        ) from error


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    changed = [name for name in now if before.get(name) != now[name]]
    shown = [f"{name}={before.get(name)!r} there, {now[name]!r} here" for name in changed[:4]]
    return "; ".join(shown) + (f"; and {len(changed) - 4} more" if len(changed) > 4 else "")


def read_histories(folder: Path) -> dict[str, list[Epoch]]:
    """Read each fold's epochs, by the fold's name; folds without any are left out."""
    paths = sorted(folder.glob("*/history.jsonl"))
    histories = {path.parent.name: read_lines(Epoch, path) for path in paths}
    return {name: epochs for name, epochs in histories.items() if epochs}
