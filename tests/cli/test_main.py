import json
from types import SimpleNamespace

import pytest
import torch

from hf_transfer import RunConfig, SequenceClassification, cross_validate, open_dataset
from hf_transfer.cli.doctor import examine
from hf_transfer.cli.main import main, run_recipe
from hf_transfer.errors import ConfigError, DataError, HubError, RunError
from hf_transfer.machine.resources import recipes_folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = RunConfig(
        base_model="builtin:tiny-bert", dataset="builtin:reviews", max_rows=30, num_folds=2, num_epochs=1,
        max_length=24, output_dir=str(tmp_path_factory.mktemp("cli") / "run"),
    )  # fmt: skip
    data = open_dataset(config, "text")
    cross_validate(SequenceClassification(config, data.label_names), data, config)
    return config.output_dir


def test_layers_shows_what_would_freeze(capsys):
    assert main(["layers", "builtin:tiny-bert", "--trainable", "last:1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["group"], row["status"]) for row in rows] == [
        ("stem", "frozen"), ("block.0", "frozen"), ("block.1", "trains"), ("head", "trains"),
    ]  # fmt: skip


def test_inspect_finds_the_kind_and_shows_the_folds(capsys):
    assert main(["inspect", "builtin:mentions", "--num_folds", "4"]) == 0
    shown = capsys.readouterr().out
    assert "316 rows of tokens" in shown
    assert "fold 4" in shown


def test_predict_labels_texts_of_a_file(finished, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("A lovely lamp.\n\nIt broke.\n")
    assert main(["predict", finished, str(tmp_path / "texts.txt"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["input"] for row in found] == ["A lovely lamp.", "It broke."]
    assert all(row["label"] in {"negative", "positive"} for row in found)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "words,label\ngood,1\n", "No column 'text' in a.csv; it has 'words', 'label'"),
        ("a.jsonl", '{"text": "good"}\n{"text', "a.jsonl, line 2 is not JSON"),
        ("a.txt", "\n", "No texts in"),
    ],
)
def test_predict_says_what_is_wrong_with_a_file(finished, tmp_path, capsys, name, text, message):
    (tmp_path / name).write_text(text)
    assert main(["predict", finished, str(tmp_path / name)]) == 3
    assert message in capsys.readouterr().err


def test_card_and_compare_read_a_run(finished, capsys):
    assert main(["card", finished]) == 0
    assert "README.md" in capsys.readouterr().out
    assert main(["compare", finished, finished]) == 0
    assert capsys.readouterr().out.count("±") == 4  # the score and the loss of each


def test_doctor_finds_nothing_wrong_here(capsys):
    assert main(["doctor"]) == 0
    assert "hf_transfer is hf-transfer-kit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("capability", "tf32", "said"),
    [((7, 5), False, None), ((9, 0), False, "--mixed_precision bf16"), ((8, 0), True, "11 significant bits")],
)
def test_doctor_says_how_a_gpu_would_compute_faster(capability, tf32, said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(allow_tf32=tf32))
    lines = [check["found"] for check in examine()[0] if check["name"] == "precision"]
    assert len(lines) == bool(said)
    assert all(said in line for line in lines)


def test_run_without_a_name_lists_the_recipes(capsys):
    assert main(["run"]) == 0
    recipes = sorted(path.stem for path in recipes_folder().glob("*.py"))
    assert capsys.readouterr().out.split() == recipes
    assert {"image_classification", "ner", "sentiment"} < set(recipes)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nonsense"], 2, "invalid choice: 'nonsense'"),
        (["layers"], 2, "required: model"),
        (["layers", "builtin:tiny-bert", "--trainable", "last:9"], 2, "asks for more blocks"),
        (["layers", "builtin:tiny-bert", "--depth", "9"], 2, "Unknown argument '--depth'"),
        (["inspect", "nowhere.csv"], 3, "No such file or folder"),
        (["inspect", "builtin:reviews", "--num_fold", "3"], 2, "Did you mean 'num_folds'"),
        (["predict", "nowhere", "text"], 2, "holds no finished run"),
        (["card", "nowhere"], 2, "results.json"),
        (["push", "nowhere", "me/x"], 5, "nowhere"),
        (["push", "nowhere", "not a name"], 2, "not a name"),
        (["run", "sentimental"], 2, "sentiment"),
        (["run", "sentiment", "--learnig_rate", "1"], 2, "Did you mean 'learning_rate'"),
    ],
)
def test_bad_commands_end_in_one_line_with_their_exit_code(words, code, message, capsys):
    assert main(words) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError, 2), (DataError, 3), (RunError, 4), (HubError, 5), (KeyboardInterrupt, 130)],
)
def test_every_kind_of_error_has_its_exit_code(error, code, capsys):
    def recipe():
        raise error("what, allowed, do")

    with pytest.raises(SystemExit) as end:
        run_recipe(recipe)
    assert end.value.code == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_failed_fold_or_final_model_is_exit_code_4_of_the_main_process(monkeypatch):
    class Result:
        incomplete = True

    with pytest.raises(SystemExit) as end:
        run_recipe(Result)
    assert end.value.code == 4
    monkeypatch.setenv("RANK", "1")  # must not have the launcher end the first process, which publishes
    with pytest.raises(SystemExit) as end:
        run_recipe(Result)
    assert end.value.code == 0


def test_a_traceback_is_shown_with_debug(capsys):
    assert main(["layers", "builtin:nothing", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err
