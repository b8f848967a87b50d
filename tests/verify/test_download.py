import huggingface_hub
import pytest
from hub_server import HubServer
from huggingface_hub import constants

from hf_transfer.errors import ConfigError, HubError
from hf_transfer.runs.hub import client as hub_client
from hf_transfer.runs.hub.files import collect
from hf_transfer.verify.verify_run import verify_run


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A Hub that this process's client talks to."""
    with HubServer() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(hub_client, "FIRST_PAUSE", 0.02)
        yield server
        huggingface_hub.close_session()


def files_of(run):
    return {name: path.read_bytes() for name, path in collect(run).items()}


def test_a_published_run_is_verified_without_fetching_its_weights(runs, server):
    server.add_repo("ada/digits", files_of(runs("pictures")))
    states = {check.name: check.state for check in verify_run("ada/digits")}
    assert "wrong" not in states.values()
    assert states["card"] == states["weights"] == "ok"
    assert not server.asked("GET", "safetensors")


def test_other_weights_on_the_hub_are_noticed(runs, server):
    server.add_repo("ada/digits", files_of(runs("pictures")) | {"model.safetensors": b"others"})
    (check,) = [check for check in verify_run("ada/digits") if check.state == "wrong"]
    assert check.differences[0].startswith("final.sha256.model.safetensors: written '")


def test_a_repository_that_is_not_there_is_told(server):
    with pytest.raises(
        HubError, match=r"(?s)has no such repository or file.*'ada/nothing' is no folder here either"
    ):
        verify_run("ada/nothing")


def test_a_repository_without_a_run_is_told(server):
    server.add_repo("ada/other", {"README.md": b"# Other"})
    with pytest.raises(ConfigError, match=r"results\.json does not exist"):
        verify_run("ada/other")


def test_a_folder_is_never_asked_of_the_hub(server, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ada" / "digits").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"ada/digits/results\.json does not exist"):
        verify_run("ada/digits")
    assert server.requests == []
