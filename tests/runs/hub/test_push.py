"""The real client against a small Hub on this machine; see hub_server.py."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import yaml
from fake_run import TASKS, make_run
from hub_case import BLOCK, FRONT, INFO, PUSHED, REPO, TOKEN, Folder, hub_for, make_folder
from huggingface_hub import constants
from huggingface_hub.utils import validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError, HubError
from hf_transfer.report.card import card
from hf_transfer.report.publish import publish
from hf_transfer.runs import results
from hf_transfer.runs import summary as tables
from hf_transfer.runs.hub import client as hub_client
from hf_transfer.runs.hub import push as hub
from hf_transfer.runs.hub.push import check_card, check_repo_id, preflight, push

# The client itself sends files in a way its HTTP library no longer likes.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")


@pytest.fixture
def run(tmp_path) -> Folder:
    return make_folder(tmp_path / "my run")


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A Hub with quick retries."""
    monkeypatch.setattr(hub_client, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(hub, "RETRY_SECONDS", 1.0)
    monkeypatch.setattr(hub, "PREFLIGHT_SECONDS", 1.0)
    with hub_for(monkeypatch, tmp_path) as server:
        yield server


@pytest.fixture
def asked(tmp_path) -> RunConfig:
    return RunConfig(push_to_hub=REPO, output_dir=str(tmp_path / "my run"))


WORD = st.text("abcXYZ019_", min_size=1, max_size=20)


@given(WORD, st.lists(WORD, min_size=1, max_size=3).map("-".join), st.sampled_from(["", ".v2"]))
def test_usual_names_are_accepted(user, name, ending):
    check_repo_id(f"{user}/{name}{ending}")


@pytest.mark.parametrize(
    "name",
    [
        "", "reviews", "/x", "ada/", "a/b/c", "ada/re views", "ada/-x", "ada/x.", "ada/a--b", "ada/a..b",
        "ada/x.git", "ada/" + "x" * 97, "ada/x\n", "ada/naïve", "https://huggingface.co/ada/x",
    ],
)  # fmt: skip
def test_other_names_are_refused_without_a_request(name, run, server):
    with pytest.raises(ConfigError, match=re.escape(f"{name!r} is not a repository")):
        push(run.path, name)
    with pytest.raises(ConfigError, match="Write user/name"):
        preflight(RunConfig(push_to_hub=name))
    assert server.requests == []


@given(st.text(max_size=12), st.text(max_size=12))
def test_accepted_names_are_accepted_by_the_client(user, name):
    try:
        check_repo_id(f"{user}/{name}")
    except ConfigError:
        return
    validate_repo_id(f"{user}/{name}")


class TestPreflight:
    def test_sends_nothing_when_there_is_nothing_to_push(self, server):
        preflight(RunConfig())
        assert server.requests == []

    @pytest.mark.parametrize("repo", ["ada/new", "Ada/new", "lab/new"])
    def test_passes_where_the_account_may_write(self, server, repo):
        preflight(RunConfig(push_to_hub=repo))
        assert not server.repos

    def test_only_the_main_process_asks(self, server, asked, monkeypatch):
        monkeypatch.setenv("RANK", "1")
        preflight(asked)
        assert server.requests == []

    def test_no_token_is_told(self, server, asked, monkeypatch):
        monkeypatch.delenv("HF_TOKEN")
        with pytest.raises(HubError, match=r"There is no Hub token\. Log in with `hf auth login`"):
            preflight(asked)

    def test_a_token_the_hub_does_not_know_is_told_at_once(self, server, asked, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_revoked")
        with pytest.raises(HubError, match=r"does not accept the token.*401") as caught:
            preflight(asked)
        assert server.asked("GET", "whoami") == 1
        assert "hf_revoked" not in str(caught.value)

    def test_a_token_that_may_only_read_is_told(self, server, asked):
        server.account(TOKEN, "ada", role="read")
        with pytest.raises(HubError, match=r"The token of 'ada' may not write to 'ada/reviews'\..*HF_TOKEN"):
            preflight(asked)

    @pytest.mark.parametrize(
        ("place", "permissions", "enough"),
        [
            ("ada", ["repo.content.read", "repo.write"], True), (REPO, ["repo.write"], True),
            ("ada", ["repo.content.read", "discussion.write"], False), ("ada/other", ["repo.write"], False),
        ],
    )  # fmt: skip
    def test_a_fine_grained_token_must_cover_the_place(self, server, asked, place, permissions, enough):
        server.account(TOKEN, "ada", role="fineGrained")
        scope = {"entity": {"type": "user", "name": place}, "permissions": permissions}
        token = server.accounts[TOKEN]["auth"]["accessToken"]
        token["fineGrained"] = {"global": [], "scoped": [scope]}
        if enough:
            preflight(asked)
        else:
            with pytest.raises(HubError, match="may not write to 'ada/reviews'"):
                preflight(asked)

    @pytest.mark.parametrize("namespace", ["grace", "museum"])
    def test_a_foreign_namespace_is_told_with_those_that_are_open(self, server, namespace):
        words = f"under '{namespace}', but the token is for 'ada', who may write under ada, lab"
        with pytest.raises(HubError, match=words):
            preflight(RunConfig(push_to_hub=f"{namespace}/x"))

    def test_another_model_in_the_place_is_told(self, server, asked):
        server.add_repo(REPO, {"pytorch_model.bin": b"\0"})
        with pytest.raises(HubError, match=r"already holds another model \(pytorch_model\.bin\)"):
            preflight(asked)

    def test_a_dead_network_is_told_in_seconds(self, server, asked, monkeypatch):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        with pytest.raises(HubError, match=f"{url} does not answer") as caught:
            preflight(asked)
        assert "hf-transfer push '" in str(caught.value)

    def test_a_silent_server_is_told_in_seconds(self, server, asked, monkeypatch):
        monkeypatch.setattr(hub, "PREFLIGHT_ANSWER_SECONDS", 0.5)
        server.fault("GET", "whoami", "stall", times=9)
        with pytest.raises(HubError, match="does not answer"):
            preflight(asked)

    def test_offline_mode_is_told_at_once(self, server, asked, monkeypatch):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
            preflight(asked)

    def test_a_login_page_in_between_is_told(self, server, asked):
        server.fault("GET", "whoami", status=200, body=b"<html>Welcome</html>", times=99)
        with pytest.raises(HubError, match="not the Hub, perhaps a login page"):
            preflight(asked)

    def test_one_hiccup_does_not_stop_a_run(self, server, asked):
        server.fault("GET", "whoami", status=503)
        preflight(asked)


class TestPush:
    def test_makes_one_commit_with_the_right_files(self, run, server):
        before = run.contents()
        assert push(run.path, REPO) == f"{server.url}/{REPO}"
        repo = server.repos[REPO]
        assert len(repo.commits) == 2
        assert repo.files.keys() == {".gitattributes", *PUSHED}
        assert repo.files["model.safetensors"] == b"\0" * 1000
        assert repo.files["README.md"] == (run.path / "README.md").read_bytes()
        assert run.contents() == before

    def test_again_makes_no_commit(self, run, server, capsys):
        push(run.path, REPO)
        push(run.path, REPO)
        assert len(server.repos[REPO].commits) == 2
        assert server.asked("POST", "/commit/") == 1
        assert "nothing to send" in capsys.readouterr().err

    def test_sends_only_what_changed(self, run, server):
        push(run.path, REPO)
        run.write("model/model.safetensors", b"\1" * 1000)
        push(run.path, REPO)
        assert len(server.repos[REPO].commits) == 3
        assert server.repos[REPO].files["model.safetensors"] == b"\1" * 1000
        assert server.asked("PUT", "/lfs/") == 4 + 1

    def test_weights_of_an_earlier_push_do_not_stay_to_be_loaded(self, run, server):
        push(run.path, REPO)
        (run.path / "model/model.safetensors").rename(run.path / "model/model-00001-of-00001.safetensors")
        run.write("model/model.safetensors.index.json", "{}")
        push(run.path, REPO)
        names = server.repos[REPO].files.keys()
        assert "model.safetensors" not in names
        assert "model-00001-of-00001.safetensors" in names

    def test_modules_of_an_earlier_push_do_not_make_another_model_of_it(self, run, server):
        modules = (
            "modules.json",
            "1_Pooling/config.json",
            "2_Dense/config.json",
            "2_Dense/model.safetensors",
        )
        for name in modules:
            run.write(f"model/{name}", "{}" if name.endswith("json") else b"\1")
        push(run.path, REPO)
        assert server.repos[REPO].files.keys() >= set(modules)
        for name in modules:
            (run.path / "model" / name).unlink()
        push(run.path, REPO)
        assert server.repos[REPO].files.keys() == {".gitattributes", *PUSHED}

    def test_makes_a_private_repository_when_asked(self, run, server):
        push(run.path, REPO, private=True)
        assert server.repos[REPO].private
        push(run.path, REPO, private=True)
        assert len(server.repos[REPO].commits) == 2

    def test_does_not_publish_in_public_what_should_be_private(self, run, server):
        server.add_repo(REPO)
        with pytest.raises(HubError, match=r"exists and is public(.|\n)*ada/reviews --private$"):
            push(run.path, REPO, private=True)
        assert len(server.repos[REPO].commits) == 1

    def test_keeps_what_a_person_wrote_into_the_card(self, run, server):
        push(run.path, REPO)
        by_hand = (run.path / "README.md").read_text() + "\nOnly for films, says Ada.\n"
        server.add_repo(REPO, {"README.md": by_hand.encode()})
        run.write("README.md", FRONT + BLOCK.format("accuracy 0.95"))
        push(run.path, REPO)
        text = server.repos[REPO].files["README.md"].decode()
        assert "Only for films, says Ada." in text
        assert "accuracy 0.95" in text
        assert "accuracy 0.91" not in text
        push(run.path, REPO)
        assert len(server.repos[REPO].commits) == 3
        assert (run.path / "README.md").read_text() == FRONT + BLOCK.format("accuracy 0.95")

    def test_does_not_write_over_a_model_made_by_others(self, run, server):
        server.add_repo(REPO, {"model.safetensors": b"\7", "README.md": b"---\nlicense: mit\n---\nmine\n"})
        with pytest.raises(HubError, match=r"already holds another model \(model\.safetensors\)"):
            push(run.path, REPO)
        assert server.repos[REPO].files["model.safetensors"] == b"\7"

    def test_takes_an_empty_repository_with_a_card_by_hand(self, run, server):
        by_hand = b"---\nlicense: apache-2.0\ntags: [films]\n---\nComing soon.\n"
        server.add_repo(REPO, {"LICENSE": b"MIT", "README.md": by_hand})
        push(run.path, REPO)
        push(run.path, REPO)
        assert server.repos[REPO].files.keys() >= PUSHED
        assert "Coming soon." in server.repos[REPO].files["README.md"].decode()
        assert len(server.repos[REPO].commits) == 3

    def test_a_broken_card_on_the_hub_is_told(self, run, server):
        push(run.path, REPO)
        server.add_repo(REPO, {"README.md": (FRONT + "<!-- hf-transfer:begin scores -->\n").encode()})
        with pytest.raises(HubError, match="The card on the Hub cannot be brought up to date"):
            push(run.path, REPO)

    def test_a_run_without_a_final_model_goes_without_weights(self, run, server):
        run.write("results.json", json.dumps({"final": {"kind": "none", "path": None}}))
        for path in (run.path / "model").iterdir():
            path.unlink()
        push(run.path, REPO)
        assert "README.md" in server.repos[REPO].files

    def test_an_ensemble_takes_the_place_of_one_model_and_back(self, run, server):
        push(run.path, REPO)
        model, other = run.path / "model", run.path.parent / "one model"
        model.rename(other)
        members = ["fold-r0f0", "fold-r0f1"]
        ensemble = {"final": {"kind": "ensemble", "path": "model", "members": members}}
        run.write("results.json", json.dumps(ensemble))
        for name in members:
            run.write(f"model/{name}/config.json", "{}")
            run.write(f"model/{name}/model.safetensors", b"\1" * 1000)
        run.write("model/calibration.json", '{"temperature": 2.0}')
        push(run.path, REPO)
        files = server.repos[REPO].files
        assert {f"{name}/model.safetensors" for name in members} <= files.keys()
        assert "calibration.json" in files
        assert "model.safetensors" not in files
        (model / "fold-r0f1" / "model.safetensors").unlink()
        with pytest.raises(HubError, match=r"fold-r0f1 must hold config\.json and model\.safetensors"):
            push(run.path, REPO)
        model.rename(run.path.parent / "ensemble")
        other.rename(model)
        run.write("results.json", json.dumps({"final": {"kind": "refit", "path": "model"}}))
        push(run.path, REPO)
        assert [name for name in server.repos[REPO].files if name.endswith("safetensors")] == [
            "model.safetensors"
        ]

    def test_keeps_off_xet_and_leaves_the_client_as_it_was(self, run, server, monkeypatch):
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
        push(run.path, REPO)
        assert server.asked("GET", "xet") == 0
        assert huggingface_hub.get_session().timeout.read is None
        assert constants.HF_HUB_DISABLE_XET is False


class TestWhatIsPushed:
    @pytest.mark.parametrize(
        "name",
        [
            "model/.env", "model/training_args.bin", "model/optimizer.safetensors", "model/state.pkl",
            "model/checkpoint-3/config.json", "model/.cache/x.json", "plots/.DS_Store", "notes.txt",
            "model/trainer_state.json", "model/run.py", "folds/r0f0/checkpoint/model.safetensors",
        ],
    )  # fmt: skip
    def test_training_state_and_hidden_files_stay_at_home(self, run, server, name):
        run.write(name, "private")
        push(run.path, REPO)
        assert server.repos[REPO].files.keys() == {".gitattributes", *PUSHED}

    def test_a_link_out_of_the_folder_stays_at_home(self, run, server, tmp_path, capsys):
        (tmp_path / "secret.json").write_text("{}")
        (run.path / "model/vocab.json").symlink_to(tmp_path / "secret.json")
        push(run.path, REPO)
        assert "vocab.json" not in server.repos[REPO].files
        assert f"Not pushed: {run.path / 'model/vocab.json'}" in capsys.readouterr().err

    def test_a_link_within_the_folder_goes_unless_what_it_shows_is_hidden(self, run, server):
        run.write(".env", "private")
        (run.path / "model/vocab.json").symlink_to(run.path / ".env")
        (run.path / "model/added.json").symlink_to(run.path / "model/tokenizer.json")
        push(run.path, REPO)
        assert server.repos[REPO].files.keys() == {".gitattributes", "added.json", *PUSHED}

    def test_templates_in_folders_of_the_model_go(self, run, server):
        run.write("model/additional_chat_templates/short.jinja", "{{ x }}")
        push(run.path, REPO)
        assert "additional_chat_templates/short.jinja" in server.repos[REPO].files

    @pytest.mark.parametrize("name", ["README.md", "config.yaml", "results.json", "model/tokenizer.json"])
    @pytest.mark.parametrize(
        "secret",
        [
            TOKEN, "AKIA" + "ABCDEFGH12345678", "ghp_" + "x1" * 18, "github_pat_" + "a1" * 20,
            "-----BEGIN RSA PRIVATE KEY-----",
        ],
    )  # fmt: skip
    def test_a_file_with_a_token_is_named_and_the_token_is_not(self, run, server, name, secret):
        file = run.path / name
        file.write_text(file.read_text() + f"\n# {secret}")
        with pytest.raises(HubError, match=rf"{name} holds something that looks like a token") as caught:
            push(run.path, REPO)
        assert secret not in str(caught.value)
        assert server.requests == []

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("results.json", None, "holds no results.json, so it is not a finished run"),
            ("results.json", "{", "results.json cannot be read back"),
            ("results.json", '{"scores": NaN}', "NaN is not a number in JSON"),
            ("config.yaml", "a: [", "config.yaml cannot be read back"),
            ("README.md", None, "holds no README.md. Write it with: hf-transfer card"),
            ("README.md", "# Reviews", "does not begin with a front matter"),
            ("README.md", b"\xff", "README.md cannot be read back"),
            ("model/model.safetensors", None, "must hold config.json and model.safetensors"),
            ("model/modules.json", "[]", "2_Dense/model.safetensors is not there, and modules.json beside"),
            ("model/config.json", None, "must hold config.json and model.safetensors"),
        ],
    )
    def test_an_unfit_folder_is_refused_before_any_request(self, run, server, name, content, words):
        if content is None:
            (run.path / name).unlink()
        else:
            run.write(name, content)
        with pytest.raises(HubError, match=re.escape(words)):
            push(run.path, REPO)
        assert server.requests == []


class TestFaults:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "whoami"), ("POST", "/repos/create"), ("GET", INFO), ("POST", "validate-yaml"),
            ("POST", "/commit/"), ("GET", "/revision/"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("behaviour", ["answer", "reset", "lost"])
    def test_one_fault_anywhere_still_makes_one_commit(self, run, server, method, path, behaviour):
        server.fault(method, path, behaviour)
        push(run.path, REPO)
        assert len(server.repos[REPO].commits) == 2
        assert server.repos[REPO].files.keys() == {".gitattributes", *PUSHED}

    def test_a_lost_answer_makes_no_second_commit(self, run, server):
        server.fault("POST", "/commit/", "lost")
        push(run.path, REPO)
        assert server.asked("POST", "/commit/") == 1
        assert len(server.repos[REPO].commits) == 2

    def test_a_commit_that_arrives_late_is_recognised(self, run, server):
        push(run.path, REPO)
        old = server.repos[REPO].commits[:]
        run.write("config.yaml", "seed: 1\n")
        push(run.path, REPO)
        stale = json.dumps(_info(server, old[-1])).encode()
        # The answer before the second commit, as if that were still on its way.
        server.fault("GET", INFO, status=200, body=stale)
        push(run.path, REPO)
        assert len(server.repos[REPO].commits) == 3

    def test_somebody_elses_commit_in_between_is_not_run_over(self, run, server):
        push(run.path, REPO)
        stale = json.dumps(_info(server, server.repos[REPO].commits[0])).encode()
        (run.path / "config.yaml").write_text("seed: 1\n")
        server.fault("GET", INFO, status=200, body=stale)
        with pytest.raises(HubError, match=r"Somebody else changed the repository.*412"):
            push(run.path, REPO)
        assert server.asked("POST", "/commit/") == 2
        assert len(server.repos[REPO].commits) == 2

    def test_a_hub_that_fails_for_ever_loses_nothing_and_the_command_goes_on(self, run, server):
        before = run.contents()
        fault = server.fault("POST", "/commit/", status=500, times=999)
        with pytest.raises(HubError, match=r"The Hub fails\. \(HTTP 500") as caught:
            push(run.path, REPO)
        assert str(caught.value).endswith(f"Go on with: hf-transfer push '{run.path}' {REPO}")
        assert TOKEN not in str(caught.value)
        assert run.contents() == before
        fault.times = 0
        push(run.path, REPO)
        assert len(server.repos[REPO].commits) == 2

    @pytest.mark.parametrize(
        ("status", "words"),
        [(400, "The Hub refuses"), (401, "does not accept the token"), (403, "may not write there")],
    )
    def test_a_refusal_is_not_asked_twice(self, run, server, status, words):
        server.fault("POST", "/commit/", status=status, times=9)
        with pytest.raises(HubError, match=rf"{words}.*HTTP {status}"):
            push(run.path, REPO)
        assert server.asked("POST", "/commit/") == 1

    @pytest.fixture
    def pauses(self, monkeypatch):
        """Those of more than a second: the lock of the folder makes its own, of hundredths."""
        pauses = []
        monkeypatch.setattr(
            hub_client.time, "sleep", lambda pause: pauses.append(pause) if pause > 1 else None
        )
        return pauses

    def test_the_pause_that_the_hub_asks_for_is_made(self, run, server, monkeypatch, pauses):
        monkeypatch.setattr(hub, "RETRY_SECONDS", 9.0)
        server.fault("POST", "/commit/", status=429, headers={"Retry-After": "7"})
        push(run.path, REPO)
        assert pauses == [7.0]

    def test_a_longer_pause_than_there_is_time_for_ends_the_attempt(self, run, server, pauses):
        server.fault("POST", "/commit/", status=429, headers={"RateLimit": '"api";r=0;t=55'})
        with pytest.raises(HubError, match="limits the rate"):
            push(run.path, REPO)
        assert not pauses

    def test_a_silent_server_cannot_hold_it_for_ever(self, run, server, monkeypatch):
        monkeypatch.setattr(hub, "ANSWER_SECONDS", 0.3)
        server.fault("POST", "/commit/", "stall", times=99)
        with pytest.raises(HubError, match="does not answer"):
            push(run.path, REPO)

    def test_a_refused_large_file_tells_why(self, run, server):
        server.fault("PUT", "/lfs/", status=403, times=99)
        with pytest.raises(HubError, match="HTTP 403"):
            push(run.path, REPO)
        assert len(server.repos[REPO].commits) == 1

    def test_a_card_that_the_hub_refuses_is_told_in_its_words(self, run, server):
        body = b'{"errors": [{"message": "license must be one of"}]}'
        server.fault("POST", "validate-yaml", status=400, body=body, times=9)
        with pytest.raises(HubError, match="license must be one of"):
            push(run.path, REPO)

    def test_a_token_that_the_server_repeats_is_not_shown(self, run, server, capsys):
        server.fault("GET", INFO, status=500, body=json.dumps({"error": f"bad {TOKEN}"}).encode(), times=99)
        with pytest.raises(HubError, match=r"bad \*\*\*") as caught:
            push(run.path, REPO)
        assert TOKEN not in str(caught.value) + capsys.readouterr().err

    def test_a_damaged_card_is_not_merged(self, run, server):
        push(run.path, REPO)
        text = server.repos[REPO].files["README.md"].replace(b"accuracy 0.91", b"accuracy 0.19")
        run.write("config.yaml", "seed: 1\n")
        headers = {"ETag": '"x"', "X-Repo-Commit": server.repos[REPO].commits[-1].oid}
        server.fault("GET", "/resolve/", status=200, body=text, headers=headers)
        push(run.path, REPO)
        assert b"accuracy 0.91" in server.repos[REPO].files["README.md"]

    def test_what_arrived_is_compared_with_what_was_sent(self, run, server):
        stale = server.add_repo("ada/other").commits[-1]
        body = json.dumps(_info(server, stale) | {"id": REPO}).encode()
        server.fault("GET", "/revision/", status=200, body=body)
        with pytest.raises(HubError, match=r"does not hold what was sent: README\.md"):
            push(run.path, REPO)


def _info(server, commit):
    """What the server said about a repository when this was its last commit."""
    siblings = [content.sibling(path) for path, content in commit.files.items()]
    return {"id": REPO, "sha": commit.oid, "private": False, "tags": [], "siblings": siblings}


class TestPublish:
    @pytest.fixture(autouse=True)
    def written(self, monkeypatch):
        written = []

        def write_card(path):
            written.append(path)
            return f"{path}/README.md"

        monkeypatch.setattr(card, "write_card", write_card)
        monkeypatch.setattr(tables, "summary_text", lambda results: "the summary")
        monkeypatch.setattr(results, "read_results", lambda run: {})
        return written

    def config(self, run, **settings):
        return RunConfig(output_dir=str(run.path), **settings)

    def test_shows_the_summary_and_where_the_card_is(self, run, server, written, capsys):
        publish(self.config(run))
        shown = capsys.readouterr().out
        assert written == [str(run.path)]
        assert "the summary" in shown
        assert f"The card: {run.path / 'README.md'}" in shown
        assert server.requests == []

    def test_pushes_where_the_settings_say(self, run, server, capsys):
        publish(self.config(run, push_to_hub=REPO, private=True))
        assert server.repos[REPO].private
        assert f"Published: {server.url}/{REPO}" in capsys.readouterr().out

    def test_a_failed_push_leaves_the_run_and_the_command(self, run, server):
        server.fault("POST", "/repos/create", status=500, times=99)
        before = run.contents()
        with pytest.raises(HubError, match=f"Go on with: hf-transfer push '.*' {REPO}"):
            publish(self.config(run, push_to_hub=REPO))
        assert run.contents() == before

    def test_other_processes_write_nothing(self, run, server, written, monkeypatch):
        monkeypatch.setenv("RANK", "3")
        publish(self.config(run, push_to_hub=REPO))
        assert (written, server.requests) == ([], [])


class TestCard:
    @pytest.mark.parametrize(
        "task",
        [
            pytest.param(task, marks=pytest.mark.slow if task != "text-classification" else ())
            for task in TASKS
        ],
    )
    def test_what_the_kit_writes_passes(self, tmp_path, task):
        make_run(tmp_path / "run", task)
        check_card(card.write_card(tmp_path / "run").read_text())

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("license: mit", "license: no", "license must be a text, not False"),
            ("license: mit", "license: [mit]", "license must be a text"),
            ("pipeline_tag: text-classification", "pipeline_tag: 3", "pipeline_tag must be a text"),
            ("cross-validation]", "on]", "tags must be texts"),
            ("value: 0.91", "value: '0.91'", "accuracy is '0.91', not a finite number"),
            ("value: 0.91", "value: .nan", "accuracy is nan"),
            ("value: 0.91", "value: null", "accuracy is None"),
            ("value: 0.91", "value: true", "accuracy is True"),
            ("value: 0.91", "value: !!python/tuple [1]", "is not YAML"),
            ("value: 0.91", "value: !!python/object/apply:numpy.float64 [1]", "is not YAML"),
            (", value: 0.91", "", "model-index is not complete"),
            ("name: Reviews", "name: 7", "model-index: 7 must be a text"),
            ("model-index:\n- name: reviews", "model-index:\n- nam: reviews", "model-index is not complete"),
        ],
    )
    def test_a_wrong_value_is_named(self, old, new, words):
        assert old in FRONT
        with pytest.raises(HubError, match=re.escape(words)):
            check_card(FRONT.replace(old, new))

    @pytest.mark.parametrize("text", ["", "# Reviews", "---\nlicense: mit", "---\n- a\n---\n", "---\n---\n"])
    def test_a_card_without_front_matter_is_refused(self, text):
        with pytest.raises(HubError, match="front matter"):
            check_card(text)

    @given(st.dictionaries(st.sampled_from(["license", "library_name"]), st.text()), st.floats(0, 1))
    def test_what_yaml_writes_is_accepted(self, words, value):
        metric = {"type": "f1", "value": value}
        result = {"task": {"type": "t"}, "dataset": {"type": "d", "name": "d"}, "metrics": [metric]}
        header = words | {"model-index": [{"name": "x", "results": [result]}]}
        check_card(f"---\n{yaml.safe_dump(header, allow_unicode=True)}---\n")


LOAD = """
import sys
from huggingface_hub import snapshot_download
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification
model = AutoModelForSequenceClassification.from_pretrained("ada/reviews")
saved = load_file(sys.argv[1])
assert saved and all(model.state_dict()[name].equal(tensor) for name, tensor in saved.items())
print(snapshot_download("ada/reviews"))
"""


@pytest.mark.slow
def test_plain_transformers_loads_what_was_pushed(run, server, tmp_path):
    from transformers import BertConfig, BertForSequenceClassification

    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertForSequenceClassification(BertConfig(vocab_size=20, **size)).save_pretrained(run.path / "model")
    push(run.path, REPO)
    here = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    words = [sys.executable, "-c", LOAD, str(run.path / "model/model.safetensors")]
    loaded = subprocess.run(
        words, env=os.environ | here | {"HF_HUB_OFFLINE": "0"}, capture_output=True, text=True, timeout=120
    )
    assert loaded.returncode == 0, loaded.stderr
    snapshot = Path(loaded.stdout.strip().splitlines()[-1])
    assert {p.relative_to(snapshot).as_posix() for p in snapshot.rglob("*") if p.is_file()} >= PUSHED


def test_importing_it_imports_nothing_heavy():
    heavy = "('torch', 'huggingface_hub')"
    code = f"import sys, hf_transfer.runs.hub.push; print([n for n in {heavy} if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
