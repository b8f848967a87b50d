"""Settings of the data: where the rows come from, and which to use."""

from dataclasses import dataclass

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.setting import Group, setting

GRADES = "grades"  # what `ordinal` says that the labels are


@dataclass(frozen=True, kw_only=True)
class DataSettings(Group):
    """Where the rows come from, and which of them to use."""

    heading = "The data"

    dataset: str = setting(
        "",
        "Hub id, folder, CSV, JSON, JSON Lines or Parquet file, or builtin:NAME.",
        aliases=("dataset_name", "data"),
    )
    dataset_config: str | None = setting(
        None, "Configuration of a Hub dataset.", aliases=("dataset_config_name",)
    )
    split: str | None = setting(
        None, "Split to cross-validate; 'train' where there is one.", aliases=("train_split",)
    )
    test_split: str | None = setting(None, "Split kept untouched, scored once by the final model.")
    sealed: float = setting(
        0.0, "Share of the rows to set aside before the split, in no fold; scored by the final model."
    )
    input_column: str | None = setting(
        None,
        "Column of pictures, sounds, texts or word lists; found by its usual names when not given.",
        aliases=(
            "text_column",
            "image_column",
            "audio_column",
            "tokens_column",
            "text_column_name",
            "image_column_name",
            "audio_column_name",
        ),
    )
    label_column: str | None = setting(
        None, "Column of labels; found by its usual names when not given.", aliases=("label_column_name",)
    )
    target: str = setting(
        "auto",
        "What the labels are: classes (texts, whole numbers), label_sets (lists, any number of labels a "
        "row), numbers (amounts) or grades (whole numbers in order, see ordinal); auto reads it from them, "
        "and asks where it can't be told.",
        choices=("auto", "classes", "label_sets", "numbers", GRADES),
    )
    ordinal: bool = setting(
        False,
        "The labels are grades such as 1 to 5: learned as a number, which is cut into grades where that fits "
        "best; the same as target=grades.",
    )
    label_columns: tuple[str, ...] = setting(
        (),
        "Columns, comma-separated, that hold the labels of a row: of 0 and 1 (true, false; yes, no), one for "
        "each label of a set; or of several numbers.",
    )
    label_separator: str | None = setting(
        None, "What stands between the labels of a row in a text, such as '|': the labels are sets."
    )
    uncertain: str | None = setting(
        None,
        "What -1 counts as among labels of 0 and 1; ignore leaves such rows out.",
        choices=("ignore", "zero", "one"),
    )
    table_columns: tuple[str, ...] = setting(
        (),
        "Columns, comma-separated, of numbers or categories that stand beside each input, as features of the "
        "output layer; NAME:category takes numbers as names.",
    )
    id_column: str | None = setting(None, "Column that identifies a row; its number when not given.")
    max_rows: int | None = setting(
        None, "Number of rows to keep, chosen by a seeded hash.", aliases=("max_train_samples",), at_least=2
    )
    max_length: int | None = setting(
        None,
        "Most tokens of a text, the rest is cut; the model's limit when not given.",
        aliases=("max_seq_length",),
        at_least=3,
    )
    max_length_seconds: float | None = setting(
        None, "Most seconds of a sound, the rest is cut; whole sounds when not given.", at_least=0.05
    )
    allow_outside: bool = setting(
        False,
        "Read pictures and sounds outside of the data's folder, where its files name them or link to them.",
    )
    on_bad_image: str = setting(
        "fail", "What to do with unreadable pictures and sounds.", choices=("fail", "skip")
    )
    window: str = setting(
        "auto",
        "Values of black and white in DICOM, NIfTI and 16-bit pictures, such as -160,240; percentiles of the "
        "file; auto takes the file's own window, else those.",
    )

    def problems(self) -> list[str]:
        """Wrong numbers, and labels that are given in two ways."""
        problems = []
        if not 0 <= self.sealed <= 0.2:
            problems.append(
                f"sealed={self.sealed!r} must be from 0 to 0.2, e.g. 0.1; the folds need the rest."
            )
        ways = [name for name in ("label_column", "label_columns", "label_separator") if getattr(self, name)]
        if "label_columns" in ways and len(ways) > 1:
            problems.append(f"Labels are given in two ways, by {' and '.join(ways)}; leave one out.")
        if self.ordinal and self.target not in ("auto", GRADES):
            problems.append(
                f"ordinal means target=grades, and target={self.target!r} is given; leave one out."
            )
        return problems

    @property
    def wanted_target(self) -> str:
        """What the labels are said to be, or auto."""
        return GRADES if self.ordinal else self.target
