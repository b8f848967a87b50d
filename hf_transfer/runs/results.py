"""A whole run as an object, and results.json, which cards are made from.

Nothing here needs torch, so a card can be rebuilt years later on a machine without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError
from hf_transfer.machine.files import write_json, write_table
from hf_transfer.machine.lock import refuse_running
from hf_transfer.machine.wording import paragraphs_html, table_html
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.runs.reading import read_record, read_table
from hf_transfer.runs.records import Results
from hf_transfer.runs.schema import to_json
from hf_transfer.scores.over_folds import Score

if TYPE_CHECKING:
    from pandas import DataFrame

# What of results.json tells of the process that wrote it.
_CIRCUMSTANCES = {"command", "created", "hardware", "kit_version", "replay", "versions"}


@dataclass(frozen=True, repr=False)
class CrossValidationResult:
    """A whole run: `results.json` as an object, with the out-of-fold predictions beside it."""

    results: Results
    predictions: pa.Table

    @property
    def folds(self) -> list[FoldResult]:
        """The record of each fold of the reported configuration."""
        return self.results.folds

    @property
    def scores(self) -> Mapping[str, Score]:
        """Mean, standard deviation and interval of each score."""
        return self.results.scores

    @property
    def failed(self) -> tuple[FoldResult, ...]:
        """Folds without a result."""
        return tuple(fold for fold in self.folds if fold.status != "done")

    @property
    def incomplete(self) -> bool:
        """Whether a fold, or the model to publish, failed; running it again tries those once more."""
        return bool(self.failed or self.results.final.error)

    def summary(self) -> str:
        """The table that a recipe prints."""
        from hf_transfer.runs.summary import summary_text

        return summary_text(self.results)

    def __repr__(self) -> str:
        from hf_transfer.runs.summary import title_of

        return f"CrossValidationResult({title_of(self.results)})"

    def _repr_html_(self) -> str:
        """Title, scores and notes, for a notebook."""
        from hf_transfer.runs.summary import score_rows, title_of

        scores = table_html(score_rows(self.results))
        failed = [f"Fold {fold.repeat}.{fold.fold} failed: {fold.error}" for fold in self.failed]
        return paragraphs_html([title_of(self.results)]) + scores + paragraphs_html(failed)

    def to_pandas(self) -> "DataFrame":
        """The out-of-fold predictions as a data frame, a line for each row and repeat."""
        return self.predictions.to_pandas()  # type: ignore[no-any-return]

    def to_dict(self) -> dict[str, Any]:
        """The content of results.json: plain values, no NaN."""
        return to_json(self.results)  # type: ignore[no-any-return]

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
        return cls(read_results(folder), read_table(folder / "predictions.parquet"))


def read_results(folder: str | Path) -> Results:
    """The content of a run's results.json.

    Raises:
        ConfigError: If it is not there, not readable, of another format, or not of the shape that runs leave.
    """
    path = Path(folder) / "results.json"
    if not path.is_file():
        refuse_running(path.parent, "Wait until that run is over.")
        others = sorted(file.name for file in path.parent.glob("*.json"))
        plain = (path.parent / "model" / "config.json").is_file()
        there = (
            f", only what another verb left: {', '.join(others)}. Give the folder of a run, or run a recipe"
        )
        loads = f" {path.parent / 'model'} is a plain model, which transformers loads."
        members = sorted(path.parent.glob("members/*/results.json"))
        joined = f" Its members are runs of their own, such as {members[0].parent}." if members else ""
        raise ConfigError(
            f"{path.absolute()} does not exist: the folder holds no finished run"
            f"{there if others else '. Run a recipe'} first.{loads * plain}{joined}"
        )
    return read_record(Results, path)
