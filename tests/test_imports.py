"""Who may import whom, and what stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hf_transfer

PACKAGE = Path(hf_transfer.__file__).parent
HEAVY = {"torch", "transformers", "timm", "torchvision"}
LIGHT = [
    *("__init__", "_guard", "errors", "config", "results", "statistics", "metrics", "scorers", "cli", "card"),
    *("card_merge", "hub", "hub_client", "hub_files", "hub_fetch", "plots", "tables", "resources"),
    *("run_folder", "environment", "wording", "network", "cache", "describe", "calibration", "grid"),
    *("files", "lock", "interruption", "settings", "parsing", "reading", "shape"),
    *("aggregate", "ledger", "verify", "agreement"),
    *("control_results", "paired", "overfitting", "compare", "pair_words", "verdicts", "report"),
    *("convergence", "convergence_words", "others"),
    *("scrubbing", "launcher", "learning_curve", "shuffling", "palette", "size_plot"),
    *("depth_plot", "search_plot", "heat_map", "search_words"),
    *("transferability", "baselines", "regression"),
]

# From top to bottom: a module imports only from its own line or from lines below it.
ORDER = [
    {"cli", "__main__"},
    {"describe", "inference", "doctor", "report", "verify"},
    {"presets"},
    {"rank", "search"},
    {
        "card",
        "card_merge",
        "hub",
        "hub_client",
        "hub_files",
        "hub_fetch",
        "compare",
        "pair_words",
        "others",
        "convergence_words",
        "verdicts",
        "plots",
        *("size_plot", "depth_plot", "search_plot", "heat_map", "search_words"),
        "palette",
        "tables",
        "resources",
        "audit",
        "similarity",
    },
    {"cross_validation"},
    {"summary", "final_model", "sealing"},
    {"controls", "probing"},
    {"room"},
    {"study", "overfitting", "convergence"},
    {"experiment"},
    {"aggregate"},
    {"calibration", "grid", "paired", "agreement"},
    {"heads", "estimate"},
    {"training", "tracking", "ensemble", "soup"},
    {"scoring", "solvers"},
    {"replay", "features"},
    {"defaults"},
    {"batches", "encoding", "workers", "schedule"},
    {"allocator", "memory"},
    {"tasks", "tokens", "image_processing", "models", "model_folder", "mean_classifier", "sentence_modules"},
    {"control_results"},
    {"shuffling"},
    {
        *("folds", "layers", "metrics", "scorers", "data", "builtin", "network", "learning_curve"),
        *("transferability", "baselines", "regression"),
    },
    {"run_folder", "cache", "ledger"},
    {
        *("config", "results", "statistics", "environment", "wording", "progress", "scrubbing", "launcher"),
        *("parsing", "reading", "shape", "settings"),
    },
    {"files", "lock", "interruption"},
    {"errors", "_guard", "collection", ""},
]


def modules() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if "make_" not in path.name]


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imports(path: Path) -> set[str]:
    """Names that a module imports when it is imported itself; not those inside functions or for types."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= (
                {node.module}
                if node.module != "hf_transfer"
                else {f"hf_transfer.{a.name}" for a in node.names}
            )
    return found


def level(name: str) -> int:
    return next(i for i, rooms in enumerate(ORDER) if name in rooms)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downwards(path):
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "hf_transfer" and len(parts) > 1 and not parts[1].startswith("__version"):
            target = parts[1] if any(parts[1] in rooms for rooms in ORDER) else ""
            assert level(room(path)) <= level(target), f"{room(path)} imports {name}"


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_import_nothing_heavy(name):
    files = [path for path in modules() if room(path) == name or (room(path), name) == ("", "__init__")]
    assert files
    for path in files:
        assert not {module.split(".")[0] for module in imports(path)} & HEAVY


def test_every_public_module_checks_the_packages_name():
    for path in modules():
        if (
            path.name not in {"__init__.py", "_guard.py", "errors.py", "__main__.py"}
            and path.parent.name != "tasks"
        ):
            text = path.read_text(encoding="utf-8")
            assert "_guard" in text, path


LIGHT_CODE = (
    "import hf_transfer",
    "from hf_transfer.cli import main; main([])",
    "from hf_transfer import RunConfig",
    "import hf_transfer.statistics",
    "import hf_transfer.transferability, hf_transfer.baselines",
    "from hf_transfer.tasks import task_class; task_class('text-classification')",
    "from hf_transfer.card import write_card",
    "from hf_transfer.cli import main; main(['cache'])",
    "from hf_transfer import verify_run",
    "from hf_transfer.compare import compare_runs",
    "from hf_transfer.report import write_report",
    "from hf_transfer.report.pictures import draw_pictures",
)


def test_torch_stays_out():
    """In one process, as each would take seconds to start: what brings torch in is the last that is named."""
    lines = [f"{code}\nprint({code!r})\nassert not {HEAVY!r} & set(sys.modules)" for code in LIGHT_CODE]
    code = "\n".join(["import sys", *lines])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout.splitlines()[-1:]
