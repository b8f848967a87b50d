"""A marked token goes in by every door; no byte that is written or printed has it."""

import json
import logging
import runpy
import sys
from pathlib import Path

import pytest
from hub_case import REPO, TOKEN, hub_for, make_folder
from hub_server import SIGNATURE
from huggingface_hub import constants

import hf_transfer
from hf_transfer.cli.main import main
from hf_transfer.runs.hub import client as hub_client
from hf_transfer.runs.hub import push as hub

pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Cannot enable progress bars:UserWarning"),
]

RECIPE = Path(hf_transfer.__file__).parents[1] / "recipes" / "sentiment.py"
SMALL = [
    "--base_model", "builtin:tiny-bert", "--dataset", "builtin:reviews", "--max_rows", "30",
    "--num_folds", "2", "--num_epochs", "1", "--trainable", "head", "--max_length", "16",
    "--push_to_hub", REPO,
]  # fmt: skip


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A Hub whose failures come at once, and a home that is empty."""
    monkeypatch.setattr(hub, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(hub, "PREFLIGHT_SECONDS", 5.0)
    monkeypatch.setattr(hub_client, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    monkeypatch.setattr(hub, "ANSWER_SECONDS", 5.0)
    monkeypatch.chdir(tmp_path)
    with hub_for(monkeypatch, tmp_path) as server:
        yield server


@pytest.fixture
def written(tmp_path, capfd, caplog):
    """Gives all that was printed, logged and written so far."""
    caplog.set_level(logging.INFO)
    loggers = [logging.getLogger(name) for name in ("huggingface_hub", "httpx", "httpx2")]
    for logger in loggers:
        logger.addHandler(caplog.handler)

    def everything() -> bytes:
        shown = "".join(capfd.readouterr()) + caplog.text
        files = (path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        return b"\n".join([shown.encode(), *files])

    yield everything
    for logger in loggers:
        logger.removeHandler(caplog.handler)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "whoami"), ("POST", "/preupload/"), ("PUT", "/lfs/"), ("POST", "/lfs-verify/"),
        ("POST", "/commit/"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [401, 500])
def test_a_failing_hub_that_repeats_the_token(server, written, tmp_path, method, path, status):
    run = make_folder(tmp_path / "run")
    body = json.dumps({"error": f"Bearer {TOKEN} is not welcome"}).encode()
    headers = {"X-Error-Message": f"{TOKEN} is not welcome", "X-Request-Id": TOKEN}
    server.fault(method, path, status=status, body=body, headers=headers, times=99)
    assert main(["push", str(run.path), REPO, "--debug"]) == 5
    found = written()
    assert b"*** is not welcome" in found
    assert b"Traceback" in found
    assert TOKEN.encode() not in found
    assert SIGNATURE.encode() not in found


def test_a_token_in_the_hub_s_address(server, written, tmp_path, monkeypatch):
    secret = "a-password-of-ada"
    monkeypatch.setattr(constants, "ENDPOINT", server.url.replace("://", f"://ada:{secret}@"))
    run = make_folder(tmp_path / "run")
    assert main(["push", str(run.path), REPO, "--debug"]) == 5
    server.server.socket.close()
    assert main(["push", str(run.path), REPO, "--debug"]) == 5
    found = written()
    assert b"HTTP 401" in found
    assert b"does not answer" in found
    assert secret.encode() not in found


def recipe(words, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(RECIPE), *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(RECIPE), run_name="__main__")
    return end.value.code


def test_a_whole_run_and_its_repository(server, written, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_SETTINGS", TOKEN)
    assert recipe([*SMALL, "--output_dir", str(tmp_path / "run")], monkeypatch) == 0
    found = written() + b"".join(server.repos[REPO].files.values())
    assert b"Published" in found
    assert TOKEN.encode() not in found
    assert SIGNATURE.encode() not in found


@pytest.mark.parametrize(
    "words",
    [
        ["--license", TOKEN], ["--push_to_hub", TOKEN], ["--output_dir", f"runs/{TOKEN}"], ["--token", TOKEN],
        [TOKEN], ["--num_folds", TOKEN], ["--dataset", f"https://ada:{TOKEN}@hub.example/x.csv"], ["my.yaml"],
    ],
)  # fmt: skip
def test_a_token_among_the_settings(server, written, tmp_path, monkeypatch, words):
    settings = tmp_path / "elsewhere.yaml"
    if words == ["my.yaml"]:
        settings.write_text(f"token: {TOKEN}\nlicense: {TOKEN}\n")
        words = [str(settings)]
    assert (
        recipe(
            [*SMALL[:-2], "--debug", *words] if words[0].startswith("-") else [*words, *SMALL], monkeypatch
        )
        == 2
    )
    settings.unlink(missing_ok=True)
    found = written()
    assert b"Error: " in found
    assert TOKEN.encode() not in found
