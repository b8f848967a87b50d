"""Feed damaged files to everything that reads one: only our own errors may come out.

    python tests/fuzz_readers.py --seconds 600 --seed 0 --output_dir /tmp/fuzz

Each execution spoils one file and runs one command on it. It must end with success or with one of the
kit's errors, within seconds, without much memory, without a process or a connection, and without writing
anywhere but in its own folder. What does not is kept in the output folder, a file for each place in the
code, with the traceback beside it. Equal seeds and numbers of executions spoil the same files.
"""

import argparse
import contextlib
import copy
import io
import json
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import conftest  # noqa: F401  (sets the environment before anything heavy is imported)
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from small_runs import make_run

from hf_transfer import RunConfig
from hf_transfer.cli.main import main
from hf_transfer.errors import TransferError
from hf_transfer.tasks.inputs.pictures import read_picture

MOST_SECONDS = 60  # for one execution, on a busy machine
MOST_MEMORY = 600  # MiB by which one execution may raise the peak

Random = random.Random

ROWS = [
    {"text": f"{('good', 'bad')[i % 2]} thing {i}, “quoted” \U0001f600", "label": ("yes", "no")[i % 2],
     "who": f"ann{i % 3}", "day": f"2024-0{1 + i % 9}-11", "n": i}
    for i in range(8)
]  # fmt: skip
SENTENCES = [{"tokens": ["Ann", "saw", "Rome"], "ner_tags": ["B-PER", "O", "B-LOC"]} for _ in range(5)]
_PIECES = [
    b'"', b"'", b",", b"\n", b"\r", b"\r\n", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3", b"{", b"}", b"[",
    b"]", b":", b"- ", b"&a ", b"*a ", b"<<: *a\n", b"!!python/object/apply:os.getcwd []", b"!!binary x",
    b"null", b"NaN", b"Infinity", b"-1", b"1e999", b"9" * 400, b"0x10", b"true", b"\t", b";", b"  ", b"\\",
    b"\\ud800", b"..", b"/etc/passwd", b"../../x", b"http://x/y.png", b"%s", b"{{ 1 }}", b"<b>", b"$x$",
    b"\x1b[31m", b"2024-13-45", b"a" * 5000, b"[" * 3000, b"- " * 2000, b"\xe2\x80\xae", b"\xed\xa0\x80",
]  # fmt: skip
_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, -(2**64), 0.5, 1e308, -0.0, "", "x", "0", "r0f0", "<b>",
    "a/b", "../x", "$x^{2}$", "é\n", "\ud800"[:0] + "\x00", "9" * 400, [], {}, [[]], [None], {"": None},
    [1, "x"], {"a": {"b": [1]}}, "last:2", ["a", "b", "c"], list(range(50)),
]  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Something that reads a file.

    Attributes:
        name: What it is called in the output.
        seeds: Good contents to begin with.
        spoil: Makes another content of one.
        read: Puts the content where it is read from, in a folder of its own, and reads it.
    """

    name: str
    seeds: list[bytes]
    spoil: Callable[[bytes, Random], bytes]
    read: Callable[[bytes, Path], None]


@dataclass
class Tally:
    """What was done so far."""

    executions: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)


class TooLongError(BaseException):
    """One execution took longer than allowed."""


def spoil_bytes(data: bytes, rng: Random) -> bytes:
    """Change a few places: bits, pieces that trouble parsers, lost, doubled and swapped stretches."""
    for _ in range(1 + int(rng.expovariate(0.6))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + int(rng.expovariate(0.05)))
        change = rng.randrange(7)
        if change == 0 and data:
            at = rng.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        elif change == 1:
            data = data[:at] + data[end:]
        elif change == 2:
            data = data[:end] + data[at:]
        elif change == 3:
            data = data[:at]
        elif change == 4:
            data = data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[end:]
        else:
            data = data[:at] + rng.choice(_PIECES) + data[end if change == 5 else at :]
    return data


def spoil_json(data: bytes, rng: Random) -> bytes:
    """Change a few values of a JSON file, and sometimes its letters."""
    if rng.random() < 0.15:
        return spoil_bytes(data, rng)
    value = [json.loads(data)]
    for _ in range(1 + int(rng.expovariate(1.0))):
        _spoil_value(value, rng)
    return json.dumps(value[0]).encode()


def _spoil_value(root: list[Any], rng: Random) -> None:
    holder, key = rng.choice(list(_places(root)))
    change = rng.randrange(5)
    if change == 0 and holder is not root:
        del holder[key]
    elif change == 1 and isinstance(holder, list) and holder is not root:
        holder.insert(key, copy.deepcopy(holder[key]))
    elif change == 2:
        other, name = rng.choice(list(_places(root)))
        holder[key] = copy.deepcopy(other[name])
    else:
        holder[key] = copy.deepcopy(rng.choice(_VALUES))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every value that is in a list or an object, as what it is in and its key there."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def spoil_parquet(data: bytes, rng: Random) -> bytes:
    """Change bytes of a Parquet file, or columns of the table in it."""
    if rng.random() < 0.4:
        return spoil_bytes(data, rng)
    table = pq.read_table(io.BytesIO(data))
    at = rng.randrange(table.num_columns)
    name, column = table.column_names[at], table.column(at).to_pylist()
    change = rng.randrange(6)
    if change == 0:
        table = table.drop_columns([name])
    elif change == 1:
        table = table.rename_columns([rng.choice([*table.column_names, "x"]) if i == at else other
                                      for i, other in enumerate(table.column_names)])  # fmt: skip
    elif change == 2:
        table = table.slice(rng.randrange(max(1, table.num_rows)), rng.randrange(5))
    else:
        values = [rng.choice(_VALUES) for _ in column] if change == 3 else _few(column, rng)
        with contextlib.suppress(pa.ArrowException, OverflowError, UnicodeEncodeError):
            table = table.set_column(at, name, pa.array(values))
    with contextlib.suppress(pa.ArrowException):
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        return sink.getvalue().to_pybytes()
    return spoil_bytes(data, rng)


def _few(column: list[Any], rng: Random) -> list[Any]:
    """Change one value or all values of a column, keeping to its type where it has one."""
    odd = {
        int: [-1, 2**31, 2**62, None, 7], float: [float("nan"), float("inf"), 1e300, None],
        str: ["", "\x00", "O", "I-X", "B-", "a" * 9999, None], list: [[], None, [None]],
    }  # fmt: skip
    choices = odd.get(type(column[0]) if column else int, [None])
    at = rng.randrange(len(column) or 1)
    return [rng.choice(choices) if i == at or rng.random() < 0.05 else v for i, v in enumerate(column)]


def run(*words: str) -> None:
    """Run a command as a user does."""
    main(list(map(str, words)))


def data_target(name: str, seeds: list[bytes], spoil: Any = spoil_bytes, *words: str) -> Target:
    """A file that `inspect` opens, as each kind of rows in turn."""

    def read(data: bytes, folder: Path) -> None:
        (folder / name).write_bytes(data)
        kind = ("text", "tokens", "image")[len(data) % 3]
        run("inspect", folder / name, "--kind", kind, "--num_folds", "2", *words)

    return Target(f"data: {name} {' '.join(words)}".strip(), seeds, spoil, read)


def folder_target(name: str, seeds: list[bytes], spoil: Any) -> Target:
    """A metadata file in a folder of pictures."""

    def read(data: bytes, folder: Path) -> None:
        for i in range(4):
            Image.new("RGB", (8, 8), (i * 60, 9, 9)).save(folder / f"{i}.png")
        (folder / name).write_bytes(data)
        run("inspect", folder, "--kind", "image", "--num_folds", "2")

    return Target(f"folder: {name}", seeds, spoil, read)


def run_target(good: Path, name: str, spoil: Any, *commands: tuple[str, ...]) -> Target:
    """A file of a finished run, read by the first command for its first content, and so on."""

    def read(data: bytes, folder: Path) -> None:
        copied = folder / "run"
        shutil.copytree(good, copied, symlinks=True)
        (copied / name).write_bytes(data)
        verb, *words = commands[len(data) % len(commands)]
        run(verb, copied, *(str(good) if word == "GOOD" else word for word in words))

    return Target(f"{good.name}/{name}", [(good / name).read_bytes()], spoil, read)


def text_of(rows: list[dict[str, Any]], mark: str = ",") -> bytes:
    """Rows as CSV."""
    lines = [list(rows[0]), *([f'"{v}"' if mark in str(v) else str(v) for v in row.values()] for row in rows)]
    return "\n".join(mark.join(line) for line in lines).encode()


def parquet_of(rows: list[dict[str, Any]]) -> bytes:
    """Rows as Parquet."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def pictures() -> list[bytes]:
    """A small picture of each format and mode."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    image, found = Image.fromarray(pixels), []
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        stream = io.BytesIO()
        exif = Image.Exif()
        exif[274] = 6
        image.save(stream, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "TIFF", "WEBP") else {}))
        found.append(stream.getvalue())
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"):
        stream = io.BytesIO()
        made = image.convert("L" if mode in ("I;16", "F") else mode)
        made = Image.fromarray(np.asarray(made).astype(np.uint16) * 200) if mode == "I;16" else made
        made = made.convert("F") if mode == "F" else made
        made.save(stream, "TIFF" if mode in ("CMYK", "F") else "PNG")
        found.append(stream.getvalue())
    return found


def targets(folder: Path) -> list[Target]:
    """Everything that reads a file. Two small runs are trained into the folder."""
    lines = [("\n".join(map(json.dumps, rows))).encode() for rows in (ROWS, SENTENCES)]
    whole = [json.dumps(rows).encode() for rows in (ROWS, SENTENCES, {"data": ROWS})]
    columns = json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}).encode()
    named = [{"file_name": f"{i}.png", "label": "ab"[i % 2]} for i in range(4)]
    by = ("--group_by", "who", "--label_column", "label")
    over = ("--time_by", "day", "--gap", "1", "--id_column", "n")
    return [
        data_target("a.csv", [text_of(ROWS), text_of(ROWS, ";")]),
        data_target("a.csv", [text_of(ROWS)], spoil_bytes, *by),
        data_target("a.tsv", [text_of(ROWS, "\t")], spoil_bytes, *over),
        data_target("a.jsonl", lines),
        data_target("a.json", [*whole, columns], spoil_json),
        data_target("a.parquet", [parquet_of(ROWS), parquet_of(SENTENCES)], spoil_parquet),
        folder_target("metadata.csv", [text_of(named)], spoil_bytes),
        folder_target("metadata.jsonl", ["\n".join(map(json.dumps, named)).encode()], spoil_bytes),
        Target("picture", pictures(), spoil_bytes, lambda data, _: read_picture(data) and None),
        Target("settings", [all_settings()], spoil_bytes, _read_settings),
        *run_targets(folder),
    ]


def all_settings() -> bytes:
    """All settings as YAML."""
    with tempfile.TemporaryDirectory() as folder:
        RunConfig(learning_rates=(0.1, 0.2), metrics=("f1",)).save(Path(folder) / "a.yaml")
        return (Path(folder) / "a.yaml").read_bytes()


def _read_settings(data: bytes, folder: Path) -> None:
    (folder / "a.yaml").write_bytes(data)
    RunConfig.from_args(RunConfig(), [str(folder / "a.yaml"), "--seed", "1"])


def run_targets(folder: Path) -> list[Target]:
    """The files of runs, and the commands that read them."""
    text, words, grid = (make_run(kind, folder) for kind in ("text", "words", "grid"))
    looks = (("verify",), ("compare", "GOOD"), ("report", "--open-nothing"), ("card",), ("report",),
             ("verify",), ("predict", "a text"))  # fmt: skip
    found = [
        run_target(run, name, spoil, *looks)
        for run in (text, words, grid)
        for name, spoil in (
            ("results.json", spoil_json), ("predictions.parquet", spoil_parquet),
            ("folds.parquet", spoil_parquet), ("config.yaml", spoil_bytes), ("README.md", spoil_bytes),
        )
    ]  # fmt: skip
    for name in ("done.json", "history.jsonl"):
        place = f"folds/r0f1/{name}"
        spoil = spoil_json if name == "done.json" else spoil_bytes
        found.append(run_target(text, place, spoil, ("verify",), ("report", "--open-nothing"), ("card",)))
    return found


class Watch:
    """Notes what one execution does outside of its folder, by Python's own audit events."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] = ()
        self.seen: list[str] = []
        self.on = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in ("subprocess.Popen", "os.system", "os.exec", "socket.connect", "pickle.find_class"):
            self.seen.append(f"{event} {args!r:.200}")
        elif event == "open" and isinstance(args[0], str) and self._writes(args):
            self._place(event, args[0])
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink"):
            self._place(event, str(args[1] if event in ("os.rename", "os.link", "os.symlink") else args[0]))

    @staticmethod
    def _writes(args: tuple[Any, ...]) -> bool:
        return bool(re.search(r"[wax+]", args[1] or "")) if isinstance(args[1], str) else bool(args[2] & 0o3)

    def _place(self, event: str, path: str) -> None:
        if not path.startswith(self.allowed):
            self.seen.append(f"{event} {path}")


def execute(target: Target, data: bytes, watch: Watch) -> str | None:
    """Read one spoiled file; give what is wrong, or None."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory(dir=tempfile.gettempdir()) as folder:
        watch.seen.clear()
        problem = _attempt(target, data, Path(folder), watch)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    if problem is None and watch.seen:
        return "outside\n" + "\n".join(watch.seen[:5])
    if problem is None and grown > MOST_MEMORY:
        return f"memory\nthe peak rose by {grown} MiB"
    return problem


def _attempt(target: Target, data: bytes, folder: Path, watch: Watch) -> str | None:
    quiet = io.StringIO()
    watch.on = True
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            target.read(data, folder)
    except TransferError:
        return None
    except (Exception, TooLongError, SystemExit, RecursionError):  # noqa: BLE001  (anything is a finding)
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        watch.on = False
    return "traceback shown\n" + quiet.getvalue() if "Traceback" in quiet.getvalue() else None


def place_of(problem: str) -> str:
    """Name a finding by the kind of error and the last line of ours that led to it."""
    ours = re.findall(r'File ".*?hf_transfer/([\w/]+\.py)", line \d+, in (\S+)', problem)
    last = problem.rstrip().splitlines()[-1]
    words = (
        [*(ours[-1] if ours else ()), last.split(":")[0]] if ours else [problem.splitlines()[0], last[:60]]
    )
    return re.sub(r"[^\w.-]+", "-", "-".join(words))[:120]


def keep(output: Path, target: Target, data: bytes, problem: str, tally: Tally) -> None:
    """Write down a finding, once for each place in the code; others there are counted."""
    name = place_of(problem)
    tally.findings[name] = tally.findings.get(name, 0) + 1
    if tally.findings[name] == 1:
        (output / f"{name}.bin").write_bytes(data)
        (output / f"{name}.txt").write_text(f"{target.name}\n\n{problem}", "utf-8", "backslashreplace")
        print(f"{target.name}: {name}", flush=True)


def fuzz(output: Path, *, seed: int, seconds: float, executions: int | None = None) -> Tally:
    """Spoil files until the time is over; the target with the least time so far is next.

    Args:
        output: Where findings are kept.
        seed: Of what is spoiled and how.
        seconds: How long.
        executions: How many at most.
    """
    output.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGALRM, _too_long)
    warnings.simplefilter("ignore")
    watch, tally, rng = Watch(), Tally(), random.Random(seed)
    with tempfile.TemporaryDirectory() as home:
        everything = targets(Path(home))
        watch.allowed = (tempfile.gettempdir(), "/dev/null")
        began = time.monotonic()
        while time.monotonic() - began < seconds and sum(tally.executions.values()) != executions:
            target = min(everything, key=lambda one: tally.seconds.get(one.name, 0.0))
            data = target.spoil(rng.choice(target.seeds), rng)
            started = time.monotonic()
            if problem := execute(target, data, watch):
                keep(output, target, data, problem, tally)
            tally.seconds[target.name] = tally.seconds.get(target.name, 0.0) + time.monotonic() - started
            tally.executions[target.name] = tally.executions.get(target.name, 0) + 1
            if sum(tally.executions.values()) % 500 == 0:
                report(output, tally)
    report(output, tally)
    return tally


def report(output: Path, tally: Tally) -> None:
    """Write down what was done so far."""
    (output / "tally.json").write_text(json.dumps(vars(tally), indent=1))


def _too_long(*_: Any) -> None:
    raise TooLongError(f"longer than {MOST_SECONDS} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--executions", type=int)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/fuzz"))
    given = parser.parse_args()
    done = fuzz(given.output_dir, seed=given.seed, seconds=given.seconds, executions=given.executions)
    print(
        f"{sum(done.executions.values()):,} executions, {len(done.findings)} findings in {given.output_dir}"
    )
    sys.exit(bool(done.findings))
