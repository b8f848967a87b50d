"""Write a run's model card (README.md and plots) from results.json alone. No torch.

A card that is there already is brought up to date, with what a person wrote into it; see `card_merge`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_transfer import _guard  # noqa: F401
from hf_transfer.machine.files import write_bytes
from hf_transfer.machine.network import HUB_ID
from hf_transfer.machine.paths import refuse_folders_elsewhere
from hf_transfer.machine.secrets import local_name, one_line
from hf_transfer.report.card.markdown import link
from hf_transfer.report.card.templates import card_template
from hf_transfer.report.words.beside import sections_beside
from hf_transfer.report.words.verdicts import verdicts
from hf_transfer.runs.card_file import KIT, Header, join_card, merge_card, read_card, with_record
from hf_transfer.runs.commonest import uneven_line
from hf_transfer.runs.companions import Companions, read_companions
from hf_transfer.runs.leak_words import kept_words
from hf_transfer.runs.part_scores import parts_words
from hf_transfer.runs.reading import damage_told
from hf_transfer.runs.records import DatasetFacts, Results
from hf_transfer.runs.results import read_results
from hf_transfer.runs.summary import (
    corrected_best,
    design,
    num_scored,
    shown_metrics,
    train_sizes,
    two_intervals,
    varying_settings,
)
from hf_transfer.tasks import metric_name, task_class

__all__ = ["card_header", "merge_card", "write_card"]

MOST_ROWS = 50  # classes in one table
SENTENCES = "sentence-transformers"

_COMMIT = re.compile("[0-9a-f]{40}")

_PICTURES = (
    "folds", "confusion", "scatter", "labels", "learning", "grid", "reliability", "learning_curve", "trials",
    "depth", "shots", "clouds", "adapt",
)  # fmt: skip


def write_card(run: str | Path, *, redraw: bool = True) -> Path:
    """Write README.md and plots/ into a run's folder; give the path of README.md.

    Args:
        run: The folder, with results.json and, for the learning curves, folds/*/history.jsonl.
        redraw: Whether to draw the pictures, or leave those that are there as they are.

    Raises:
        ConfigError: If results.json is missing, unreadable or of another version, or plots/ leads elsewhere.
        DataError: If a README.md is there whose header or marks are broken; it is left as it is.
    """
    from hf_transfer.report.plots.scores import save_plots  # here, as matplotlib is slow to import

    run = Path(run)
    path, results = run / "README.md", read_results(run)
    refuse_folders_elsewhere(run)
    title = one_line((results.config.push_to_hub or run.resolve().name).split("/")[-1])
    card_template(results.task)  # what cannot be written or brought up to date is told before drawing
    old = read_card(path) if path.exists() else None
    pictures = (lambda: save_plots(run, results)) if redraw else (lambda: pictures_there(run))
    text = card_text(run, results, title, pictures)
    if old is not None:
        text = merge_card(old, text)
    write_bytes(path, text.encode("utf-8", "backslashreplace"))
    return path


def update_card(folder: Path) -> None:
    """Write the card of a run again, where a folder holds one: another verb left something about the rows.

    Raises:
        TransferError: As `write_card` does.
    """
    if all((folder / name).is_file() for name in ("README.md", "results.json")):
        write_card(folder)


def pictures_there(run: Path) -> list[str]:
    """Names of the plots that an earlier card has drawn, without `.png`."""
    return [name for name in _PICTURES if (run / "plots" / f"{name}.png").is_file()]


def card_text(run: Path, results: Results, title: str, pictures: Callable[[], Sequence[str]]) -> str:
    """Text of a run's card, without what a person wrote into it.

    Args:
        run: The run's folder.
        results: What results.json holds.
        title: Name of the model.
        pictures: Gives the names of the card's pictures, without `.png`.

    Raises:
        ConfigError: If the results lack what the card tells.
    """
    with damage_told(run):
        header = card_header(results, title)
        found = read_companions(run, results)
        return join_card(header, with_record(header, _render(results, title, pictures(), found)))


def card_header(results: Results, title: str) -> Header:
    """Metadata for the Hub: plain strings, numbers and lists.

    Args:
        results: What results.json holds.
        title: Name of the model.
    """
    hub_data, hub_model = _on_hub(results.dataset), _is_hub_model(results) and not results.from_scratch
    header = {
        "license": results.config.license,
        "base_model": results.base_model if hub_model else None,
        "base_model_relation": "finetune" if hub_model else None,
        "datasets": [results.dataset.name] if hub_data else None,
        "pipeline_tag": results.task if task_class(results.task, results.input).on_hub else None,
        "library_name": _library(results),
        "tags": [KIT, "cross-validation", results.task, *["timm"] * (results.library == "timm")],
        "metrics": list(dict.fromkeys(_metric_type(name) for name in shown_metrics(results, None))),
        "model-index": _model_index(results, title),
    }
    return {key: value for key, value in header.items() if value}


def _model_index(results: Results, title: str) -> list[Header]:
    folds = f"mean of {results.num_folds}-fold cross-validation"
    means = {name: results.scores[name].mean for name in shown_metrics(results, None)}
    test = results.test.scores if results.test else {}
    sealed = results.final.sealed.scores if results.final.sealed else {}
    entries = [
        _index_entry(results, means, results.dataset.split, folds),
        _index_entry(results, test, results.config.test_split, "held-out test"),
        _index_entry(results, sealed, results.dataset.split, "sealed rows, the published model"),
    ]
    found = [entry for entry in entries if entry["metrics"]]
    return [{"name": title, "results": found}] if found else []


def _index_entry(results: Results, scores: Mapping[str, float | None], split: str | None, how: str) -> Header:
    dataset, task = results.dataset, results.task
    name = dataset.name if _on_hub(dataset) else local_name(dataset.name)
    kind = name if _on_hub(dataset) else re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-") or "local"
    where = {"type": kind, "name": name, "config": dataset.config, "split": split}
    proof = {"kit": KIT, "evaluation": how, "folds_fingerprint": results.folds_fingerprint}
    return {
        "task": {"type": task, "name": task.replace("-", " ").capitalize()},
        "dataset": {key: one_line(value) for key, value in where.items() if value} | {"args": proof},
        "metrics": [
            {
                "type": _metric_type(metric),
                "value": round(float(value), 4),
                "name": f"{metric_name(metric, task)}, {how}",
            }
            for metric, value in scores.items()
            if value is not None
        ],
    }


def _metric_type(name: str) -> str:
    """The Hub's id of a metric; the entry's name says how it is averaged."""
    base = name.partition(" of ")[0]  # that of one of several numbers
    return "matthews_correlation" if base == "mcc" else re.sub(r"_(macro|micro|weighted)$", "", base)


def _on_hub(dataset: DatasetFacts) -> bool:
    return dataset.hub and HUB_ID.fullmatch(dataset.name) is not None


def _is_hub_model(results: Results) -> bool:
    """Whether the base model came from the Hub: only then is its revision a commit."""
    commit = results.base_model_revision
    return HUB_ID.fullmatch(results.base_model) is not None and bool(commit and _COMMIT.fullmatch(commit))


def _library(results: Results) -> str:
    """Name of the library that loads the model in one line of code."""
    return SENTENCES if results.library == SENTENCES else "transformers"


def _render(results: Results, title: str, pictures: Sequence[str], found: Companions) -> str:
    values = vars(results) | _names(results, title) | _numbers(results) | _beside(results, found)
    values["pictures"] = pictures
    return card_template(results.task).render(values)


def _names(results: Results, title: str) -> dict[str, Any]:
    """Template variables: names and paths."""
    from hf_transfer.report.plots.scores import drawn_names, most_confused

    repository, folder = results.config.push_to_hub, results.config.output_dir
    here = f"{title if Path(folder).is_absolute() else folder}/model"
    return {
        "title": title,
        "config": results.config.to_dict(),
        "base": link(results.base_model, "", _is_hub_model(results)),
        "hub_model": _is_hub_model(results),
        "data": link(results.dataset.name, "datasets/", _on_hub(results.dataset)),
        "weights": repository or here,
        "repository": repository,
        "sentences": _library(results) == SENTENCES,
        "target": results.target,
        "input_columns": _input_columns(results),
        "label_columns": results.config.label_columns or (results.dataset.label_column,),
        "has_pipeline": task_class(results.task, results.input).on_hub,
        "timm": results.library == "timm",
        "timm_name": f"hf-hub:{repository}" if repository else f"local-dir:{here}",
        "published": results.final.kind != "none",
        **_published(results),
        "num_drawn": len(most_confused(results.confusion or [])),
        "solved": results.config.solved,
        "numbered": any(name == f"#{i}" for i, name in enumerate(drawn_names(results.label_names))),
        "grid_settings": varying_settings(results.grid) if results.grid else [],
        "num_scored": num_scored(results),
        "shown": shown_metrics(results),
        "all_metrics": shown_metrics(results, None),
    }


def _input_columns(results: Results) -> list[str]:
    return task_class(results.task, results.input).input.columns_of(results.dataset.column)


def _published(results: Results) -> dict[str, Any]:
    """Say for the templates what is known of the final model."""
    final = results.final
    return {
        "sealed": final.sealed,
        "agreement": final.agreement,
        "final_notes": final.notes,
        "num_members": len(final.members or ()),
        "temperature": results.calibration.temperature if results.calibration else None,
        "kept_test": "test" if results.test else "sealed" if final.sealed else None,
    }


def _numbers(results: Results) -> dict[str, Any]:
    """Template variables derived from results.json."""
    classes, done, headline = results.per_class, results.done, results.headline
    partly = [fold for fold in done if 0 < fold.train_rows_scored < fold.num_train]
    interval = headline.interval if headline else None
    wide = (headline.conservative_interval if headline else None) or interval
    tested = results.test.scores.get(results.primary_metric) if results.test else None
    worst = sorted(classes, key=lambda row: -1 if row.f1 is None else row.f1)[:MOST_ROWS]
    return {
        "done": done,
        "headline": headline,
        "off_mean": headline is not None and _outside(headline.mean, interval),
        "surprise": _outside(tested, wide),
        "train_sizes": train_sizes(results),
        "two_intervals": two_intervals(results),
        "design": design(results),
        "corrected": corrected_best(results),
        "tested": any(entry.p_holm is not None for entry in results.grid or []),
        "some_train_rows": max((fold.train_rows_scored for fold in partly), default=0),
        "classes": classes if len(classes) <= MOST_ROWS else worst,
        "uneven": uneven_line(results),
        "kept": kept_words(results.leak) if results.leak and results.leak.price else None,
        "moved": [fold for fold in done if fold.frozen_hash_before != fold.frozen_hash_after],
    }


def _beside(results: Results, found: Companions) -> dict[str, Any]:
    """Template variables about what other verbs left."""
    from hf_transfer.report.plots.depth import DEPTH_CAPTION
    from hf_transfer.report.plots.search import TRIALS_CAPTION

    return {
        "verdicts": verdicts(
            results,
            against=found.compare.others if found.compare else (),
            rank=found.rank,
            search=found.search,
        ),
        "parts_said": parts_words(results.parts) if results.parts else None,
        "search_mode": found.search.mode if found.search else None,
        "sections": sections_beside(found),
        "captions": {"trials": TRIALS_CAPTION, "depth": DEPTH_CAPTION},
    }


def _outside(value: float | None, interval: tuple[float, float] | None) -> bool:
    return value is not None and interval is not None and not interval[0] <= value <= interval[1]
