"""Each fault at each request of a push: one message, nothing lost, and the next push completes it, once."""

import os
import re
import signal
import subprocess
import sys

import pytest
from hub_case import FRONT, INFO, PUSHED, REPO, TOKEN, hub_for, make_folder
from huggingface_hub.utils import _http

from hf_transfer import RunConfig
from hf_transfer.errors import HubError
from hf_transfer.runs.hub import client as hub_client
from hf_transfer.runs.hub import push as hub
from hf_transfer.runs.hub.push import preflight, push

# The client itself sends files in a way its HTTP library no longer likes.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")

ALWAYS = 10**6
REQUESTS = {
    "who am I": ("GET", "whoami"),
    "make the repository": ("POST", "/repos/create"),
    "what is there": ("GET", INFO),
    "the card there": ("GET", "/resolve/"),
    "is the card valid": ("POST", "validate-yaml"),
    "how to send": ("POST", "/preupload/"),
    "where to send": ("POST", "/objects/batch"),
    "a large file": ("PUT", "/lfs/"),
    "a part of one": ("PUT", "/lfs-part/"),
    "all parts are there": ("POST", "/lfs-complete/"),
    "has it arrived": ("POST", "/lfs-verify/"),
    "the commit": ("POST", "/commit/"),
    "what is there now": ("GET", "/revision/"),
}
IN_PARTS = ("a part of one", "all parts are there")
STORAGE = ("a large file", *IN_PARTS, "has it arrived")
PREFLIGHT = ("who am I", "what is there", "the card there")
BUSY = b'{"error": "Cannot create repo: another conflicting operation is in progress"}'

# Faults that pass by themselves, or that the push gets round.
PASSING = {
    "asked to wait": {"status": 429, "headers": {"Retry-After": "7"}},
    "rate limit": {"status": 429, "headers": {"RateLimit": '"api";r=0;t=5'}},
    "fails once": {"status": 500},
    "overloaded for a while": {"status": 503, "headers": {"Retry-After": "2"}, "times": 3},
    "busy": {"status": 409, "body": BUSY, "times": 3},
    "reset": {"behaviour": "reset"},
    "reset in the middle": {"behaviour": "midway"},
    "answer lost": {"behaviour": "lost"},
    "answer cut short": {"behaviour": "short"},
    "slow": {"behaviour": "slow", "times": 3},
    "silent": {"behaviour": "stall"},
}
# Faults that stay, and what is said of them; and those that the push may or may not notice.
STAYING = {
    "401": ({"status": 401}, "does not accept the token"),
    "403": ({"status": 403}, "may not write there"),
    "404": ({"status": 404}, "has no such repository or file"),
    "409": ({"status": 409}, "The Hub refuses|is not the Hub"),
    "412": ({"status": 412}, "Somebody else changed the repository"),
    "asked to wait for an hour": ({"status": 429, "headers": {"Retry-After": "3600"}}, "limits the rate"),
    "busy for ever": ({"status": 409, "body": BUSY}, "HTTP 409: .*conflicting operation"),
    "fails for ever": ({"status": 500}, r"The Hub fails\. \(HTTP 500: .*made to fail\)"),
    "reset for ever": ({"behaviour": "reset"}, "does not answer .*Check the network"),
    "the token is revoked": ({"behaviour": "call"}, "does not accept the token"),
}
_ODD = "is not the Hub|damaged|Error while uploading|refuses|Invalid|formatted|Malformed|does not"
UNNOTICED = {
    "login page": ({"status": 200, "body": b"<html>Welcome</html>"}, _ODD),
    "other JSON": ({"status": 200, "body": b"{}"}, _ODD),
    "a list": ({"status": 200, "body": b"[]"}, _ODD),
    "half the JSON": ({"behaviour": "cut"}, "is not the Hub|damaged"),
    "a wrong bit": ({"behaviour": "flip", "times": 1}, _ODD),
}
FAULTS = PASSING | {name: {"times": ALWAYS} | fault for name, (fault, _) in (STAYING | UNNOTICED).items()}


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    """No pause of the push or of the client takes any time."""
    clock = Clock()
    for module in (hub_client, _http):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def run(tmp_path):
    return make_folder(tmp_path / "my run")


def product(faults, requests=REQUESTS):
    """Every fault at every request; what is not on the diagonal is slow, as there is so much of it."""
    names = list(requests)
    return [
        pytest.param(fault, request, marks=() if j == 5 * i % len(names) else pytest.mark.slow)
        for i, fault in enumerate(faults)
        for j, request in enumerate(names)
    ]


def spoil(server, fault, request):
    """Let a fault happen at a request; gives the fault."""
    options = FAULTS[fault] | ({"call": server.accounts.clear} if fault == "the token is revoked" else {})
    return server.fault(*REQUESTS[request], **options)


def said(fault, request):
    """What must be said of a fault; None where the push may go on without a word."""
    if fault in STAYING:
        if request in STORAGE and fault in ("401", "403", "404", "409", "412"):
            return f"The storage of large files refuses.*HTTP {fault}: Error while uploading '.*made to fail"
        return STAYING[fault][1]
    return None


@pytest.mark.parametrize(("fault", "request_"), product(FAULTS))
def test_after_a_fault_the_push_completes_and_makes_one_commit(
    run, tmp_path, monkeypatch, clock, capsys, fault, request_
):
    before = run.contents()
    if fault == "silent":
        monkeypatch.setattr(hub, "ANSWER_SECONDS", 0.25)
    with hub_for(monkeypatch, tmp_path, part_size=400 if request_ in IN_PARTS else None) as server:
        if request_ == "the card there":
            server.add_repo(REPO, {"README.md": FRONT.encode()})
        commits = len(server.repos[REPO].commits) if REPO in server.repos else 1
        spoilt = spoil(server, fault, request_)
        words = failure(lambda: push(run.path, REPO))
        asked = len(server.requests)
        assert spoilt.times < FAULTS[fault].get("times", 1), "the fault did not happen"
        spoilt.times = 0
        server.account(TOKEN, "ada")
        push(run.path, REPO)
        assert len(server.repos[REPO].commits) == commits + 1
        assert server.repos[REPO].files.keys() == {".gitattributes", *PUSHED}
        assert server.repos[REPO].files["model.safetensors"] == b"\0" * 1000
    assert run.contents() == before
    assert asked < 500, "it asks without pauses"
    assert clock.now < 2 * hub.RETRY_SECONDS
    assert_told(words, fault, request_)
    assert TOKEN not in capsys.readouterr().err


def failure(action):
    """What an action's HubError says; None if it ends well."""
    try:
        action()
    except HubError as error:
        return str(error)
    return None


def assert_told(words, fault, request):
    """One message, in the words of the fault, that ends with what to type; none where the fault passes."""
    if fault in PASSING:
        assert words is None
        return
    expected = said(fault, request)
    if words is None:
        # Once the commit is there, nothing that is asked afterwards can spoil it.
        assert fault in UNNOTICED or request in ("has it arrived", "what is there now")
        return
    message, advice = words.splitlines()
    assert re.search(expected or UNNOTICED[fault][1], message)
    assert "hf-transfer push" in advice
    assert TOKEN not in words


class TestPreflight:
    @pytest.mark.parametrize(("fault", "request_"), product(FAULTS, PREFLIGHT))
    def test_before_training_a_fault_is_told_in_a_line_or_passes(
        self, tmp_path, monkeypatch, clock, capsys, fault, request_
    ):
        if fault == "silent":
            monkeypatch.setattr(hub, "PREFLIGHT_ANSWER_SECONDS", 0.25)
        config = RunConfig(push_to_hub=REPO, output_dir=str(tmp_path / "my run"))
        with hub_for(monkeypatch, tmp_path) as server:
            server.add_repo(REPO, {"README.md": FRONT.encode()})
            spoilt = spoil(server, fault, request_)
            words = failure(lambda: preflight(config))
            assert spoilt.times < FAULTS[fault].get("times", 1), "the fault did not happen"
            assert len(server.repos[REPO].commits) == 2
        assert clock.now <= 15
        # A place that is not there the push would make; and what anybody may read needs no token.
        if (fault, request_) != ("404", "what is there") and (words or fault != "the token is revoked"):
            assert_told(words, fault, request_)
        assert not (tmp_path / "my run").exists()
        assert TOKEN not in capsys.readouterr().err


PUSHER = """
import os, sys, time
from hf_transfer.runs.hub.push import push
import huggingface_hub.hf_api, warnings
warnings.filterwarnings("ignore")
for run in sys.stdin:
    child = os.fork()
    if not child:
        push(run.strip(), "ada/reviews")
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def pusher(tmp_path_factory):
    """Starts pushes in processes of their own: gives the process's number, then how it ended."""
    patch, folder = pytest.MonkeyPatch(), tmp_path_factory.mktemp("home")
    with hub_for(patch, folder, part_size=400) as server:
        here = {"HF_ENDPOINT": server.url, "HF_HOME": str(folder), "HF_HUB_OFFLINE": "0"}
        pipes = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.DEVNULL,
            "text": True,
        }
        with subprocess.Popen([sys.executable, "-c", PUSHER], env=os.environ | here, **pipes) as process:
            yield server, process
            process.stdin.close()
    patch.undo()


@pytest.mark.parametrize(
    ("request_", "behaviour"),
    [
        pytest.param(name, behaviour, marks=() if name == "the commit" else pytest.mark.slow)
        for name in REQUESTS
        for behaviour in ("reset", "midway", "lost")
        if name != "the card there"
    ],
)
def test_killed_at_any_request_the_next_push_completes_it(run, pusher, request_, behaviour):
    server, process = pusher
    server.repos.clear()
    server.blobs.clear()
    before, child = run.contents(), None
    fault = server.fault(*REQUESTS[request_], behaviour, call=lambda: os.kill(child, signal.SIGKILL))
    with server.held():
        print(run.path, file=process.stdin, flush=True)
        child = int(process.stdout.readline())
    assert int(process.stdout.readline()) == -signal.SIGKILL
    assert fault.times == 0
    files = server.repos[REPO].files.keys() if REPO in server.repos else {".gitattributes"}
    assert files in ({".gitattributes"}, {".gitattributes", *PUSHED})
    push(run.path, REPO)
    assert len(server.repos[REPO].commits) == 2
    assert server.repos[REPO].files.keys() == {".gitattributes", *PUSHED}
    assert run.contents() == before
