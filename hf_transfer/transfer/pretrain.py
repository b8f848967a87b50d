"""Pretrain a base model on rows without labels, probe it, and write the folder."""

import shutil
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.config.folds import FoldSettings
from hf_transfer.config.run_config import RunConfig
from hf_transfer.config.setting import is_auto
from hf_transfer.data.labelled import LabelledData, fingerprint
from hf_transfer.data.opening import find_task, of_no_kind, open_dataset, refuse_missing
from hf_transfer.data.pretrained import seen_by
from hf_transfer.data.unlabelled import open_unlabelled
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.folds import derive_seed, hash_order
from hf_transfer.machine.digests import json_digest
from hf_transfer.machine.environment import versions
from hf_transfer.machine.files import make_folder, new_folder, remove_stale, write_bytes, write_json
from hf_transfer.machine.lock import LOCK_FILE, locked
from hf_transfer.machine.signals import stop_signals
from hf_transfer.machine.wording import count, some
from hf_transfer.replay.batching import Batches
from hf_transfer.replay.encoding import encode_rows
from hf_transfer.runs.pretrain_record import PRETRAIN_FILE, EpochLoss, Pool, PretrainRecord
from hf_transfer.runs.reading import read_record
from hf_transfer.runs.schema import to_json
from hf_transfer.study.tracking import FoldTracker
from hf_transfer.tasks import all_tasks, task_of_kind
from hf_transfer.tasks.task import Task
from hf_transfer.training.checkpoint import Checkpoints
from hf_transfer.training.workers import Workers, make_accelerator
from hf_transfer.transfer.objective import Objective, collapse_note, new_note
from hf_transfer.transfer.picture_objectives import MaskedPictures
from hf_transfer.transfer.pretrain_loop import PretrainLoop, Schooling
from hf_transfer.transfer.pretrain_probe import probe_both, shared_rows
from hf_transfer.transfer.pretrain_words import readme_text
from hf_transfer.transfer.same_pictures import SamePictures
from hf_transfer.transfer.text_objectives import MaskedWords, SameTexts

OBJECTIVES: dict[str, Any] = {one.name: one for one in (MaskedWords, SameTexts, MaskedPictures, SamePictures)}
DEFAULTS: dict[str, Any] = {"num_epochs": 3, "learning_rate": 5e-5, "weight_decay": 0.01, "warmup": 0.06}
_HELD_OUT, _MOST_HELD_OUT = 0.05, 2_000  # share of the pool that the loss is only measured on, and rows
_FEWEST = 20  # rows of a pool
_CHECKPOINTS, _WRITTEN, _CONFIG = "checkpoints", ".model", "config.json"
_NO_LABELS = ("none", "any")  # a target has two names or more
_OF_PROBE = {f.name for f in fields(FoldSettings)} | {"transductive"}  # settings that change no training
_UNUSED: dict[str, Any] = {"group_by": None, "time_by": None, "test_split": None, "sealed": 0.0}


@dataclass(frozen=True)
class PretrainOptions:
    """What `pretrain` takes beside a run's settings.

    Attributes:
        objective: What to learn; the usual one of the input when not given.
        kind: What a row's input is; found by itself when not given.
        probe: Labelled data to judge by; what `--dataset` takes.
        probe_split: Its split.
        minutes: After which to stop.
        from_scratch: Whether all weights begin anew.
    """

    objective: str | None = None
    kind: str | None = None
    probe: str | None = None
    probe_split: str | None = None
    minutes: float | None = None
    from_scratch: bool = False

    def __post_init__(self) -> None:
        if self.objective is not None and self.objective not in OBJECTIVES:
            raise ConfigError(f"--objective {self.objective} is not one of {', '.join(OBJECTIVES)}.")
        if self.minutes is not None and not self.minutes > 0:
            raise ConfigError(f"--minutes {self.minutes:g} is no time to learn in. Give more than 0.")


def pretrain(pool: str | Path, **settings: Any) -> PretrainRecord:
    """Let a base model go on learning from rows without labels; the folder is a base model again.

    Args:
        pool: The rows: what `--dataset` takes, a folder of files, or a .txt of lines.
        settings: Fields of `PretrainOptions`, such as `probe` and `minutes`, and settings, such as
            `base_model`, `num_epochs`, `max_length` and `output_dir`.

    Returns:
        The content of pretrain.json.

    Raises:
        TransferError: If a setting, the rows or the model cannot be used.
    """
    names = PretrainOptions.__dataclass_fields__.keys()
    options = PretrainOptions(**{name: settings.pop(name) for name in names & settings.keys()})
    config = replace(RunConfig(), dataset=str(pool), output_dir="runs/pretrain", **DEFAULTS)
    return run_pretrain(config.changed(settings), options)


def run_pretrain(config: RunConfig, options: PretrainOptions) -> PretrainRecord:
    """The same from settings that are read already; called again, it resumes."""
    began = time.monotonic()
    config = replace(config, **{n: v for n, v in DEFAULTS.items() if is_auto(getattr(config, n))})
    accelerator = make_accelerator(config)
    if accelerator.num_processes > 1:
        raise ConfigError("pretrain runs as one process. Start it without a launcher.")
    if options.from_scratch or config.from_scratch:
        config, options = replace(config, from_scratch=False), replace(options, from_scratch=True)
    folder = Path(config.output_dir)
    make_folder(folder)
    with stop_signals.handled(), locked(folder):
        remove_stale(folder)
        pretraining = _begin(config, options, accelerator)
        record = pretraining.done(folder) or _finish(pretraining, folder, began)
        return _probed(pretraining, record, folder)


@dataclass(frozen=True, eq=False)
class Pretraining:
    """A pool that was opened and checked against the labelled rows.

    Attributes:
        pool: Without rows that repeat another.
        digests: Of each of its rows, and of those that the base model was pretrained on.
        labelled: To probe by; None without any.
        num_shared: Rows of those that are in the pool too.
    """

    config: RunConfig
    options: PretrainOptions
    accelerator: Accelerator
    task: Task
    pool: LabelledData
    digests: tuple[str, ...]
    labelled: LabelledData | None
    num_shared: int
    objective_name: str
    notes: tuple[str, ...]

    @property
    def identity(self) -> str:
        """Digest of all that decides the training."""
        decides = {name: value for name, value in self.config.scored().items() if name not in _OF_PROBE}
        parts = [decides, self.pool.fingerprint, self.task.base.revision, self.objective_name]
        return json_digest([*parts, self.options.minutes, self.options.from_scratch])

    @property
    def probe_identity(self) -> str | None:
        """Digest of all that decides the probe beside the model; None without one."""
        if self.labelled is None:
            return None
        decides = {name: value for name, value in self.config.scored().items() if name in _OF_PROBE}
        return json_digest([decides, self.labelled.fingerprint])

    def done(self, folder: Path) -> PretrainRecord | None:
        """What a folder says of this very pretraining, if it was finished there.

        Raises:
            ConfigError: If another one's model, or something else, is there.
        """
        path = folder / PRETRAIN_FILE
        if self.config.overwrite:
            return None
        if not path.is_file():
            _refuse_others(folder)
            return None
        record = read_record(PretrainRecord, path)
        if record.identity != self.identity:
            raise ConfigError(
                f"{folder} holds another pretrained model. Give another --output_dir, or add --overwrite."
            )
        return record if (folder / _CONFIG).is_file() else None

    @property
    def num_held_out(self) -> int:
        """Rows of the pool that the loss is only measured on."""
        return min(_MOST_HELD_OUT, max(2, round(_HELD_OUT * len(self.pool.rows))))

    def objective(self) -> Objective:
        """With its model, whose new weights follow from the seed."""
        torch.manual_seed(derive_seed(self.config.seed, "new weights"))
        return OBJECTIVES[self.objective_name](  # type: ignore[no-any-return]
            self.task, from_scratch=self.options.from_scratch
        )


def _refuse_others(folder: Path) -> None:
    others = sorted({path.name for path in folder.iterdir()} - {LOCK_FILE, "logs", _CHECKPOINTS, _WRITTEN})
    if others and not (folder / _CHECKPOINTS).is_dir():
        raise ConfigError(
            f"{folder} holds {some(others, noun='file')}, which are no pretrained model's. Give a folder "
            "that is empty or new as --output_dir."
        )


def _begin(config: RunConfig, options: PretrainOptions, accelerator: Accelerator) -> Pretraining:
    """Open pool and labelled rows, and refuse rows that are in both."""
    pool = _open_pool(replace(config, **_UNUSED), options.kind)
    name = options.objective or pool.input.objectives[0]
    if name not in pool.input.objectives:
        raise ConfigError(
            f"--objective {name} is not for {pool.input.nouns}. Take {' or '.join(pool.input.objectives)}."
        )
    if config.batch_size < OBJECTIVES[name].fewest_rows:
        raise ConfigError(
            f"batch_size={config.batch_size}: {name} compares the rows of a batch with each other. Give "
            f"{OBJECTIVES[name].fewest_rows} or more; 32 or more learn better."
        )
    digests = pool.row_digests(pool.rows)
    first = {digest: row for row, digest in reversed([*enumerate(digests)])}
    kept, notes = sorted(first.values()), [*pool.notes]
    if len(kept) < len(digests):
        notes.append(f"Rows that repeat another were left out: {len(digests) - len(kept):,}.")
        rows = pool.rows.select(kept)
        pool = replace(pool, rows=rows, fingerprint=fingerprint(rows, pool.input, pool.label_names))
    if len(kept) < _FEWEST:
        raise DataError(
            f"{pool.name} has {count(len(kept), 'distinct row')}, and pretraining needs {_FEWEST} or "
            "more. Give more rows."
        )
    task = pool.task(config, pool.target)
    before = None if options.from_scratch else seen_by(task.base)
    all_digests = (*first, *sorted((before and before.digests) or ()))
    labelled = _open_labelled(config, options)
    found = labelled.row_digests(labelled.rows) if labelled else []
    num_shared = shared_rows(all_digests, found)
    if labelled is not None and num_shared and not config.transductive:
        raise DataError(
            f"{count(num_shared, 'row')} of {labelled.name} are in {pool.name} too, so that scores of them "
            "would be too good for new rows. Leave them out of the pool, or add --transductive, which every "
            "card of the model will say."
        )
    return Pretraining(
        config, options, accelerator, task, pool, all_digests, labelled, num_shared, name, tuple(notes)
    )


def _open_pool(config: RunConfig, kind: str | None) -> LabelledData:
    """Rows as inputs alone, of the first kind that they open as.

    Raises:
        ConfigError: If there is no objective for the kind.
        DataError: If they open as none.
    """
    able = [task for task in all_tasks() if task.input.objectives]
    if kind is not None and (given := task_of_kind(kind)) not in able:
        kinds = " or ".join(task.input.name for task in able)
        raise ConfigError(f"There is nothing to pretrain for --kind {given.input.name}. Give {kinds}.")
    refuse_missing(config.dataset)
    problems: dict[type[Task], ConfigError | DataError] = {}
    for task in able if kind is None else [task_of_kind(kind)]:
        try:
            return open_unlabelled(config, task, task.targets[0](_NO_LABELS, config))
        except (DataError, ConfigError) as error:
            problems[task] = error
    raise of_no_kind(problems, config.dataset)


def _open_labelled(config: RunConfig, options: PretrainOptions) -> LabelledData | None:
    if options.probe is None:
        return None
    config = replace(config, dataset=options.probe, split=options.probe_split, max_rows=None)
    return open_dataset(config, find_task(config))


def _finish(given: Pretraining, folder: Path, began: float) -> PretrainRecord:
    """Train, and save the model with its record."""
    objective = given.objective()
    losses = _train(given, objective, folder)
    record = replace(_record(given, objective, losses), seconds=time.monotonic() - began)
    _save(given, objective, record, folder)
    shutil.rmtree(folder / _CHECKPOINTS, ignore_errors=True)
    return record


def _probed(given: Pretraining, record: PretrainRecord, folder: Path) -> PretrainRecord:
    """Judge a finished model by the labelled rows, unless it has been; a probe of others is replaced."""
    if given.labelled is None or (record.probe and record.probe.identity == given.probe_identity):
        return record
    began = time.monotonic()
    config = replace(given.config, from_scratch=given.options.from_scratch)
    probe, verdict = probe_both(given.labelled, config, folder, given.accelerator, given.num_shared)
    shared = (
        f"{count(given.num_shared, 'row')} of {given.labelled.name} are in the pool too (transductive): new "
        "rows may fare worse than the probe says."
    )
    record = replace(
        record,
        probe=replace(probe, identity=given.probe_identity),
        verdict=verdict,
        notes=list(dict.fromkeys([*record.notes, *([shared] if given.num_shared else [])])),
        seconds=record.seconds + time.monotonic() - began,
    )
    _write(record, folder)
    return record


def _write(record: PretrainRecord, folder: Path) -> None:
    write_bytes(folder / "README.md", readme_text(record).encode())
    write_json(folder / PRETRAIN_FILE, to_json(record))


def _record(given: Pretraining, objective: Objective, losses: list[EpochLoss]) -> PretrainRecord:
    pool, base = given.pool, given.task.base
    return PretrainRecord(
        kit_version=__version__,
        verdict="not probed",
        base_model=base.name,
        revision=base.revision,
        from_scratch=given.options.from_scratch or not base.has_weights,
        objective=objective.name,
        new_weights=list(objective.new),
        pool=Pool(
            name=pool.name,
            split=pool.split,
            fingerprint=pool.fingerprint,
            num_rows=len(pool.rows),
            num_held_out=given.num_held_out,
        ),
        losses=losses,
        identity=given.identity,
        notes=[*given.notes, *new_note(objective), *collapse_note(losses)],
        versions=versions(),
        seconds=0.0,
        rows=list(given.digests),
    )


def _train(given: Pretraining, objective: Objective, folder: Path) -> list[EpochLoss]:
    config, pool = given.config, given.pool
    encoded = encode_rows(given.task, pool.rows, pool.fingerprint, given.accelerator)
    batches = Batches(given.task, encoded, given.accelerator.device)
    order = hash_order(list(pool.rows["row_id"]), derive_seed(config.seed, "held out"))
    held_out, train = (batches.positions_of(np.sort(rows)) for rows in np.split(order, [given.num_held_out]))
    minutes = config.checkpoint_minutes
    tracker = FoldTracker(config, "pretrain")
    kept = None if minutes is None else Checkpoints(folder / _CHECKPOINTS, given.identity, minutes)
    workers = Workers(given.accelerator, together=False)
    losses = PretrainLoop(
        Schooling(
            objective, batches, train, held_out, config, workers, kept, given.options.minutes, tracker.epoch
        )
    ).run()
    tracker.finish({"loss": losses[-1].held_out_loss})
    return losses


def _save(given: Pretraining, objective: Objective, record: PretrainRecord, folder: Path) -> None:
    """Write the model's files beside its record, its configuration last, by which a folder is a model's.

    The record is there before: without it, no run would know what a model has seen.
    """
    task = type(given.task)(replace(given.task.settings, max_length=None), given.task.target)
    with new_folder(folder / _WRITTEN) as beside:
        objective.save(beside)
        task.save_processor(beside)
    (folder / _CONFIG).unlink(missing_ok=True)
    _write(record, folder)
    for path in sorted((folder / _WRITTEN).iterdir(), key=lambda path: path.name == _CONFIG):
        target = folder / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)
    (folder / _WRITTEN).rmdir()
