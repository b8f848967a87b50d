"""Verify scores other than those of the folds: training rows, sealed and test rows, control runs."""

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import VerificationError
from hf_transfer.folds import (
    FoldColumns,
    FoldPlan,
    plan_among,
    plan_at_random,
    rows_aside,
)
from hf_transfer.machine.files import load_table
from hf_transfer.runs.controls import curve_part, price_part, probe_part, shuffled_part
from hf_transfer.runs.final_record import RowScores
from hf_transfer.runs.leak_record import APART, RANDOM, Leak
from hf_transfer.runs.part_scores import TOGETHER, parts_part
from hf_transfer.runs.records import LearningCurve, PartScores, ShuffledLabels, ZeroShot
from hf_transfer.runs.run_folder import place_of
from hf_transfer.runs.zero_shot import Asked, zero_shot_part
from hf_transfer.scores.cut_points import cut_scores
from hf_transfer.verify.beside import beside_checks
from hf_transfer.verify.check import (
    Check,
    differences,
    judged,
    left_out,
    not_by_logits,
)
from hf_transfer.verify.control_runs import ControlRuns, control_check
from hf_transfer.verify.record import Record
from hf_transfer.verify.train_rows import train_check


def other_score_checks(record: Record) -> Iterator[Check]:
    """Recompute these scores, as far as their predictions are stored."""
    yield train_check(record)
    for name, written in (
        ("test", record.results.test),
        ("sealed", record.results.final.sealed),
    ):
        if written:
            yield _untrained(record, name, written)
    yield from _controls(record)
    yield from beside_checks(record)


def _controls(record: Record) -> Iterator[Check]:
    """Recompute what control runs reached."""
    if curve := record.results.learning_curve:
        yield control_check(record, "learning curve", "curve-*", partial(_curve, record, curve))
    if shuffled := record.results.shuffled:
        yield control_check(record, "shuffled labels", "shuffled", partial(_shuffled, record, shuffled))
    if zero_shot := record.results.zero_shot:
        yield control_check(record, "zero-shot", zero_shot.folder, partial(_zero_shot, record, zero_shot))
    yield from _probe_checks(record)


def _probe_checks(record: Record) -> Iterator[Check]:
    """What the closed-form probe says: of the run, of each part of an input, and under other folds."""
    if record.results.probe:
        yield control_check(record, "closed-form probe", "probe", partial(_probe, record))
    if parts := record.results.parts:
        yield control_check(record, "one part alone", "probe", partial(_parts, record, parts))
    if (leak := record.results.leak) and leak.price:
        name, folder = "leak's price", RANDOM if leak.kept else APART
        yield control_check(record, name, folder, partial(_leak, record, leak, folder))


def _untrained(record: Record, name: str, written: RowScores) -> Check:
    """Scores of the published model on sealed and test rows."""
    path = record.folder / f"{name}_predictions.parquet"
    if not path.is_file():
        return left_out(f"{name} scores", f"{path.name} is not there, as an earlier version did not keep it")

    def compare() -> Iterator[str]:
        rows = load_table(path)
        scores = record.scorer.score(rows)
        points = record.results.cuts.points if record.results.cuts else []
        known = replace(written, scores={key: written.scores[key] for key in scores})
        cut = cut_scores(rows, record.scorer, points) if written.cut is not None else None
        yield from differences(known, RowScores(rows.num_rows, scores, cut), name)
        yield from not_by_logits(rows, record.scorer, path.name)

    return judged(f"{name} scores", f"follow from {path.name}", compare)


def _curve(record: Record, written: LearningCurve) -> Iterator[str]:
    runs: dict[int, ControlRuns] = {}
    for size in written.sizes:
        if size.percent != 100:
            runs[size.percent] = ControlRuns(record, f"curve-{size.percent}", record.names, size.percent)
            yield from runs[size.percent].problems()
    found = {percent: of_size.folds for percent, of_size in runs.items()}
    found[100] = list(record.fold_results[record.best])
    again = curve_part(
        found,
        lambda percent: record.predictions if percent == 100 else runs[percent].predictions,
        record.scorer,
        num_folds=record.plans[0].num_folds,
        seed=record.config.seed,
    )
    yield from differences(written, again, "learning_curve")


def _shuffled(record: Record, written: ShuffledLabels) -> Iterator[str]:
    names = record.names[: record.config.shuffled_labels]
    runs = ControlRuns(record, "shuffled", names)
    yield from runs.problems()
    yield from runs.other_labels()
    true = list(record.fold_results[record.best])[: len(names)]
    again = shuffled_part(
        runs.folds, true, runs.predictions, record.scorer, seed=record.config.seed, unit=written.unit
    )
    yield from differences(written, again, "shuffled")


def _probe(record: Record) -> Iterator[str]:
    runs = ControlRuns(record, "probe", [name for name in record.names if name[0] == 0])
    yield from runs.problems()
    yield from differences(record.results.probe, probe_part(runs.folds, record.scorer), "probe")


def _zero_shot(record: Record, written: ZeroShot) -> Iterator[str]:
    runs = ControlRuns(record, written.folder, record.names)
    yield from runs.problems()
    true = list(record.fold_results[record.best])
    again = zero_shot_part(
        Asked(**{f.name: getattr(written, f.name) for f in fields(Asked)}),
        (runs.folds, true),
        (runs.predictions, record.predictions),
        record.target,
        record.scorer,
        seed=record.config.seed,
    )
    yield from differences(written, again, "zero_shot")


def _parts(record: Record, written: PartScores) -> Iterator[str]:
    names = [name for name in record.names if name[0] == 0]
    folders = {part: "probe" if part in TOGETHER else f"{part}-alone" for part in written.means}
    runs = {part: ControlRuns(record, folder, names) for part, folder in folders.items()}
    for one in runs.values():
        yield from one.problems()
    folds = {part: one.folds for part, one in runs.items()}
    again = parts_part(folds, record.scorer, num_folds=record.results.num_folds)
    yield from differences(written, again, "parts")


def _leak(record: Record, leak: Leak, folder: str) -> Iterator[str]:
    """Make the price again; what relates rows of a run whose folds keep nothing is as the run told it."""
    plan = _random_plan(record) if leak.kept else _plan_there(record, folder)
    own = ControlRuns(record, "probe", [name for name in record.names if name[0] == 0])
    beside = ControlRuns(record, folder, [(0, fold) for fold in plan.scored_folds], given=(plan,))
    yield from own.problems()
    yield from beside.problems()
    random, apart = (beside, own) if leak.kept else (own, beside)
    again = price_part((random.folds, random.predictions), (apart.folds, apart.predictions), record.scorer)
    yield from differences(leak.price, again, "leak.price")


def _random_plan(record: Record) -> FoldPlan:
    aside = rows_aside(record.fold_table)
    return plan_at_random(*record.split, record.config, record.plans[0], aside)


def _plan_there(record: Record, folder: str) -> FoldPlan:
    """The folds that the predictions of a folder are of: each row is held out by one of them."""
    inside = f"{place_of(record.best, list(record.entries))}/{folder}".lstrip("/")
    paths = sorted((record.folder / "folds" / inside).glob("r0f*/predictions.parquet"))
    table = pa.concat_tables([load_table(path, columns=["row_id", "fold"]) for path in paths])
    uids, _ = record.split
    at = pc.index_in(pa.array(uids), value_set=table["row_id"].combine_chunks().cast(pa.array(uids).type))
    split = np.flatnonzero(record.plans[0].fold_of_row() >= 0)
    if table.num_rows != len(split) or at.take(pa.array(split)).null_count:
        raise VerificationError(f"folds/{inside}: does not hold out each row once")
    folds = np.zeros(len(uids), np.int64)
    folds[split] = table["fold"].to_numpy()[at.to_numpy(zero_copy_only=False)[split].astype(np.int64)]
    columns = FoldColumns(folds=folds)
    return plan_among(split, uids, len(paths), seed=record.plans[0].seed, columns=columns)
