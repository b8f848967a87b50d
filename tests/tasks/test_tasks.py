import re
from dataclasses import fields

import pytest
from datasets import Dataset

from hf_transfer import ImageClassification, RunConfig, SequenceClassification, open_dataset
from hf_transfer.cli.main import main
from hf_transfer.data.rows import label_rows
from hf_transfer.errors import ConfigError
from hf_transfer.tasks import (
    all_tasks,
    check_settings,
    kinds,
    metric_name,
    own_headings,
    target_of_run,
    task_class,
    task_of_kind,
)
from hf_transfer.tasks.targets.tags import Tags


def test_a_task_is_found_by_its_id_and_by_what_its_input_is_called():
    assert [task_class(task.name, task.input.name) for task in all_tasks()] == all_tasks()
    assert task_class("text-classification") is SequenceClassification  # as runs that name no input were
    assert [task_of_kind(kind) for kind in kinds()] == all_tasks()


def test_what_is_no_task_is_refused():
    with pytest.raises(ConfigError, match=r"no task 'chess'\. Use one of token-classification"):
        task_class("chess")
    with pytest.raises(ConfigError, match=r"reads .*text, and the run has input 'smell'\. Update the kit"):
        task_class("text-classification", "smell")
    with pytest.raises(ConfigError, match=r"no task for 'sound'\. Use one of tokens, audio, image, text"):
        task_of_kind("sound")


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (
            "image",
            {"pooling": "mean"},
            "pooling='mean': pictures have no such setting. Leave it out; they have aug",
        ),
        (
            "image",
            {"max_length": 8, "pooling": "mean"},
            "max_length=8 and pooling='mean': pictures have no such",
        ),
        (
            "text",
            {"augmentation": "flip"},
            "augmentation='flip': texts have no such .* they have max_length, pool",
        ),
        (
            "tokens",
            {"pooling": "first"},
            "pooling='first': tagged sentences have no such .* they have max_length",
        ),
    ],
)
def test_settings_of_other_inputs_are_refused_by_name(kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        check_settings(RunConfig(**settings), task_of_kind(kind))


def test_each_setting_of_some_inputs_or_targets_is_one_and_names_them_all():
    known, headings = {f.name for f in fields(RunConfig)}, own_headings()
    users = [user for task in all_tasks() for user in (task.input, *task.targets)]
    assert headings.keys() == {name for user in users for name in user.settings} <= known
    for task in all_tasks():
        for name in task.input.settings:
            assert task.input.nouns in headings[name]
    assert headings["number_loss"] == "For numbers and grades only"


def test_they_are_refused_before_rows_are_read():
    config = RunConfig(dataset="gone/away", pooling="mean")
    message = re.escape("pooling='mean': pictures have no such setting")
    with pytest.raises(ConfigError, match=message):
        open_dataset(config, ImageClassification)
    with pytest.raises(ConfigError, match=message):
        label_rows(Dataset.from_dict({"image": ["a.png"], "label": ["x"]}), config, ImageClassification)


def test_every_setting_of_an_input_is_one_of_a_run():
    for task in all_tasks():
        check_settings(RunConfig(), task)
        assert all(hasattr(RunConfig(), name) for name in task.input.settings)


def test_a_run_says_what_its_target_is():
    names = ("O", "B-PER", "I-PER")
    target = target_of_run("token-classification", names)
    assert (type(target), target.label_names) == (Tags, names)


def test_a_metric_may_have_another_name_in_a_task():
    assert metric_name("accuracy", SequenceClassification.name) == metric_name("accuracy") == "accuracy"
    assert metric_name("accuracy", "token-classification") == "accuracy (tags)"


@pytest.mark.parametrize(
    "verb", [["inspect", "builtin:reviews"], ["rank", "builtin:reviews", "builtin:tiny-bert"]]
)
def test_an_unknown_kind_is_refused_with_those_there_are(verb, capsys):
    assert main([*verb, "--kind", "sound"]) == 2
    assert f"There is no task for 'sound'. Use one of {', '.join(kinds())}." in capsys.readouterr().err
