"""How an error or a signal becomes an exit code."""

import os
import re
import signal
import sys
from argparse import ArgumentParser, Namespace

import pytest

from hf_transfer.cli import verb
from hf_transfer.cli.main import _parser, main
from hf_transfer.cli.verb import guarded, read_settings
from hf_transfer.config.run_config import RunConfig
from hf_transfer.errors import ConfigError
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


ALONE = {
    "rank": ["builtin:reviews", "builtin:tiny-bert"],
    "shift": ["builtin:reviews", "builtin:mentions"],
    "adapt": ["builtin:reviews", "builtin:mentions"],
    "shots": ["builtin:reviews"],
    "combine": ["builtin:reviews", "builtin:tiny-bert", "builtin:tiny-bert"],
    "pretrain": ["builtin:reviews"],
    "features": ["builtin:reviews"],
    "inspect": ["builtin:reviews"],
}


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize(
    ("flag", "value"), [("parallel", "fsdp"), ("parallel", "data"), ("folds_per_device", "2")]
)
def test_verbs_of_one_process_refuse_to_share_their_work(name, flag, value, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([name, *ALONE[name], f"--{flag}", value]) == 2
    told = f"ConfigError: {name} works in one process, and --{flag} {value} is for several, by which run, "
    assert capsys.readouterr().err.startswith(told)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [*ALONE, "score"])
def test_verbs_of_one_process_are_not_launched(name, monkeypatch):
    options = Namespace(settings=[], parser=ArgumentParser(prog=f"hf-transfer {name}"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        ConfigError, match=f"{name} works in one process, and 2 were launched. Start it without"
    ):
        read_settings(options, RunConfig())


def test_predict_is_not_launched(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["predict", "runs/x", "text"]) == 2
    assert "predict works in one process, and 2 were launched." in capsys.readouterr().err


def test_a_run_that_shared_its_model_is_scored_in_one_process():
    options = Namespace(settings=[], parser=ArgumentParser(prog="hf-transfer score"))
    assert read_settings(options, RunConfig(parallel="fsdp")).parallel == "fsdp"
    options.settings = ["--parallel", "data"]
    with pytest.raises(ConfigError, match="score works in one process, and --parallel data is for several"):
        read_settings(options, RunConfig(parallel="fsdp"))


def test_predict_knows_no_settings(capsys):
    assert main(["predict", "runs/x", "text", "--parallel", "fsdp"]) == 2
    assert "Unknown argument '--parallel'. See `hf-transfer predict --help`." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "engine"), [("pretrain", "ray"), ("inspect", "ray"), ("rank", "parts"), ("shift", "parts")]
)
def test_verbs_say_which_engine_they_take(name, engine, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_text(f"engine: {engine}\n")
    for settings in (["--engine", engine], ["settings.yaml"] if name != "rank" else ["--engine=" + engine]):
        assert main([name, *ALONE[name], *settings]) == 2
        assert (
            f"{name} takes no --engine {engine}; run, search, recipes and, as far" in capsys.readouterr().err
        )
