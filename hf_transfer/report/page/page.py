"""Render the report of a run as a single HTML page."""

from collections.abc import Sequence
from pathlib import Path

import jinja2
from jinja2 import pass_context

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.files import write_bytes
from hf_transfer.machine.secrets import one_line
from hf_transfer.machine.wording import plus_minus, setting
from hf_transfer.report.card.templates import epochs, fold_title
from hf_transfer.report.compare import Run, check_comparable, compared_with, open_runs
from hf_transfer.report.page.originals import Originals, find_originals
from hf_transfer.report.page.template import page_template
from hf_transfer.report.words.beside import sections_beside
from hf_transfer.report.words.verdicts import verdicts
from hf_transfer.runs.companions import read_companions
from hf_transfer.runs.findings import Overfitting
from hf_transfer.runs.fold_result import Epoch
from hf_transfer.runs.overfitting import Rival, diagnose
from hf_transfer.runs.reading import damage_told, place_inside
from hf_transfer.runs.run_folder import read_histories
from hf_transfer.runs.summary import shown_metrics
from hf_transfer.tasks import metric_name
from hf_transfer.tasks.targets.hard_rows import HardRows


def write_report(run: str | Path, *, against: Sequence[str | Path] = (), with_data: bool = True) -> Path:
    """Write `report.html` into a run's folder: one page that needs no other file; give its path.

    Args:
        run: The folder of a finished run.
        against: Folders of other runs on the same folds, such as one from random weights.
        with_data: Whether to open the data set, to show the hardest rows themselves.

    Raises:
        ConfigError: If a folder holds no finished run, or one of `against` has other folds.
    """
    (this, *others) = open_runs([run, *against])
    for other in others:
        check_comparable(this, other)
    path = Path(run) / "report.html"
    with damage_told(run):
        page = render(this, others, with_data=with_data)
    write_bytes(path, page.encode("utf-8", "replace"))
    return path


def render(run: Run, others: Sequence[Run] = (), *, with_data: bool = True) -> str:
    """Give the page of a run as HTML.

    Args:
        run: A finished run.
        others: Other runs on the same folds.
        with_data: Whether to open the data set.

    Raises:
        ConfigError: If results.json lacks what the page tells.
    """
    from hf_transfer.report.page.pictures import (
        draw_pictures,
        pictures_beside,
    )  # here, as matplotlib is slow to import

    results, histories = run.results, read_histories(place_inside(run.folder, run.results.folds_path))
    hard, found = _hard_rows(run), read_companions(run.folder, results)
    shown = [row.row_id for row in (*hard.hardest, *hard.suspected)]
    values = {
        "title": one_line(run.folder.resolve().name),
        "verdicts": verdicts(
            results,
            overfitting=_diagnosis(run, others, histories),
            against=compared_with(run, others) or (found.compare.others if found.compare else ()),
            rank=found.rank,
            search=found.search,
        ),
        "sections": sections_beside(found),
        "drawn": pictures_beside(found),
        "pictures": draw_pictures(results, histories, found),
        "hard": hard,
        "originals": find_originals(results, shown) if with_data else Originals(),
        "metrics": shown_metrics(results, None),
        "beside": shown_metrics(results),
        "others": [(one.name, one.results) for one in (run, *others)] if others else [],
        "headline": results.headline,
        "solved": results.config.solved,
        "done": results.done,
        "line_called": run.target.called[0],
    }
    return _template(results.task).render(vars(results) | values)


def _hard_rows(run: Run) -> HardRows:
    """The rows to look at, if there are any."""
    if not run.predictions.num_rows:
        return HardRows()
    return run.target.hard_rows(run.predictions)


def _diagnosis(run: Run, others: Sequence[Run], histories: dict[str, list[Epoch]]) -> Overfitting | None:
    """Look for overfitting again when there is more to see than results.json was made from."""
    rivals = [
        Rival(other.name, other.results.trainable.parameters, other.results.folds)
        for other in others
        if other.results.base_model == run.results.base_model
        and other.results.from_scratch == run.results.from_scratch
    ]
    return diagnose(run.results, histories, rivals) if histories else None


def _template(task: str) -> jinja2.Template:
    return page_template(
        "page.html",
        epochs=pass_context(epochs),
        fold_name=pass_context(fold_title),
        metric=lambda name: metric_name(name, task),
        plus_minus=plus_minus,
        setting=setting,
    )
