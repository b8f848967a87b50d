"""Several base models for the same rows."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import edit

from hf_transfer import RunConfig, predict
from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError, DataError, HubError
from hf_transfer.models.base_model import _builtin_folder
from hf_transfer.report.page.page import write_report
from hf_transfer.runs.combine_record import CombineRecord
from hf_transfer.runs.hub.files import collect
from hf_transfer.runs.reading import read_record
from hf_transfer.runs.results import read_results
from hf_transfer.selection.rank.benchmark import make_benchmark
from hf_transfer.training.workers import make_accelerator
from hf_transfer.transfer.combining import combine, combine_models, judge_members
from hf_transfer.transfer.features import chosen, labelled_features
from hf_transfer.transfer.members import in_order_of
from hf_transfer.transfer.publishing import publish_combination
from hf_transfer.verify.verify_run import verify_run

DIGITS = {"dataset": "builtin:digits_5to9", "max_rows": 60, "num_folds": 3}
MODELS = ["builtin:digits-resnet", _builtin_folder("builtin:digits-resnet")]  # a model and its copy
QUICK = {"max_rows": 40, "num_folds": 2, "learning_curve": False}


@pytest.fixture(scope="module")
def digits():
    config = RunConfig(**DIGITS, base_model=MODELS[0])
    found = labelled_features(config, make_accelerator(config))
    return found, make_benchmark(found.data, config, 1)


def shuffled(found, seed=0):
    return chosen(found, np.random.default_rng(seed).permutation(len(found)))


def test_rows_are_matched_by_id_not_by_place(digits):
    found, benchmark = digits
    mixed = shuffled(found)
    assert mixed.row_ids != found.row_ids
    again = in_order_of(found, mixed)
    assert again.row_ids == found.row_ids
    assert (again.values == found.values).all()
    straight, permuted = (judge_members(benchmark, [found, one], "mean") for one in (found, mixed))
    for ours, theirs in zip(straight.probe("mean").decisions, permuted.probe("mean").decisions, strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_features_of_other_rows_are_refused(digits):
    found, _ = digits
    with pytest.raises(DataError, match="features of different rows: 60 and 59"):
        in_order_of(found, chosen(found, np.arange(59)))


def test_noise_gets_little_weight_and_a_copy_gains_nothing(digits):
    found, benchmark = digits
    rng = np.random.default_rng(0)
    noise = replace(found, values=rng.standard_normal(found.values.shape).astype(np.float32))
    judged = judge_members(benchmark, [found, noise], "nnls")
    assert judged.weights("pick")[1] == 0
    for way in ("greedy", "nnls"):
        assert judged.weights(way)[1] < 0.15
        assert judged.final_weights(way)[1] < 0.15
    copied = judge_members(benchmark, [found, found], "concat")
    for way in ("mean", "greedy", "nnls"):
        assert copied.gains[way].difference == 0
        assert copied.gains[way].verdict == "can't tell"
    assert copied.gains["concat"].verdict != "better"


def test_no_row_is_scored_by_a_weight_that_it_took_part_in(digits):
    """Other labels of the held-out rows change neither temperatures nor weights."""
    found, benchmark = digits
    judged = judge_members(benchmark, [found, shuffled(found)], "nnls")
    _, valid = benchmark.splits[0]
    labels = benchmark.labels.copy()
    labels[valid] = (labels[valid] + 1) % 5
    other = make_benchmark(found.data, benchmark.config, 1)
    object.__setattr__(other, "labels", labels)
    object.__setattr__(other, "splits", benchmark.splits)
    again = judge_members(other, [found, found], "nnls")
    assert again.outputs[0].weights("nnls") == pytest.approx(judged.outputs[0].weights("nnls"))
    assert again.outputs[0].temperatures == pytest.approx(judged.outputs[0].temperatures)


def test_training_rows_claim_more_than_they_give(digits):
    found, benchmark = digits
    claimed, gets = judge_members(benchmark, [found, found], "mean").claims("mean")
    assert claimed > gets


def test_the_verb_publishes_the_best_alone_and_its_card_tells(tmp_path, capsys):
    words = ["combine", DIGITS["dataset"], *MODELS, "--max_rows", "40", "--num_folds", "2", "--repeats", "1"]
    words += ["--output_dir", str(tmp_path), "--learning_curve", "false"]
    assert main(words) == 0
    text = capsys.readouterr().out
    record = read_record(CombineRecord, tmp_path / "combine.json")
    assert "No gain over the best model alone" in text
    assert record.published in text
    results = read_results(tmp_path)
    assert results.base_model == record.members[0].base_model  # of equals the first
    assert len(results.folds) == record.folds.num_folds * record.folds.num_repeats == 2  # few rows have 5
    assert not record.joined
    card = (tmp_path / "README.md").read_text()
    assert "### Beside other base models" in card
    assert "| nnls |" in card
    assert "Beside other base models" in write_report(tmp_path).read_text()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Two models that answer together, and what was judged of them."""
    config = RunConfig(**DIGITS | QUICK, trainable="head", output_dir=str(tmp_path_factory.mktemp("joined")))
    record = combine_models(config, MODELS, "mean", num_repeats=1)
    record = replace(record, final_weights=[0.25, 0.75])
    publish_combination(config, record, judge_only=False)
    return config, record


@pytest.fixture
def copied(together, tmp_path):
    """A copy of these that may be spoiled, and a picture."""
    config, record = together
    folder = shutil.copytree(config.output_dir, tmp_path / "run")
    picture = tmp_path / "five.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8)).save(picture)
    return replace(config, output_dir=str(folder)), record, str(picture)


def test_several_that_answer_together_are_read_by_predict(copied):
    """Their probabilities are the weighted mean of the members'."""
    config, record, picture = copied
    folder = Path(config.output_dir)
    assert not (folder / "results.json").exists()
    (answer,) = predict(folder, picture, all_probabilities=True)
    parts = [
        predict(folder / "members" / str(place), picture, all_probabilities=True)[0]["probabilities"]
        for place in (0, 1)
    ]
    for name, share in answer["probabilities"].items():
        wanted = sum(weight * one[name] for weight, one in zip((0.25, 0.75), parts, strict=True))
        assert share == pytest.approx(wanted, abs=1e-5)
    (folder / "results.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds the run of one model, and several are to be published"):
        publish_combination(config, record, judge_only=False)
    (folder / "results.json").unlink()
    with pytest.raises(ConfigError, match="one of several models that answer together"):
        predict(folder, picture, threshold="f1")


def test_a_member_that_became_another_is_refused(copied):
    config, _, picture = copied
    folder = Path(config.output_dir)
    first, second = folder / "members" / "0", folder / "members" / "1"
    names = json.loads((first / "results.json").read_text())["label_names"]
    edit(first, lambda values: values.update(label_names=names[::-1]))
    with pytest.raises(ConfigError, match=r"members.0 is a run for \['9', .*run weighs one for \['5', '6'"):
        predict(folder, picture)
    shutil.rmtree(first)
    shutil.copytree(second, first)
    with pytest.raises(
        ConfigError, match=r"0 is a run of .*, and .* weighs one of builtin:digits-resnet: what"
    ):
        predict(folder, picture)
    shutil.rmtree(first)
    with pytest.raises(ConfigError, match=r"members.0.results\.json does not exist"):
        predict(folder, picture)
    edit(folder, lambda values: values.update(final_weights=[0.2, 0.3, 0.5]), "combine.json")
    with pytest.raises(ConfigError, match=r"combine\.json has 3 weights of 2 members"):
        predict(folder, picture)


def test_weights_and_members_are_never_of_different_combinations(copied, monkeypatch):
    """Neither a combination that is only judged, nor one that is killed before it is whole, leaves both."""
    config, record, picture = copied
    with pytest.raises(
        ConfigError, match=r"answer together by the weights in its combine\.json, which judge_"
    ):
        publish_combination(config, record, judge_only=True)
    monkeypatch.setattr("hf_transfer.transfer.publishing._run", lambda *_: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        publish_combination(config, replace(record, final_weights=[0.9, 0.1]), judge_only=False)
    with pytest.raises(ConfigError, match="holds no finished run"):
        predict(config.output_dir, picture)


def test_verify_and_push_name_the_members(copied):
    folder = copied[0].output_dir
    with pytest.raises(
        ConfigError, match=r"combine\.json.*Its members are runs of their own, such as .*members.0"
    ):
        verify_run(folder)
    with pytest.raises(
        HubError, match=r"not a finished run\. Its members are: push .*members.0 and the others"
    ):
        collect(Path(folder))
    assert {"README.md", "model.safetensors"} <= collect(Path(folder) / "members" / "0").keys()
    assert all(check.state != "wrong" for check in verify_run(Path(folder) / "members" / "0"))


def test_judging_alone_leaves_no_run(tmp_path):
    found = combine(
        DIGITS["dataset"], MODELS, num_repeats=1, judge_only=True, output_dir=str(tmp_path), **QUICK
    )
    assert [path.name for path in tmp_path.iterdir()] == ["combine.json"]
    assert "CombineRecord" in repr(found)


def test_one_head_on_all_features_has_no_weights_of_models():
    record = combine_models(RunConfig(**DIGITS | QUICK), MODELS, "concat", num_repeats=1)
    assert record.member_rows[0][-1] == "weight in pick"
    assert "judged on training rows, concat would have claimed" in record.verdict


def test_bad_calls_say_what_is_allowed():
    config = RunConfig(**DIGITS)
    with pytest.raises(ConfigError, match="combine='vote' is not one of pick, mean, greedy, nnls, concat"):
        combine_models(config, MODELS, "vote")
    with pytest.raises(ConfigError, match="nothing to be combined with"):
        combine_models(config, MODELS[:1])
    with pytest.raises(ConfigError, match="each once"):
        combine_models(config, [MODELS[0], MODELS[0]])
