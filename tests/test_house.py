"""Nothing outside `tasks/` asks which task, input or target runs."""

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import hf_transfer
from hf_transfer.scores.scorer import Scorer
from hf_transfer.tasks import all_tasks, kinds
from hf_transfer.tasks.inputs.input import Input
from hf_transfer.tasks.targets.target import Target

PACKAGE = Path(hf_transfer.__file__).parent
# What the names of inputs, targets and tasks are, those that are to come among them.
NAMES = {
    *kinds(), *(task.name for task in all_tasks()), "classes", "tags", "numbers", "label_sets",
}  # fmt: skip
CLASSES = {"Task", "CommonTask", "Input", "Target", "Scorer"}
ASKING = {"isinstance", "issubclass"}


@cache
def own_classes() -> frozenset[str]:
    """The names of all tasks, inputs, targets and scorers."""
    found = set(CLASSES)
    for folder in ("tasks", "scores"):
        for path in (PACKAGE / folder).rglob("*.py"):
            name = ".".join(("hf_transfer", *path.relative_to(PACKAGE).with_suffix("").parts))
            module = import_module(name.removesuffix(".__init__"))
            of_module = (value for value in vars(module).values() if inspect.isclass(value))
            found |= {value.__name__ for value in of_module if {Input, Target, Scorer} & {*value.__mro__}}
    return frozenset(found | {task.__name__ for task in all_tasks()})


def constants(node: ast.AST) -> set[str]:
    """The names of tasks, inputs and targets in an expression: itself, or in a list of some."""
    elements = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return {
        one.value for one in elements if isinstance(one, ast.Constant) and isinstance(one.value, str)
    } & NAMES


def called(node: ast.AST) -> set[str]:
    """The names of classes in the second argument of `isinstance`."""
    elements = node.elts if isinstance(node, ast.Tuple) else [node]
    if isinstance(node, ast.BinOp):
        return called(node.left) | called(node.right)
    return {one.id if isinstance(one, ast.Name) else getattr(one, "attr", "") for one in elements}


def asked(node: ast.AST) -> set[str]:
    """What a piece of code branches on, if on a task, an input or a target."""
    if isinstance(node, ast.Compare):
        return set().union(*map(constants, (node.left, *node.comparators)))
    if isinstance(node, ast.MatchValue):
        return constants(node.value)
    if isinstance(node, ast.Dict):
        keys = {key.value for key in node.keys if isinstance(key, ast.Constant)} & NAMES
        return keys if len(keys) > 1 else set()  # a record may have a field of such a name
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ASKING:
        return called(node.args[1]) & own_classes()
    return set()


def branches(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for name in sorted(asked(node)):
            yield f"{path.relative_to(PACKAGE)}:{node.lineno} asks for {name!r}"  # type: ignore[attr-defined]


def test_no_code_outside_of_tasks_asks_which_runs():
    outside = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "tasks"]
    assert [line for path in sorted(outside) for line in branches(path)] == []


@pytest.mark.parametrize(
    "code",
    [
        'if kind == "image": pass',
        'x = 1 if task in ("text-classification", "other") else 2',
        'while "numbers" != target.name: pass',
        'match name:\n    case "tags": pass',
        'x = {"image": 1, "text": 2}[kind]',
        "isinstance(scorer, TaggingScorer)",
        "isinstance(target, int | Tags)",
        "issubclass(task, (str, tasks.TokenClassification))",
    ],
)
def test_such_a_question_is_found(code):
    assert set().union(*map(asked, ast.walk(ast.parse(code))))


@pytest.mark.parametrize(
    "code",
    ['x = {"image": picture, "label": 1}', 'task_of_kind("image")', "isinstance(x, Mapping)", 'x == "a"'],
)
def test_what_is_no_question_is_not(code):
    assert not set().union(*map(asked, ast.walk(ast.parse(code))))


MOST_LINES = {"a function": 50, "a file": 400}


def long_parts(path: Path) -> Iterator[str]:
    """What is longer in a file than it may be: its functions, or the file itself."""
    text = path.read_text(encoding="utf-8")
    functions = (
        n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    for function in functions:
        lines = (function.end_lineno or 0) - function.lineno + 1
        if lines > MOST_LINES["a function"]:
            yield f"{path.name}: {function.name} has {lines} lines"
    if len(text.splitlines()) > MOST_LINES["a file"]:
        yield f"{path.name} has {len(text.splitlines())} lines"


def test_functions_and_files_are_short():
    assert [line for path in sorted(PACKAGE.rglob("*.py")) for line in long_parts(path)] == []


def test_what_is_too_long_is_found(tmp_path):
    path = tmp_path / "long.py"
    path.write_text("def short():\n" + 49 * "    x = 1\n" + "def long():\n" + 350 * "    x = 1\n")
    assert list(long_parts(path)) == ["long.py: long has 351 lines", "long.py has 401 lines"]
