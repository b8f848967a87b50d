"""The interface of what trains a study's units elsewhere than in this process."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig
from hf_transfer.runs.fold_result import FoldResult
from hf_transfer.study.experiment import Unit

if TYPE_CHECKING:
    from hf_transfer.study.study import Study


class Engine(Protocol):
    """Trains units elsewhere. When its methods return, what they made is in the run's folder."""

    def train(self, study: "Study", units: Sequence[Unit]) -> None:
        """Train and score the unfinished ones of some folds.

        Raises:
            ConfigError: If they cannot be carried, or what carries them is not there.
        """
        ...

    def finish(self, study: "Study", config: RunConfig, results: Sequence[FoldResult]) -> str | None:
        """Make the final model.

        Args:
            study: The finished study.
            config: The configuration to train.
            results: Of its folds.

        Returns:
            Why there is none; None if it is there.
        """
        ...

    def price(self, study: "Study", units: Sequence[Unit]) -> str:
        """Predict what these folds and the final model cost, in a sentence or two."""
        ...
