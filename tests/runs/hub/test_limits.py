"""A Hub that trickles, swells or sends its callers in circles ends with one line, soon."""

import logging
import time

import pytest
from hub_case import FRONT, INFO, REPO, hub_for, make_folder

from hf_transfer import RunConfig
from hf_transfer.errors import HubError
from hf_transfer.runs.hub import client as hub_client
from hf_transfer.runs.hub import fetch as hub_fetch
from hf_transfer.runs.hub import push as hub
from hf_transfer.runs.hub.fetch import fetch_run
from hf_transfer.runs.hub.push import preflight, push

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A Hub with a repository, a cache of its own, and little patience with both."""
    monkeypatch.setattr(hub_client, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(hub_fetch, "RETRY_SECONDS", 0.2)
    monkeypatch.setattr(hub, "RETRY_SECONDS", 0.2)
    monkeypatch.setattr(hub, "PREFLIGHT_SECONDS", 0.5)
    for module in (hub_fetch, hub):
        monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with hub_for(monkeypatch, tmp_path) as server:
        server.add_repo(REPO, {"README.md": FRONT.encode(), "results.json": b"{}"})
        yield server


@pytest.mark.parametrize("behaviour", ["trickle", "trickling head"])
@pytest.mark.parametrize("request_", ["whoami", INFO, "/resolve/"])
def test_a_preflight_ends_though_bytes_keep_coming(server, tmp_path, behaviour, request_):
    server.fault("GET", request_, behaviour, times=99)
    began = time.monotonic()
    with pytest.raises(HubError, match=r"No whole answer came|sends less than"):
        preflight(RunConfig(push_to_hub=REPO, output_dir=str(tmp_path / "new")))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("request_", "behaviour"), [(INFO, "trickling head"), ("/resolve/", "trickle")])
def test_a_download_ends_though_bytes_keep_coming(server, request_, behaviour):
    server.fault("GET", request_, behaviour, times=99)
    with pytest.raises(HubError, match=r"No whole answer came|sends less than"):
        fetch_run(REPO)


def test_a_file_of_a_slow_line_still_arrives(server, monkeypatch):
    monkeypatch.setattr(hub_client, "SLOWEST", 10.0)
    server.fault("GET", "/resolve/", "slow", times=99)
    folder, _ = fetch_run(REPO)
    assert (folder / "README.md").read_bytes() == FRONT.encode()


def test_a_card_that_unpacks_to_more_than_was_listed_is_left(server, tmp_path):
    server.fault("GET", "/resolve/.*README.md", "swell", times=99)
    with pytest.raises(HubError, match=r"sends more than it listed, for .*README\.md"):
        push(make_folder(tmp_path / "run").path, REPO)
    assert server.asked("GET", "/resolve/.*README.md") == 1, "what will not pass by itself was tried again"


def test_a_download_that_unpacks_to_more_than_was_listed_is_left(server, monkeypatch):
    monkeypatch.setattr(hub_fetch, "ANSWER_BYTES", 1e6)
    server.fault("GET", "/resolve/.*results.json", "swell", times=99)
    with pytest.raises(HubError, match="sends more than it listed"):
        fetch_run(REPO)
    assert server.asked("GET", "/resolve/.*results.json") == 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "{url}/api/whoami-v2", "ftp://127.0.0.1/x"])
def test_a_redirection_to_nowhere_is_told_at_once(server, tmp_path, target):
    location = {"Location": target.format(url=server.url)}
    server.fault("GET", "whoami", status=302, headers=location, times=10**6)
    with pytest.raises(HubError, match="redirects to nowhere"):
        preflight(RunConfig(push_to_hub=REPO, output_dir=str(tmp_path / "new")))
    assert server.asked("GET", "whoami") <= 21


def test_only_files_that_were_asked_for_are_looked_at(server):
    folder, _ = fetch_run(REPO)
    (folder / "README.md").unlink()
    (folder / "README.md").write_bytes(b"mine")
    fetch_run(REPO, ["results.json"])
    assert (folder / "README.md").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["httpcore2.http11", "httpx", "huggingface_hub.utils", "urllib3.connection"])
def test_headers_in_a_log_of_everything_have_no_secret(server, caplog, name):
    log = logging.getLogger(name)
    with caplog.at_level(logging.DEBUG, logger=name), hub_client.client(1.0):
        log.debug("headers=%r", [(b"Authorization", b"Bearer not-of-this-account")])
    assert "headers=" in caplog.text
    assert "not-of-this-account" not in caplog.text
    with caplog.at_level(logging.DEBUG, logger=name):
        log.debug("Bearer of-somebody-else")
    assert "of-somebody-else" in caplog.text, "what others log is theirs"
