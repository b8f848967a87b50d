"""Pictures with a text the whole way: to a model that plain code loads, and what each part says alone."""

import csv
import json
import re

import numpy as np
import pytest
from hub_case import hub_for
from small_runs import SOLVED, edit, wrong
from two_towers import rows_in, save_clip, save_siglip, trained

from hf_transfer import push, score
from hf_transfer.cli.main import main
from hf_transfer.errors import DataError
from hf_transfer.report.card.card import write_card
from hf_transfer.report.compare import compare_runs, open_runs
from hf_transfer.report.page.page import render
from hf_transfer.runs.hub.files import check_card, collect
from hf_transfer.runs.results import read_results
from hf_transfer.runs.summary import summary_text
from hf_transfer.study.final.predict import predict_inputs
from hf_transfer.study.final.trained import TrainedModel
from hf_transfer.verify.verify_run import verify_run

NEAR = 1e-6
NEW = {"image": "data/3.png", "text": "old cold new"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image_text")
    save_clip(folder / "base")
    return trained(folder, rows_in(folder / "data", wrong_every=7))


def test_frozen_towers_are_run_once_and_each_part_is_scored_on_the_same_folds(run):
    folder, _ = run
    results = read_results(folder)
    (stored,) = results.replay
    assert (results.input, stored.cut, stored.stored_per_row) == ("image_text", "output", [3 * 8 + 2])
    assert results.frozen_proof.equal
    parts = results.parts
    assert list(parts.means) == ["picture", "text", "both"]
    assert len(set(map(len, [parts.folds, *parts.scores.values()]))) == 1
    assert parts.scores["both"] == results.probe.scores
    text = summary_text(results)
    assert re.search(r"one part alone: picture alone [\d.]+, text alone [\d.]+, both [\d.]+\.", text)


def test_everything_that_is_written_follows_from_the_predictions(run):
    folder, _ = run
    write_card(folder)
    checks = verify_run(folder)
    assert [check for check in checks if check.state == "wrong"] == []
    assert "one part alone" in [check.name for check in checks]
    before = (folder / "results.json").read_bytes()
    edit(folder, lambda results: results["parts"]["means"].update(text=0.123))
    try:
        assert "parts" in wrong(folder)
    finally:
        (folder / "results.json").write_bytes(before)


def test_the_code_of_the_card_gives_the_logits_of_the_kit_also_where_one_is_missing(run, monkeypatch):
    folder, _ = run
    write_card(folder)
    card = (folder / "README.md").read_text()
    check_card(card)
    assert "pipeline_tag" not in card
    assert "### One part alone" in card
    monkeypatch.chdir(folder.parent)
    (folder.parent / "picture.jpg").write_bytes((folder.parent / "data/0.png").read_bytes())
    (code,) = re.findall(r"```python\n(.*?)```", card.split("<!-- hf-transfer:end use -->")[0], re.S)
    known = {}
    exec(code, known)
    pairs = [("data/3.png", "old cold new"), ("data/2.png", None), (None, "small warm"), ("data/1.png", " ")]
    values = [{"image": path and {"bytes": None, "path": path}, "text": text} for path, text in pairs]
    ours = TrainedModel.open(folder).outputs(values)
    plain = [known["classify"](*pair).log_softmax(dim=0).numpy() for pair in pairs]
    assert np.abs(np.concatenate(ours) - np.stack(plain)).max() <= NEAR


@pytest.mark.parametrize("target", [pytest.param("numbers", marks=pytest.mark.slow), "label_sets"])
@pytest.mark.slow
def test_numbers_and_sets_are_learned_and_the_code_of_the_card_runs(target, tmp_path, monkeypatch):
    save_clip(tmp_path / "base")
    rows = rows_in(tmp_path / "data", 24)
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    for number, line in enumerate(lines):
        red = line["label"] == "red"
        line["label"] = 0.25 * number + red if target == "numbers" else ["red"] * red + ["small"]
    rows.write_text("\n".join(map(json.dumps, lines)))
    folder, data = trained(tmp_path, rows, num_folds=2)
    assert data.target.name == target
    results = read_results(folder)
    assert (results.final.kind, results.parts.metric) == ("refit", results.primary_metric)
    write_card(folder)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picture.jpg").write_bytes((tmp_path / "data/0.png").read_bytes())
    card = (folder / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card.split("<!-- hf-transfer:end use -->")[0], re.S)
    exec(code, {})


@pytest.mark.slow
def test_the_code_of_the_card_of_an_ensemble_runs(run, tmp_path, monkeypatch):
    data = run[0].parent / "data/rows.jsonl"
    folder, _ = trained(run[0].parent, data, final="ensemble", num_folds=2, output_dir=str(tmp_path / "run"))
    write_card(folder)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picture.jpg").write_bytes((data.parent / "0.png").read_bytes())
    card = (folder / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card.split("<!-- hf-transfer:end use -->")[0], re.S)
    exec(code, {})


@pytest.mark.slow
def test_files_and_words_are_labelled_alike_and_rows_scored(run, monkeypatch, tmp_path):
    folder, _ = run
    monkeypatch.chdir(folder.parent)
    place = folder.parent / "data/3.png"
    new = NEW | {"image": str(place)}
    rows = [new | {"label": "red"}, new | {"label": "blue"}]
    data_folder = folder.parent / "data"
    (data_folder / "new.jsonl").write_text("\n".join(json.dumps(row | {"image": "3.png"}) for row in rows))
    with (data_folder / "new.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "text"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows([row | {"image": "3.png"} for row in rows])
    (tmp_path / "new.txt").write_text(f"{place}\t{new['text']}\n" * 2)
    ways = [[str(data_folder / "new.jsonl")], [str(data_folder / "new.csv")], [str(tmp_path / "new.txt")]]
    answers = [predict_inputs(folder, way)[0] for way in (*ways, [str(place), new["text"]] * 2)]
    labels = [[(one["label"], one["probability"]) for one in some] for some in answers]
    assert labels[0] == labels[1] == labels[2] == labels[3]
    assert predict_inputs(folder, [json.dumps(new)])[0][0]["label"] == labels[0][0][0]
    predict_inputs(folder, ways[1], output=tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().startswith("image,text,")
    assert score(folder, data_folder / "new.jsonl").num_rows <= 2
    with pytest.raises(DataError, match=r"reads pictures with texts, and 'alone.png' has no text"):
        predict_inputs(folder, ["alone.png"])
    with pytest.raises(DataError, match=r"1 picture with a text cannot be read"):
        predict_inputs(folder, ["nowhere.png", "a text"])


def test_a_report_shows_the_picture_and_the_text_of_hard_rows(run):
    folder, _ = run
    page = render(open_runs([folder])[0])
    assert "data:image/jpeg;base64," in page
    assert re.search(r"(small|large|old|new|round) (warm|cold)", page)


@pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")
@pytest.mark.slow
def test_what_is_pushed_answers_as_the_run_does(run, tmp_path, monkeypatch):
    folder, _ = run
    write_card(folder)
    assert {"model.safetensors", "classifier.safetensors", "config.json"} <= collect(folder).keys()
    given = [str(folder.parent / "data/3.png"), NEW["text"]]
    with hub_for(monkeypatch, tmp_path):
        push(folder, "ada/pictures")
        assert predict_inputs("ada/pictures", given) == predict_inputs(folder, given)


def test_a_run_is_compared_with_one_of_other_settings(run):
    folder, _ = run
    other, _ = trained(
        folder.parent, folder.parent / "data/rows.jsonl", output_dir=str(folder.with_name("other")),
        final="none", **SOLVED,
    )  # fmt: skip
    (pair,) = compare_runs(open_runs([folder, other])).pairs
    assert pair.rows is not None
    results = read_results(other)
    assert results.probe is None  # a closed form made the head
    assert results.parts == read_results(folder).parts


@pytest.mark.parametrize("useless", [pytest.param("picture", marks=pytest.mark.slow), "text"])
@pytest.mark.slow
def test_a_part_that_says_nothing_does_not_make_both_significantly_worse(useless, tmp_path):
    save_clip(tmp_path / "base")
    telling = {"picture": "text", "text": "picture"}[useless]
    rows = rows_in(tmp_path / "data", 80, told_by=(telling,), seed=1)
    run, _ = trained(tmp_path, rows, final="none", **SOLVED)
    parts = read_results(run).parts
    assert parts.best == telling
    assert parts.means[telling] >= parts.means[useless] + 0.2
    assert parts.ahead > -0.05 or parts.p > 0.05


@pytest.mark.slow
def test_two_parts_that_tell_a_label_only_together_beat_either_alone(tmp_path):
    save_clip(tmp_path / "base")
    rows = rows_in(tmp_path / "data", 80, told_by=())
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    pictures = [
        np.asarray(open_picture(tmp_path / "data" / line["image"])).mean(axis=(0, 1)) for line in lines
    ]
    for line, (red, _, blue) in zip(lines, pictures, strict=True):
        line["label"] = "fits" if (red > blue) == ("warm" in line["text"]) else "differs"
    rows.write_text("\n".join(map(json.dumps, lines)))
    run, _ = trained(tmp_path, rows, final="none", **SOLVED)
    means = read_results(run).parts.means
    assert means["both"] >= max(means["picture"], means["text"]) + 0.1


def open_picture(path):
    from PIL import Image

    return Image.open(path)


@pytest.mark.slow
def test_rows_without_one_of_the_two_are_kept_and_said(tmp_path):
    save_clip(tmp_path / "base")
    rows = rows_in(tmp_path / "data", 24)
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    for row in (0, 5):
        lines[row]["image"] = None
    lines[7]["text"] = "  "
    lines[9] |= {"image": None, "text": None}
    rows.write_text("\n".join(map(json.dumps, lines)))
    run, data = trained(tmp_path, rows, num_folds=2)
    assert len(data.rows) == 23
    notes = " ".join(read_results(run).notes)
    assert "2 rows without a picture and 1 row without a text: what is missing counts as zeros" in notes
    assert "1 row with neither a picture nor a text left out" in notes


@pytest.mark.slow
def test_a_model_whose_texts_have_one_length_is_stored_too(tmp_path):
    save_siglip(tmp_path / "base")
    run, _ = trained(tmp_path, rows_in(tmp_path / "data", 24), num_folds=2, final="none")
    results = read_results(run)
    (stored,) = results.replay
    assert (stored.cut, stored.stored_per_row) == ("output", [3 * 16 + 2])
    assert results.parts is not None
    assert results.frozen_proof.equal


@pytest.mark.slow
def test_last_blocks_of_both_towers_learn(tmp_path):
    save_clip(tmp_path / "base")
    run, _ = trained(
        tmp_path, rows_in(tmp_path / "data", 24), num_folds=2, trainable="last:1", num_epochs=1, final="none"
    )
    results = read_results(run)
    assert results.frozen_proof.equal
    assert [row.trainable for row in results.layers] == [0, 0, 0, results.layers[3].parameters, 26 * 2 + 2]


@pytest.mark.slow
def test_rows_are_inspected_and_a_model_of_two_towers_ranked_by_the_features_of_both(run, capsys):
    folder = run[0].parent
    rows, base = str(folder / "data/rows.jsonl"), str(folder / "base")
    assert main(["inspect", rows, "--kind", "image_text"]) == 0
    assert "Pictures are in column 'image', their texts in 'text'" in capsys.readouterr().out
    assert main(["rank", rows, base, "--kind", "image_text", "--num_folds", "2"]) == 0
    assert "block.2" in capsys.readouterr().out
    assert main(["rank", rows, "builtin:tiny-bert", "--kind", "image_text"]) == 2


@pytest.mark.slow
def test_layers_and_rate_are_searched(run, tmp_path):
    folder = run[0].parent
    words = [
        "search", "image_text_classification", "--dataset", str(folder / "data/rows.jsonl"),
        "--base_model", str(folder / "base"), "--num_folds", "2", "--num_repeats", "1",
        "--output_dir", str(tmp_path / "found"), "--max_rows", "20", "--final", "none",
    ]  # fmt: skip
    assert main(words) == 0
    assert read_results(tmp_path / "found").config.base_model == str(folder / "base")
