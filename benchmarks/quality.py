"""How good, and in what time, beside what else people would pick.

    python benchmarks/quality.py image MODEL DATASET --max_rows 150 --num_folds 3 --output_dir FOLDER
    python benchmarks/quality.py text MODEL DATASET --autogluon PYTHON --best

Under the same folds, each in a process of its own:

- the kit by itself: nothing is said but the model and the data, and everything learns;
- the kit with `--preset quick`, with `--trainable last:2`, and with `--preset best` where `--best` is given;
- scikit-learn on the features of the frozen model: StandardScaler and LogisticRegression, the strength chosen
  by cross-validation inside of each training part;
- transformers.Trainer as its example scripts leave it: rate 5e-5 with linear decay, 3 epochs, batches of 8,
  for pictures their random crops and flips;
- AutoGluon-MultiModal with its defaults, where PYTHON is of an environment that has it.

All do the same work: one repeat, and no model of all rows at the end. Accuracy and log loss are means over
folds. What the kit publishes is divided by a temperature: the second log loss has that of the others.
Seconds are of the whole process, with the loading of libraries and, for the kit, the card. It goes on
where it was stopped: what is done lies in a JSON file for each.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from report import machine, number, table, versions
from searching import name_of

from hf_transfer.runs.results import read_results

RECIPES = {"image": "image_classification", "text": "sentiment"}
FIRST = "kit, `--preset quick`"  # whose folds all are given
KIT = {
    FIRST: ("--preset", "quick"),
    "kit, `--trainable last:2`": ("--trainable", "last:2"),
    "kit, everything learns (its default)": (),
    # Rows that are sealed would be missing in the folds.
    "kit, `--preset best`": ("--preset", "best", "--sealed", "0"),
}
RIVALS = {
    "scikit-learn, frozen features": "sklearn",
    "Trainer, as in its examples": "trainer",
    "AutoGluon-MultiModal": "autogluon",
}
COLUMNS = (
    "",
    "accuracy",
    "log loss",
    "log loss as published",
    "seconds",
    "processor seconds",
    "load at the start",
)


def main() -> None:
    options = read_options()
    name = f"{name_of(options.model, options.dataset)}-{options.max_rows}-{options.num_folds}"
    place = Path(options.output_dir) / name
    place.mkdir(parents=True, exist_ok=True)
    found = {name: contender(name, place, options) for name in contenders(options)}
    splits = {read_results(place / slug(name)).folds_fingerprint for name in found if name in KIT}
    if len(splits) > 1:
        raise SystemExit(f"The runs in {place} do not share their folds; remove the folder and start again.")
    print(f"\n{machine(options.threads)}, {os.cpu_count()} cores in all. {versions()}.")
    rows = read_results(place / slug(FIRST)).dataset.num_rows
    print(
        f"{Path(options.model).name} on {rows:,} rows of {Path(options.dataset).name}, "
        f"{options.num_folds} folds, seed {options.seed}.\n"
    )
    print(table(COLUMNS, [line(name, one) for name, one in found.items()]))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("kind", choices=RECIPES, help="what a row's input is")
    add("model", help="a folder or a Hub id that transformers opens")
    add("dataset", help="as dataset of the kit")
    add("--output_dir", required=True, help="folder of the runs and of what is done")
    add("--max_rows", type=int, default=600)
    add("--num_folds", type=int, default=3)
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1, help="of each process")
    add("--best", action="store_true", help="also --preset best of the kit, which searches: slow")
    add("--autogluon", metavar="PYTHON", help="of an environment with autogluon.multimodal")
    add("--autogluon_model", help="the checkpoint's name there, if another: timm's name for pictures")
    return parser.parse_args()


def contenders(options: argparse.Namespace) -> list[str]:
    """Names of those that take part, from the quickest to the slowest."""
    first, *others = (name for name in KIT if options.best or "best" not in name)
    rivals = [name for name in RIVALS if RIVALS[name] != "autogluon" or has_autogluon(options.autogluon)]
    if len(rivals) < len(RIVALS):
        print("AutoGluon-MultiModal is left out: --autogluon names no Python that has it.", file=sys.stderr)
    return [first, *rivals, *others]


def has_autogluon(python: str | None) -> bool:
    """Whether a Python is there and finds AutoGluon-MultiModal."""
    if python is None or shutil.which(python) is None:
        return False
    code = "import importlib.util as u, sys; sys.exit(u.find_spec('autogluon.multimodal') is None)"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def contender(name: str, place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Scores of each fold and seconds of one contender; what is done already is read."""
    done = place / f"{slug(name)}.json"
    if not done.is_file():
        print(f"{place.name}: {name} ...", file=sys.stderr, flush=True)
        folder = place / slug(name)
        shutil.rmtree(folder, ignore_errors=True)  # seconds of half a run are not seconds of a run
        command = kit(name, folder, options) if name in KIT else rival(name, place, folder, options)
        found = timed(command, options.threads)
        found["folds"] = scores_of(folder)
        if name in KIT:
            found["calibrated"] = read_results(folder)["calibration"]["log_loss_after"]
        done.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return json.loads(done.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def kit(name: str, folder: Path, options: argparse.Namespace) -> list[str]:
    """The command of one of the kit's runs."""
    settings = {
        "base_model": options.model, "dataset": options.dataset, "output_dir": folder, "seed": options.seed,
        "max_rows": options.max_rows, "num_folds": options.num_folds, "num_threads": options.threads,
        "num_repeats": 1, "final": "none", "report_to": "none",
    }  # fmt: skip
    flags = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    return [sys.executable, "-m", "hf_transfer", "run", RECIPES[options.kind], *flags, *KIT[name]]


def rival(name: str, place: Path, folder: Path, options: argparse.Namespace) -> list[str]:
    """The command of another contender, on the folds of the kit's first run."""
    given = {
        "contender": RIVALS[name], "kind": options.kind, "run": str(place / slug(FIRST)),
        "output": str(folder / "scores.json"),
        "autogluon": options.autogluon, "autogluon_model": options.autogluon_model,
    }  # fmt: skip
    return [sys.executable, str(Path(__file__).with_name("rivals.py")), json.dumps(given)]


def timed(command: Sequence[str], threads: int) -> dict[str, Any]:
    """Run a command with an empty cache; give its seconds, and how busy the machine was before."""
    load, used, began = os.getloadavg()[0], processor_seconds(), perf_counter()
    with TemporaryDirectory() as cache:
        environment = os.environ | {"HF_DATASETS_CACHE": cache, "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr[-3000:]}")
    seconds = perf_counter() - began
    return {"seconds": seconds, "processor_seconds": processor_seconds() - used, "load": load}


def processor_seconds() -> float:
    """Seconds of all cores that ended processes of ours have used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def scores_of(folder: Path) -> list[dict[str, float]]:
    """Accuracy and log loss of each fold, from what a contender has left."""
    if (folder / "scores.json").is_file():
        return json.loads((folder / "scores.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    folds = [fold.scores for fold in read_results(folder).folds]
    return [{name: fold[name] for name in ("accuracy", "log_loss")} for fold in folds]


def line(name: str, found: dict[str, Any]) -> list[str]:
    """A row of the table."""
    scores = [f"{fmean(fold[metric] for fold in found['folds']):.3f}" for metric in ("accuracy", "log_loss")]
    published = f"{found['calibrated']:.3f}" if "calibrated" in found else scores[-1]
    return [
        name,
        *scores,
        published,
        *(number(found[key]) for key in ("seconds", "processor_seconds", "load")),
    ]


def slug(name: str) -> str:
    """A file's name for a contender."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.partition("(")[0].lower()).split())


if __name__ == "__main__":
    main()
