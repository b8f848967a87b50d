"""What a grid, a search or the kit's defaults decided before folds are trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hf_transfer import _guard  # noqa: F401
from hf_transfer.config.run_config import RunConfig


@dataclass(frozen=True)
class Decision:
    """The configurations to try, and how they were chosen.

    Attributes:
        configs: The configurations to try, where the lists in the settings do not say it. They differ in
            how to learn only, not in the rows or the folds.
        of_folds: The configuration of each (repeat, fold), where every fold has chosen its own.
        aside: Numbers of rows that are in no fold, as something was chosen by them before.
        costs: Of each of `configs`; the cheapest that is not clearly worse than the best is then reported
            and published, instead of the best.
        settled: Names of settings that a search has settled; those of `config.yaml` left them open.
        words: What was chosen for settings that were left to the kit, in sentences.
    """

    configs: tuple[RunConfig, ...] = ()
    of_folds: Mapping[tuple[int, int], RunConfig] = field(default_factory=dict)
    aside: tuple[int, ...] = ()
    costs: tuple[float, ...] = ()
    settled: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
