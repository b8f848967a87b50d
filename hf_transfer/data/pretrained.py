"""Which rows of a data set a base model has seen before, when it was pretrained without labels."""

from collections.abc import Sequence

from datasets import Dataset

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.row_digests import row_digests
from hf_transfer.errors import DataError, ModelError
from hf_transfer.machine.wording import count
from hf_transfer.models.base_model import BaseModel
from hf_transfer.models.mean_classifier import files_of
from hf_transfer.runs.pretrain_record import PRETRAIN_FILE, PretrainRecord
from hf_transfer.runs.reading import read_record
from hf_transfer.tasks.inputs.input import Input


def pretraining_of(base: BaseModel) -> PretrainRecord | None:
    """What `pretrain` wrote beside a base model; None of a model that it did not make.

    Raises:
        ConfigError: If that is damaged.
        ModelError: If the Hub does not answer.
    """
    if base.is_timm:
        return None
    try:
        path = files_of(base.location, base.hub_options)(PRETRAIN_FILE)
    except OSError as error:
        raise ModelError(f"base_model={base.name!r} cannot be read: {error}") from error
    return read_record(PretrainRecord, path) if path else None


def pretraining_notes(
    base: BaseModel, input: Input, parts: Sequence[Dataset | None], config: RunConfig
) -> tuple[str, ...]:
    """Say what a base model was pretrained on; none for a model that `pretrain` did not make.

    Args:
        base: The base model.
        input: What the rows hold.
        parts: All rows that scores are made of.
        config: Of which `transductive` and `from_scratch` are used.

    Raises:
        DataError: If some of the rows are among those, and `transductive` does not allow it.
    """
    record = None if config.from_scratch else pretraining_of(base)
    if record is None:
        return ()
    seen = {*record.rows}
    shared = sum(one in seen for part in parts if part is not None for one in row_digests(input, part))
    pretrained = f"The base model was pretrained without labels on {count(record.pool.num_rows, 'row')} of "
    if not shared:
        return (f"{pretrained}{record.pool.name}, none of which is among these rows.",)
    if not config.transductive:
        raise DataError(
            f"base_model={base.name!r} was pretrained on {count(shared, 'row')} of this data set, so that "
            "its scores may be too good for new rows. Pretrain on other rows, or add --transductive, which "
            "the card will say."
        )
    return (
        f"{pretrained}{record.pool.name}, and {count(shared, 'row')} of this data set are among them "
        "(transductive): new rows may fare worse than the scores say.",
    )
