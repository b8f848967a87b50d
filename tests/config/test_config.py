import re
from contextlib import suppress
from dataclasses import fields

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hf_transfer import RunConfig
from hf_transfer.config.setting import groups_of
from hf_transfer.errors import ConfigError
from hf_transfer.tasks import own_headings


def test_flags_win_over_yaml_and_yaml_over_defaults(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("learning_rate: 0.5\nnum-folds: 4\n")
    config = RunConfig.from_args(RunConfig(num_epochs=9), [str(file), "--num_folds", "3"])
    assert (config.learning_rate, config.num_folds, config.num_epochs) == (0.5, 3, 9)


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--lr", "1e-4"], "learning_rate", 1e-4),
        (["--model_name_or_path", "x"], "base_model", "x"),
        (["--dataset-name=y"], "dataset", "y"),
        (["--num-train-epochs", "7"], "num_epochs", 7),
        (["--per_device_train_batch_size", "2"], "per_device_batch_size", 2),
        (["--text_column", "review"], "input_column", "review"),
        (["--private"], "private", True),
        (["--private", "false"], "private", False),
        (["--no-private"], "private", False),
        (["--max_rows", "none"], "max_rows", None),
        (["--table_columns", "none"], "table_columns", ()),
        (["--metrics", "f1,mae"], "metrics", ("f1", "mae")),
        (["--trainable", "-stem"], "trainable", "-stem"),
        (["--trainable=-stem"], "trainable", "-stem"),
    ],
)
def test_flags_that_people_type_are_understood(words, name, value):
    assert getattr(RunConfig.from_args(RunConfig(), words), name) == value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--learnig_rate", "1"],
            "Unknown setting 'learnig_rate' in the command line. Did you mean 'learning_rate'",
        ),
        (["--zzz", "1"], "Unknown setting 'zzz'.*--help"),
        (["--num_folds", "1.5"], "num_folds='1.5' must be a whole number"),
        (["--num_folds", "1"], "num_folds=1 is too small; use 2 or more"),
        (["--learning_rate", "nan"], "learning_rate='nan' must be a finite number"),
        (["--learning_rate", "fast"], "must be a number"),
        (["--learning_rate", "0"], "learning_rate=0.0 must be above 0"),
        (["--learning_rate", "1e30"], r"learning_rate=1e\+30 must be above 0 and below 100"),
        (["--scheme", "tim"], "scheme='tim' is not one of auto"),
        (["--scheme", "group"], "scheme='group' needs group_by"),
        (["--gap", "3"], "gap=3 needs time_by"),
        (["--group_by", "a", "--time_by", "b"], "cannot be used together"),
        (["--private", "perhaps"], "private='perhaps' must be true or false"),
        (["--seed", "-1"], "seed=-1 must be from 0"),
        (["--layer_decay", "2"], "layer_decay=2.0 must be above 0 and at most 1"),
        (["--schedule", "lp-ft", "--num_epochs", "1"], "set num_epochs to 2 or more"),
        (["--test_split", "test", "--final", "none"], "test_split is scored by the final model"),
        (["--sealed", "0.1", "--final", "none"], "sealed rows are scored by the final model"),
        (["--sealed", "0.5"], r"sealed=0\.5 must be from 0 to 0\.2"),
        (["--final", "soup"], r"final='soup' needs sealed rows.*add sealed=0\.1"),
        (["--final", "stew"], "final='stew' is not one of refit, ensemble, soup, none"),
        (
            ["--final", "ensemble", "--scheme", "walk-forward", "--time_by", "day"],
            "final='ensemble' joins the folds' models.*use final='refit'",
        ),
        (["--wise", "2"], "wise='2' is neither auto nor a share from 0 to 1"),
        (["--wise", "auto", "--from_scratch"], "from_scratch leaves no pretrained weights"),
        (["--wise", "auto", "--trainable", "head"], "lets nothing below the head learn"),
        (["--wise", "auto", "--trainables", "head,all"], "lets nothing below the head learn"),
        (["--wise", "auto", "--trainable", "head+lora"], r"adapters \(\+lora\) are no weights"),
        (["--wise", "auto", "--reinit_top", "1"], "reinit_top gives the top new weights"),
        (["--wise", "auto", "--head_start", "random"], "head_start=random leaves the head unsolved"),
        (["--wise", "0", "--final", "soup", "--sealed", "0.1"], "final=soup averages the folds"),
        (["no.yaml"], "No such settings file: .*no.yaml"),
        (["a.yaml", "b"], "'b' is not expected here"),
        (["--lr"], "expected one argument"),
    ],
)
def test_bad_settings_say_what_to_do(words, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig.from_args(RunConfig(), words)


def test_all_problems_are_said_at_once():
    message = r"scheme='x'[\s\S]*num_folds=0[\s\S]*seed=-1[\s\S]*gap=1 needs[\s\S]*final='soup' needs"
    with pytest.raises(ConfigError, match=message):
        RunConfig(scheme="x", num_folds=0, seed=-1, gap=1, final="soup")


def test_every_setting_stands_in_one_group():
    of_groups = [f.name for group in groups_of(RunConfig) for f in fields(group)]
    assert of_groups == [f.name for f in fields(RunConfig)]
    assert len(set(of_groups)) == len(of_groups)


def help_of(config, capsys, monkeypatch) -> dict[str, dict[str, str]]:
    """The default that `--help` shows for each setting, under each heading."""
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit, match="0"):
        RunConfig.from_args(config, ["--help"])
    _, *parts = re.split(r"^(\S.*):$", capsys.readouterr().out, flags=re.MULTILINE)
    return {
        heading: dict(
            re.findall(r"^  --(\w+),? [^\n]*(?:\n {5}[^\n]*)?\(default: (.*)\)$", text, re.MULTILINE)
        )
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


def test_help_shows_each_group_and_the_recipes_own_defaults(capsys, monkeypatch):
    recipe = RunConfig(
        base_model="builtin:tiny-bert", dataset="50%.csv", metrics=("f1", "mae"), private=True,
        trainables=("head", "all"), learning_rates=(0.1, 0.2), weight_decays=(0.0, 0.1),
        label_columns=("a", "b"), table_columns=("c", "d"), add_source=("e", "f"),
    )  # fmt: skip
    shown = help_of(recipe, capsys, monkeypatch)
    values = {name: value for defaults in shown.values() for name, value in defaults.items()}
    assert RunConfig().changed(values) == recipe
    own = own_headings()
    for group in groups_of(RunConfig):
        assert list(shown.pop(group.heading)) == [f.name for f in fields(group) if f.name not in own]
    assert {name: heading for heading, names in shown.items() for name in names} == own


def test_help_says_none_where_nothing_is_given(capsys, monkeypatch):
    shown = help_of(RunConfig(), capsys, monkeypatch)
    names = [("The model", "base_model"), ("The data", "id_column"), ("What is measured", "metrics")]
    assert [shown[heading][name] for heading, name in names] == ["none"] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learnig_rate: 1", "Unknown setting 'learnig_rate' in .*run.yaml. Did you mean 'learning_rate'"),
        ("- a\n- b", "must hold 'setting: value' lines, not a list"),
        ("a: [", "not readable as YAML"),
        ("num_folds: [3]", "num_folds=\\[3\\] must be a whole number"),
    ],
)
def test_bad_yaml_says_what_to_do(tmp_path, text, message):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        RunConfig.load(file)


@given(
    rate=st.floats(1e-9, 99),
    folds=st.integers(2, 1000),
    trainable=st.text(max_size=30),
    metrics=st.lists(st.from_regex(r"[a-z_]{1,9}", fullmatch=True), max_size=3),
    rows=st.none() | st.integers(2, 10**9),
)
@settings(max_examples=60, deadline=None)
def test_saved_settings_come_back_equal(tmp_path_factory, rate, folds, trainable, metrics, rows):
    config = RunConfig(
        learning_rate=rate, num_folds=folds, trainable=trainable, metrics=tuple(metrics), max_rows=rows
    )
    file = tmp_path_factory.getbasetemp() / "config.yaml"
    config.save(file)
    assert RunConfig.load(file) == config


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from([f.name for f in fields(RunConfig)]) | st.text(max_size=8)


@given(st.dictionaries(NAMES, VALUES, max_size=3))
@example({"revision": []})
@example({"revision": ["none"]})
@settings(max_examples=80, deadline=None)
def test_any_settings_are_taken_or_refused(values):
    with suppress(ConfigError):
        config = RunConfig().changed(values)
        assert RunConfig().changed(config.to_dict()) == config


@given(st.text(max_size=40) | st.text("abc:-[]{}&*!<>|#'\" \n", max_size=40))
@settings(max_examples=80, deadline=None)
def test_any_file_is_read_or_refused(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(text, encoding="utf-8", newline="")
    with suppress(ConfigError):
        assert isinstance(RunConfig.load(file), RunConfig)


def test_an_alias_is_read_where_it_stands_for_little(tmp_path):
    (tmp_path / "a.yaml").write_text("learning_rates: &rates [0.1, 0.2]\nweight_decays: *rates\n")
    assert RunConfig.load(tmp_path / "a.yaml").weight_decays == (0.1, 0.2)


def test_only_a_soup_changes_the_folds_that_it_is_made_of():
    kinds = {kind: RunConfig(final=kind, sealed=0.1).scored() for kind in ("refit", "ensemble", "soup")}
    assert kinds["refit"] == kinds["ensemble"] != kinds["soup"]
    assert RunConfig().scored() != RunConfig(sealed=0.1).scored()


def test_paths_do_not_make_another_experiment():
    a, b = RunConfig(output_dir="a", private=True), RunConfig(output_dir="b", report_to="tensorboard")
    assert a.scored() == b.scored()
    assert a.scored() != RunConfig(seed=1).scored()


def test_lists_make_a_grid_and_single_values_none():
    config = RunConfig.from_args(
        RunConfig(), ["--learning-rates", "1e-4,3e-4,1e-4", "--weight_decays", "0, 0.1"]
    )
    assert [(c.learning_rate, c.weight_decay) for c in config.grid()] == [
        (1e-4, 0.0), (1e-4, 0.1), (3e-4, 0.0), (3e-4, 0.1),
    ]  # fmt: skip
    assert not any(c.learning_rates or c.weight_decays for c in config.grid())
    assert RunConfig(learning_rate=0.1).grid() == (RunConfig(learning_rate=0.1),)
    layers = RunConfig(trainables=("head", "all", "head"), learning_rates=(0.1, 0.2)).grid()
    assert [(c.trainable, c.learning_rate) for c in layers] == [
        ("head", 0.1), ("head", 0.2), ("all", 0.1), ("all", 0.2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--learning_rates", "1e-4,fast"], "learning_rates='1e-4,fast' must be a number"),
        (["--learning_rates", "1e-4,0"], "learning_rate=0.0 must be above 0"),
        (["--weight_decays=-1"], "weight_decay=-1.0 is too small"),
    ],
)
def test_lists_with_a_wrong_value_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig.from_args(RunConfig(), words)


def test_lists_come_back_from_a_file(tmp_path):
    config = RunConfig(learning_rates=(1e-4, 1e-3))
    config.save(tmp_path / "config.yaml")
    assert RunConfig.load(tmp_path / "config.yaml") == config
    (tmp_path / "one.yaml").write_text("learning_rates: 0.1\nweight_decays: [0, 1e-2]\n")
    assert RunConfig.load(tmp_path / "one.yaml").learning_rates == (0.1,)
    assert RunConfig.load(tmp_path / "one.yaml").weight_decays == (0.0, 0.01)
