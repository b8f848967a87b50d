"""Disturb small runs at random for a long time, and look whether any of them ends otherwise.

    make bench-siege                                          # two hours
    python benchmarks/siege.py --minutes 10 --seed 3
    python benchmarks/siege.py --only 17 --seed 3             # round 17 of that siege again

Each round starts one run, disturbs it by two to four faults that its seed draws, lets it go on, and holds
what it ends with against a run that nobody disturbed: bit for bit. A start may end with these bits, or with
one line, a documented exit code and no traceback; then the next one must go on. Nothing beside the run and
the cache may change. Needs no network: what is pushed goes to the test Hub, on this machine.
"""

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from disturbances import BEFORE, DURING, Place, bad_hub, damage, obey_permissions, small_disk
from faults import PICTURES, TEXT, left_by, load_libraries, made_in_child, surroundings
from hub_server import HubServer
from kill_points import ended_within, in_child

import hf_transfer

SHORT = ["--batch_size=16", "--num_folds=2", "--num_repeats=1", "--max_rows=40", "--num_epochs=2"]
WORDS = [*TEXT, "--max_length=24", *SHORT]
CASES = {
    "text, all": [*WORDS, "--checkpoint_minutes=0"],
    "text, last:1, pushed": [
        *WORDS, "--base_model=MODEL", "--trainable=last:1", "--checkpoint_minutes=0.002",
        "--push_to_hub=ada/REPO",
    ],
    "text, head": [*WORDS, "--base_model=MODEL", "--trainable=head", "--checkpoint_minutes=0"],
    "pictures, last:2": [*PICTURES, *SHORT, "--trainable=last:2", "--lr=3e-3", "--checkpoint_minutes=0"],
    "pictures, head": [*PICTURES, *SHORT, "--trainable=head", "--lr=3e-3", "--checkpoint_minutes=0"],
}  # fmt: skip
BESIDE = {  # of the same runs, in two processes
    "text, two processes": [*CASES["text, all"], "--folds_per_device=2"],
}
FAULTS = (*DURING, *BEFORE, "file damaged", "Hub")
EXIT_CODES = {1, 2, 3, 4, 5, 130}
LINE = re.compile(
    r"^(\w*Error: |Stopped by |\d+ of \d+ folds? failed|.*(failed|no final model)).*", re.MULTILINE
)
TRACEBACK = "Traceback (most recent call last)"
DISK = "256m"


@dataclass
class Tally:
    """What the starts with one fault ended with, and what their runs ended with at last."""

    starts: int = 0
    ends: Counter[str] = field(default_factory=Counter)


@dataclass
class Siege:
    """All rounds: where they happen, what they are held against, and what was found."""

    base: Path
    model: Path
    hub: HubServer
    seed: int
    faults: tuple[str, ...]
    disk: Path
    around: str = ""
    tallies: dict[str, Tally] = field(default_factory=dict)
    wanted: dict[str, tuple[Any, float]] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    rounds: int = 0

    def play(self, number: int) -> None:
        """One round: a run, its faults, and what it ends with."""
        draw = random.Random(f"{self.seed}/{number}")
        name = draw.choice(sorted(BESIDE if draw.random() < 0.1 else CASES))
        words = (CASES | BESIDE)[name]
        faults = [fault for fault in self.faults if fault != "Hub" or "--push_to_hub=ada/REPO" in words]
        drawn = [draw.choice(faults) for _ in range(draw.randint(2, 4))]
        place = self._place(f"round{number}")
        if draw.random() < 0.5:
            shutil.rmtree(place.cache, ignore_errors=True)
        self._wanted(name)
        told = [f"round {number} ({name})"]
        for fault in drawn:
            told.append(self._disturbed(place, name, fault, draw))
        self._goes_on(place, name, drawn, told)
        shutil.rmtree(place.run, ignore_errors=True)
        self.rounds += 1
        print("; ".join(told), flush=True)

    def _place(self, name: str) -> Place:
        from hf_transfer.machine.cache import cache_folder

        return Place(self.disk, self.disk / "runs" / name, cache_folder(), self.hub)

    def _wanted(self, name: str) -> None:
        """Run a case undisturbed, once a siege."""
        if name not in self.wanted:
            place, began = self._place("whole"), time.monotonic()
            end = self._ended(place, name, self._start(place, name), 600)
            if end != "same bits":
                raise SystemExit(f"The undisturbed run of {name} ended with {end}:\n{self._log()}")
            self.wanted[name] = left_by(place.run, place.run.name), time.monotonic() - began
            shutil.rmtree(place.run)
            self.around = self.around or self._digest()

    def _disturbed(self, place: Place, name: str, fault: str, draw: random.Random) -> str:
        """One start with a fault; gives what it was and how it ended."""
        seconds, undo, prepare, what = self.wanted[name][1], _nothing, _nothing, fault
        if fault == "file damaged":
            what = damage(draw, place)
        elif fault == "Hub":
            undo = bad_hub(draw, place)
        elif fault in BEFORE:
            prepare = BEFORE[fault](draw)
        child = self._start(place, name, prepare)
        code, family = None, list[psutil.Process]()
        if fault in DURING:
            code = ended_within(child, draw.uniform(0.02, 0.95) * seconds)
            if code is None:
                family = psutil.Process(child).children(recursive=True)
                undo = DURING[fault](child, draw, place)
        try:
            end = self._ended(place, name, child, 20 * seconds + 120, code)
        finally:
            undo()
        if left := psutil.wait_procs(family, timeout=60)[1]:  # children end with their parent
            end = "CHILDREN LEFT"
            for process in left:
                process.kill()
        tally = self.tallies.setdefault(fault, Tally())
        tally.starts += 1
        tally.ends[end] += 1
        if end not in ("same bits", "one line", "killed"):
            self._find(f"{place.run.name}: {what}: {end}\n{self._log()[-3000:]}")
        return f"{what} -> {end}"

    def _goes_on(self, place: Place, name: str, drawn: list[str], told: list[str]) -> None:
        """Start it undisturbed: in the same folder, and if that stays refused in a new one."""
        end = self._ended(place, name, self._start(place, name), 600)
        if end == "one line":
            told.append(f"refused: {self._log().strip().splitlines()[-1]}")
            shutil.rmtree(place.run, ignore_errors=True)
            again = self._ended(place, name, self._start(place, name), 600)
            end = "new folder needed" if again == "same bits" else f"new folder: {again}"
        told.append(f"then {end}")
        if end not in ("same bits", "new folder needed"):
            self._find(f"{'; '.join(told)}\n{self._log()[-3000:]}")
        for fault in set(drawn):
            self.tallies[fault].ends[f"then {end}"] += 1
        if self._digest() != self.around:
            self._find(f"{told[0]}: something beside the run and the cache changed")
            self.around = self._digest()

    def _find(self, what: str) -> None:
        self.found.append(what)
        print(f"FOUND: {what}", flush=True)

    def _start(self, place: Place, name: str, prepare: Callable[[], None] | None = None) -> int:
        log = self.base / "log.txt"
        log.unlink(missing_ok=True)
        return in_child(partial(self._in_child, place, name, prepare or _nothing), log)

    def _in_child(self, place: Place, name: str, prepare: Callable[[], None]) -> None:
        from hf_transfer.cli.main import main

        os.chdir(self.base / "around")
        obey_permissions()
        prepare()
        recipe, *words = (
            word.replace("MODEL", str(self.model)).replace("REPO", place.run.name)
            for word in (CASES | BESIDE)[name]
        )
        raise SystemExit(main(["run", recipe, *words, f"--output_dir={place.run}"]))

    def _ended(self, place: Place, name: str, child: int, seconds: float, code: int | None = None) -> str:
        """How a start ended, in a word or two."""
        code = ended_within(child, seconds) if code is None else code
        if code is None:
            os.kill(child, signal.SIGKILL)
            ended_within(child, 10)
            return "HANGS"
        text = self._log()
        if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
            return "killed"
        if TRACEBACK in text:
            return "TRACEBACK"
        if code == 0:
            return self._same(place, name)
        if code not in EXIT_CODES:
            return f"EXIT CODE {code}"
        return "one line" if LINE.search(text) else f"NO LINE, exit code {code}"

    def _same(self, place: Place, name: str) -> str:
        if name not in self.wanted:
            return "same bits"
        found, wanted = left_by(place.run, place.run.name), self.wanted[name][0]
        other = [part for part, value in found.items() if value != wanted[part]]
        return f"DIFFERS: {', '.join(other)}" if other else "same bits"

    def _log(self) -> str:
        return (self.base / "log.txt").read_text(encoding="utf-8", errors="replace")

    def _digest(self) -> str:
        """A digest of all that no run may touch: the home, the folders beside it, and the kit itself."""
        digest = hashlib.sha256()
        kit = Path(hf_transfer.__file__).parent
        tops = (self.base / "around", self.base / "user", self.model, self.disk / "runs" / "other", kit)
        for path in sorted(
            path for top in tops for path in top.rglob("*") if "__pycache__" not in path.parts
        ):
            digest.update(f"{path} {path.lstat().st_mode}".encode())
            digest.update(path.read_bytes() if path.is_file() else b"")
        return digest.hexdigest()


def _nothing() -> None:
    """No preparation, and nothing to take back."""


def main() -> None:
    """Besiege for some time, and print a table of faults and ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120, help="no round begins afterwards")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="this round alone")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # the disk is let go first
    until = time.monotonic() + 60 * options.minutes
    with TemporaryDirectory(prefix="hf-transfer-siege-") as folder, HubServer() as hub:
        base = Path(folder)
        for name in ("around", "user", "disk"):
            (base / name).mkdir()
        (base / "around" / "notes.txt").write_text("nobody's business", encoding="utf-8")
        with small_disk(base / "disk", DISK) as limited:
            disk = base / "disk"
            (disk / "runs" / "other").mkdir(parents=True)
            (disk / "runs" / "other" / "results.json").write_text("{}", encoding="utf-8")
            os.environ |= surroundings(disk / "home", hub) | {"HOME": str(base / "user")}
            load_libraries()
            faults = tuple(fault for fault in FAULTS if limited or fault != "disk full")
            siege = Siege(base, made_in_child(base), hub, options.seed, faults, disk)
            number = 0 if options.only is None else options.only
            while time.monotonic() < until:
                siege.play(number)
                number += 1
                if options.only is not None:
                    break
    _show(siege, limited=limited)


def _show(siege: Siege, *, limited: bool) -> None:
    ends = sorted({end for tally in siege.tallies.values() for end in tally.ends})
    print(f"\n| fault | starts | {' | '.join(ends)} |\n|---|---:|{'---:|' * len(ends)}")
    for fault in FAULTS:
        tally = siege.tallies.get(fault, Tally())
        print(f"| {fault} | {tally.starts} | {' | '.join(str(tally.ends[end]) for end in ends)} |")
    if not limited:
        print("\nNo disk could be mounted here (that takes root), so that none was full.")
    starts = sum(tally.starts for tally in siege.tallies.values())
    print(
        f"\n{siege.rounds} rounds, {starts} disturbed starts, seed {siege.seed}; {len(siege.found)} findings."
    )
    for found in siege.found:
        print(f"\n--- {found}")
    sys.exit(1 if siege.found else 0)


if __name__ == "__main__":
    main()
