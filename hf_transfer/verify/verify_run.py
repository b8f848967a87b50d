"""Verify a run: all checks, one after the other."""

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.errors import ConfigError, VerificationError
from hf_transfer.machine.wording import aligned, count
from hf_transfer.runs.hub.fetch import is_repository
from hf_transfer.runs.results import read_results
from hf_transfer.runs.schema import ShapeError
from hf_transfer.verify.added import added_checks
from hf_transfer.verify.check import WRONG, Check, judged
from hf_transfer.verify.download import fetch_record
from hf_transfer.verify.numbers import number_checks
from hf_transfer.verify.other_scores import other_score_checks
from hf_transfer.verify.published import published_checks
from hf_transfer.verify.readings import reading_checks
from hf_transfer.verify.record import Record
from hf_transfer.verify.retrain import retrain_check
from hf_transfer.verify.split import split_checks
from hf_transfer.verify.stated import stated_checks
from hf_transfer.verify.wise import wise_checks


def verify_run(run: str | Path, *, retrain: int = 0, seed: int | None = None) -> list[Check]:
    """Recompute everything that can be recomputed, and compare it with the run's files.

    Args:
        run: A run's folder, a copy of a repository that `push` made, or such a repository's
            `user/name`, which is fetched without its weights.
        retrain: How many folds to train again, and to compare the predictions of.
        seed: Draws them; by chance when not given, so that nobody knows beforehand which.

    Returns:
        Each thing that was looked at, in order.

    Raises:
        ConfigError: If there is no finished run.
        HubError: If the repository cannot be fetched.
        VerificationError: If folds are to be trained again, and data or base model here are others.
    """
    try:
        record = fetch_record(str(run)) if is_repository(run) else Record(Path(run), read_results(run))
    except ShapeError as error:
        return [Check("files", WRONG, "1 difference", (f"files: {error}",))]
    files = judged("files", "can be read", record.problems)
    if files.state == WRONG:  # told once, and not by every check
        return [files]
    kinds = (
        split_checks,
        stated_checks,
        reading_checks,
        number_checks,
        other_score_checks,
        wise_checks,
        added_checks,
        published_checks,
    )
    checks = [files, *(check for kind in kinds for check in kind(record))]
    if retrain < 0:
        raise ConfigError(f"retrain={retrain}: give the number of folds to train again, 1 or more.")
    if retrain:
        drawn_by = secrets.randbelow(2**31) if seed is None else seed
        checks.append(retrain_check(record, retrain, drawn_by))
    return checks


def describe_checks(checks: Sequence[Check]) -> tuple[list[dict[str, Any]], str]:
    """The checks as plain values, and as a table of text."""
    rows = [[check.state, check.name, check.found] for check in checks]
    return [asdict(check) for check in checks], aligned(rows)


def refuse_wrong(checks: Sequence[Check], run: str | Path) -> None:
    """Stop if any check failed.

    Raises:
        VerificationError: Listing each difference in words.
    """
    differences = [difference for check in checks if check.state == WRONG for difference in check.differences]
    if differences:
        lines = "\n".join(f"  {difference}" for difference in differences)
        raise VerificationError(
            f"{run} does not hold together: {count(len(differences), 'difference')}.\n{lines}\n"
            "Run the recipe again into another folder, or get the files again from where they come."
        )
