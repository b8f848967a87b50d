"""What goes into a model: how rows of any storage become inputs, and what else depends on what they are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hf_transfer import _guard  # noqa: F401

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from torch import nn

    from hf_transfer.config.run_config import RunConfig
    from hf_transfer.models.base_model import BaseModel
    from hf_transfer.scores.transferability import Probe
    from hf_transfer.tasks.inputs.judges import Judge
    from hf_transfer.tasks.inputs.pooling import Pooling
    from hf_transfer.tasks.inputs.table import Table

Likeness = tuple[Sequence[Any], Callable[[list[int]], list[list[int]]]]
Visit = Callable[[int, Any], None]
SimpleProbe = Callable[..., "Probe"]


@dataclass(frozen=True)
class Original:
    """What stood in one row: a text, or a picture or a sound as data: URIs with the name of its file."""

    text: str | None = None
    picture: str | None = None
    name: str | None = None
    sound: str | None = None


@dataclass(frozen=True)
class BadInput:
    """An input that cannot be read: its position among the rows scanned, its path if any, and why.

    Attributes:
        private: Whether the name of its file may be that of a patient, and stays out of what is published.
    """

    position: int
    path: str | None
    reason: str
    private: bool = False


@dataclass(frozen=True)
class Opened:
    """Rows of one input each, where a file may have held several.

    Attributes:
        rows: With all of their columns, and what the files say of each.
        id_column: That identifies a row.
        group_by: Whose equal values stay in one fold.
        site_column: That says where a row was made.
        notes: What was found in the files, a sentence each.
        fold_notes: Those of them that tell what stays in one fold.
        sources: Number of the given row that each row came from; None where they are the given ones.
        numbers: Of each row in its file; None where a file held one alone.
    """

    rows: "Dataset"
    id_column: str | None = None
    group_by: str | None = None
    site_column: str | None = None
    notes: tuple[str, ...] = ()
    sources: Sequence[int] | None = None
    numbers: Sequence[int | None] = ()
    fold_notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Links:
    """What rows may share, so that they belong together.

    Attributes:
        noun: What one is called.
        columns: Those of all rows, once for each that a row has; None where a row has none.
    """

    noun: str
    columns: Sequence[Sequence[str | None]]


class Input:
    """What differs between kinds of input. Nothing outside of `tasks/` knows which of them it has.

    What is heavy is imported inside the methods: a card must be made without it.
    """

    name: ClassVar[str]
    """What `--kind` and messages call it."""
    noun: ClassVar[str]
    """What one is called."""
    nouns: ClassVar[str]
    """What several are called."""
    columns: ClassVar[tuple[str, ...]]
    """Names that people usually give the column, the likeliest first."""
    groups: ClassVar[tuple[str, ...]] = ("episode_index", "episode_id", "episode")
    """Names of columns whose equal values stay in one fold, unless the settings say how to split."""
    settings: ClassVar[tuple[str, ...]] = ()
    """Settings that it uses and that not every input does."""
    encoded_by: ClassVar[tuple[str, ...]] = ()
    """Those of them that decide what model inputs a row becomes."""
    measured_in: ClassVar[str] = "Words a row"
    """What `lengths` counts."""
    suffixes: ClassVar[frozenset[str]] = frozenset()
    """Ends of the names of files that hold one each; none where they are written out."""
    empty: ClassVar[str] = ""
    """What messages say of a row that `empty_rows` gives."""
    needs: ClassVar[str] = ""
    """A sentence on what a row needs so as not to be one of them."""
    marks_uncertain: ClassVar[bool] = False
    """Whether a column of -1, 0 and 1 is likelier to hold uncertain labels than three classes."""
    rows_at_once: ClassVar[int] = 1000
    """How many to encode together."""
    sample_model: ClassVar[str] = "tiny-bert"
    """The model inside the package that takes it."""
    simple_model: ClassVar[str]
    """What `simple_probe` is called."""
    objectives: ClassVar[tuple[str, ...]] = ()
    """Names of what models of it may learn without labels, the usual one first."""
    parts: ClassVar[tuple[str, ...]] = ()
    """What it is made of, where the features of each are also scored alone."""
    table: "Table | None" = None
    """Columns of numbers and categories that stand beside it."""

    def columns_of(self, column: str) -> list[str]:
        """The columns that a name stands for; several have commas between them.

        Raises:
            DataError: If they are too few or too many.
        """
        return [column]

    def notes(self, column: str) -> tuple[str, ...]:
        """What to know of how a column, or several, is read."""
        return ()

    def is_typed(self, feature: Any) -> bool:
        """Whether the type of a column alone says that it holds such inputs."""
        return False

    def leads_away(self, feature: Any) -> bool:
        """Whether a column holds paths, which lead to nothing when the rows come from the Hub."""
        return False

    def is_file(self, path: Path) -> bool:
        """Whether a file holds such inputs, by its name or its first bytes."""
        return path.suffix.lower() in self.suffixes

    def opened(
        self, rows: "Dataset", column: str, *, folder: Path | None, outside: bool, config: "RunConfig"
    ) -> Opened:
        """Rows of one input each, of files of which one may hold several.

        Args:
            rows: A file each, or an input.
            column: Where they are.
            folder: Folder that paths are relative to, and must stay in; None takes them as they are.
            outside: Whether they may leave it.
            config: How to read them, and the columns that were named.

        Raises:
            DataError: If the column holds something else.
            ConfigError: If a package is needed that is not installed.
        """
        return Opened(rows, config.id_column, config.group_by, config.site_column)

    def read(
        self, dataset: "Dataset", column: str, *, folder: Path | None, outside: bool = False
    ) -> "Dataset":
        """Give a dataset of the one column `input`, row for row; nothing is left out here.

        Args:
            dataset: Where the column is.
            column: Its name.
            folder: Folder that paths are relative to, and must stay in; None takes them as they are.
            outside: Whether they may leave it.

        Raises:
            DataError: If the column holds something else.
        """
        raise NotImplementedError

    def read_new(self, dataset: "Dataset", column: str, *, folder: Path | None) -> list[Any]:
        """Read a column of inputs that have no label yet, as `read` does."""
        return list(self.read(dataset, column, folder=folder)["input"])

    def like(self, predicted: "Callable[[str], pa.Table]") -> "Input":
        """The same input, which reads texts as the rows of a run were read.

        Args:
            predicted: Gives one column of the run's predictions.
        """
        return self

    def table_values(self, inputs: "Dataset") -> list[dict[str, Any]]:
        """What each row has in the columns of the table, which it has."""
        raise NotImplementedError

    def from_text(self, text: str) -> Any:
        """An input that was written out, on the command line or as a line of a file."""
        return text

    def from_words(self, words: Sequence[str]) -> list[str]:
        """Words of the command line that are no files, as texts that hold an input each."""
        return list(words)

    def names(self, rows: "Dataset", column: str) -> list[str]:
        """What to call the input of each row of a file."""
        return [one if isinstance(one, str) else " ".join(one or ()) for one in rows[column]]

    def links(self, rows: "Dataset") -> Links | None:
        """What rows must share a fold for, where two hold it; None where there is no such thing."""
        return None

    def empty_rows(self, inputs: "Dataset") -> list[int]:
        """Positions of rows that hold nothing to learn from."""
        return []

    def doubts(self, inputs: "Dataset") -> tuple[str, ...]:
        """What to know of inputs that were kept though they may be none, a sentence each."""
        return ()

    def unreadable(self, rows: "Dataset", visit: Visit | None = None) -> list[BadInput]:
        """Inputs that can't be read, of the column `input`.

        Args:
            rows: With that column.
            visit: Called with the position of each good one and its key, which `likeness` would decode it
                once more for; never where nothing is decoded.
        """
        return []

    def content(self, value: Any) -> list[str | bytes]:
        """What the digest of a data set covers of an input."""
        raise NotImplementedError

    def likeness(self, parts: "Sequence[Dataset]") -> Likeness:
        """A key of each row's content, and what groups rows that are almost the same among given ones."""
        raise NotImplementedError

    def lengths(self, rows: "Dataset") -> dict[str, float] | None:
        """How long the inputs are: least, median, 95th percentile and most; None for what has no length."""
        return None

    def excerpt(self, value: Any, length: int) -> str:
        """An input in one short line."""
        raise NotImplementedError

    def original(self, value: Any) -> Original:
        """An input as a report shows it."""
        raise NotImplementedError

    def judge(self, base: "BaseModel", names: Sequence[str], template: str | None, *, each: bool) -> "Judge":
        """A pretrained model that judges inputs by the names of labels, without training.

        Args:
            base: The model, opened.
            names: Of the labels, in the order of their ids.
            template: Sentence that a name is put into, at {}; None takes the usual one.
            each: Whether every label is judged for itself, instead of one against the others.

        Raises:
            ModelError: If the model is of another kind.
        """
        raise NotImplementedError

    def pooling(self, model: "nn.Module") -> "Pooling":
        """What makes features of the outputs of a model's layers."""
        raise NotImplementedError

    @property
    def simple_probe(self) -> SimpleProbe:
        """Fits in every fold what a sceptic tries first, without any pretrained model.

        It takes rows, of which `input` is read; the class of each row, or of each word of all rows, one
        after the other; the folds in numbers of those labels; and `balanced`, by which a rare class counts
        for as much as a frequent one. It gives out-of-fold decisions.
        """
        raise NotImplementedError
