import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_transfer import RunConfig
from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError, ModelError
from hf_transfer.report.plots.depth import depth_plot
from hf_transfer.scores.transferability import Permutation
from hf_transfer.selection.rank.candidate import Scored
from hf_transfer.selection.rank.ranking import rank_models, shown_names
from hf_transfer.selection.rank.words import conclusion, ranking_text, verdict


@pytest.fixture(scope="module")
def ranking():
    config = RunConfig(dataset="builtin:digits_5to9", max_rows=60, num_folds=4)
    return rank_models(config, ["builtin:digits-resnet"], num_repeats=2, priors={"builtin:digits-resnet": 99})


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rank")
    words = ["rank", "builtin:reviews", "builtin:tiny-bert", "--max_rows", "40", "--num_folds", "3"]
    assert main([*words, "--num_repeats", "1", "--output_dir", str(folder)]) == 0
    return json.loads((folder / "rank.json").read_text()), folder


def test_texts_are_judged_by_both_poolings_and_the_best_is_named(sentence_encoder):
    config = RunConfig(dataset="builtin:reviews", max_rows=40, num_folds=3, max_length=24)
    found = rank_models(config, [str(sentence_encoder)], num_repeats=1)
    candidate, text = found.candidates[0], ranking_text(found)
    titles = [layer.title for layer in candidate.layers]
    assert titles[:2] == ["stem (first token)", "stem (mean)"]
    assert titles[-2:] == ["block.3 (first token)", "block.3 (mean)"]
    assert set(candidate.picked) <= set(titles)
    assert "last by first token  last by mean" in text
    assert f"{candidate.best.ridge.mean:.3f} {candidate.best.title}" in text
    assert candidate.last.ridge.mean == max(layer.ridge.mean for layer in candidate.layers[-2:])
    value = json.loads(json.dumps(found.to_dict()))["candidates"][0]
    assert value["best_pooling"] == candidate.best.pooling
    lines = depth_plot(found.record).axes[0].get_legend().get_texts()
    assert {"sentence-encoder, mean", "sentence-encoder, first token"} <= {one.get_text() for one in lines}


def test_pretrained_weights_beat_random_ones_and_shuffled_labels(ranking):
    candidate = ranking.candidates[0]
    assert ranking.against_scratch[candidate.name].verdict == "better"
    assert candidate.shuffled.p == 1 / 200
    assert candidate.shuffled.shuffled.mean() == pytest.approx(0.2, abs=0.06)
    assert ranking.constant == pytest.approx(0.2, abs=0.05)
    assert not ranking.leaks(candidate)
    assert len(candidate.score.folds) == 8
    assert sum(candidate.picked.values()) == 8


def test_the_score_is_that_of_the_picked_layers(ranking):
    candidate = ranking.candidates[0]
    if len(candidate.picked) == 1:
        layer = next(layer for layer in candidate.layers if layer.name in candidate.picked)
        assert candidate.score.folds.tolist() == layer.ridge.folds.tolist()
    low, high = candidate.score.interval
    assert low < candidate.score.mean < high <= 1
    assert candidate.score.resampled[0] < candidate.score.mean < candidate.score.resampled[1]
    assert candidate.score.mean <= max(layer.ridge.folds.max() for layer in candidate.layers)


def test_json_has_every_figure_and_the_text_every_control(ranking):
    value = json.loads(json.dumps(ranking.to_dict(), allow_nan=False))
    entry = value["candidates"][0]
    assert entry["prior"] == 99
    assert entry["against"]["next"] is None
    assert entry["against"]["scratch"]["verdict"] == "better"
    assert [layer["name"] for layer in entry["layers"]] == ["stem", *(f"block.{i}" for i in range(4))]
    assert {"knn", "log_me_gain", "h_score", "ridge", "depth", "width"} <= entry["layers"][0].keys()
    assert entry["from_scratch"]["layers"][0]["knn"] is None
    text = ranking_text(ranking)
    assert "60 pictures, 5 labels, 4 stratified folds in 2 repeats" in text
    for control in ("one answer for all rows", "from scratch", "colour histogram", "shuffled labels"):
        assert control in text
    assert "prior" in text
    assert "How far to trust this order" in text


def test_a_second_ranking_finds_the_features(ranking):
    again = rank_models(ranking.benchmark.config, ["builtin:digits-resnet"], num_repeats=2)
    assert again.candidates[0].reused
    assert again.candidates[0].score.folds.tolist() == ranking.candidates[0].score.folds.tolist()


def with_score(candidate, shift):
    folds = candidate.score.folds + shift
    return replace(candidate, score=Scored(folds, float(folds.mean()), (0.0, 1.0)))


def test_each_finding_has_its_words(ranking):
    candidate = ranking.candidates[0]
    assert "Its pretraining helps" in verdict(ranking, candidate)
    noise = np.linspace(-0.01, 0.01, 8)
    worse = replace(ranking, candidates=(with_score(candidate, -0.9 + noise),))
    assert conclusion(worse, worse.candidates[0]).startswith("a bad start")
    assert "negative transfer" in verdict(worse, worse.candidates[0])
    shuffled = Permutation(0.2, np.full(99, 0.2), 0.4)
    nothing = replace(candidate, shuffled=shuffled)
    assert conclusion(ranking, nothing).startswith("nothing found")
    leak = replace(candidate, shuffled=Permutation(0.9, np.full(99, 0.6), 0.01))
    leaking = replace(ranking, candidates=(leak,))
    assert "no verdict" in conclusion(leaking, leak)
    assert "LEAK" in ranking_text(leaking)
    near = replace(ranking, baseline=with_score(candidate, noise).score)
    assert conclusion(near, candidate).startswith("better than random weights, but not clearly")
    beaten = replace(ranking, baseline=with_score(candidate, 0.2 + noise).score)
    assert "the simple model beats it" in conclusion(beaten, candidate)


def test_the_top_is_over_specialised_where_a_lower_layer_is_clearly_better(ranking):
    candidate = ranking.candidates[0]
    folds = candidate.best.ridge.folds - 0.3 + np.linspace(-0.01, 0.01, 8)
    top = replace(candidate.last, ridge=Scored(folds, float(folds.mean()), (0.0, 1.0)))
    changed = replace(candidate, layers=(*candidate.layers[:-1], top))
    if candidate.best is not candidate.last:
        assert changed.over_specialised(4)
        assert "Over-specialised top" in verdict(ranking, changed)
    flat = replace(candidate, layers=(candidate.best,))
    assert not flat.over_specialised(4)


def test_the_picture_has_a_line_for_each_and_dashes_for_random_weights(ranking):
    axes = depth_plot(ranking.record).axes[0]
    labels = axes.get_legend_handles_labels()[1]
    assert {"builtin:digits-resnet", "same network, random weights", "one answer for all rows"} <= set(labels)
    styles = [line.get_linestyle() for line in axes.lines]
    assert {"-", "--", "-.", ":"} <= set(styles)


def test_the_command_writes_a_picture_and_the_figures(of_texts):
    value, folder = of_texts
    assert value["measure"] == "accuracy"
    assert value["candidates"][0]["from_scratch"] is None  # it has no weights to do without
    assert value["candidates"][0]["conclusion"].endswith(".")
    assert value["trust"].startswith("How far to trust")
    with Image.open(folder / "depth.png") as picture:
        assert picture.width > 600


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["builtin:reviews"], 2, "required: MODEL"),
        (["builtin:reviews", "builtin:digits-resnet"], 2, "is for pictures, and the rows are texts"),
        (
            ["builtin:digits_5to9", "builtin:tiny-bert"],
            2,
            "is for tagged sentences or pairs of texts or texts, and the rows are pictures",
        ),
        (
            ["builtin:reviews", "builtin:tiny-bert", "builtin:tiny-bert"],
            2,
            "each once; got builtin:tiny-bert twice",
        ),
        (
            ["builtin:reviews", "builtin:tiny-bert", "--prior", "bert=1"],
            2,
            "--prior bert=1 names none of the models",
        ),
        (["builtin:reviews", "builtin:tiny-bert", "--prior", "bert"], 2, "is not NAME=VALUE"),
        (["builtin:reviews", "builtin:tiny-bert", "--num_fold", "3"], 2, "Did you mean 'num_folds'"),
        (["nowhere.csv", "builtin:tiny-bert"], 3, "No such file or folder"),
        (["builtin:reviews", "builtin:no-bert"], 2, "no built-in model 'no-bert'"),
    ],
)
def test_bad_commands_end_in_one_line(words, code, message, capsys):
    assert main(["rank", *words]) == code
    assert message in capsys.readouterr().err


def test_names_are_short_where_that_tells_them_apart(tmp_path):
    places = ("a/bert", "b/bert", "b/vit", "run/model")
    models = [str(tmp_path / place) for place in places]
    for model in models:
        Path(model).mkdir(parents=True)
    assert list(shown_names([*models, "me/model"]).values()) == [*models[:2], "vit", "run", "me/model"]
    with pytest.raises(ConfigError, match="got none"):
        shown_names([])


def test_every_model_is_looked_at_before_any_is_run(monkeypatch):
    def run(*_arguments, **_settings):
        raise AssertionError("no model may run")

    monkeypatch.setattr("hf_transfer.selection.rank.ranking.layer_features", run)
    config = RunConfig(dataset="builtin:reviews", max_rows=20)
    with pytest.raises(ModelError, match="is for pictures"):
        rank_models(config, ["builtin:tiny-bert", "builtin:digits-resnet"])
