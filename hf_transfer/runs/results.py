"""What a run found: a record for each fold, and the whole, as the files that a card is made from.

Nothing here needs torch, so a card can be rebuilt years later on a machine without it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError
from hf_transfer.machine.files import plain, write_json, write_table
from hf_transfer.machine.lock import refuse_running
from hf_transfer.runs.reading import AGAIN, read_json_file, read_table
from hf_transfer.runs.schema import misfits

Scores = dict[str, float | None]

# What of results.json tells of the process that wrote it.
_CIRCUMSTANCES = {"command", "created", "hardware", "kit_version", "replay", "versions"}


@dataclass(frozen=True)
class FoldResult:
    """One fold of one configuration, on its own folder's word."""

    repeat: int
    fold: int
    num_train: int
    num_valid: int
    seed: int
    seconds: float = 0.0
    num_epochs: int = 0
    scores: Scores = field(default_factory=dict)
    train_scores: Scores = field(default_factory=dict)
    train_rows_scored: int = 0
    status: str = "done"
    error: str | None = None
    parameters: int | None = None  # that learned
    frozen_hash_before: str | None = None
    frozen_hash_after: str | None = None
    readings: list[dict[str, Any]] = field(default_factory=list)
    start_hash: str | None = None
    weight_decay: float | None = None  # the penalty of a head in closed form
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class CrossValidationResult:
    """A whole run: `results.json` as an object, with the out-of-fold predictions beside it."""

    values: dict[str, Any]
    folds: tuple[FoldResult, ...]
    predictions: pa.Table

    @property
    def scores(self) -> dict[str, dict[str, Any]]:
        """Mean, standard deviation and interval of each score."""
        return self.values["scores"]  # type: ignore[no-any-return]

    @property
    def failed(self) -> tuple[FoldResult, ...]:
        """Folds without a result."""
        return tuple(fold for fold in self.folds if fold.status != "done")

    @property
    def incomplete(self) -> bool:
        """Whether a fold, or the model to publish, failed; running it again tries those once more."""
        return bool(self.failed or self.values["final"].get("error"))

    def summary(self) -> str:
        """The table that a recipe prints."""
        from hf_transfer.runs.summary import summary_text

        return summary_text(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The content of results.json: plain values, no NaN."""
        return plain(self.values | {"folds": [asdict(fold) for fold in self.folds]})  # type: ignore[no-any-return]

    def save(self, folder: str | Path) -> None:
        """Write results.json and predictions.parquet, unless they are there and say the same."""
        folder = Path(folder)
        written = all((folder / name).is_file() for name in ("results.json", "predictions.parquet"))
        if written and self._says_the_same(self.load(folder)):
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_table(folder / "predictions.parquet", self.predictions)
        write_json(folder / "results.json", self.to_dict())

    def _says_the_same(self, other: Self) -> bool:
        """Whether only the circumstances differ: then those of the other are the true ones."""
        own, others = (
            {name: value for name, value in result.to_dict().items() if name not in _CIRCUMSTANCES}
            for result in (self, other)
        )
        return own == others and self.predictions.equals(other.predictions)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ConfigError: If the folder holds no finished run.
        """
        folder = Path(folder)
        values = read_results(folder)
        folds = tuple(fold_result(record) for record in values.pop("folds"))
        return cls(values, folds, read_table(folder / "predictions.parquet"))


@dataclass(frozen=True)
class Companions:
    """What `hf-transfer search`, `rank` and `compare` left in a run's folder, as far as it is about this run.

    Attributes:
        search: The content of search.json.
        rank: The content of rank.json.
        compare: The content of compare.json.
    """

    search: dict[str, Any] | None = None
    rank: dict[str, Any] | None = None
    compare: dict[str, Any] | None = None


def read_companions(folder: str | Path, results: Mapping[str, Any]) -> Companions:
    """Read search.json, rank.json and compare.json, if they are there and of these rows, folds and choice.

    Args:
        folder: The run's folder.
        results: The content of its results.json.

    Raises:
        ConfigError: If one of them is not readable.
    """
    search, rank, compare = (
        read_json_file(path) if (path := Path(folder) / name).is_file() else None
        for name in ("search.json", "rank.json", "compare.json")
    )
    judged = search.get("judged") if isinstance(search, dict) else None
    if not judged or any(judged[name] != results["config"][name] for name in ("trainable", "learning_rate")):
        search = None  # of an earlier search, or one whose time was up
    if rank and rank["dataset"]["fingerprint"] != results["dataset"]["fingerprint"]:
        rank = None
    if not isinstance(compare, dict) or any(
        compare.get(name) != value for name, value in compared(results).items()
    ):
        compare = None  # of other folds, or of a run that was here before
    return Companions(search, rank, compare)


def compared(results: Mapping[str, Any]) -> dict[str, Any]:
    """Say which results a comparison is about: beside others it tells nothing."""
    metric = results["primary_metric"]
    return {
        "folds_fingerprint": results["folds_fingerprint"],
        "metric": metric,
        "scores": [fold["scores"].get(metric) for fold in results["folds"]],
    }


def fold_result(record: Mapping[str, Any]) -> FoldResult:
    """A fold's record from its JSON, leaving out what a later version may have added."""
    names = {f.name for f in fields(FoldResult)}
    return FoldResult(**{name: value for name, value in record.items() if name in names})


def read_results(folder: str | Path) -> dict[str, Any]:
    """The content of a run's results.json.

    Raises:
        ConfigError: If it is not there, not readable, or not of the shape that runs leave.
    """
    results = open_results(folder)
    refuse_misfits(results, folder)
    return results


def open_results(folder: str | Path) -> dict[str, Any]:
    """The content of a run's results.json, whatever it holds.

    Raises:
        ConfigError: If it is not there or not readable.
    """
    path = Path(folder) / "results.json"
    if not path.is_file():
        refuse_running(path.parent, "Wait until that run is over.")
        raise ConfigError(
            f"{path.absolute()} does not exist: the folder holds no finished run. Run a recipe first."
        )
    return read_json_file(path)  # type: ignore[no-any-return]


def refuse_misfits(results: Any, folder: str | Path) -> None:
    """Stop at results whose parts are not of the kinds that runs leave.

    Raises:
        ConfigError: Naming the first of those parts.
    """
    if wrong := list(islice(misfits(results), 3)):
        path = Path(folder) / "results.json"
        raise ConfigError(f"{path} is not as a run writes it: {'; '.join(wrong)}. {AGAIN}")
