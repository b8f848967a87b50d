"""What a base model had learned before this run, by a run or by `pretrain`. No torch."""

from dataclasses import dataclass

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.wording import count

LEARNED_ROWS = "learned_rows.parquet"  # in a run's folder; digests of rows are not published


@dataclass(frozen=True, kw_only=True)
class BaseOrigin:
    """What made a base model, and whether it has seen rows of this data set.

    Attributes:
        made_by: Name of the folder, or of the repository.
        with_labels: Whether a run made it; `pretrain` reads no labels.
        base_model: What that began from.
        from_scratch: Whether it began from random weights in that architecture.
        dataset: What that learned from.
        num_rows: So many rows of it.
        metric: By which it was scored; None of what has no score.
        score: Mean over its folds.
        num_shared: Rows of this data set among those that the model or what it began from has seen; None
            where no digests of them were kept.
    """

    made_by: str
    with_labels: bool
    base_model: str
    from_scratch: bool
    dataset: str
    num_rows: int
    metric: str | None = None
    score: float | None = None
    num_shared: int | None = None

    @property
    def words(self) -> str:
        """Itself in one sentence."""
        if self.num_shared is None:
            known = "; whether any of them is among these rows can't be told: digests of them are not there."
        elif not self.num_shared:
            known = ", none of which is among these rows."
        else:
            known = f", and {count(self.num_shared, 'row')} of this data set are among them {self._shared}"
        return f"The base model was {self._made} on {count(self.num_rows, 'row')} of {self.dataset}{known}"

    @property
    def _made(self) -> str:
        if not self.with_labels:
            return "pretrained without labels"
        began = f"random weights of {self.base_model}" if self.from_scratch else self.base_model
        scored = "" if self.score is None else f", {self.metric} {self.score:.3f} over its folds"
        return f"trained by the run {self.made_by} (from {began}{scored})"

    @property
    def _shared(self) -> str:
        if self.with_labels:
            return "with their labels: the scores are too good for new rows."
        return "(transductive): new rows may fare worse than the scores say."
