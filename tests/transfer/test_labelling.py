"""Rows that are drawn to be labelled: which, how they are shown, and what their labels say."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from html_page import Page
from scipy.io import wavfile
from sound_models import noise

from hf_transfer import RunConfig, shift
from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.report.page.label import RowToLabel, label_page
from hf_transfer.runs.shift_record import DrawnRows
from hf_transfer.scores.shift.few_labels import exact_interval
from hf_transfer.tasks.inputs.input import Original
from hf_transfer.training.workers import make_accelerator
from hf_transfer.transfer.features import features_of, open_domain, open_labelled
from hf_transfer.transfer.heads import SourceHead
from hf_transfer.transfer.labelling import draw_rows, judge_by_labels, read_labels, write_to_label

MODEL = {"base_model": "builtin:tiny-bert", "max_length": 16, "num_folds": 3}
HOSTILE = "</script><img src=http://x/y onerror=alert(1)>\"'{{ 7*7 }}"


def write(path: Path, seed: int, rows: int = 60) -> str:
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for number in range(rows):
            label = rng.integers(2)
            writer.writerow([f"row {seed}{number} is {('bad', 'good')[label]}", ("no", "yes")[label]])
    return str(path)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    config = RunConfig(dataset=write(folder / "a.csv", 1), **MODEL)
    accelerator = make_accelerator(config)
    source = open_labelled(config)
    target = open_domain(config.changed({"dataset": write(folder / "b.csv", 2)}), source)
    return tuple(features_of([source, target], accelerator))


def table(path: Path, lines) -> Path:
    path.write_text("\n".join(["row_id,label", *(f"{row},{label}" for row, label in lines)]))
    return path


def test_rows_are_drawn_by_their_ids_and_the_seed_alone(both):
    _, target = both
    drawn = draw_rows(target, 10, seed=0)
    assert drawn == draw_rows(target, 20, seed=0)[:10]
    assert len({*drawn}) == 10
    assert {*drawn} <= {*target.row_ids}
    assert drawn != draw_rows(target, 10, seed=1)
    for number in (0, 61):
        with pytest.raises(ConfigError, match="must be from 1 to 60"):
            draw_rows(target, number, seed=0)


def test_every_row_is_drawn_as_often(both):
    counts = np.bincount([row for seed in range(300) for row in draw_rows(both[1], 6, seed)], minlength=60)
    assert counts.min() > 10
    assert counts.max() < 55


def test_the_table_and_the_page_hold_the_drawn_rows(both, tmp_path):
    _, target = both
    row_ids = draw_rows(target, 5, seed=0)
    drawn = write_to_label(target, row_ids, 0, tmp_path)
    with Path(drawn.table).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["row_id"] for row in rows] == [str(row_id) for row_id in row_ids]
    assert {row["label"] for row in rows} == {""}
    page = Page(Path(drawn.page).read_text())
    assert [section["data-row"] for section in page.of("section")] == [str(row_id) for row_id in row_ids]
    texts = target.data.rows["input"][:]
    assert all(texts[row_id] in page.text for row_id in row_ids)
    assert len(page.of("input")) == 5 * 2
    write_to_label(target, row_ids, 0, tmp_path)  # nothing was written into it


def test_the_table_holds_all_of_a_long_text(both, tmp_path):
    _, target = both
    rows = target.data.rows.map(lambda row: {"input": f"{row['input']} {'very ' * 200}long"})
    long = replace(target, data=replace(target.data, rows=rows))
    drawn = write_to_label(long, draw_rows(long, 3, seed=0), 0, tmp_path)
    with Path(drawn.table).open(newline="") as stream:
        assert all(row["input"].endswith("very long'") for row in csv.DictReader(stream))


def test_a_table_with_labels_is_not_written_over(both, tmp_path):
    _, target = both
    drawn = write_to_label(target, draw_rows(target, 5, seed=0), 0, tmp_path)
    Path(drawn.table).write_text("row_id,label\n1,yes\n")
    with pytest.raises(ConfigError, match="it may hold labels"):
        write_to_label(target, draw_rows(target, 5, seed=0), 0, tmp_path)


def test_a_formula_is_text_in_the_table(both, tmp_path):
    _, target = both
    rows = target.data.rows.map(lambda row: {"input": f"=cmd|' /C calc'!A0 {row['input']}"})
    hostile = replace(target, data=replace(target.data, rows=rows))
    drawn = write_to_label(hostile, draw_rows(hostile, 3, seed=0), 0, tmp_path)
    with Path(drawn.table).open(newline="") as stream:
        assert all(row["input"][0] in "'\"" for row in csv.DictReader(stream))


def test_a_page_runs_no_script_but_its_own_and_loads_nothing():
    rows = [
        RowToLabel(HOSTILE, Original(text=HOSTILE)),
        RowToLabel(2, Original(picture="data:image/png;base64,AA")),
    ]
    page = Page(label_page(rows, ("a", HOSTILE), HOSTILE))
    assert len(page.of("script")) == 1
    assert page.of("section")[0]["data-row"] == HOSTILE
    assert [name["value"] for name in page.of("input")] == ["a", HOSTILE] * 2
    assert [image["src"] for image in page.of("img")] == ["data:image/png;base64,AA"]
    (policy,) = [meta["content"] for meta in page.of("meta") if meta.get("http-equiv")]
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[\w+/=]+'$", policy)
    assert "http://x/y" not in [value for _, attributes in page.elements for value in attributes.values()]


def test_many_labels_are_chosen_from_a_list():
    names = [f"label {n}" for n in range(40)]
    page = Page(label_page([RowToLabel(1, Original(text="one"))], names, "rows"))
    assert [box["type"] for box in page.of("input")] == ["text"]
    assert [option["value"] for option in page.of("option")] == names


def test_private_words_come_back_from_the_page_as_they_are():
    page = Page(label_page([RowToLabel("/home/me/a.png", Original())], ("/home/me", "b"), "rows"))
    assert page.of("section")[0]["data-row"] == "/home/me/a.png"
    assert page.of("input")[0]["value"] == "/home/me"


DRAWN = DrawnRows(0, [7, 3, 12], "to_label.csv", "to_label.html")


def test_labels_are_read_whatever_their_order(tmp_path):
    path = table(tmp_path / "labels.csv", [(3, "yes"), (12, " no "), (7, "yes")])
    assert read_labels(path, DRAWN, ("no", "yes")) == {3: 1, 12: 0, 7: 1}


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([(3, "yes"), (12, "no")], "1 of 3 drawn rows have no label in labels.csv: row 7"),
        ([(3, "yes"), (12, ""), (7, " ")], "2 of 3 drawn rows have no label"),
        ([(3, "yes"), (12, "no"), (7, "yes"), (8, "no")], "1 row in labels.csv were not drawn: row 8"),
        ([(3, "yes"), (12, "no"), (7, "maybe")], "does not know: 'maybe'. It knows 'no', 'yes'"),
        ([(3, "yes"), (12, "no"), (7, "no"), (7, "no")], "row 7 more than once"),
    ],
)
def test_other_labels_are_refused(lines, why, tmp_path):
    with pytest.raises(DataError, match=re.escape(why)):
        read_labels(table(tmp_path / "labels.csv", lines), DRAWN, ("no", "yes"))


def test_a_file_without_the_columns_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("id,label\n3,yes\n")
    with pytest.raises(DataError, match="no column 'row_id'; it has 'id', 'label'"):
        read_labels(tmp_path / "labels.csv", DRAWN, ("no", "yes"))


def test_labels_say_the_accuracy_with_an_exact_interval(both):
    source, target = both
    head = SourceHead(source)
    truth = dict(zip(target.row_ids, target.labels.tolist(), strict=True))
    right = head.whole.scores(target.values).argmax(axis=1) == target.labels
    drawn = draw_rows(target, 20, seed=0)
    found = judge_by_labels(head, target, {row_id: truth[row_id] for row_id in drawn})
    num_right = sum(bool(right[target.row_ids.index(row_id)]) for row_id in drawn)
    assert (found.num_rows, found.num_right, found.accuracy) == (20, num_right, num_right / 20)
    assert found.exact == exact_interval(num_right, 20)
    assert found.powered_interval[0] <= found.powered <= found.powered_interval[1]
    every = judge_by_labels(head, target, truth)
    assert every.accuracy == every.powered == pytest.approx(right.mean())


@pytest.mark.slow
def test_drawn_labelled_and_judged_from_the_command_line(tmp_path, capsys):
    source, target = write(tmp_path / "a.csv", 1), write(tmp_path / "b.csv", 2)
    words = ["shift", source, target, "--base_model", "builtin:tiny-bert", "--num_folds", "3"]
    words += ["--output_dir", str(tmp_path / "out")]
    assert main([*words, "--labels", str(tmp_path / "labels.csv")]) == 2
    assert "No rows were drawn" in capsys.readouterr().err
    assert main([*words, "--label_target", "10"]) == 0
    assert "Label the 10 rows in" in capsys.readouterr().out
    with (tmp_path / "out" / "to_label.csv").open(newline="") as stream:
        lines = [(row["row_id"], "yes" if "good" in row["input"] else "no") for row in csv.DictReader(stream)]
    table(tmp_path / "labels.csv", lines[1:])
    assert main([*words, "--labels", str(tmp_path / "labels.csv")]) == 3
    assert "1 of 10 drawn rows have no label" in capsys.readouterr().err
    table(tmp_path / "labels.csv", lines)
    assert main(words) == 0  # without a word of labels the draw is kept
    assert "Label the 10 rows in" in capsys.readouterr().out
    for _ in range(2):  # the draw is kept beside what it told
        assert main([*words, "--labels", str(tmp_path / "labels.csv")]) == 0
        assert "By 10 labels of rows drawn at random" in capsys.readouterr().out
    assert main([*words, "--labels", "x.csv", "--label_target", "5"]) == 2
    assert "give one of the two" in capsys.readouterr().err


def test_labels_of_rows_that_have_changed_are_refused(tmp_path):
    source, target = write(tmp_path / "a.csv", 1), write(tmp_path / "b.csv", 2)
    settings = MODEL | {"output_dir": str(tmp_path / "out")}
    record = shift(source, target, label_target=4, **settings)
    table(tmp_path / "labels.csv", [(row, "yes") for row in record.drawn.row_ids])
    write(tmp_path / "b.csv", 3)
    with pytest.raises(ConfigError, match=r"b\.csv has other rows than when some of them were drawn"):
        shift(source, target, labels=tmp_path / "labels.csv", **settings)


def test_a_picture_outside_of_the_data_is_not_shown(tmp_path):
    from PIL import Image

    (tmp_path / "data").mkdir()
    for number in range(8):
        Image.new("L", (8, 8), 20 * number).save(tmp_path / "data" / f"{number}.png")
    Image.new("L", (8, 8), 255).save(tmp_path / "secret.png")
    lines = [f"{number}.png,{'ab'[number % 2]}" for number in range(8)]
    (tmp_path / "data" / "a.csv").write_text("\n".join(["image,label", *lines]))
    (tmp_path / "data" / "b.csv").write_text("image,label\n../secret.png,a\n1.png,b\n")
    settings = {"base_model": "builtin:digits-resnet", "output_dir": str(tmp_path / "out"), "num_folds": 2}
    with pytest.raises(DataError, match=r"secret\.png"):
        shift(tmp_path / "data" / "a.csv", tmp_path / "data" / "b.csv", label_target=1, **settings)
    assert not list((tmp_path / "out").iterdir())


def test_sounds_of_a_folder_are_played_on_the_page(tmp_path):
    for number in range(6):
        samples = (noise(0.3, seed=number) * 32767).astype(np.int16)
        wavfile.write(tmp_path / f"{number}.wav", 16_000, samples)
    settings = {"base_model": "builtin:tiny-wav2vec2", "max_rows": 12, "num_folds": 2}
    record = shift("builtin:tones", tmp_path, label_target=3, output_dir=str(tmp_path / "out"), **settings)
    page = Page(Path(record.drawn.page).read_text())
    assert [sound["src"][:15] for sound in page.of("audio")] == ["data:audio/wav;"] * 3
    assert len(page.of("section")) == 3
    assert record.estimate.target_accuracy is None
