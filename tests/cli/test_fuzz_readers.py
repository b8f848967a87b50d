import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_some_spoiled_files_of_every_kind_end_in_our_own_errors(tmp_path):
    script = Path(__file__).parents[1] / "support" / "fuzz_readers.py"
    words = ["--seconds", "60", "--executions", "100", "--output_dir", str(tmp_path / "found")]
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "executions, 0 findings" in done.stdout
