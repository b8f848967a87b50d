"""The import name is also that of a download accelerator on PyPI; see the README's note."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import hf_transfer

ROOT = Path(hf_transfer.__file__).parents[1]


@pytest.mark.parametrize("name", ["download", "multipart_upload"])
def test_the_accelerators_functions_are_explained(name):
    with pytest.raises(
        RuntimeError, match=r"belongs to the download accelerator.*pip uninstall -y hf_transfer"
    ):
        getattr(hf_transfer, name)


def test_importing_sets_nothing_and_says_nothing():
    code = "import os; before = dict(os.environ); import hf_transfer; assert dict(os.environ) == before"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_ENABLE_HF_TRANSFER": "1"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def foreign(tmp_path) -> Path:
    """An environment in which another package has overwritten our `__init__.py`, as pip would let it."""
    package = tmp_path / "hf_transfer"
    shutil.copytree(Path(hf_transfer.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__init__.py").write_text("def download(*args): ...\n")
    (tmp_path / "hf_transfer_kit_cli.py").write_bytes((ROOT / "hf_transfer_kit_cli.py").read_bytes())
    return tmp_path


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    # In the folder, which comes first on the path.
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120
    )


def test_our_modules_under_a_foreign_package_say_how_to_mend_it(foreign):
    done = run(foreign, "import hf_transfer.config.run_config")
    assert "is not hf-transfer-kit but another package" in done.stderr
    assert "pip uninstall -y hf_transfer" in done.stderr


def test_the_command_line_explains_itself_when_hidden(foreign):
    shutil.rmtree(foreign / "hf_transfer" / "cli")
    done = run(foreign, "import sys, hf_transfer_kit_cli; sys.exit(hf_transfer_kit_cli.main())")
    assert done.returncode == 2
    assert "is not hf-transfer-kit" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_both_in_one_environment_is_said_once(foreign):
    (foreign / "hf_transfer" / "__init__.py").write_bytes(Path(hf_transfer.__file__).read_bytes())
    (foreign / "hf_transfer" / "hf_transfer.abi3.so").touch()
    done = run(foreign, "import hf_transfer.config.run_config, hf_transfer.runs.results")
    assert done.returncode == 0
    assert done.stderr.count("The download accelerator `hf_transfer` is installed too") == 1


@pytest.mark.slow
def test_the_wheel_holds_recipes_and_cards_inside_the_package(tmp_path):
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "-q",
            "-w",
            tmp_path,
            ROOT,
        ],
        check=True,
    )
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    tops = {name.split("/")[0] for name in names if "dist-info" not in name}
    assert tops == {"hf_transfer", "hf_transfer_kit_cli.py"}
    assert {"hf_transfer/_recipes/sentiment.py", "hf_transfer/_model_cards/_base.md"} <= set(names)
    assert "hf_transfer/builtin/digits-resnet/model.safetensors" in names
