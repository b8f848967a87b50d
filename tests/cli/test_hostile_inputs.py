"""What somebody writes who wants more than a model: to run code, other people's files, tokens, the screen."""

import ast
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fake_run import Shape, make_run
from fake_run import save as save_results
from small_runs import plain_config

import hf_transfer
from hf_transfer import SequenceClassification, cross_validate, open_dataset, write_card
from hf_transfer.cli.main import main
from hf_transfer.machine.wording import aligned, visible
from hf_transfer.report.page.page import write_report
from hf_transfer.report.plots.palette import empty_axes
from hf_transfer.report.plots.scores import save
from hf_transfer.runs.reading import place_inside

PACKAGE = Path(hf_transfer.__file__).parent
TOKEN = "hf_" + "Mk7" * 12
ESCAPES = "\x1b[2J\x1b]0;title\x07\x9b31m\u202e"
SHELLS = {
    "os.system",
    "os.popen",
    "subprocess.run",
    "subprocess.Popen",
    "subprocess.check_output",
    "pty.spawn",
}
PICKLES = {
    "torch.load",
    "pickle.load",
    "pickle.loads",
    "joblib.load",
    "dill.load",
    "shelve.open",
    "exec",
    "eval",
}


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]


def test_the_package_calls_neither_a_shell_nor_a_pickle():
    for path in PACKAGE.rglob("*.py"):
        for call in calls(path):
            name, options = (
                ast.unparse(call.func),
                {word.arg: ast.unparse(word.value) for word in call.keywords},
            )
            # The launcher starts the command once more that it was itself started with.
            assert name not in SHELLS | PICKLES or (path.name, name) == ("launcher.py", "subprocess.Popen")
            assert "shell" not in options, path
            if name == "np.load":
                assert options["allow_pickle"] == "False", path


def test_the_package_never_leaves_remote_code_to_a_question():
    """Each from_pretrained of transformers says trust_remote_code; not given, transformers asks on stdin."""
    loads = [
        (path, ast.unparse(call))
        for path in PACKAGE.rglob("*.py")
        for call in calls(path)
        if ast.unparse(call.func).endswith(".from_pretrained")
    ]
    assert len(loads) >= 3
    for path, text in loads:
        said = r"trust_remote_code|\*\*(self\.)?(self|base)\.hub_options|for k, v in options"
        assert re.search(said, text), (path, text)


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    from hf_transfer.replay.store import FeatureStore

    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"Python objects in dtype|Object arrays"):
        FeatureStore(tmp_path / "a.npy", SimpleNamespace(by_token=False), np.array([1]))


@pytest.mark.parametrize("name", ["/etc", "../elsewhere", "model/../../x", "/etc/../etc"])
def test_results_cannot_reach_out_of_their_folder(tmp_path, name):
    with pytest.raises(hf_transfer.errors.ConfigError, match="which is not in its folder"):
        place_inside(tmp_path / "run", name)


def test_what_steers_a_terminal_is_shown_as_its_code(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"text": f"{ESCAPES} {i}", "label": f"{ESCAPES}\n{'ab'[i % 2]}"} for i in range(12)]
    (tmp_path / f"{ESCAPES[:4]}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for words in ([], ["--json"], ["--num_folds", "9", "--strict"], [f"--group_by={ESCAPES}"]):
        main(["inspect", f"{ESCAPES[:4]}.jsonl", "--kind", "text", *words])
        shown = capsys.readouterr()
        assert re.search(r"u001b|x1b", shown.out + shown.err)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown.out + shown.err)
        if words == ["--json"]:
            json.loads(shown.out)


@pytest.mark.parametrize("words", [["verify"], ["inspect", "--json"], ["run", "sentiment", "--dataset"]])
def test_a_name_that_is_not_utf_8_is_told_and_nothing_written(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"te\xffxt.csv")
    Path(name).write_text("text,label\na,0\nb,1\n")
    assert main([*words, name]) == 2
    assert capsys.readouterr().err == (
        "ConfigError: 'te\\udcffxt.csv' is not UTF-8. Rename the file or folder, e.g. by convmv.\n"
    )
    with pytest.raises(hf_transfer.errors.ConfigError, match=r"dataset='te.*' is not UTF-8"):
        hf_transfer.RunConfig(dataset=name)


def test_card_and_run_write_through_no_link(tmp_path, capsys):
    make_run(tmp_path / "run", shape=Shape(num_rows=20, num_folds=2))
    (tmp_path / "other").mkdir()
    (tmp_path / "run" / "plots").symlink_to(tmp_path / "other")
    assert main(["card", str(tmp_path / "run")]) == 2
    settings = ["--dataset", "builtin:reviews", "--output_dir", str(tmp_path / "run"), "--overwrite"]
    assert main(["run", "sentiment", "--base_model", "builtin:tiny-bert", *settings]) == 2
    assert capsys.readouterr().err.count("plots is a link to ") == 2
    assert not list((tmp_path / "other").iterdir())


def test_a_line_end_in_a_name_breaks_no_table():
    assert aligned([["name", "rows"], ["a\nb", "1"]]).count("\n") == 1
    assert visible("a\tb\nc é 日本") == "a\tb\nc é 日本"


def test_names_between_dollars_are_drawn_and_not_computed(tmp_path):
    figure, axes = empty_axes(3, 2)
    axes.plot([0, 1], [0, 1], label=r"$\frac{$")
    axes.set_title(r"$\undefined$")
    axes.set_yticks([0, 1], ["$x$", "$"])
    axes.legend()
    save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_run_leaves_its_account_s_token_nowhere(tmp_path, capsys, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("sys.argv", ["recipes/sentiment.py", "--license", TOKEN])
    config = plain_config(
        base_model="builtin:tiny-bert", dataset="builtin:reviews", max_rows=20, num_folds=2, num_epochs=1,
        max_length=16, trainable="head", learning_rate=1e-3, report_to="tensorboard", final="none",
        output_dir=str(tmp_path / "run"),
    )  # fmt: skip
    data = open_dataset(config, "text")
    cross_validate(SequenceClassification(config, data.label_names), data, config)
    write_card(tmp_path / "run")
    write_report(tmp_path / "run")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"README.md", "report.html", "results.json", "config.yaml"} <= {path.name for path in files}
    assert any(path.name.startswith("events.out") for path in files)
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "words",
    [
        ["--dataset", f"https://ada:{TOKEN}@example.com/rows.csv"],
        ["--dataset", f"{TOKEN}.csv"],
        ["--base_model", TOKEN],
        ["--push_to_hub", f"ada/{TOKEN}"],
        ["--hub_token", TOKEN],
        [TOKEN],
        ["secret.yaml"],
        ["--seed", TOKEN],
        ["--trainable", TOKEN, "--debug"],
    ],
)
def test_a_token_that_is_typed_is_refused_and_repeated_nowhere(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.yaml").write_text(f"hub_token: {TOKEN}\nlicense: {TOKEN}\n")
    usual = ["--base_model", "builtin:tiny-bert", "--dataset", "builtin:reviews", "--output_dir", "out"]
    assert main(["run", "sentiment", *usual, *words]) == 2
    assert TOKEN not in "".join(capsys.readouterr())
    assert os.listdir(tmp_path) == ["secret.yaml"]  # noqa: PTH208


@pytest.mark.filterwarnings("ignore:A single label was found")
def test_a_run_cannot_have_its_own_code_run_by_predict(tmp_path, monkeypatch, capsys):
    results = make_run(tmp_path / "run", shape=Shape(num_rows=20, num_folds=2))
    results["config"]["trust_remote_code"] = True
    save_results(tmp_path / "run", results)
    trusted = []

    def outputs(model, *_, **__):
        trusted.append(model.task.settings.trust_remote_code)
        return [np.zeros((1, 2), np.float32)]

    monkeypatch.setattr("hf_transfer.study.final.trained.TrainedModel.outputs", outputs)
    assert main(["predict", str(tmp_path / "run"), "a text"]) == 0
    assert main(["predict", str(tmp_path / "run"), "a text", "--trust_remote_code"]) == 0
    assert trusted == [False, True]
