"""Kill a run at random, go on with it, kill it again, and compare what it ends with.

    make bench-faults                 # at least 100 kills, and every named point in turn
    python benchmarks/faults.py --kills 20 --only text

A run is a child process forked from this one, which has loaded the libraries and done nothing else. It
gets SIGKILL, SIGTERM or SIGINT after a random time, or kills itself at a named point, until it ends by
itself. Then its predictions, scores, weights and notes are held against those of a run that nobody
disturbed: bit for bit. Needs no network: what is pushed goes to the test Hub.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from mmap import mmap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hub_server import HubServer
from kill_points import AREAS, POINTS, Point, die_at, ended, ended_within, in_child, watch

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TIMES = ("seconds", "at", "created", "command", "hardware", "replay", "output_dir")
TEXT = ["sentiment", "--base_model=builtin:tiny-bert", "--dataset=builtin:reviews", "--lr=1e-3"]
PICTURES = ["image_classification", "--base_model=builtin:digits-resnet", "--dataset=builtin:digits_5to9"]
SMALL = ["--batch_size=16", "--max_length=24", "--num_folds=3"]
CASES = {
    "pictures, last:2": [
        *PICTURES, "--trainable=last:2", "--lr=3e-3", "--max_rows=100", "--num_epochs=4", "--num_folds=3",
        "--batch_size=16", "--checkpoint_minutes=0.005",
    ],
    "text, all, dropout": [*TEXT, *SMALL, "--max_rows=90", "--num_epochs=3", "--checkpoint_minutes=0"],
    "text, gradual, usual checkpoints": [
        *TEXT, *SMALL, "--max_rows=120", "--num_epochs=4", "--schedule=gradual",
    ],
    "text, grid of rates": [
        *TEXT, *SMALL, "--max_rows=60", "--num_epochs=2", "--learning_rates=1e-3,3e-3",
        "--checkpoint_minutes=0.005",
    ],
    "text, early stopping": [
        *TEXT, "--batch_size=32", "--max_length=16", "--num_folds=3", "--num_epochs=4",
        "--early_stopping", "--patience=1", "--checkpoint_minutes=0.002",
    ],
    "tags, head from the store": [
        "ner", "--base_model=MODEL", "--dataset=builtin:mentions", "--trainable=head", "--lr=1e-2",
        "--max_rows=150", "--num_epochs=4", "--num_folds=3",
    ],
    "pictures, ensemble, sealed": [
        *PICTURES, "--trainable=last:1", "--lr=3e-3", "--max_rows=100", "--num_epochs=3", "--num_folds=3",
        "--final=ensemble", "--sealed=0.1", "--checkpoint_minutes=0.005",
    ],
    "text, last:1, pushed": [
        *TEXT, *SMALL, "--base_model=MODEL", "--max_rows=60", "--num_epochs=2", "--trainable=last:1",
        "--checkpoint_minutes=0.01", "--push_to_hub=ada/REPO",
    ],
}  # fmt: skip


@dataclass
class Tally:
    """What happened to the runs of one case."""

    kills: Counter[str] = field(default_factory=Counter)
    areas: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    equal: int = 0


class Bench:
    """One case, in a folder of its own."""

    def __init__(self, words: list[str], folder: Path, model: Path, seed: int) -> None:
        self.recipe, *self.words = [word.replace("MODEL", str(model)) for word in words]
        self.folder, self.log = folder, folder / "log.txt"
        self.random, self.shared, self.tally = random.Random(seed), mmap(-1, 1), Tally()
        folder.mkdir(parents=True)
        began = time.monotonic()
        if self._run("whole") != 0:
            raise SystemExit(f"The undisturbed run failed:\n{self.log.read_text()}")
        self.seconds = time.monotonic() - began
        self.wanted = left_by(folder / "whole", folder.name)

    def kill_at_random(self, number: int, most: int) -> None:
        """Kill one run up to so many times from outside, and judge what it ends with."""
        self._clear_store()
        for _ in range(most):
            child = self._start(f"random{number}")
            wait, sent = self.random.uniform(0.02, 0.4) * self.seconds, self.random.choice(SIGNALS)
            code = ended_within(child, wait)
            if code is None:
                where = self.shared[0]
                os.kill(child, sent)
                code = ended(child)
                if code in (-sent, 128 + sent):
                    self.tally.kills[sent.name] += 1
                    self.tally.areas[AREAS[where - 1][0] if where else "opening, checking"] += 1
            if code == 0:
                return self._judge(f"random{number}")
            self._expect(code, (-sent, 128 + sent))
        return self._end(f"random{number}")

    def kill_at_points(self) -> None:
        """Let a run kill itself at every point that it comes to, one after the other."""
        self._clear_store()
        for point in POINTS:
            code = ended(self._start("points", point))
            if code == -signal.SIGKILL:
                self.tally.points[point.name] += 1
                self.tally.kills["SIGKILL"] += 1
            else:  # this run does not come by there: it has ended, and the next point needs another
                self._expect(code, (0,))
                self._judge("points")
                shutil.rmtree(self.folder / "points")
        self._end("points")

    def _end(self, name: str) -> None:
        self._expect(self._run(name), (0,))
        self._judge(name)

    def _judge(self, name: str) -> None:
        self.tally.runs += 1
        found = left_by(self.folder / name, self.folder.name)
        self.tally.equal += found == self.wanted
        for part, value in found.items():
            if value != self.wanted[part]:
                print(f"DIFFERS: {name}: {part}; see {self.folder}", flush=True)

    def _expect(self, code: int, allowed: tuple[int, ...]) -> None:
        if code not in allowed:
            raise SystemExit(f"Exit code {code} in {self.folder}:\n{self.log.read_text()[-3000:]}")

    def _run(self, name: str) -> int:
        return ended(self._start(name))

    def _start(self, name: str, point: Point | None = None) -> int:
        self.shared[0] = 0
        return in_child(lambda: self._in_child(name, point), self.log)

    def _in_child(self, name: str, point: Point | None) -> None:
        from hf_transfer.cli.main import main

        watch(self.shared)
        if point is not None:
            die_at(point)
        words = [word.replace("REPO", f"{self.folder.name}-{name}") for word in self.words]
        raise SystemExit(main(["run", self.recipe, *words, f"--output_dir={self.folder / name}"]))

    def _clear_store(self) -> None:
        from hf_transfer.machine.cache import cache_folder, clear

        clear(cache_folder())


def left_by(run: Path, name: str) -> dict[str, Any]:
    """All that a run leaves, without what depends on the clock or its folder's name.

    Args:
        run: Its folder.
        name: What else is in its texts and tells it from others: the folder above.
    """
    import pyarrow.parquet as pq

    from hf_transfer.runs.run_folder import weight_digests

    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    half = [path for path in run.rglob("*") if path.name.startswith(".") or path.name == "checkpoint"]
    return {
        "predictions": pq.read_table(run / "predictions.parquet"),
        "results": _timeless(results, name),
        "weights": weight_digests(run / "model"),
        "model": {path.name: sha256(path.read_bytes()).hexdigest() for path in (run / "model").iterdir()},
        "files": sorted(path.relative_to(run).as_posix() for path in run.rglob("*")),
        "left over": half,
    }


def _timeless(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v, name) for k, v in value.items() if k not in (*TIMES, "push_to_hub")}
    return [_timeless(v, name) for v in value] if isinstance(value, list) else value


def main() -> None:
    """Run all cases, and print a table of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=120, help="at least so many by random signals")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cases = {name: words for name, words in CASES.items() if options.only in name}
    with TemporaryDirectory(prefix="hf-transfer-faults-") as folder, HubServer() as hub:
        os.environ |= surroundings(Path(folder) / "home", hub)
        load_libraries()
        model = made_in_child(Path(folder))
        each = -(-options.kills // len(cases))
        tallies = {
            name: _case(words, Path(folder) / f"case{i}", model, each, options.seed + i, name)
            for i, (name, words) in enumerate(cases.items())
        }
        pushed = [len(repo.commits) - 1 for repo in hub.repos.values()]  # the first makes the repository
    _show(tallies, pushed)


def surroundings(home: Path, hub: HubServer) -> dict[str, str]:
    """The variables of a process that reaches the test Hub alone, and has a cache of its own."""
    hub.account("hf_test", "ada")
    return {
        "HF_HOME": str(home), "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_test", "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0", "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip


def _case(words: list[str], folder: Path, model: Path, each: int, seed: int, name: str) -> Tally:
    bench = Bench(words, folder, model, seed)
    bench.kill_at_points()
    number = 0
    while sum(bench.tally.areas.values()) < each:
        bench.kill_at_random(number, 12)
        number += 1
    tally = bench.tally
    print(f"{name}: {tally.equal} of {tally.runs} runs equal, {sum(tally.kills.values())} kills, "
          f"{bench.seconds:.0f} s undisturbed", flush=True)  # fmt: skip
    return tally


def load_libraries() -> None:
    """Import what every run needs, and start nothing: what is forked afterwards is as good as new."""
    import accelerate  # noqa: F401
    import datasets  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import timm  # noqa: F401
    import transformers

    import hf_transfer.report.plots.scores  # noqa: F401

    for name in ("AutoModel", "AutoTokenizer", "AutoImageProcessor", "BertModel", "TimmWrapperModel"):
        getattr(transformers, name)


def made_in_child(folder: Path) -> Path:
    """A BERT of four blocks with weights, so that there are frozen layers to store."""

    def make() -> None:
        import torch
        from transformers import AutoConfig, AutoTokenizer, BertModel

        import hf_transfer

        source = Path(hf_transfer.__file__).parent / "data" / "builtin" / "tiny-bert"
        torch.manual_seed(1)
        config = AutoConfig.from_pretrained(source, num_hidden_layers=4, hidden_size=32, intermediate_size=32)
        BertModel(config).save_pretrained(folder / "model")
        AutoTokenizer.from_pretrained(source).save_pretrained(folder / "model")

    if ended(in_child(make, folder / "log.txt")) != 0:
        raise SystemExit((folder / "log.txt").read_text())
    return folder / "model"


def _show(tallies: dict[str, Tally], pushed: list[int]) -> None:
    print("\n| case | runs | equal | SIGKILL | SIGTERM | SIGINT |\n|---|---:|---:|---:|---:|---:|")
    for name, tally in tallies.items():
        counts = " | ".join(str(tally.kills[sent.name]) for sent in SIGNALS)
        print(f"| {name} | {tally.runs} | {tally.equal} | {counts} |")
    for title, names, part in (
        ("killed by a signal during", [area for area, *_ in AREAS], "areas"),
        ("killed at the point", [point.name for point in POINTS], "points"),
    ):
        total: Counter[str] = sum((getattr(tally, part) for tally in tallies.values()), Counter())
        print(f"\n| {title} | kills |\n|---|---:|")
        for name in [*names, *sorted(total.keys() - set(names))]:
            print(f"| {name} | {total[name]} |")
    kills = sum(sum(tally.kills.values()) for tally in tallies.values())
    equal, runs = (sum(getattr(t, part) for t in tallies.values()) for part in ("equal", "runs"))
    print(f"\n{sum(n == 1 for n in pushed)} of {len(pushed)} repositories have one commit of ours.")
    print(f"{kills} kills; {equal} of {runs} runs ended with the same predictions, results and weights.")
    sys.exit(0 if equal == runs and set(pushed) <= {1} else 1)


if __name__ == "__main__":
    main()
