"""Open two domains, adapt, and write what comes out: the model, its card, adapt.json and a picture."""

import time
from dataclasses import fields, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.data_files import read_file
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.layers.output import output_layer
from hf_transfer.machine.files import make_folder, write_bytes, write_json
from hf_transfer.replay.features.engine import FeatureEngine
from hf_transfer.replay.features.forward import pretrained_model
from hf_transfer.report.card.card import update_card
from hf_transfer.report.plots.adapting import adapt_plot
from hf_transfer.report.plots.scores import save
from hf_transfer.report.words.adapt import advice, card_text
from hf_transfer.runs.adapt_record import AdaptRecord
from hf_transfer.runs.companions import ADAPT_FILE
from hf_transfer.runs.final_record import Reload
from hf_transfer.runs.schema import to_json
from hf_transfer.runs.shift_record import DrawnRows
from hf_transfer.study.final.model_folder import save_trained
from hf_transfer.study.final.reload import NUM_RELOADED, reload_check
from hf_transfer.training.heads.solvers import set_layer
from hf_transfer.training.workers import make_accelerator
from hf_transfer.transfer.adapting import Adapting, AdaptOptions
from hf_transfer.transfer.features import DomainFeatures
from hf_transfer.transfer.few_labels import FewLabels
from hf_transfer.transfer.labelling import draw_rows, read_labels
from hf_transfer.transfer.shift import TwoDomains, open_domains

ARMS_FOLDER = "arms"  # until all are trained


def adapt(
    source: str | Path,
    target: str | Path,
    *,
    target_split: str | None = None,
    kind: str | None = None,
    **settings: Any,
) -> AdaptRecord:
    """Adapt a head that learned from one domain to another, and publish it if it is better there.

    Args:
        source: Labelled rows: what `--dataset` takes.
        target: The other domain: the same, or inputs without labels.
        target_split: Its split.
        kind: What a row's input is; found by itself when not given.
        settings: Fields of `AdaptOptions`, such as `labels` and `arms`, and settings, such as `base_model`,
            `max_rows`, `output_dir`, and `trainable`, which is "head" here unless it is given.

    Returns:
        The content of adapt.json.

    Raises:
        ConfigError: If an arm or a setting does not fit.
        DataError: If the rows or the labels cannot be used.
        ModelError: If the model cannot be used.
    """
    names = {field.name for field in fields(AdaptOptions)}
    options = AdaptOptions(**{name: settings.pop(name) for name in names & settings.keys()})
    config = RunConfig(dataset=str(source), output_dir="runs/adapt", trainable="head").changed(settings)
    return run_adapt(config, str(target), options, target_split=target_split, kind=kind)


def run_adapt(
    config: RunConfig,
    target: str,
    options: AdaptOptions,
    *,
    target_split: str | None = None,
    kind: str | None = None,
    engine: FeatureEngine | None = None,
) -> AdaptRecord:
    """The same from settings that are read already; an engine computes features elsewhere.

    Raises:
        ConfigError: If an engine is to train layers below the head, too.
    """
    began, folder = time.monotonic(), Path(config.output_dir)
    if engine is not None and config.trainable != "head":
        raise ConfigError(
            f"--trainable {config.trainable} trains in this process, and engine={config.engine!r} computes "
            "features alone. Leave one of them out."
        )
    make_folder(folder)
    if options.domain_column is not None:
        if config.group_by is not None:
            raise ConfigError("--domain_column groups the source's rows by domain: leave --group_by out.")
        config = replace(config, group_by=options.domain_column)
    domains = open_domains(
        config,
        target,
        target_split=target_split,
        kind=kind,
        groups_target=options.domain_column is None,
        engine=engine,
    )
    home = model_home(folder)
    adapting = replace(begin(domains, options), arms_folder=home / ARMS_FOLDER)
    _ = adapting.published  # all that is trained, while what was there before stays whole
    for told in (folder / ADAPT_FILE, home / "README.md"):
        told.unlink(missing_ok=True)  # of another model than the one to come
    reload = publish(adapting, home / "model")
    record = adapting.record(time.monotonic() - began)
    notes = [f"The model cannot be pushed: {reload.problem}."] if reload.problem else []
    record = replace(record, advice=advice(record), reload=reload, notes=[*record.notes, *notes])
    write_json(folder / ADAPT_FILE, to_json(record))
    save(adapt_plot(record), home / "adapt.png")
    write_bytes(home / "README.md", card_text(record).encode())
    rmtree(home / ARMS_FOLDER, ignore_errors=True)
    if home != folder:
        update_card(folder)
    return record


def model_home(folder: Path) -> Path:
    """Where the model, its card and its picture go: into a run's folder not in place of the run's own."""
    return folder / "adapted" if (folder / "results.json").is_file() else folder


def begin(domains: TwoDomains, options: AdaptOptions) -> Adapting:
    """Check that the source can be learned from, and find the target's labels.

    Raises:
        ConfigError: If the arms are to be chosen by domains of the source, and train layers of the backbone.
        DataError: If rows do not have one class each, the source has but one domain, or the labels' file
            cannot be used.
    """
    source, target = domains.source, domains.target
    if not source.task.target.right_or_wrong:
        raise DataError(
            f"The labels of {source.data.name} are {source.task.target.name}, and a head is adapted for rows "
            "of one class each. Give such rows, or say --target classes if they are."
        )
    if options.domain_column is not None and source.task.settings.trainable != "head":
        raise ConfigError(
            "--domain_column tries heads on frozen features, and --trainable "
            f"{source.task.settings.trainable} trains layers below. Leave one of them out."
        )
    if options.domain_column is not None and (source.groups is None or np.ptp(source.groups) == 0):
        raise DataError(
            f"--domain_column {options.domain_column} has the same value in all rows of {source.data.name}. "
            "Arms are tried on each domain without its own rows: leave it out, or give rows of two domains."
        )
    few = few_labels(Path(options.labels), target) if options.labels else FewLabels.none()
    notes = [*source.notes, *target.notes, *domains.shared.notes]
    if target.labels is not None and not options.labels:
        notes.append(
            f"Labels of {target.data.name} are not used: give those of rows drawn at random as --labels."
        )
    return Adapting(source, target, few, options, tuple(notes))


def few_labels(path: Path, target: DomainFeatures) -> FewLabels:
    """Read labels of the rows that `shift --label_target` draws from the target, of all of them.

    Args:
        path: The file, with the columns `row_id` and `label`.
        target: The rows. They are drawn again, so that labels of rows that somebody chose are refused.

    Raises:
        ConfigError: If there are more labels than rows.
        DataError: If a label is missing or unknown, or a row was not drawn.
    """
    seed = target.task.settings.seed
    row_ids = draw_rows(target, len(read_file(path)[0]), seed)
    labels = read_labels(path, DrawnRows(seed, row_ids, str(path), ""), target.label_names)
    places = {row_id: place for place, row_id in enumerate(target.row_ids)}
    return FewLabels.of([places[row_id] for row_id in labels], list(labels.values()))


def publish(adapting: Adapting, folder: Path) -> Reload:
    """Save the model that is published, and load it again with plain libraries."""
    task, name = adapting.source.task, adapting.published
    if name in adapting.tuned:
        model = adapting.tuned[name].model
    else:
        model, _ = pretrained_model(task, task.settings, make_accelerator(task.settings))
        set_layer(output_layer(model)[1], adapting.heads[name])
    save_trained(task, model, folder)
    values = adapting.target.data.rows["input"][:NUM_RELOADED]
    return reload_check(task, model, [folder], values)
