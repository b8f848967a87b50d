import re

import pytest
from small_runs import plain_config

from hf_transfer import ImageClassification, open_dataset
from hf_transfer.selection.search.run import open_study
from hf_transfer.study.cross_validation import check_study
from hf_transfer.study.estimate import forward_seconds, say_duration


def study_of(tmp_path, **settings):
    config = plain_config(
        base_model="builtin:digits-resnet", dataset="builtin:digits_5to9", max_rows=60, num_folds=2,
        output_dir=str(tmp_path), **settings,
    )  # fmt: skip
    data = open_dataset(config, "image")
    return check_study(open_study(ImageClassification(config, data.label_names), data, config))


def test_a_long_run_says_about_how_long_and_what_would_be_quicker(tmp_path, capsys):
    study = study_of(tmp_path, num_epochs=5000, final="refit")
    say_duration(study.runner, study.experiment.units)
    said = capsys.readouterr().err
    assert re.search(r"About [\w. ]+: 2 trainings, and the final model\.", said)
    assert "--preset quick, on a frozen backbone, would take about" in said
    assert not any(tmp_path.glob("folds/*"))  # what is timed leaves nothing behind
    assert forward_seconds(study.runner) > 0


@pytest.mark.parametrize("settings", [{"num_epochs": 1}, {"num_epochs": 5000, "trainable": "head"}])
def test_a_short_run_is_not_held_up(tmp_path, capsys, settings):
    study = study_of(tmp_path, **settings)
    say_duration(study.runner, study.experiment.units)
    assert "About" not in capsys.readouterr().err
