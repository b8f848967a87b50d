"""Words, plots, card and page of a run. No torch. Called, it writes the page: `report("runs/mine")`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType


class _Report(ModuleType):
    """The room, which is also the verb of that name: an attribute of the package can be only one thing."""

    def __call__(
        self, run: str | Path, *, against: Sequence[str | Path] = (), with_data: bool = True
    ) -> Path:
        """Write a run as one page for a browser, verdicts first; give its path.

        Args:
            run: The folder of a finished run.
            against: Folders of other runs on the same folds, such as one from random weights.
            with_data: Whether to open the data set, to show the hardest rows themselves.

        Raises:
            ConfigError: If a folder holds no finished run, or one of `against` has other folds.
        """
        from hf_transfer.report.page.page import write_report

        return write_report(run, against=against, with_data=with_data)


sys.modules[__name__].__class__ = _Report
