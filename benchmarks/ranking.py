"""Does `rank` order models as fine-tuning does? Predicted orders against cross-validated fine-tuning.

    python benchmarks/ranking.py --models MODEL MODEL … --datasets DATA DATA … --max_rows 120
    python benchmarks/ranking.py --kind text --models MODEL --datasets DATA --scratch

For each data set every model is ranked (one forward pass), and fine-tuned by the kit on the same rows; with
`--scratch` also with random weights, which are then candidates too. What is done is kept in `--output_dir`:
stopped and started again, it goes on. Agreement is Kendall's tau, weighted towards the top.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from report import machine, table, versions

from hf_transfer import RunConfig, cross_validate, open_dataset
from hf_transfer.machine.files import write_json
from hf_transfer.runs.rank_record import RankedModel, RankRecord
from hf_transfer.runs.reading import read_record
from hf_transfer.scores.transferability import weighted_tau
from hf_transfer.selection.rank.ranking import rank_models
from hf_transfer.tasks import task_of_kind

Candidates = dict[str, dict[str, float]]

# What a candidate could be ordered by, from its entry in rank.json.
PREDICTORS: dict[str, Callable[[RankedModel], float | None]] = {
    "rank's score (layer picked inside the folds)": lambda c: c.score.mean,
    "linear probe, best layer": lambda c: max(layer.ridge.mean for layer in c.layers),
    "linear probe, last layer": lambda c: c.layers[-1].ridge.mean,
    "k-NN, last layer": lambda c: c.layers[-1].knn,
    "LogME gain, last layer": lambda c: c.layers[-1].log_me_gain,
    "H-score, last layer": lambda c: c.layers[-1].h_score,
    "number of parameters": lambda c: c.num_parameters,
}


def main() -> None:
    options = read_options()
    torch.set_num_threads(options.threads)
    print(f"{machine(options.threads)}.\n{versions()}.\nSeed {options.seed}, {options.max_rows} rows a set; "
          f"fine-tuned: all layers, {options.num_folds} folds, {options.num_epochs} epochs, batches of "
          f"{options.batch_size}, learning rate {options.learning_rate:g}.\n")  # fmt: skip
    found = {}
    for dataset in options.datasets:
        name = "-".join(Path(dataset).parts[-2:]) if "pacs" in dataset else Path(dataset).name
        found[name] = measured(options, dataset, Path(options.output_dir) / name)
        print(f"{scores_table({name: found[name]})}\n", flush=True)
    if len(found) > 1:
        print(f"{scores_table(found)}\n")
    if len(options.models) > 1:
        print(tau_table(found))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--models", nargs="+", required=True, help="as base_model of the kit")
    add("--datasets", nargs="+", required=True, help="as dataset of the kit")
    add("--kind", choices=("image", "text", "tokens"), default="image", help="what a row's input is")
    add("--scratch", action="store_true", help="random weights of each architecture are candidates too")
    add("--max_rows", type=int, default=120)
    add("--num_folds", type=int, default=3)
    add("--num_epochs", type=int, default=5)
    add("--batch_size", type=int, default=8)
    add("--learning_rate", type=float, default=3e-4)
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1)
    add("--output_dir", default="runs/ranking")
    return parser.parse_args()


def measured(options: argparse.Namespace, dataset: str, folder: Path) -> Candidates:
    """Every predictor of each candidate on one data set, and its fine-tuned score."""
    config = RunConfig(
        dataset=dataset,
        max_rows=options.max_rows,
        num_folds=options.num_folds,
        num_epochs=options.num_epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
        final="none",
        num_threads=options.threads,
    )
    ranking = ranked(options, config, folder)
    found: Candidates = {}
    for entry in ranking.candidates:
        found[entry.name] = {key: read(entry) for key, read in PREDICTORS.items()}
        found[entry.name]["fine-tuned"] = fine_tuned(
            options.kind, replace(config, base_model=entry.base_model), folder / entry.name
        )
    if options.scratch:
        for entry in ranking.candidates:
            if entry.from_scratch is not None:
                found[f"{entry.name}, random"] = of_scratch(options.kind, config, entry, folder)
    found["the simple model"] = {
        next(iter(PREDICTORS)): ranking.controls.baseline.score.mean, "fine-tuned": float("nan")
    }  # fmt: skip
    return found


def ranked(options: argparse.Namespace, config: RunConfig, folder: Path) -> RankRecord:
    path = folder / "rank.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with redirect_stderr(StringIO()):
            write_json(path, rank_models(config, options.models, kind=options.kind).to_dict())
    return read_record(RankRecord, path)


def of_scratch(kind: str, config: RunConfig, entry: RankedModel, folder: Path) -> dict[str, float]:
    """A candidate's architecture with random weights: what `rank` measures of it, and fine-tuned."""
    assert entry.from_scratch is not None
    arm = replace(entry, **vars(entry.from_scratch))
    found = {}
    for key, read in PREDICTORS.items():
        value = read(arm) if not key.startswith(("k-NN", "LogME", "H-score")) else None
        found[key] = float("nan") if value is None else value
    settings = replace(config, base_model=entry.base_model, from_scratch=True)
    return found | {"fine-tuned": fine_tuned(kind, settings, folder / f"{entry.name}-random")}


def fine_tuned(kind: str, config: RunConfig, folder: Path) -> float:
    """The primary metric of a cross-validated fine-tuning; folds that are done are not done again."""
    data = open_dataset(config, kind)  # type: ignore[arg-type]
    config = replace(config, output_dir=str(folder))
    task = task_of_kind(kind)(config, data.label_names)
    with redirect_stderr(StringIO()):
        result = cross_validate(task, data, config)
    return float(result.scores[task.target.scorer.primary_metric].mean)


def scores_table(found: Mapping[str, Candidates]) -> str:
    first = next(iter(PREDICTORS))
    columns = ["candidate", *(f"{name}: {what}" for name in found for what in ("rank", "fine-tuned"))]
    names = dict.fromkeys(name for candidates in found.values() for name in candidates)
    rows = [
        [name, *(number(of.get(name, {}).get(key)) for of in found.values() for key in (first, "fine-tuned"))]
        for name in names
    ]
    return table(columns, rows)


def tau_table(found: Mapping[str, Candidates]) -> str:
    """Agreement of each predictor's order with the fine-tuned one, of candidates that have both."""
    rows = []
    for key in PREDICTORS:
        taus = [tau(candidates, key) for candidates in found.values()]
        rows.append([key, *(number(value) for value in taus), number(float(np.nanmean(taus)))])
    return table(["ordered by", *found, "mean"], rows)


def tau(candidates: Candidates, key: str) -> float:
    pairs = [(c.get(key, float("nan")), c["fine-tuned"]) for c in candidates.values()]
    known = np.array([pair for pair in pairs if np.isfinite(pair).all()])
    return weighted_tau(known[:, 0], known[:, 1])


def number(value: float | None) -> str | None:
    return None if value is None or not np.isfinite(value) else f"{value:.3f}"


if __name__ == "__main__":
    main()
