"""Which rows of a data set a base model has seen before, in `pretrain` or in another run."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.labelled import LabelledData
from hf_transfer.errors import ConfigError, DataError, ModelError
from hf_transfer.machine.secrets import local_name, one_line
from hf_transfer.machine.wording import count
from hf_transfer.models.base_model import BaseModel
from hf_transfer.models.mean_classifier import files_of
from hf_transfer.runs.base_origin import LEARNED_ROWS, BaseOrigin
from hf_transfer.runs.pretrain_record import PRETRAIN_FILE, PretrainRecord
from hf_transfer.runs.reading import read_json_file, read_record, read_table
from hf_transfer.runs.records import Results


@dataclass(frozen=True)
class Seen:
    """What made a base model, and the rows that it learned from.

    Attributes:
        origin: Without how many of them are among the rows at hand.
        digests: Of each row, and of those that it began with; None where none were kept.
        fingerprint: Of the rows, as they were opened; None where that is not known.
    """

    origin: BaseOrigin
    digests: frozenset[str] | None
    fingerprint: str | None = None

    def num_shared(self, data: LabelledData) -> int | None:
        """How many of all rows of some data are among them; None if that can't be told."""
        parts = [part for part in (data.rows, data.test, data.sealed) if part is not None]
        if self.digests is None:
            return sum(map(len, parts)) if data.fingerprint == self.fingerprint else None
        return sum(one in self.digests for part in parts for one in data.row_digests(part))


def seen_by(base: BaseModel) -> Seen | None:
    """What a base model learned from, if `pretrain` or a run made it.

    Raises:
        ConfigError: If what that wrote is damaged.
        ModelError: If the Hub does not answer.
    """
    if base.name.startswith("timm:"):
        return None
    find = files_of(base.location, base.hub_options)
    try:
        return _by_pretraining(base, find(PRETRAIN_FILE)) or _by_run(base, _results_of(base, find))
    except OSError as error:
        raise ModelError(f"base_model={base.name!r} cannot be read: {error}") from error


def _by_pretraining(base: BaseModel, path: Path | None) -> Seen | None:
    if path is None:
        return None
    record = read_record(PretrainRecord, path)
    origin = BaseOrigin(
        made_by=local_name(base.name),
        with_labels=False,
        base_model=local_name(record.base_model),
        from_scratch=record.from_scratch,
        dataset=record.pool.name,
        num_rows=record.pool.num_rows,
    )
    return Seen(origin, frozenset(record.rows))


def _results_of(base: BaseModel, find: Callable[[str], Path | None]) -> Path | None:
    """The results.json of the run that a model lies in, or was pushed with."""
    folder = Path(base.location)
    if not folder.is_dir():
        return find("results.json")
    place = Path(os.path.abspath(folder))  # noqa: PTH100  (resolve() would follow links)
    place = place.parent if place.parent.name == "model" else place  # a member of an ensemble
    place = place.parent if place.name == "model" else place
    return next((path for path in [place / "results.json"] if path.is_file()), None)


def _by_run(base: BaseModel, path: Path | None) -> Seen | None:
    if path is None or not _is_ours(path):
        return None
    results = read_record(Results, path)
    learned = path.with_name(LEARNED_ROWS)
    digests = read_table(learned, ["digest"])["digest"].to_pylist() if learned.is_file() else None
    score, is_folder = results.headline, (results.base_model_revision or "").startswith("blake2b:")
    origin = BaseOrigin(
        made_by=one_line(local_name(str(path.parent)) if Path(base.location).is_dir() else base.name),
        with_labels=True,
        base_model=one_line(local_name(results.base_model) if is_folder else results.base_model),
        from_scratch=results.from_scratch,
        dataset=one_line(results.dataset.name),
        num_rows=results.final.num_rows or results.dataset.num_rows,
        metric=results.primary_metric,
        score=None if score is None else score.mean,
    )
    return Seen(origin, digests and frozenset(digests), results.dataset.fingerprint)


def _is_ours(path: Path) -> bool:
    """Whether a results.json is one of the kit: other programs call theirs so too."""
    try:
        found = read_json_file(path)
    except ConfigError:
        return False
    return isinstance(found, dict) and {"kit_version", "format_version", "folds"} <= found.keys()


def base_origin(base: BaseModel, data: LabelledData, config: RunConfig) -> BaseOrigin | None:
    """What made a base model; None of a model that the kit did not make.

    Args:
        base: The base model.
        data: All rows that scores are made of, also sealed and test rows.
        config: Of which `transductive` and `from_scratch` are used.

    Raises:
        DataError: If it has seen some of the rows, and `transductive` does not allow it.
    """
    seen = None if config.from_scratch else seen_by(base)
    if seen is None:
        return None
    shared = seen.num_shared(data)
    if shared and not config.transductive:
        how = "trained, with labels," if seen.origin.with_labels else "pretrained"
        raise DataError(
            f"base_model={base.name!r} was {how} on {count(shared, 'row')} of this data set, so that "
            "its scores may be too good for new rows. Take other rows, or add --transductive, which "
            "the card will say."
        )
    return replace(seen.origin, num_shared=shared)


def learned_rows(base: BaseModel, data: LabelledData, config: RunConfig) -> pa.Table:
    """Digests of the rows that a run's model learns from, and of those that its base model had seen."""
    before = None if config.from_scratch else seen_by(base)
    earlier = sorted((before and before.digests) or ())
    own = data.row_digests(data.rows)
    return pa.table({"digest": pa.array(dict.fromkeys([*own, *earlier]), pa.string())})
