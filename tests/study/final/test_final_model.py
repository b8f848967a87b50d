import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from small_runs import plain_config
from transformers import pipeline

from hf_transfer import (
    CrossValidationResult,
    ImageClassification,
    RunConfig,
    SequenceClassification,
    TokenClassification,
    cross_validate,
    open_dataset,
)
from hf_transfer.cli.main import main
from hf_transfer.data.data_files import read_file
from hf_transfer.errors import ConfigError
from hf_transfer.report.card.card import write_card
from hf_transfer.report.plots import scores as plots
from hf_transfer.runs.hub.files import collect
from hf_transfer.study.final import final_model
from hf_transfer.study.final.predict import predict, predict_inputs
from hf_transfer.study.fold_runner import FoldRunner

DIGITS = plain_config(
    base_model="builtin:digits-resnet", dataset="builtin:digits_5to9", max_rows=60, num_folds=2, num_epochs=1,
    learning_rate=3e-3, batch_size=16, trainable="last:1", sealed=0.1,
)  # fmt: skip
TEXTS = ["A wonderful little radio.", "It broke and nobody answered.", "Fine."]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr(plots, "save_plots", lambda *_: [])


def run(config: RunConfig, kind=ImageClassification) -> CrossValidationResult:
    data = open_dataset(config, kind)
    return cross_validate(kind(config, data.label_names), data, config)


def weights(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.safetensors"))}


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    config = replace(DIGITS, final="ensemble", output_dir=str(tmp_path_factory.mktemp("final") / "ensemble"))
    return Path(config.output_dir), config, run(config)


@pytest.fixture(scope="module")
def soup(tmp_path_factory):
    """A soup that was accepted, whose members still lie where they were trained."""
    config = replace(DIGITS, final="soup", output_dir=str(tmp_path_factory.mktemp("final") / "soup"))
    with pytest.MonkeyPatch.context() as patch:
        accept(patch, True)
        patch.setattr(final_model._FinalModel, "_drop_members", lambda _: None)
        result = run(config)
    return Path(config.output_dir), config, result


def accept(patch: pytest.MonkeyPatch, accepted: bool) -> None:
    judge_soup = final_model.judge_soup
    patch.setattr(
        final_model,
        "judge_soup",
        lambda *values, **names: replace(judge_soup(*values, **names), accepted=accepted),
    )


def test_an_ensemble_keeps_each_folds_model_so_that_it_loads_by_itself(ensemble):
    folder, _, result = ensemble
    final = result.results.final
    assert (final.kind, final.members) == ("ensemble", ["fold-r0f0", "fold-r0f1"])
    assert list(weights(folder / "model")) == [f"{name}/model.safetensors" for name in final.members]
    assert not list(folder.glob("folds/**/*.safetensors"))
    from transformers import AutoModelForImageClassification

    for name in final.members:
        model = AutoModelForImageClassification.from_pretrained(folder / "model" / name)
        assert list(model.config.id2label.values()) == result.results.label_names


def test_sealed_rows_are_in_no_fold_and_scored_by_what_is_published(ensemble):
    folder, config, result = ensemble
    sealed = result.results.final.sealed
    assert sealed.num_rows == 6
    assert result.results.dataset.num_rows == result.predictions.num_rows == 54
    assert len(set(pq.read_table(folder / "folds.parquet")["row_id"].to_pylist())) == 54
    rows = {row["row_id"]: row for row in open_dataset(config, "image").rows}
    left_out = rows.keys() - set(result.predictions["row_id"].to_pylist())
    pictures = [str(folder / f"{row}.png") for row in left_out]
    for row, path in zip(left_out, pictures, strict=True):
        Path(path).write_bytes(rows[row]["input"]["bytes"])
    found, _ = predict_inputs(folder, pictures)
    names = result.results.label_names
    right = [one["label"] == names[rows[row]["label"]] for one, row in zip(found, left_out, strict=True)]
    assert np.mean(right) == pytest.approx(sealed.scores["accuracy"])


def test_running_an_ensemble_again_trains_nothing(ensemble, monkeypatch):
    folder, config, _ = ensemble
    before = weights(folder / "model")
    monkeypatch.setattr(FoldRunner, "fit", lambda *_, **__: pytest.fail("a fold was trained again"))
    run(config)
    assert weights(folder / "model") == before


@pytest.mark.slow
def test_a_model_that_was_not_kept_is_trained_again_and_is_the_same(ensemble):
    folder, config, _ = ensemble
    before = weights(folder / "model")
    shutil.rmtree(folder / "model" / "fold-r0f1")
    run(config)
    assert weights(folder / "model") == before


def test_a_copy_of_the_repository_predicts_as_the_run_does(ensemble, tmp_path):
    folder, _, result = ensemble
    write_card(folder)
    for name, path in collect(folder).items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "copy" / name)
    assert {"calibration.json", "fold-r0f1/config.json", "fold-r0f1/model.safetensors"} <= {
        path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*")
    }
    row = next(iter(open_dataset(plain_config(dataset="builtin:digits_5to9"), "image").rows))
    (tmp_path / "one.png").write_bytes(row["input"]["bytes"])
    one = str(tmp_path / "one.png")
    assert predict_inputs(tmp_path / "copy", [one]) == predict_inputs(folder, [one])
    card = (folder / "README.md").read_text()
    assert "ensemble of the 2 models of the folds" in card
    assert "takes 2 times what one model takes" in card
    assert "6 rows, a share of 10 % as asked, were set aside" in card
    assert result.results.final.kind == "ensemble"


def test_a_soup_is_the_mean_of_folds_that_began_alike(soup):
    folder, _, result = soup
    final, head = result.results.final, "fc.weight"
    assert final.kind == "soup"
    assert {fold.start_hash for fold in result.folds} == {final.start.hash}
    found = load_file(folder / "model" / "model.safetensors")
    members = [load_file(folder / "folds" / f"r0f{i}" / "model" / "model.safetensors") for i in (0, 1)]
    mean = (members[0][head] + members[1][head]) / 2
    temperature = result.results.calibration.temperature
    np.testing.assert_allclose(temperature * found[head], mean, rtol=1e-5, atol=1e-7)
    assert not np.array_equal(members[0][head], members[1][head])


def test_a_soup_is_one_model_for_plain_transformers(soup):
    folder, _, result = soup
    from transformers import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(folder / "model")
    assert list(model.config.id2label.values()) == result.results.label_names
    write_card(folder)
    assert "mean of those of the 2 models of the folds" in (folder / "README.md").read_text()
    assert 0 <= result.results.final.agreement.share <= 1


@pytest.mark.slow
def test_a_soup_that_is_not_good_enough_gives_way_to_a_model_of_all_rows(soup, monkeypatch, capsys):
    folder, config, _ = soup
    shutil.rmtree(folder / "final")  # what says that the model is finished
    accept(monkeypatch, False)
    final = run(config).results.final
    assert final.kind == "refit"
    assert final.soup.accepted is False
    assert "mean of the folds' weights is not published, as its accuracy" in final.notes[0]
    assert final.notes[0] in capsys.readouterr().err
    write_card(folder)
    card = (folder / "README.md").read_text()
    assert "The mean of the folds' weights is not published" in card
    assert "run once more on all 54 rows" in card
    assert list(weights(folder)) == ["model/model.safetensors"]


def test_folds_with_starts_of_their_own_are_not_made_a_soup(ensemble):
    _, config, _ = ensemble
    with pytest.raises(ConfigError, match="new_weights='of each fold' there, 'of all folds' here"):
        run(replace(config, final="soup"))


@pytest.mark.slow
def test_the_best_of_a_grid_is_trained_again_for_an_ensemble(tmp_path):
    config = replace(
        DIGITS, learning_rates=(1e-4, 3e-3), trainable="head", sealed=0.0, final="ensemble",
        output_dir=str(tmp_path / "grid"),
    )  # fmt: skip
    result = run(config)
    assert result.results.final.members == ["fold-r0f0", "fold-r0f1"]
    assert result.results.final.sealed is None
    record = json.loads((tmp_path / "grid" / "model" / "fold-r0f1" / "fold.json").read_text())
    assert (record["repeat"], record["fold"]) == (0, 1)
    write_card(tmp_path / "grid")
    assert (
        "own score is unknown, as each row was learned from by 1 of them"
        in (tmp_path / "grid" / "README.md").read_text()
    )


@pytest.mark.slow
def test_tags_of_an_ensemble_are_those_of_the_mean_probabilities(tmp_path):
    config = plain_config(
        base_model="builtin:tiny-bert", dataset="builtin:mentions", max_rows=24, num_folds=2, num_epochs=1,
        max_length=16, learning_rate=2e-3, batch_size=8, final="ensemble", output_dir=str(tmp_path / "ner"),
    )  # fmt: skip
    result = run(config, TokenClassification)
    assert result.results.calibration is None
    assert not (tmp_path / "ner" / "model" / "calibration.json").exists()
    found, text = predict_inputs(tmp_path / "ner", ["Ada went to Paris."])
    assert found[0]["tokens"] == ["Ada", "went", "to", "Paris", "."]  # as the training rows have it
    assert len(found[0]["tags"]) == 5
    assert all(one["text"] == "Ada went to Paris."[one["start"] : one["end"]] for one in found[0]["entities"])
    assert "Paris" in text
    with pytest.raises(ConfigError, match=r"two classes, and .* tags words\. Leave --threshold out"):
        predict_inputs(tmp_path / "ner", ["Ada"], threshold="f1")


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    config = plain_config(
        base_model="builtin:tiny-bert", dataset="builtin:reviews", max_rows=60, num_folds=2, num_epochs=2,
        batch_size=16, learning_rate=3e-3, max_length=16,
        output_dir=str(tmp_path_factory.mktemp("final") / "reviews"),
    )  # fmt: skip
    return config.output_dir, run(config, SequenceClassification)


def test_probabilities_are_calibrated_unless_they_are_asked_for_raw(reviews):
    folder, result = reviews
    temperature = json.loads((Path(folder) / "model" / "calibration.json").read_text())["temperature"]
    assert temperature == result.results.calibration.temperature != 1.0
    own, raw = (predict_inputs(folder, TEXTS, raw=raw)[0] for raw in (False, True))
    for one, other in zip(own, raw, strict=True):
        odds = {
            name: np.log(x["probability"] / (1 - x["probability"]))
            for name, x in (("own", one), ("raw", other))
        }
        assert one["label"] == other["label"]
        assert odds["own"] * temperature == pytest.approx(odds["raw"], rel=1e-3, abs=1e-4)


def test_plain_libraries_give_calibrated_probabilities_too(reviews):
    folder, result = reviews
    assert result.results.final.temperature_in_weights is True
    ours = predict_inputs(folder, TEXTS)[0]
    theirs = pipeline("text-classification", model=str(Path(folder) / "model"))(TEXTS)
    for own, other in zip(ours, theirs, strict=True):
        assert own["label"] == other["label"]
        assert own["probability"] == pytest.approx(other["score"], abs=1e-5)


def test_a_file_comes_back_with_what_was_said_of_each_row(reviews, tmp_path):
    folder, _ = reviews
    (tmp_path / "in.csv").write_text("id,text,label\n7,A wonderful little radio.,?\n8,Fine.,\n")
    for name in ("out.csv", "out.jsonl", "out.parquet"):
        assert main(["predict", folder, str(tmp_path / "in.csv"), "--output", str(tmp_path / name)]) == 0
    (tmp_path / "out.csv").rename(tmp_path / "again.csv")  # which is an input itself
    tables = [read_file(tmp_path / name)[0].to_dict() for name in ("again.csv", "out.jsonl", "out.parquet")]
    assert list(tables[0]) == ["id", "text", "label", "predicted_label", "probability"]
    assert tables[0]["id"] == ["7", "8"]
    assert tables[0]["label"] == ["?", ""]
    plain = predict(folder, ["A wonderful little radio.", "Fine."])
    for table in tables:
        assert table["predicted_label"] == [one["label"] for one in plain]
        assert [float(one) for one in table["probability"]] == pytest.approx(
            [o["probability"] for o in plain]
        )


def test_other_labels_are_given_in_their_order(reviews, tmp_path):
    folder, _ = reviews
    ranked = predict(folder, TEXTS, top_k=5)
    for one in ranked:
        assert list(one) == ["input", "label", "probability", "label_2", "probability_2"]
        assert one["probability"] >= one["probability_2"]
    every = predict(folder, TEXTS, all_probabilities=True, output=tmp_path / "out" / "all.csv")
    assert [set(one["probabilities"]) for one in every] == [{"negative", "positive"}] * 3
    names = read_file(tmp_path / "out" / "all.csv")[0].column_names
    assert names == ["text", "label", "probability", "probability_negative", "probability_positive"]
    with pytest.raises(ConfigError, match="top_k=0 must be 1 or more"):
        predict(folder, TEXTS, top_k=0)
    with pytest.raises(ConfigError, match="both given"):
        predict(folder, TEXTS, top_k=2, all_probabilities=True)


@pytest.mark.slow
def test_a_refit_is_not_worse_than_the_folds_by_more_than_chance(tmp_path):
    result = run(replace(DIGITS, max_rows=None, num_folds=2, trainable="head", learning_rate=3e-2, sealed=0.2,
                         num_epochs=3, output_dir=str(tmp_path / "refit")))  # fmt: skip
    sealed, folds = result.results.final.sealed, result.scores["accuracy"].mean
    chance = np.sqrt(folds * (1 - folds) / sealed.num_rows)
    assert sealed.scores["accuracy"] >= folds - 4 * chance
    assert folds > 0.6


@pytest.mark.parametrize("metric", ["f1", "balanced_accuracy"])
def test_a_threshold_is_tuned_on_the_out_of_fold_rows_and_says_so(reviews, capsys, metric):
    folder, _ = reviews
    assert main(["predict", folder, *TEXTS, "--threshold", metric, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    about = found[0]["threshold"]
    assert (about["metric"], about["rows"]) == (metric, 60)
    for one in found:
        positive = one["probability"] if one["label"] == about["positive"] else 1 - one["probability"]
        assert (one["label"] == about["positive"]) == (positive >= about["value"])
    assert main(["predict", folder, *TEXTS, "--threshold", metric]) == 0
    assert f"{metric} {about['score']:.3f} on 60 out-of-fold rows. It was tuned on these rows" in (
        capsys.readouterr().out
    )


def test_a_threshold_of_more_classes_is_refused(ensemble):
    with pytest.raises(ConfigError, match=r"two classes, and .* has 5 classes\. Leave --threshold out"):
        predict_inputs(ensemble[0], ["x.png"], threshold="f1")
