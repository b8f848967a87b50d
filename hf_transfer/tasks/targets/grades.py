"""Grades: whole numbers in order, learned as a number and then cut into grades (ordinal regression)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import DataError
from hf_transfer.machine.wording import aligned
from hf_transfer.scores.grade_scorer import GradeScorer, cut_into
from hf_transfer.scores.scorer import Scorer
from hf_transfer.tasks.targets.labels import LabelColumn, NamedLabels, refuse_rows
from hf_transfer.tasks.targets.numbers import Numbers
from hf_transfer.tasks.targets.reading import Reading

if TYPE_CHECKING:
    from datasets import Dataset

_MOST = 30  # different grades


class Grades(Numbers):
    """One grade a row, such as 1 to 5.

    The loss, the folds and the published head are those of a number, so that grades far apart cost more than
    neighbours. Cut points between grades are fitted to out-of-fold predictions, where that helps.

    Args:
        label_names: One, that of the grade.
    """

    name = "grades"
    settings = ("number_loss", "ordinal")
    in_columns = False

    def _scorer(self) -> Scorer:
        return GradeScorer(self.label_names)

    @classmethod
    def read(cls, columns: Sequence[LabelColumn]) -> NamedLabels:
        """The grades as numbers."""
        found = super().read(columns)
        for column, numbers in zip(columns, found.ids, strict=True):
            if len(found.names) > 1:
                raise DataError(f"Grades are one number a row, and {column.where} has lists of them.")
            broken = [row for row, number in enumerate(numbers) if not float(number).is_integer()]
            refuse_rows(
                broken,
                f"whose grade in {column.where} is no whole number",
                "Amounts are learned without ordinal, by --target numbers.",
            )
        if len(distinct := set(found.ids[0])) > _MOST:
            raise DataError(
                f"{columns[0].where} has {len(distinct)} different grades, and at most {_MOST} can be cut. "
                "Learn the number itself: leave ordinal out and pass --target numbers."
            )
        return found

    def columns(self, rows: "Dataset", decoded: Sequence[NDArray[Any]]) -> dict[str, Any]:
        """Label and predicted number; with the cut points of a run, the grade."""
        found = super().columns(rows, decoded)
        return found | {"grade": cut_into(found["prediction"], self.points)} if self.points else found

    def answers(
        self, names: Sequence[str], columns: dict[str, Any], reading: Reading
    ) -> tuple[list[dict[str, Any]], str]:
        """The grade of each input, and the number that it was cut from."""
        numbers = np.asarray(columns["prediction"], np.float64)
        grades = np.asarray(columns["grade"] if "grade" in columns else np.rint(numbers), np.float64)
        triples = list(zip(names, grades.tolist(), numbers.tolist(), strict=True))
        found = [{"input": name, "grade": int(grade), "number": number} for name, grade, number in triples]
        return found, aligned([[f"{grade:g}", f"{number:.6g}", str(name)] for name, grade, number in triples])
