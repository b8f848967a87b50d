import subprocess
import sys

from hf_transfer.scores import statistics


def test_importing_statistics_imports_no_heavy_package():
    heavy = "{'torch', 'evaluate', 'sklearn', 'pandas', 'scipy.stats'}"
    code = f"import sys, hf_transfer.scores.statistics; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    assert sorted(statistics.__all__) == statistics.__all__
    assert all(hasattr(statistics, name) for name in statistics.__all__)
