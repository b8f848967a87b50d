import pytest
from hub_case import REPO, hub_for, make_folder

from hf_transfer import hub_client, hub_fetch
from hf_transfer.errors import HubError
from hf_transfer.hub import push
from hf_transfer.hub_fetch import fetch_run, is_repository

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A Hub with a run on it, and a cache of its own."""
    monkeypatch.setattr(hub_client, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(hub_fetch, "RETRY_SECONDS", 0.2)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with hub_for(monkeypatch, tmp_path) as server:
        push(make_folder(tmp_path / "run").path, REPO)
        yield server


def test_all_files_arrive_as_they_were_sent(server):
    folder, info = fetch_run(REPO)
    assert info.sha == server.repos[REPO].commits[-1].oid
    for name, data in server.repos[REPO].files.items():
        assert (folder / name).read_bytes() == data


@pytest.mark.parametrize("name", ["model.safetensors", "results.json"])
def test_a_file_with_a_wrong_bit_is_fetched_again(server, name):
    fault = server.fault("GET", f"/resolve/.*/{name}", "flip")
    folder, _ = fetch_run(REPO)
    assert fault.times == 0
    assert (folder / name).read_bytes() == server.repos[REPO].files[name]


def test_a_file_that_is_damaged_each_time_is_named_and_not_kept(server):
    fault = server.fault("GET", "/resolve/.*/model.safetensors", "flip", times=99)
    with pytest.raises(HubError, match=r"model\.safetensors of ada/reviews arrived damaged"):
        fetch_run(REPO)
    fault.times = 0
    folder, _ = fetch_run(REPO)
    assert (folder / "model.safetensors").read_bytes() == b"\0" * 1000


def test_a_repository_that_is_not_there_is_told_with_what_to_give(server):
    words = "The Hub does not know this place.*\n'ada/nothing' is no folder here either"
    with pytest.raises(HubError, match=words):
        fetch_run("ada/nothing")


def test_a_folder_goes_before_a_repository_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_repository("ada/reviews")
    (tmp_path / "ada" / "reviews").mkdir(parents=True)
    assert not is_repository("ada/reviews")
    assert not is_repository("reviews")
    assert not is_repository("/ada/reviews")
