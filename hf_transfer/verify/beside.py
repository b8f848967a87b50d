"""Verify what other verbs left beside a run's results, as far as it follows from what they wrote."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from hf_transfer import __version__, _guard  # noqa: F401
from hf_transfer.report.words.search import search_answers
from hf_transfer.report.words.shift import said_of
from hf_transfer.runs.adapt_record import AdaptArm, AdaptRecord
from hf_transfer.runs.companions import SHIFT_FILE, ComparedRuns, read_companions
from hf_transfer.runs.paired import adjusted, retested
from hf_transfer.runs.search_record import Judged, Search
from hf_transfer.runs.shift_record import EstimatedAccuracy, ShiftRecord
from hf_transfer.runs.shots_record import ShotScore, ShotsRecord
from hf_transfer.scores.draws import DrawnScores, paired_draws
from hf_transfer.scores.shift.few_labels import exact_interval
from hf_transfer.scores.shift.label_shift import chi_squares
from hf_transfer.scores.statistics.comparison import holm, mcnemar
from hf_transfer.verify.check import Check, differences, judged, left_out
from hf_transfer.verify.record import Record


def beside_checks(record: Record) -> Iterator[Check]:
    """Recompute what lies beside results.json, or say why it cannot be."""
    found = read_companions(record.folder, record.results)
    features = "need the features of each model, which no run keeps"
    if found.rank is not None:
        yield left_out("rank", f"its scores {features}")
    if found.combine is not None:
        yield left_out("combine", f"its scores {features}")
    if (compare := found.compare) is not None:
        yield judged(
            "comparison",
            "tests follow from the differences of the folds; the other runs are not here",
            lambda: _comparison(compare),
        )
    if (search := found.search) is not None and (there := search.judged) is not None:
        yield judged(
            "search",
            "judged what results.json holds; its trials need training",
            lambda: _search(record, search, there),
        )
    yield from _of_features(found.shots, found.shift, found.adapt)
    yield from _shift_kept_back(record.folder)


def _shift_kept_back(folder: Path) -> Iterator[Check]:
    """What a card says of other data, whose file is not pushed."""
    card, told = folder / "README.md", "<!-- hf-transfer:begin shift -->"
    if not (folder / SHIFT_FILE).is_file() and card.is_file() and told in card.read_text("utf-8", "replace"):
        yield left_out("shift", f"{SHIFT_FILE} is not here: it quotes rows, and push leaves it behind")


def _of_features(
    shots: ShotsRecord | None, shift: ShiftRecord | None, adapt: AdaptRecord | None
) -> Iterator[Check]:
    if shots is not None:
        yield _shots(shots)
    if shift is not None:
        yield judged(
            "shift",
            "intervals, errors and words follow from its counts and parts; its tests need the features",
            lambda: _shift(shift),
        )
    if adapt is not None:
        holds = "intervals and exact tests follow from the counts of each arm; the heads need the features"
        if not adapt.num_labels:
            yield left_out("adapt", "without labels its figures need the features, which no run keeps")
        else:
            yield judged("adapt", holds, lambda: _adapt(adapt))


def _shots(shots: ShotsRecord) -> Check:
    if not all(size.draws for size in shots.sizes):
        return left_out("shots", "an earlier version did not keep the score of each draw")

    def compare() -> Iterator[str]:
        for place, size in enumerate(shots.sizes):
            yield from differences(size, _redrawn(size, shots.solver), f"shots.sizes[{place}]")
        for place, one in enumerate(shots.setfit):
            tested = paired_draws(np.asarray(one.draws, float), np.asarray(one.solver_draws, float))
            yield from differences(one, replace(one, **tested._asdict()), f"shots.setfit[{place}]")

    return judged("shots", "means and spreads follow from the draws; these need the features", compare)


def _redrawn(size: ShotScore, solver: str) -> ShotScore:
    scores = np.asarray([np.nan if one is None else one for one in size.draws])
    drawn = DrawnScores(scores, size.interval)
    solvers = {**size.solvers, solver: drawn.mean}
    return replace(size, mean=drawn.mean, std=drawn.std, one_draw=drawn.one_draw, solvers=solvers)


def _shift(shift: ShiftRecord) -> Iterator[str]:
    again = shift
    if given := shift.given_labels:
        counts = (np.asarray([one], float) for one in (given.source_counts, given.target_counts))
        again = replace(again, given_labels=replace(given, statistic=float(chi_squares(*counts)[0])))
    if estimate := shift.estimate:
        again = replace(again, estimate=_errors(estimate))
    if told := shift.by_labels:
        exact, share = exact_interval(told.num_right, told.num_rows), told.num_right / told.num_rows
        again = replace(again, by_labels=replace(told, accuracy=share, exact=exact))
    if shift.kit_version == __version__:  # others may have said it otherwise
        again = replace(again, conclusion=said_of(again))
    yield from differences(shift, again, "shift")


def _errors(estimate: EstimatedAccuracy) -> EstimatedAccuracy:
    errors = [abs(part.estimated - part.true) for part in estimate.parts]
    return replace(estimate, mean_error=float(np.mean(errors)), worst_error=max(errors))


def _adapt(adapt: AdaptRecord) -> Iterator[str]:
    arms = [_tested(arm, adapt.num_labels) for arm in adapt.arms]
    p_values = holm([arm.p for arm in arms if arm.p is not None]).tolist()
    again = [arm if arm.p is None else replace(arm, adjusted=p_values.pop(0)) for arm in arms]
    yield from differences(adapt.arms, again, "adapt.arms")


def _tested(arm: AdaptArm, num_labels: int) -> AdaptArm:
    if arm.accuracy is not None:
        arm = replace(arm, interval=exact_interval(round(arm.accuracy * num_labels), num_labels))
    if arm.gained is None or arm.lost is None:
        return arm
    gained = np.repeat([True, False], [arm.gained, arm.lost])
    return replace(arm, p=mcnemar(gained, ~gained, alternative="greater").p)


def _search(record: Record, search: Search, there: Judged) -> Iterator[str]:
    """Compare a search's scores and words with those that follow from its folds."""
    results = record.results
    metric, grid = results.primary_metric, results.grid or ()
    again = {
        "metric": metric,
        "score": results.scores[metric],
        "parameters": results.trainable.parameters,
        "total": results.trainable.total,
    }
    yield from differences({name: getattr(there, name) for name in again}, again, "search.judged")
    if grid:
        yield from differences(there.tried, [entry.without_folds for entry in grid], "search.judged.tried")
    if results.kit_version == __version__:  # others may have said it otherwise
        words = {name: found.words for name, found in search_answers(search)._asdict().items()}
        yield from differences(search.verdicts, words, "search.verdicts")


def _comparison(compare: ComparedRuns) -> Iterator[str]:
    """Test the differences of the folds again, of all runs that this one was compared with."""
    written = [other.pair for other in compare.others]
    again = adjusted([retested(pair) for pair in written])
    for position, pairs in enumerate(zip(written, again, strict=True)):
        yield from differences(*pairs, f"compare.others[{position}].pair")
