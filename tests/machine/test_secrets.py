import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer import RunConfig
from hf_transfer.errors import ConfigError
from hf_transfer.machine.environment import command
from hf_transfer.machine.secrets import holds_secret, traceback_without_secrets, without_secrets

TOKEN = "hf_" + "Ab3" * 12
SECRETS = [
    TOKEN, "AKIA" + "ABCDEFGH12345678", "ghp_" + "x1" * 18, "github_pat_" + "a1" * 20,
    "-----BEGIN RSA PRIVATE KEY-----", "hf_oauth_" + "eyJ.a-b_c" * 3, "hf_jwt_" + "eyJ.a-b_c" * 3,
    "api_org_" + "Ab3" * 9, "glpat-" + "a-_1" * 6, "AIza" + "a-_1x" * 7, "sk-" + "proj-a1" * 6,
    "xoxb-" + "12a-" * 6,
]  # fmt: skip
AROUND = st.text(" .,:;\n'\"()", max_size=5)


@given(st.sampled_from(SECRETS), AROUND, AROUND)
def test_what_looks_like_a_token_is_taken_out_wherever_it_stands(secret, before, after):
    assert without_secrets(before + secret + after) == f"{before}***{after}"


@given(st.text("abcdefghijklmnop XYZ/_.-:0123456789", max_size=60))
def test_other_text_is_left_alone(text):
    assert without_secrets(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://ada:secret@hub.example/x", "https://***@hub.example/x"),
        ("PUT https://s3.example/a?X-Amz-Signature=0f&part=2", "PUT https://s3.example/a?***&part=2"),
        ("ada@example.org, see https://hub.example/@2", "ada@example.org, see https://hub.example/@2"),
        ("https://ada:se/cr/et@hub.example/x", "https://***@hub.example/x"),
        ("http://127.0.0.1:8000/ada/reviews@main", "http://127.0.0.1:8000/ada/reviews@main"),
        ("ssh://git@hub.example/x", "ssh://git@hub.example/x"),
        ("https://a.example/b?access_token=x1&c=2", "https://a.example/b?***&c=2"),
        ("https://a.example/b?c=2&api_key=x1", "https://a.example/b?c=2&***"),
        ("https://a.example/b?X-Goog-Signature=0f&Key-Pair-Id=3", "https://a.example/b?***&***"),
        ("sent with api_key=x1 and access_token=x2", "sent with *** and ***"),
        ("[(b'Authorization', b'Bearer abc.def-123')]", "[(b'Authorization', b'***')]"),
        ("authorization: Basic YWRhOnNlY3JldA==", "authorization: ***"),
        ("(b'set-cookie', b'token=abc; Path=/')", "(b'set-cookie*** Path=/')"),
    ],
)  # fmt: skip
def test_passwords_and_signatures_in_addresses_are_taken_out(text, clean):
    assert without_secrets(text) == clean


def test_the_account_s_own_token_is_known_however_it_looks(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "an-odd-token")
    assert without_secrets("bad an-odd-token here") == "bad *** here"
    monkeypatch.setenv("HF_TOKEN", "a")
    assert without_secrets("a short one is none") == "a short one is none"


def test_a_traceback_keeps_its_causes_and_loses_its_tokens():
    try:
        try:
            raise OSError(f"refused {TOKEN}")
        except OSError as error:
            raise ValueError("so there") from error
    except ValueError as error:
        text = traceback_without_secrets(error)
    assert "refused ***" in text
    assert "ValueError: so there" in text
    assert not holds_secret(text)


@pytest.mark.parametrize("name", ["push_to_hub", "dataset", "base_model", "output_dir", "license"])
@pytest.mark.parametrize(
    "value", [TOKEN, f"https://ada:{TOKEN}@hub.example/x", "https://ada:secret@hub.example/x"]
)
def test_a_setting_with_a_token_is_refused_and_not_repeated(name, value):
    with pytest.raises(ConfigError, match=rf"{name} holds what looks like a token.*HF_TOKEN") as caught:
        RunConfig(**{name: value})
    assert not re.search(f"{TOKEN}|secret", str(caught.value))


def test_the_recorded_command_has_no_token(monkeypatch):
    monkeypatch.setattr("sys.orig_argv", ["/usr/bin/python3", "recipes/ner.py", "--push_to_hub", TOKEN])
    assert command() == "python recipes/ner.py --push_to_hub ***"


@pytest.mark.parametrize(
    ("typed", "recorded"),
    [
        ("/opt/bin/hf-transfer run ner --base_model ../mine/bert", "hf-transfer run ner --base_model bert"),
        ("-m hf_transfer run ner --dataset=/srv/ann/a.csv", "python -m hf_transfer run ner --dataset=a.csv"),
        ("{here}/my.py --dataset {here}/data/a.csv", "python my.py --dataset data/a.csv"),
        ("/srv/my.py --base_model timm:resnet18@/srv/a.safetensors",
         "python my.py --base_model timm:resnet18@a.safetensors"),
        ("my.py --dataset me/films --output_dir ~ann/b", "python my.py --dataset me/films --output_dir b"),
    ],
)  # fmt: skip
def test_the_recorded_command_is_the_typed_one_without_folders(typed, recorded, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = typed.replace("{here}", str(tmp_path)).split()
    monkeypatch.setattr("sys.orig_argv", ["/opt/venv/bin/python", *words])
    assert command() == recorded
