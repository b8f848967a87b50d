"""Settings of the folds: how many, and how rows are assigned."""

from dataclasses import dataclass

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.setting import AUTO, Group, setting


@dataclass(frozen=True, kw_only=True)
class FoldSettings(Group):
    """How many folds there are, and how rows are assigned to them."""

    heading = "The folds"

    num_folds: int = setting(5, "Number of folds, k.", aliases=("folds", "n_splits"), at_least=2)
    num_repeats: int = setting(
        AUTO,
        "How often to repeat with other folds; auto takes 3 where a repeat costs little, else 1.",
        aliases=("repeats", "n_repeats"),
        at_least=1,
    )
    scheme: str = setting(
        "auto",
        "How rows are split; auto takes predefined, time, (stratified-)group, entity or stratified.",
        choices=(
            "auto", "random", "stratified", "group", "stratified-group",
            "time", "walk-forward", "predefined", "entity",
        ),
        aliases=("cv",),
    )  # fmt: skip
    group_by: str | None = setting(
        None,
        "Column whose equal values stay in one fold (patient, author, domain).",
        aliases=("group_on", "group_column", "domain_column"),
    )
    site_column: str | None = setting(
        None,
        "Column of where each row was made (hospital, scanner): whether the features tell it is tested.",
        scored=False,
    )
    shared_texts: str = setting(
        "together",
        "Whether pairs that share a text, or rows a picture, share a fold; apart lets scores be too good.",
        choices=("together", "apart"),
    )
    time_by: str | None = setting(None, "Column to order rows by, for blocks of time.", aliases=("time_on",))
    fold_column: str | None = setting(None, "Column that holds each row's fold number.")
    gap: int = setting(0, "Rows dropped from training on each side of a held-out block of time.", at_least=0)

    def problems(self) -> list[str]:
        """Columns that are missing, or exclude each other."""
        problems = []
        for scheme, name in _NEEDS_COLUMN.items():
            if self.scheme == scheme and getattr(self, name) is None:
                problems.append(f"scheme={scheme!r} needs {name}; give the column's name.")
        if self.gap and self.time_by is None:
            problems.append(f"gap={self.gap} needs time_by, the column that orders the rows.")
        if self.group_by and self.time_by:
            problems.append("group_by and time_by cannot be used together; leave one out.")
        return problems


_NEEDS_COLUMN = {
    "group": "group_by", "stratified-group": "group_by", "time": "time_by",
    "walk-forward": "time_by", "predefined": "fold_column",
}  # fmt: skip
