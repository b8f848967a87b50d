import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.cluster.arriving import write_arrived
from hf_transfer.errors import RunError
from hf_transfer.machine import files as machine_files

NAMES = st.sampled_from(["a.json", "done.json", "model/x.bin", "model/in/y.bin", "r0f0/done.json"])


@given(st.dictionaries(NAMES, st.binary(max_size=20)))
def test_what_is_written_is_what_arrived(tmp_path_factory, arrived):
    folder = tmp_path_factory.mktemp("run")
    write_arrived(folder, arrived)
    there = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert there == arrived


@pytest.mark.parametrize("name", ["../x", "/etc/x", "folds/../../x", "a\\..\\x", "C:/x"])
def test_nothing_is_written_outside(tmp_path, name):
    with pytest.raises(RunError, match="leads out of the run's folder"):
        write_arrived(tmp_path / "run", {"fine": b"1", name: b"2"})
    assert not list(tmp_path.iterdir())


def test_what_says_that_all_is_there_comes_last(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "hf_transfer.cluster.arriving.write_files",
        lambda contents: (seen.extend(path.name for path in contents), machine_files.write_files(contents)),
    )
    write_arrived(tmp_path, {"r/done.json": b"1", "r/a": b"2", "r/model/w": b"3", "r/z": b"4"})
    assert seen == ["a", "z", "done.json"]
