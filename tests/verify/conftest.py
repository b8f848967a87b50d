import shutil
from pathlib import Path

import pytest
from small_runs import make_run


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Give the folder of a run, trained at the first call."""
    made = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = make_run(kind, tmp_path_factory.mktemp("run"))
        return made[kind]

    return get


@pytest.fixture
def copy_of(runs, tmp_path):
    """Give a copy of a run, to spoil."""
    return lambda kind: Path(shutil.copytree(runs(kind), tmp_path / kind))
