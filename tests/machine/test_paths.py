import pytest

from hf_transfer.errors import DataError
from hf_transfer.machine.paths import local_path


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/passwd", "x/../../a.jpg", "", "."])
def test_paths_that_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"leaves the folder"):
        local_path(name, tmp_path)


@pytest.mark.parametrize("name", ["https://example.org/a.jpg", "s3://b/a.jpg", "data:image/png;base64,AA"])
def test_web_addresses_are_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"is a web address; download"):
        local_path(name, tmp_path)


def test_paths_inside_the_folder_are_followed(tmp_path):
    assert local_path("x/../y/a.jpg", tmp_path) == tmp_path / "y" / "a.jpg"
    assert local_path(str(tmp_path / "a.jpg"), tmp_path) == tmp_path / "a.jpg"
