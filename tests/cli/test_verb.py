"""How an error or a signal becomes an exit code."""

import os
import re
import signal
import sys

import pytest

from hf_transfer.cli import verb
from hf_transfer.cli.main import _parser, main
from hf_transfer.cli.verb import guarded
from hf_transfer.machine.signals import stop_signals


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138)])
def test_a_signal_stops_a_run_with_the_shells_exit_code(capsys, name, code):
    def run():
        with stop_signals.handled():
            os.kill(os.getpid(), getattr(signal, name))
        return 0

    assert guarded(run, [], debug=False) == code
    assert f"Stopped by {name}. Run the same command again to resume." in capsys.readouterr().err


def test_an_interrupt_of_python_itself_ends_with_130(capsys):
    def run():
        raise KeyboardInterrupt

    assert guarded(run, [], debug=False) == 130
    assert "Stopped by SIGINT" in capsys.readouterr().err


def test_a_verb_starts_itself_again(monkeypatch):
    started = []
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(verb, "launch", lambda command, number: started.append((command, number)) or 7)
    words = ["search", "image_classification", "--folds_per_device", "2", "--base_model",
             "builtin:digits-resnet", "--dataset", "builtin:digits_5to9"]  # fmt: skip
    assert main(words) == 7
    assert started == [([sys.executable, "-m", "hf_transfer", *words], 2)]


def test_a_setting_is_not_the_start_of_a_verbs_own_flag():
    """`--split test` is a setting that follows, and not `--split_target`."""
    options, settings = _parser().parse_known_args(["adapt", "a", "b", "--split", "test"])
    assert (options.split_target, settings) == (False, ["--split", "test"])


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["shots", "builtin:reviews", "--shot", "1"], r"Unknown argument --shot\. Did you mean --shots\?"),
        (["shift", "a", "b", "--label-targt=30"], r"--label_targt\. Did you mean --label_target\?"),
        (["rank", "builtin:reviews", "m", "--num_fold", "3"], "Unknown setting 'num_fold'.*'num_folds'"),
    ],
)
def test_a_misspelt_flag_is_told_by_the_verb_s_own_names_too(words, meant, capsys):
    assert main(words) == 2
    assert re.search(meant, capsys.readouterr().err)
