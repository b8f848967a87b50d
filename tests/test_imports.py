"""Who may import whom, and what stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import hf_transfer

PACKAGE = Path(hf_transfer.__file__).parent
HEAVY = {"torch", "transformers", "timm", "torchvision"}
LOOSE = {"__init__", "__main__", "_guard", "errors"}

# From top to bottom: a room imports only from itself and from rooms below it.
ROOMS = (
    "cli",
    "verify",
    "cluster",
    "transfer",
    "selection",
    "report",
    "study",
    "training",
    "replay",
    "data",
    "runs",
    "tasks",
    "models",
    "scores",
    "layers",
    "folds",
    "config",
    "machine",
)
LIGHT = {"cli", "config", "folds", "report", "runs", "scores", "verify"}
MOST_FLOORS = 12


@cache
def modules() -> dict[str, Path]:
    """Every module by its dotted name below the package."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }


def room(name: str) -> str:
    return name.split(".")[0]


def statements(tree: ast.AST, *, inside: bool) -> Iterator[ast.AST]:
    """The statements of a module; with `inside` those of functions too, but never those for types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        if inside:
            yield from statements(node, inside=True)


@cache
def imports(name: str, *, inside: bool = False) -> frozenset[str]:
    """What a module imports when it is imported itself; with `inside` what its functions import too."""
    found: set[str] = set()
    for node in statements(ast.parse(modules()[name].read_text(encoding="utf-8")), inside=inside):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            ours = {one for one in names if one.removeprefix("hf_transfer.") in modules()}
            found |= ours or {node.module}
    return frozenset(found)


def below(name: str, *, inside: bool = True) -> set[str]:
    """The modules of the package that a module imports, those in its functions too."""
    found = imports(name, inside=inside)
    ours = {one.removeprefix("hf_transfer.") for one in found if one.startswith("hf_transfer.")}
    return {one for one in ours & modules().keys() if one not in LOOSE and one != name}


def test_only_four_modules_stand_outside_the_rooms():
    assert {name for name in modules() if "." not in name} - set(ROOMS) == LOOSE


@pytest.mark.parametrize("place", ROOMS)
def test_a_room_imports_only_from_rooms_below_it(place):
    allowed = set(ROOMS[ROOMS.index(place) :])
    up = [(name, one) for name in modules() if room(name) == place for one in below(name)]
    assert [pair for pair in up if room(pair[1]) not in allowed] == []


def test_there_is_no_circle_and_few_floors():
    """A floor is counted by what is imported with a module; a circle by what its functions import too."""

    def highest(*, inside: bool) -> int:
        floors: dict[str, int] = {}

        def floor(name: str, above: tuple[str, ...] = ()) -> int:
            assert name not in above, f"a circle: {' -> '.join([*above, name])}"
            if name not in floors:
                under = below(name, inside=inside)
                floors[name] = 1 + max((floor(one, (*above, name)) for one in under), default=0)
            return floors[name]

        return max(map(floor, modules()))

    assert highest(inside=True) < len(modules())
    assert highest(inside=False) <= MOST_FLOORS


@pytest.mark.parametrize("place", sorted(LIGHT))
def test_light_rooms_import_nothing_heavy(place):
    for name in modules():
        if room(name) == place:
            assert not {one.split(".")[0] for one in imports(name)} & HEAVY, name


def test_every_module_checks_the_packages_name():
    for name, path in modules().items():
        if name not in LOOSE and path.name != "__init__.py" and path.parent.name != "tasks":
            assert "_guard" in path.read_text(encoding="utf-8"), name


LIGHT_CODE = (
    "import hf_transfer",
    "from hf_transfer.cli.main import main; main([])",
    "from hf_transfer import RunConfig",
    "import hf_transfer.scores.statistics",
    "import hf_transfer.scores.transferability, hf_transfer.tasks.inputs.simple_models",
    "from hf_transfer.tasks import task_class; task_class('text-classification')",
    "from hf_transfer.report.card.card import write_card",
    "from hf_transfer.cli.main import main; main(['cache'])",
    "from hf_transfer import verify_run",
    "from hf_transfer.report.compare import compare_runs",
    "from hf_transfer.report.page.page import write_report",
    "from hf_transfer.report.page.pictures import draw_pictures",
    "import hf_transfer.report.page.shift, hf_transfer.report.page.label, hf_transfer.report.plots.clouds",
    "import hf_transfer.scores.shift.two_samples, hf_transfer.scores.shift.few_labels",
)


def test_torch_stays_out():
    """In one process, as each would take seconds to start: what brings torch in is the last that is named."""
    lines = [f"{code}\nprint({code!r})\nassert not {HEAVY!r} & set(sys.modules)" for code in LIGHT_CODE]
    code = "\n".join(["import sys", *lines])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout.splitlines()[-1:]


@pytest.mark.parametrize("words", [["-m", "hf_transfer"], ["-m", "hf_transfer", "rank"], ["recipes/ner.py"]])
def test_help_needs_nothing_slow(words):
    """Neither that of a verb nor of a recipe, which imports half of what the package gives."""
    command = [sys.executable, "-X", "importtime", *words, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=PACKAGE.parent)
    assert "usage:" in done.stdout
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not imported & {*HEAVY, "accelerate", "datasets", "matplotlib", "pandas", "sklearn"}


# Rooms whose dictionaries are no records of a run: rows of a data set, states of a training, tensors, and
# plain data for other machines.
OTHER_KEYS = {
    "cluster",
    "config",
    "data",
    "folds",
    "layers",
    "machine",
    "models",
    "replay",
    "tasks",
    "training",
}


def record_fields() -> set[str]:
    """The names of the fields that results.json and what lies beside it have."""
    from hf_transfer.runs.adapt_record import AdaptRecord
    from hf_transfer.runs.companions import ComparedRuns
    from hf_transfer.runs.rank_record import RankRecord
    from hf_transfer.runs.records import Results
    from hf_transfer.runs.search_record import Search
    from hf_transfer.runs.shift_record import ShiftRecord
    from hf_transfer.runs.shots_record import ShotsRecord

    found: set[str] = set()
    waiting: list[object] = [Results, ComparedRuns, RankRecord, Search]
    waiting += [ShiftRecord, AdaptRecord, ShotsRecord]
    seen: list[object] = []
    while waiting:
        kind = waiting.pop()
        waiting += get_args(kind)
        if is_dataclass(kind) and kind is not hf_transfer.RunConfig and kind not in seen:
            seen.append(kind)
            found |= {f.name for f in fields(kind)}
            waiting += get_type_hints(kind).values()
    return found


# What is no record: tables and batches, mappings by a metric's or a setting's name, parts that are put
# together, an epoch as a tracker gets it, what a template knows, and what --json prints.
MAPPINGS = {
    "about", "again", "batch", "bootstrap_interval", "check", "columns", "content", "context", "encoded",
    "epoch", "f", "first", "history", "predictions", "rows", "scores", "select", "settings", "table",
    "tables", "train_scores", "value", "written",
}  # fmt: skip


def last_name(node: ast.expr) -> str:
    """The name that a value is called by: `fitted.history[0]` is a history."""
    while isinstance(node, ast.Subscript | ast.Call):
        node = node.value if isinstance(node, ast.Subscript) else node.func
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def keyed(node: ast.AST) -> tuple[ast.expr, ast.expr] | None:
    """What is read by which key in `value[key]` or `value.get(key)`."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        return node.value, node.slice
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        return (node.func.value, node.args[0]) if node.args else None
    return None


def test_records_of_a_run_are_read_by_their_fields():
    names = record_fields()
    reads = [
        (f"{name}:{node.lineno}: {ast.unparse(node)}", *pair)
        for name, path in modules().items()
        if room(name) not in OTHER_KEYS | {"runs"}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (pair := keyed(node))
    ]
    by_key = [read for read in reads if isinstance(read[2], ast.Constant) and read[2].value in names]
    assert [where for where, base, _ in by_key if last_name(base) not in MAPPINGS] == []
