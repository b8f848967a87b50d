import json
from dataclasses import replace
from functools import cache, partial

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer import ImageClassification, RunConfig, cross_validate, open_dataset, preflight
from hf_transfer.config.setting import is_auto
from hf_transfer.errors import ConfigError
from hf_transfer.models.building import bare_model
from hf_transfer.study.defaults import (
    ModelFacts,
    in_common,
    model_facts,
    num_repeats,
    settle,
    settled_words,
    what_learns,
)

CHOSEN = ("head_solver", "head_start", "learning_rate", "num_epochs", "warmup", "layer_decay", "weight_decay")
GIVEN = {
    "learning_rate": 0.5, "num_epochs": 7, "warmup": 0.3, "layer_decay": 0.5, "head_start": "random",
    "weight_decay": 0.2,
}  # fmt: skip
BERT, RESNET = (
    bare_model(RunConfig(base_model=f"builtin:{name}")) for name in ("tiny-bert", "digits-resnet")
)


facts_of = cache(partial(model_facts, pretrained=True))


def settled(model=BERT, num_rows: int = 400, **settings) -> RunConfig:
    config = RunConfig(base_model="builtin:x", **settings)
    return settle(config, model, facts_of(model), num_rows)


def facts(**changes) -> ModelFacts:
    return replace(ModelFacts(False, 384, True, 20_000_000, True), **changes)


@given(
    st.sampled_from(["all", "head", "last:1", "head+norm"]),
    st.sampled_from([BERT, RESNET]),
    st.sets(st.sampled_from(sorted(GIVEN))),
    st.integers(2, 10**6),
)
def test_everything_is_chosen_and_what_is_given_stays(trainable, model, names, num_rows):
    given = {name: GIVEN[name] for name in names}
    config = settled(model, num_rows, trainable=trainable, **given)
    assert {name: getattr(config, name) for name in given} == given
    left = {name for name in CHOSEN if is_auto(getattr(config, name))}
    # A closed form has no rate and no epochs, and its strength is chosen within each fold.
    assert left == ({*CHOSEN} - {"head_solver"} - names if config.solved else set())
    assert settle(config, model, facts_of(model), num_rows) == config


@given(st.integers(2, 10**5), st.integers(2, 10**5))
def test_fewer_rows_are_passed_over_at_least_as_often(few, many):
    few, many = sorted((few, many))
    seldom, often = (settled(num_rows=rows, batch_size=16).num_epochs for rows in (many, few))
    assert 3 <= seldom <= often


@given(st.sampled_from(["adamw", "sgd"]), st.integers(1, 512))
def test_the_rate_goes_with_the_batch(optimizer, size):
    rates = [settled(optimizer=optimizer, batch_size=b).learning_rate for b in (size, 4 * size)]
    assert rates[1] / rates[0] == pytest.approx(2 if optimizer == "adamw" else 4, rel=0.1)


def test_wide_transformers_learn_more_slowly_and_convolutions_faster():
    def rate(**changes) -> float:
        return settle(RunConfig(base_model="x"), BERT, facts(**changes), 400).learning_rate

    assert rate(width=1024) < rate(width=768) < rate(width=384) < rate(convolutional=True)
    assert 2e-5 <= rate(width=768) <= 1e-4
    assert rate(width=None) == rate(width=768)


@pytest.mark.parametrize(
    ("settings", "solver"),
    [
        ({}, "lbfgs"),
        ({"weight_decay": 0.1}, "lbfgs"),
        ({"class_weights": "balanced"}, "lbfgs"),
        ({"learning_rate": 1e-2}, "gradient"),
        ({"num_epochs": 4}, "gradient"),
        ({"augmentation": "flip"}, "gradient"),
        ({"early_stopping": True}, "gradient"),
        ({"label_smoothing": 0.1}, "gradient"),
        ({"from_scratch": True}, "gradient"),
        ({"optimizer": "sgd"}, "gradient"),
        ({"head_solver": "ridge"}, "ridge"),
    ],
)
def test_a_head_is_solved_where_nothing_is_asked_for_that_only_gradients_have(settings, solver):
    assert settled(RESNET, trainable="head", **settings).head_solver == solver


def test_a_head_with_layers_of_its_own_is_trained_as_they_may_be_new():
    assert settled(BERT, trainable="head").head_solver == "gradient"


def test_a_model_without_a_linear_output_trains_its_head_by_gradients():
    config = RunConfig(base_model="x", trainable="head")
    assert settle(config, BERT, facts(width=None), 100).head_solver == "gradient"


@pytest.mark.parametrize(
    ("settings", "learns"),
    [
        ({}, "all"),
        ({"trainable": "head"}, "head"),
        ({"trainable": "head+lora"}, "adapters"),
        ({"trainable": "last:1"}, "top"),
        ({"trainable": "block.*"}, "all"),
        ({"from_scratch": True, "trainable": "head"}, "scratch"),
    ],
)
def test_what_learns_is_told_from_the_layers(settings, learns):
    model = bare_model(RunConfig(base_model="builtin:digits-resnet"))
    assert (
        what_learns(model, RunConfig(head_solver="gradient", **settings), model_facts(model, pretrained=True))
        == learns
    )
    assert what_learns(model, RunConfig(), model_facts(model, pretrained=False)) == "scratch"


def test_the_facts_of_a_model_are_read_from_its_layers():
    bert, resnet = (model_facts(model, pretrained=True) for model in (BERT, RESNET))
    assert (bert.convolutional, resnet.convolutional) == (False, True)
    assert (bert.plain_head, resnet.plain_head) == (False, True)  # BERT has a pooler
    assert resnet.parameters == sum(p.numel() for p in RESNET.parameters())


@pytest.mark.parametrize(
    ("settings", "rows", "small", "repeats"),
    [
        ({}, 300, True, 3),
        ({}, 300, False, 1),
        ({}, 3000, True, 1),
        ({"trainable": "head"}, 3000, False, 3),
        ({"trainable": "head", "augmentation": "flip"}, 3000, False, 1),
        ({"trainable": "head", "replay": False}, 3000, False, 1),
        ({"learning_rates": (1e-3, 1e-2)}, 300, True, 1),
        ({"time_by": "day"}, 300, True, 1),
        ({"fold_column": "part"}, 300, True, 1),
        ({"num_repeats": 2}, 3000, False, 2),
    ],
)
def test_folds_are_repeated_where_that_costs_little(settings, rows, small, repeats):
    model = facts(parameters=400_000 if small else 20_000_000)
    assert num_repeats(RunConfig(**settings), model, rows) == repeats


def test_a_grid_has_in_common_what_all_of_it_was_given():
    config = RunConfig(trainables=("last:1", "all"))
    some = [settled(BERT, trainable=trainable) for trainable in ("last:1", "all")]
    common = in_common(config, some)
    assert common.warmup == 0.1
    assert common.head_solver == "gradient"
    assert is_auto(common.learning_rate)


def test_what_was_chosen_is_told_and_nothing_where_nothing_was():
    before = RunConfig(base_model="builtin:x", learning_rate=0.25)
    after = settle(before, BERT, facts_of(BERT), 400)
    words = settled_words(before, after, 400)
    assert f"num_epochs {after.num_epochs}" in words
    assert f"{after.num_epochs * 13:,} updates of 32" in words
    assert "learning_rate" not in words
    assert settled_words(after, after, 400) is None


@pytest.mark.parametrize("word", ["Auto", "auto"])
def test_auto_is_a_word_for_what_can_be_chosen_and_for_nothing_else(word):
    assert is_auto(RunConfig.from_args(RunConfig(learning_rate=1.0), ["--lr", word]).learning_rate)
    with pytest.raises(ConfigError, match=r"batch_size='[Aa]uto' must be a whole number"):
        RunConfig.from_args(RunConfig(), ["--batch_size", word])


@pytest.mark.slow
def test_the_numbers_are_written_down_and_the_same_command_goes_on(tmp_path, capsys):
    config = RunConfig(
        base_model="builtin:digits-resnet", dataset="builtin:digits_5to9", max_rows=40, num_folds=2,
        trainable="head", final="none", output_dir=str(tmp_path / "run"),
    )  # fmt: skip
    data = open_dataset(config, "image")
    task = ImageClassification(config, data.label_names)
    first = cross_validate(task, data, config)
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert written["num_repeats"] == 3
    assert written["head_solver"] == "lbfgs"
    assert written["learning_rate"] == written["num_epochs"] == "auto"  # a closed form has none
    assert first.results.final.kind == "none"
    (words,) = (note for note in first.results.notes if note.startswith("Chosen for trainable=head"))
    assert words in capsys.readouterr().err
    preflight(config)  # settings that are still to be chosen are no other run
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").glob("folds/**/done.json")}
    assert len(done) == 6
    assert cross_validate(task, data, config).scores == first.scores
    assert done == {p: p.stat().st_mtime_ns for p in done}
    with pytest.raises(ConfigError, match=r"already holds another run: .*head_solver=.lbfgs. there"):
        cross_validate(task, data, replace(config, learning_rate=1e-2))
    assert json.loads((tmp_path / "run" / "results.json").read_text())["num_repeats"] == 3
