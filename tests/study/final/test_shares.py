"""The curve over shares of the fine-tuned weights: both ends of a final model, kept and rebuilt."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from small_runs import edit, make_run, wrong

from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError
from hf_transfer.report.card.card import write_card
from hf_transfer.report.plots.shares import share_curve
from hf_transfer.report.scored import score
from hf_transfer.runs.hub.files import collect
from hf_transfer.runs.results import read_results
from hf_transfer.runs.wise import FOLDERS
from hf_transfer.study.final.ends import START_FILE, TUNED_FILE, BetweenEnds
from hf_transfer.study.final.final_model import _FinalModel
from hf_transfer.study.final.trained import TrainedModel

SMALL = {"trainable": "last:1", "num_folds": 2, "head_start": "auto", "max_rows": 30, "final": "refit"}
OTHERS = {"dataset": "builtin:digits_5to9", "max_rows": 90, "seed": 5}


def train(folder: Path, kind: str = "pictures", **settings) -> Path:
    folder.mkdir(exist_ok=True)
    return make_run(kind, folder, card=False, **SMALL | settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return train(tmp_path_factory.mktemp("shares"), wise="0.5")


@pytest.fixture
def copy(run, tmp_path) -> Path:
    return Path(shutil.copytree(run, tmp_path / run.name))


@pytest.fixture(scope="module")
def scored(run):
    return score(run, wise_curve=True, **OTHERS)


def is_published(run: Path, share: float) -> bool:
    """Whether the model of a share has the weights that the run published."""
    published = load_file(run / "model" / "model.safetensors")
    state = BetweenEnds(TrainedModel.open(run), torch.device("cpu")).at(share).state_dict()
    return all(torch.equal(state[name], published[name.removeprefix("timm_model.")]) for name in state)


def test_the_published_share_is_the_published_model_to_the_bit_and_the_ends_are_others(run):
    assert [is_published(run, share) for share in (0.0, 0.5, 1.0)] == [False, True, False]


def test_each_share_stands_beside_its_score_under_the_folds(run, scored):
    results = read_results(run)
    assert [one.share for one in scored.wise_curve] == list(FOLDERS)
    assert [one.cross_validated for one in scored.wise_curve] == [
        one.mean for one in results.wise.curve.values()
    ]
    (published,) = [one for one in scored.wise_curve if one.published]
    assert (published.share, published.value) == (0.5, scored.scores["accuracy"].value)
    assert published.interval == scored.scores["accuracy"].interval
    assert published.cross_validated == results.scores["accuracy"].mean
    assert len({one.value for one in scored.wise_curve}) > 2


def test_the_curve_is_written_and_told_with_what_it_must_not_be_used_for(run, scored, capsys):
    (folder,) = (run / "scored").iterdir()
    rows = pq.read_table(folder / "wise_curve.parquet").to_pandas()
    right = (rows["label"] == rows["prediction"]).groupby(rows["share"]).mean()
    assert right.tolist() == pytest.approx([one.value for one in scored.wise_curve])
    assert (folder / "wise_curve.png").is_file()
    others = OTHERS["dataset"], "--max_rows", "90", "--seed", "5"
    assert main(["score", str(run), *others, "--wise_curve"]) == 0
    said = capsys.readouterr().out
    assert "share  the run's folds  these rows" in said
    assert "published" in said
    assert "A share that is chosen by this curve is chosen on them" in said
    assert "A share that is chosen" in scored._repr_html_()


def test_without_the_flag_nothing_is_said_of_shares(run):
    assert score(run, **OTHERS).wise_curve == []


def test_a_share_of_ones_own_is_a_point_of_the_curve_too_and_a_temperature_part_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(_FinalModel, "_temperature", 1.7)
    run = train(tmp_path / "a", wise="0.3")
    assert [is_published(run, share) for share in (0.3, 0.25)] == [True, False]
    curve = {one.share: one for one in score(run, wise_curve=True, **OTHERS).wise_curve}
    assert list(curve) == [0.0, 0.25, 0.3, 0.5, 0.75, 1.0]
    assert curve[0.3].cross_validated == read_results(run).scores["accuracy"].mean


def test_there_is_no_picture_without_the_score_of_every_share_under_the_folds(scored):
    lacking = replace(scored.wise_curve[1], cross_validated=None)
    assert share_curve(replace(scored, wise_curve=[scored.wise_curve[0], lacking])) is None
    assert share_curve(replace(scored, wise_curve=[])) is None


def test_a_run_that_averages_nothing_has_no_curve(tmp_path):
    plain = train(tmp_path / "a", trainable="head", head_start="random", max_rows=20)
    with pytest.raises(
        ConfigError, match=r"pictures was made without --wise\. Run the recipe with --wise auto"
    ):
        score(plain, wise_curve=True, **OTHERS)
    joined = train(tmp_path / "b", wise="0.5", final="ensemble")
    with pytest.raises(ConfigError, match=r"pictures publishes final=ensemble\. Run the recipe with --wise"):
        score(joined, wise_curve=True, **OTHERS)


def test_ends_are_not_published_and_where_gone_or_changed_refused_until_another_run(copy, capsys):
    write_card(copy)
    assert not {path.name for path in collect(copy).values()} & {START_FILE, TUNED_FILE}
    before = {path: path.read_bytes() for path in (copy / "final").iterdir()}
    results = read_results(copy)
    end = copy / "final" / TUNED_FILE
    end.write_bytes(end.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(ConfigError, match=r"final, file tuned\.safetensors changed since the run\. Remove"):
        score(copy, wise_curve=True, **OTHERS)
    assert f"final/{TUNED_FILE}: is not as it was kept, by done.json" in wrong(copy)
    end.unlink()
    with pytest.raises(ConfigError, match=r"they were deleted or not downloaded, or an earlier version"):
        score(copy, wise_curve=True, **OTHERS)
    assert wrong(copy) == ""
    train(copy.parent, wise="0.5")
    assert f"The final model is made again: {end} is damaged or gone." in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (copy / "final").iterdir()} == before
    assert read_results(copy).final == results.final


def test_a_run_of_an_earlier_version_is_verified_and_refused(copy):
    shutil.rmtree(copy / "final")
    for share in (0.25, 0.5, 0.75):
        shutil.rmtree(copy / "folds" / FOLDERS[share])
    edit(copy, lambda values: values["wise"].pop("curve"))
    assert wrong(copy) == ""
    with pytest.raises(ConfigError, match=r"or an earlier version made the run\. Remove .*final and run the"):
        score(copy, wise_curve=True, **OTHERS)


@pytest.mark.slow
def test_a_forged_point_of_the_curve_is_found(copy):
    edit(copy, lambda values: values["wise"]["curve"]["0.25"].update(mean=0.99))
    assert "wise.curve.0.25.mean" in wrong(copy)


def sets_of_labels(path: Path) -> str:
    words = ("good", "bad", "long")
    rows = [
        {"text": f"{words[i % 3]} {words[i % 2]} {i}", "label": [words[i % 3], words[i % 2]]}
        for i in range(60)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> dict[str, str]:
    """Runs whose models stand in for pretrained ones, where no built-in has weights."""
    runs = {}
    for kind in ("text", "sounds", "words"):
        runs[kind] = str(
            train(tmp_path_factory.mktemp("base"), kind, trainable="all", max_rows=18, num_epochs=2)
        )
    return runs


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "sounds", "words", "numbers", "label sets"])
def test_it_works_for_other_inputs_and_labels(kind, tmp_path, pretrained):
    asked = {
        "numbers": {"target": "numbers"},
        "label sets": {"dataset": sets_of_labels(tmp_path / "sets.jsonl")},
    }
    trained = {"numbers": "pictures", "label sets": "text"}.get(kind, kind)
    base = {"base_model": pretrained[trained], "transductive": True} if trained in pretrained else {}
    run = train(tmp_path / "a", trained, wise="auto", **{"max_rows": 18, **base, **asked.get(kind, {})})
    results = read_results(run)
    found = score(run, results.config.dataset, max_rows=40, seed=5, wise_curve=True)
    assert [one.share for one in found.wise_curve] == list(FOLDERS)
    assert all(None not in (one.value, one.cross_validated) for one in found.wise_curve)
    assert any("without cut points" in note for note in found.notes) == bool(results.cuts)
    assert wrong(run) == ""
