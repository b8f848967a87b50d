"""Have features computed on machines, and put them into the cache of this one, where verbs look for them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.cluster.computing import MOST_ROWS, Computed, check_origin, encoded_block, plain_pass
from hf_transfer.cluster.handing import Carrier, Piece, Plain, done
from hf_transfer.cluster.parcel import pack_model
from hf_transfer.errors import ConfigError, RunError
from hf_transfer.machine.progress import progress_bar
from hf_transfer.replay.batching import Positions
from hf_transfer.replay.features.stored import FeatureFile, FilledFeatures, StoredFeatures
from hf_transfer.tasks.task import Task

Lines = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Missing:
    """A pass whose features are not stored yet, without the model.

    Attributes:
        task: Builds the model.
        about: Of the pass, as plain data.
        encoded: The rows.
        batches: Of them, as they are computed together.
        lines: Where the features of each batch belong.
        file: Where they go.
        origin: What decides them on this machine.
        mixed: Whether machines that compute other bits may make them.
    """

    task: Task
    about: Plain
    encoded: Dataset
    batches: Sequence[Positions]
    lines: Sequence[Lines]
    file: FeatureFile
    origin: Plain
    mixed: bool

    @classmethod
    def of(cls, stored: StoredFeatures) -> "Missing":
        """Take note of what is missing, so that its model need not be kept."""
        forward, batches = stored.forward, stored.forward.cut()
        task = forward.batches.task
        return cls(
            task=task,
            about=plain_pass(task, forward.kind),
            encoded=forward.batches.encoded,
            batches=batches,
            lines=[forward.lines(batch) for batch in batches],
            file=stored.file,
            origin=stored.origin,
            mixed=stored.of_any_machine,
        )

    def cut(self, most: int) -> list[range]:
        """Numbers of the batches of each piece of work: about `most` pieces, none larger than a block."""
        number = max(most, math.ceil(sum(map(len, self.batches)) / MOST_ROWS))
        parts = np.array_split(np.arange(len(self.batches)), min(number, len(self.batches)))
        return [range(part[0], part[-1] + 1) for part in parts]


class _Filling:
    """A file that is filled by what comes back."""

    def __init__(self, missing: Missing, number: int) -> None:
        self.missing, self.left = missing, number
        self.filled = FilledFeatures(missing.file)
        if not self.filled.on_disk:
            raise ConfigError(
                f"{missing.file.folder.path} cannot be written, and features come back to it. Name another "
                "folder by HF_DATASETS_CACHE."
            )

    def take(self, part: range, found: Plain) -> None:
        """Write what came of some batches; with the last, the file is finished."""
        missing, computed = self.missing, Computed.read(found)
        check_origin(computed.origin, missing.origin, missing.task.settings.base_model, mixed=missing.mixed)
        self.filled.write(np.concatenate([missing.lines[i] for i in part]), computed.values)
        self.left -= 1
        if not self.left:
            self.filled.finish()


def fill(carrier: Carrier, wanted: Iterable[StoredFeatures]) -> None:
    """Have those features computed that are not stored yet; each pass is stored when all of it is there.

    Args:
        carrier: What carries the work.
        wanted: Taken one by one, so that no two models are held.

    Raises:
        ConfigError: If there is no room for them in the cache, or nodes compute other bits than this machine.
        RunError: If some did not come back; the others are stored.
    """
    missing = {stored.file.key: Missing.of(stored) for stored in wanted if stored.found() is None}
    if not missing:
        return
    _make_room(list(missing.values()))
    most = max(1, math.ceil(carrier.places / len(missing)))
    cuts = {key: one.cut(most) for key, one in missing.items()}
    fillings = {key: _Filling(one, len(cuts[key])) for key, one in missing.items()}
    models: dict[str, Any] = {}
    lost = []
    try:
        pieces = (piece for key in missing for piece in _pieces(carrier, fillings[key], cuts[key], models))
        with progress_bar("features of the cluster", total=sum(map(len, cuts.values())), unit="piece") as bar:
            for (filling, part), outcome in done(carrier, pieces, ahead=2 * carrier.places):
                if outcome.found is None or outcome.error:
                    lost.append(outcome.error)
                else:
                    filling.take(part, outcome.found)
                bar.update()
    finally:
        for filling in fillings.values():
            filling.filled.give_up()
    if lost:
        raise RunError(
            f"Some features did not come back from the cluster: {lost[0]} Whole ones are stored. Run the "
            "same command again to go on."
        )


def _pieces(
    carrier: Carrier, filling: _Filling, cut: Sequence[range], models: dict[str, Any]
) -> Iterator[Piece[Any]]:
    """The pieces of work of a pass; its rows are packed when their turn comes, its model is put once."""
    missing, base = filling.missing, filling.missing.task.base
    if base.name not in models:
        models[base.name] = carrier.put({"model": pack_model(base)})
    about = carrier.put(missing.about)
    for part in cut:
        block = encoded_block(missing.encoded, [missing.batches[i] for i in part])
        yield Piece({"kind": "features", "blocks": [block]}, about, models[base.name], (filling, part))


def _make_room(missing: Sequence[Missing]) -> None:
    """Make room for all at once, as making it for one could remove another.

    Raises:
        ConfigError: If there is not enough.
    """
    folder = missing[0].file.folder
    reason = folder.make_room(sum(one.file.num_bytes for one in missing))
    if reason is not None:
        raise ConfigError(
            f"The features that come back have no room in the cache: {reason}. Raise --cache_gb, or give "
            "fewer models or rows (--max_rows)."
        )
