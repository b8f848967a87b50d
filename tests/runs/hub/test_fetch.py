import json
import string

import pytest
from hub_case import INFO, REPO, hub_for, make_folder
from hub_server import Content
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.errors import HubError
from hf_transfer.runs.hub import client as hub_client
from hf_transfer.runs.hub import fetch as hub_fetch
from hf_transfer.runs.hub.fetch import _leads_out, fetch_run, is_repository
from hf_transfer.runs.hub.push import push
from hf_transfer.study.final.predict import predict_inputs
from hf_transfer.verify.verify_run import verify_run

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


LEADING_OUT = [
    "{outside}", "../{up}", "plots/../../{up}", "..\\{up}", "plots\\..\\..\\x", "C:\\x", "C:x",
    "//host/share/x", "\\\\host\\share\\x", "\\x", "..", ".", "", "x\0y",
]  # fmt: skip


@pytest.mark.parametrize("name", LEADING_OUT)
@pytest.mark.parametrize("fetch", [fetch_run, verify_run, lambda run: predict_inputs(run, ["good"])])
def test_a_listing_that_leads_out_is_refused_before_anything_is_fetched(server, tmp_path, name, fetch):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    name = name.format(outside=mine, up="../" * 3 + mine.name)
    head = server.repos[REPO].commits[-1]
    head.files[name] = Content(b"theirs")
    with pytest.raises(
        HubError, match=r"(?s)ada/reviews has names that lead out.*relative.*do not trust"
    ) as no:
        fetch(REPO)
    assert repr(name) in str(no.value)
    assert mine.read_text() == "mine"
    assert not server.asked("GET", "/resolve/")
    assert not (tmp_path / "cache").exists()


def test_a_commit_that_names_another_folder_is_refused(server, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    answer = {"id": REPO, "sha": "../../..", "siblings": [Content(b"theirs").sibling("README.md")]}
    server.fault("GET", INFO, status=200, body=json.dumps(answer).encode())
    with pytest.raises(
        HubError, match=r"ada/reviews has names that lead out of its folder: '\.\./\.\./\.\.'"
    ):
        fetch_run(REPO)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_damaged_file_that_is_linked_out_of_the_cache_is_left(server, tmp_path):
    folder, _ = fetch_run(REPO)
    (tmp_path / "mine.json").write_text("mine")
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(tmp_path / "mine.json")
    (folder / "results.json").resolve().write_text("damaged")
    with pytest.raises(
        HubError, match=r"config\.json is a link out of the cache, to .*mine\.json.*Remove the link"
    ):
        fetch_run(REPO)
    assert (tmp_path / "mine.json").read_text() == "mine"


@given(
    st.lists(
        st.text(string.ascii_letters + "._- ", min_size=1).filter(lambda part: part.strip(".")), min_size=1
    )
)
def test_a_name_of_plain_parts_stays_in(parts):
    assert not _leads_out("/".join(parts))
    assert _leads_out("/" + "/".join(parts))
    assert _leads_out("/".join([*parts, ".."]))
    assert _leads_out("\\".join([*parts, "..", "x"]))


def test_a_repository_that_is_not_there_is_told_with_what_to_give(server):
    words = "The Hub has no such repository or file.*\n'ada/nothing' is no folder here either"
    with pytest.raises(HubError, match=words):
        fetch_run("ada/nothing")


def test_a_folder_goes_before_a_repository_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_repository("ada/reviews")
    (tmp_path / "ada" / "reviews").mkdir(parents=True)
    assert not is_repository("ada/reviews")
    assert not is_repository("reviews")
    assert not is_repository("/ada/reviews")
