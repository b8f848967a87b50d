"""What other verbs, such as `search` and `rank`, left in a run's folder, as far as it is about this run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.runs.adapt_record import AdaptRecord
from hf_transfer.runs.combine_record import COMBINE_FILE, CombineRecord
from hf_transfer.runs.paired import Pair
from hf_transfer.runs.rank_record import RankRecord
from hf_transfer.runs.reading import read_record
from hf_transfer.runs.records import Results
from hf_transfer.runs.schema import FORMAT_VERSION
from hf_transfer.runs.search_record import Search
from hf_transfer.runs.shift_record import ShiftRecord
from hf_transfer.runs.shots_record import SHOTS_FILE, ShotsRecord

COMPARE_FILE, SHIFT_FILE, ADAPT_FILE = "compare.json", "shift.json", "adapt.json"


@dataclass(frozen=True)
class Other:
    """Another run, and how this one differs from it.

    Attributes:
        name: Of its folder.
        from_scratch: Whether it started from random weights.
        settings: Those of `others.SAME_BUDGET`.
        pair: The other run first, this one second.
    """

    name: str
    from_scratch: bool
    settings: Mapping[str, Any]
    pair: Pair


@dataclass(frozen=True)
class ToldOther(Other):
    """Another run with what is said of the two."""

    verdict: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class ComparedRuns:
    """The whole of compare.json: the results that it is about, and the runs that these were compared with."""

    format_version: int = FORMAT_VERSION
    kit_version: str
    folds_fingerprint: str
    metric: str
    scores: list[float | None]
    others: list[ToldOther]

    def is_about(self, results: Results) -> bool:
        """Whether a run has these folds and scores; beside others a comparison tells nothing."""
        return (self.folds_fingerprint, self.metric, self.scores) == (
            results.folds_fingerprint,
            results.primary_metric,
            primary_scores(results),
        )


@dataclass(frozen=True)
class Companions:
    """The content of search.json, rank.json, compare.json and so on, by the verbs that write them."""

    search: Search | None = None
    rank: RankRecord | None = None
    compare: ComparedRuns | None = None
    combine: CombineRecord | None = None
    shots: ShotsRecord | None = None
    shift: ShiftRecord | None = None
    adapt: AdaptRecord | None = None


def primary_scores(results: Results) -> list[float | None]:
    """The primary metric of each fold."""
    return [fold.scores.get(results.primary_metric) for fold in results.folds]


def read_companions(folder: str | Path, results: Results) -> Companions:
    """Read what other verbs left beside results.json, if it is of these rows and folds.

    Args:
        folder: The run's folder.
        results: The content of its results.json.

    Raises:
        ConfigError: If one of them is not readable.
    """
    folder = Path(folder)
    search = _if_there(Search, folder / "search.json")
    rank = _if_there(RankRecord, folder / "rank.json")
    compare = _if_there(ComparedRuns, folder / COMPARE_FILE)
    config, judged = results.config, search.judged if search else None
    if not judged or (judged.trainable, judged.learning_rate) != (config.trainable, config.learning_rate):
        search = None  # of an earlier search, or one whose time was up
    if rank and rank.dataset.fingerprint != results.dataset.fingerprint:
        rank = None
    if compare and not compare.is_about(results):
        compare = None  # of other folds, or of a run that was here before
    combine = _if_there(CombineRecord, folder / COMBINE_FILE)
    if combine and results.base_model not in {member.base_model for member in combine.members}:
        combine = None  # of a run that was here before
    shots = _if_there(ShotsRecord, folder / SHOTS_FILE)
    shift = _if_there(ShiftRecord, folder / SHIFT_FILE)
    adapt = _if_there(AdaptRecord, folder / ADAPT_FILE)
    known = results.dataset.fingerprint
    return Companions(
        search,
        rank,
        compare,
        combine,
        shots if shots and shots.dataset.fingerprint == known else None,
        shift if shift and shift.source_data.fingerprint == known else None,
        adapt if adapt and adapt.source.fingerprint == known else None,
    )


def _if_there(kind: type[Any], path: Path) -> Any:
    return read_record(kind, path) if path.is_file() else None
