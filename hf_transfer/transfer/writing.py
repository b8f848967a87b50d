"""Write what `shift` found to its folder: shift.json, a picture, and a page for a browser."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError
from hf_transfer.machine.files import make_folder, write_bytes, write_json
from hf_transfer.replay.features.engine import FeatureEngine
from hf_transfer.runs.companions import SHIFT_FILE
from hf_transfer.runs.reading import read_record
from hf_transfer.runs.schema import to_json
from hf_transfer.runs.shift_record import ShiftRecord
from hf_transfer.tasks.inputs.input import Original
from hf_transfer.transfer.features import DomainFeatures
from hf_transfer.transfer.labelling import draw_rows, judge_by_labels, read_labels, write_to_label
from hf_transfer.transfer.shift import TwoDomains, find_shift, open_domains

PICTURE, PAGE = "clouds.png", "shift.html"


def shift(
    source: str | Path,
    target: str | Path,
    *,
    kind: str | None = None,
    target_split: str | None = None,
    label_target: int | None = None,
    labels: str | Path | None = None,
    **settings: Any,
) -> ShiftRecord:
    """Tell whether a second data set is another domain, and what a model that learned the first does there.

    Args:
        source: A labelled data set: what `--dataset` takes.
        target: Another one; it needs no labels.
        kind: What a row's input is (`image`, `text`, `audio`); found by itself when not given.
        target_split: Split of the second one.
        label_target: Number of its rows to draw at random, to be labelled by hand.
        labels: A file with the labels of the rows that were drawn before.
        settings: Others, such as `base_model`, `max_rows` and `output_dir`, where shift.json goes.

    Raises:
        TransferError: If data, model or labels cannot be used.
    """
    config = RunConfig(dataset=str(source), output_dir="runs/shift").changed(settings)
    wanted = ShiftOptions(kind=kind, target_split=target_split, label_target=label_target, labels=labels)
    return find_and_write(config, str(target), wanted)


@dataclass(frozen=True)
class ShiftOptions:
    """What to do beside comparing.

    Attributes:
        kind: What a row's input is; found by itself when not given.
        target_split: Split of the second data set.
        label_target: Number of its rows to draw.
        labels: A file with the labels of the drawn rows.

    Raises:
        ConfigError: If labels are to be drawn and read at once.
    """

    kind: str | None = None
    target_split: str | None = None
    label_target: int | None = None
    labels: str | Path | None = None

    def __post_init__(self) -> None:
        if self.label_target is not None and self.labels is not None:
            raise ConfigError("label_target draws rows and labels reads them: give one of the two.")


def find_and_write(
    config: RunConfig, target: str, options: ShiftOptions, *, engine: FeatureEngine | None = None
) -> ShiftRecord:
    """Do what `shift` does, with settings that were read.

    Args:
        config: Of the first data set.
        target: The second.
        options: What to do beside.
        engine: Computes features elsewhere; None computes them here.

    Raises:
        ConfigError: If labels are to be read of rows that were never drawn.
    """
    label_target, labels = options.label_target, options.labels
    folder = Path(config.output_dir)
    make_folder(folder)
    before = _drawn_before(folder, needed=labels is not None)
    domains = open_domains(
        config, target, target_split=options.target_split, kind=options.kind, engine=engine
    )
    target_rows = domains.target
    if label_target is not None or labels is not None:
        _check_labels(domains)
    row_ids = draw_rows(target_rows, label_target, config.seed) if label_target is not None else []
    if labels is not None and before is not None and not _of_same_rows(before, target_rows):
        raise ConfigError(
            f"{target_rows.data.name} has other rows than when some of them were drawn, so that those are no "
            "longer a random part. Give the same data set, or draw again by --label_target into another "
            "--output_dir."
        )
    drawn = before.drawn if before is not None and _of_same_rows(before, target_rows) else None
    given = read_labels(Path(labels), drawn, domains.source.label_names) if labels and drawn else None
    found = find_shift(domains)
    if row_ids:
        drawn = write_to_label(target_rows, row_ids, config.seed, folder)
    told = judge_by_labels(domains.head, target_rows, given) if given and domains.head else None
    return _written(replace(found, drawn=drawn, by_labels=told), domains, folder)


def _check_labels(domains: TwoDomains) -> None:
    if domains.head is None:
        target = domains.source.task.target
        raise ConfigError(
            f"label_target and labels are for one label a row, and {domains.source.data.name} has "
            f"{target.name}. Leave them out."
        )


def _drawn_before(folder: Path, *, needed: bool) -> ShiftRecord | None:
    """What shift.json says, if it tells of rows that were drawn.

    Raises:
        ConfigError: If it is needed and does not, or is not readable.
    """
    path = folder / SHIFT_FILE
    if path.is_file():
        try:
            found = read_record(ShiftRecord, path)
        except ConfigError:
            if needed:
                raise
            return None
        if found.drawn:
            return found
    if needed:
        raise ConfigError(
            f"No rows were drawn in {folder}, so that labels of them cannot be read. Draw them first by "
            "--label_target 30, with the same --output_dir."
        )
    return None


def _of_same_rows(before: ShiftRecord, target: DomainFeatures) -> bool:
    """Whether the rows are still those of which some were drawn."""
    same = before.target_data.fingerprint == target.data.fingerprint
    return same and before.drawn is not None and {*before.drawn.row_ids} <= {*target.row_ids}


def _written(found: ShiftRecord, domains: TwoDomains, folder: Path) -> ShiftRecord:
    from hf_transfer.report.card.card import update_card
    from hf_transfer.report.page.shift import BothOriginals, shift_page
    from hf_transfer.report.plots.clouds import cloud_plot
    from hf_transfer.report.plots.scores import save
    from hf_transfer.report.words.shift import said_of

    found = replace(found, conclusion=said_of(found))
    write_json(folder / SHIFT_FILE, to_json(found))
    save(cloud_plot(found), folder / PICTURE)
    test, far = found.domain_test, found.distances.farthest
    originals = BothOriginals(
        _originals(domains.source, [*(row.row for row in test.telling_source), *(r.nearest_id for r in far)]),
        _originals(domains.target, [*(row.row for row in test.telling_target), *(r.row for r in far)]),
    )
    write_bytes(folder / PAGE, shift_page(found, originals).encode("utf-8", "replace"))
    update_card(folder)
    return found


def _originals(features: DomainFeatures, row_ids: list[Any]) -> Mapping[Any, Original]:
    wanted = {*row_ids}
    places = [place for place, row_id in enumerate(features.row_ids) if row_id in wanted]
    values = features.data.rows.select(places)["input"]
    input = features.data.input
    return {
        features.row_ids[place]: input.original(value) for place, value in zip(places, values, strict=True)
    }
