import shlex
import subprocess

import pytest

from hf_transfer.cli.main import main

SETTINGS = ["--base_model", "builtin:tiny-bert", "--dataset", "builtin:reviews", "--num_folds", "4"]
NASTY = [
    "--output_dir",
    'runs/it\'s $(touch x); "a b"',
    "--learning_rates",
    "1e-3,1e-2",
    "--num_repeats",
    "2",
]


def printed(flag, words, capsys):
    assert main(["run", "sentiment", *words, flag]) == 0
    return capsys.readouterr().out


def run_script(script, tmp_path, task):
    """Run a script with a command of our own in place of the kit's, and give the words that it got."""
    (tmp_path / "run.sh").write_text(script)
    shim = tmp_path / "hf-transfer"
    shim.write_text('#!/bin/bash\nprintf "%s\\0" "$@"\n')
    shim.chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_ARRAY_TASK_ID": str(task)}
    done = subprocess.run(
        ["bash", "run.sh"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.split("\0")[:-1]


def test_the_slurm_script_gives_each_task_its_part_and_the_last_all(tmp_path, capsys):
    script = printed("--print_slurm", [*SETTINGS, *NASTY], capsys)
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    number = 4 * 2 * 2
    assert f"--array=0-{number - 1} " in script
    words = ["run", "sentiment", *SETTINGS, *NASTY, "--engine", "parts"]
    assert run_script(script, tmp_path, 3) == [*words, "--part", f"3/{number}"]
    assert run_script(script, tmp_path, number) == words
    assert not (tmp_path / "x").exists()


def test_the_line_for_a_job_has_a_time_limit_and_no_token(capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 34)
    words = [*SETTINGS, *NASTY, "--push_to_hub", "me/model"]
    line = printed("--print_hf_job", words, capsys)
    subprocess.run(["bash", "-n"], input=line, text=True, check=True)
    parts = shlex.split(line)
    assert parts[parts.index("--timeout") + 1] == "6h"
    assert parts[parts.index("hf-transfer") :] == ["hf-transfer", "run", "sentiment", *words]
    assert "aaaa" not in line


@pytest.mark.parametrize("flag", ["--print_slurm", "--print_hf_job"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num_fold", "3"], "num_folds"),
        (["--num_folds", "1"], "num_folds"),
    ],
)
def test_settings_are_read_before_they_are_printed(flag, words, message, capsys):
    assert main(["run", "sentiment", *SETTINGS, *words, flag]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "bbbb" not in said.err


def test_a_job_is_not_sent_what_it_cannot_see(tmp_path, capsys):
    assert main(["run", "sentiment", "--dataset", str(tmp_path), "--print_hf_job"]) == 2
    assert "is on this machine, and a job of the Hub sees the Hub only" in capsys.readouterr().err
    assert main(["run", "sentiment", *SETTINGS, "--print_hf_job"]) == 2
    assert "Add --push_to_hub" in capsys.readouterr().err
