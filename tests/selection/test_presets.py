import pytest

from hf_transfer import ImageClassification, RunConfig, fine_tune, open_dataset
from hf_transfer.errors import ConfigError
from hf_transfer.runs.results import read_results


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--preset", "quick"], {"trainable": "head", "final": "refit"}),
        (["--preset", "quick", "--trainable", "last:1"], {"trainable": "last:1"}),
        (["--preset", "good"], {"trainable": "all", "final": "refit", "sealed": 0.0}),
        (["--preset", "best"], {"final": "ensemble", "sealed": 0.1}),
        (["--preset", "best", "--final", "refit"], {"final": "refit", "sealed": 0.1}),
    ],
)
def test_a_preset_fills_in_what_is_not_given(words, expected):
    config = RunConfig.from_args(RunConfig(), words)
    assert {name: getattr(config, name) for name in expected} == expected


def test_a_preset_in_a_file_gives_way_to_the_file_and_to_flags(tmp_path):
    (tmp_path / "mine.yaml").write_text("preset: best\nsealed: 0.2\n")
    config = RunConfig.from_args(RunConfig(), [str(tmp_path / "mine.yaml"), "--final", "refit"])
    assert (config.preset, config.sealed, config.final) == ("best", 0.2, "refit")


def test_a_preset_that_is_none_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="preset='quik' is not one of quick, good, best"):
        RunConfig.from_args(RunConfig(), ["--preset", "quik"])


@pytest.mark.slow
def test_the_best_preset_searches_and_judges_an_ensemble_on_sealed_rows(tmp_path):
    words = ["--preset", "best", "--base_model", "builtin:digits-resnet", "--dataset", "builtin:digits_5to9"]
    words += ["--max_rows", "60", "--num_folds", "2", "--num_repeats", "1", "--num_epochs", "1"]
    config = RunConfig.from_args(RunConfig(), [*words, "--output_dir", str(tmp_path / "run")])
    data = open_dataset(config, "image")
    result = fine_tune(ImageClassification(config, data.label_names), data, config)
    assert (tmp_path / "run" / "search.json").is_file()
    final = read_results(tmp_path / "run").final
    assert final.kind == "ensemble"
    assert len(final.members) == 2
    assert final.sealed.num_rows == 6
    assert 0 <= result.scores["accuracy"].mean <= 1


def test_a_frozen_backbone_from_scratch_is_refused():
    with pytest.raises(ConfigError, match="preset='quick' freezes a pretrained backbone"):
        RunConfig.from_args(RunConfig(), ["--preset", "quick", "--from_scratch"])
