"""`shift` on small data sets whose relation is known."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from html_page import Page
from PIL import Image

from hf_transfer import RunConfig, shift
from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.report.words.shift import label_rows, shares_words, shift_text
from hf_transfer.runs.reading import read_record
from hf_transfer.runs.schema import from_json, to_json
from hf_transfer.runs.shift_record import ShiftRecord
from hf_transfer.training.workers import make_accelerator
from hf_transfer.transfer.features import labelled_features
from hf_transfer.transfer.heads import SourceHead
from hf_transfer.transfer.shift import verdict_of

MODEL = {"base_model": "builtin:tiny-bert", "max_length": 24, "num_folds": 3}
GOOD, BAD = ("good", "great", "fine", "lovely"), ("bad", "awful", "poor", "dull")
FILMS, TOOLS = ("film", "actor", "scene", "plot"), ("drill", "cable", "screw", "pump")


def write(path: Path, nouns, seed=0, *, rows=60, labelled=True, share=0.5) -> str:
    """Write sentences of some nouns, of which the adjective says the label."""
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", *["label"] * labelled])
        for number in rng.integers(1000, 9999, rows):
            label = int(rng.random() < share)
            noun, other, adjective = (str(rng.choice(w)) for w in (nouns, nouns, (BAD, GOOD)[label]))
            text = f"The {noun} number {number} of the {other} is {adjective}"
            writer.writerow([text, *[("no", "yes")[label]] * labelled])
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return {
        "films": write(folder / "films.csv", FILMS),
        "more films": write(folder / "more.csv", FILMS, 1),
        "tools": write(folder / "tools.csv", TOOLS, 2),
        "unlabelled": write(folder / "unlabelled.csv", TOOLS, 2, labelled=False),
    }


@pytest.fixture(scope="module")
def found(files, tmp_path_factory):
    """The record of each second data set, and the folder that it is in."""
    folders = {name: tmp_path_factory.mktemp("shift") for name in files}
    return {
        name: (shift(files["films"], files[name], output_dir=str(folder), **MODEL), folder)
        for name, folder in folders.items()
        if name != "films"
    }


def test_more_of_the_same_is_no_other_domain(found):
    record, _ = found["more films"]
    assert (record.verdict, record.domain_test.p >= 0.05) == ("none", True)
    assert record.shared_rows == (0, 0)
    assert "No sign of it." in record.conclusion
    assert "would have been found" in record.conclusion


def test_other_nouns_are_another_domain(found):
    record, _ = found["tools"]
    assert (record.verdict, record.domain_test.p) == ("another domain", 0.005)
    assert record.domain_test.auc > 0.9
    assert all(row.excerpt != "tools.csv" for row in record.domain_test.telling_target)
    assert {word for row in record.domain_test.telling_target for word in TOOLS if word in row.excerpt}
    assert not {word for row in record.domain_test.telling_source for word in TOOLS if word in row.excerpt}
    assert "Accuracy there can't be told without labels." in record.conclusion


def test_labels_of_the_second_data_set_say_the_truth_and_change_nothing_else(found):
    (with_labels, _), (without, _) = found["tools"], found["unlabelled"]
    assert with_labels.estimate.target_accuracy is not None
    assert without.estimate.target_accuracy is None
    assert without.estimate.estimated == with_labels.estimate.estimated
    assert without.domain_test.auc == with_labels.domain_test.auc
    assert "By the labels that came with" in with_labels.conclusion
    assert any("No labels of unlabelled.csv are used" in note for note in without.notes)


def test_the_estimate_is_tried_on_parts_that_are_left_out(found):
    estimate = found["more films"][0].estimate
    assert (estimate.left_out, len(estimate.parts)) == ("fold", 3)
    errors = [abs(part.estimated - part.true) for part in estimate.parts]
    assert estimate.mean_error == pytest.approx(np.mean(errors))
    assert estimate.worst_error == pytest.approx(max(errors))
    assert sum(part.num_rows for part in estimate.parts) == 60


def test_what_is_written_is_read_back(found):
    record, folder = found["tools"]
    assert read_record(ShiftRecord, folder / "shift.json") == record
    assert from_json(ShiftRecord, to_json(record)) == record
    assert (folder / "clouds.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "shift.html").read_text()
    for words in (
        "be told without labels",
        "Both from above",
        record.distances.farthest[0].excerpt.strip("'"),
    ):
        assert words in page


def test_text_for_a_terminal(found):
    text = shift_text(found["tools"][0])
    assert text.startswith("Texts: 60 of films.csv and 60 of tools.csv, by the features of builtin:tiny-bert")
    assert "--label_target 30" in text
    assert "--label_target" not in shift_text(found["more films"][0])


@pytest.mark.parametrize(("moved", "shown"), [(0, 0), (4, 5), (40, 10)])
def test_of_many_labels_those_are_shown_that_moved(found, moved, shown):
    """At most ten; the others are counted."""
    first = [1] * 999 + [50]
    second = [2] * moved + [1] * (999 - moved) + [50 - moved]
    record = found["more films"][0]
    names = [f"label {number}" for number in range(1000)]
    given = replace(record.given_labels, label_names=names, source_counts=first, target_counts=second)
    many = replace(record, given_labels=given)
    assert len(label_rows(many)) == shown
    assert f"{1000 - shown:,} other labels moved less, or not at all" in shares_words(many)
    assert ("labels that the head gives" in shift_text(many)) == (shown > 0)


def test_an_area_of_few_rows_is_not_measured_by_a_half(found):
    record = found["more films"][0]
    few = replace(record.domain_test, num_rows=(5, 5), auc=0.2, p=0.2, found_from=0.16)
    text = shift_text(replace(record, domain_test=few))
    assert "of so few rows chance is below 0.5" in text
    assert "0.160" not in text
    text = shift_text(replace(record, domain_test=replace(few, p=0.01)))
    assert "how large it is can't be told" in text
    assert "0.5 is chance" in shift_text(record)


def test_halves_of_few_rows_are_no_control(files, tmp_path):
    few = write(tmp_path / "few.csv", FILMS, 3, rows=30)
    record = shift(few, files["tools"], output_dir=str(tmp_path / "out"), **MODEL)
    assert record.domain_test.control_auc is None


def test_a_second_call_finds_its_features(files, tmp_path):
    config = RunConfig(dataset=files["films"], **MODEL)
    labelled_features(config, make_accelerator(config))
    assert labelled_features(config, make_accelerator(config)).reused


@pytest.mark.parametrize(
    ("auc", "p", "wanted"),
    [
        (0.99, 0.05, "none"), (0.59, 0.005, "none"), (0.61, 0.005, "mild"), (0.74, 0.049, "mild"),
        (0.76, 0.049, "another domain"), (0.4, 0.9, "none"),
    ],
)  # fmt: skip
def test_a_verdict_needs_a_real_and_a_large_shift(auc, p, wanted):
    assert verdict_of(auc, p) == wanted


def test_rows_of_the_first_are_left_out_of_the_second(files, tmp_path):
    lines = Path(files["films"]).read_text().splitlines()
    both = tmp_path / "both.csv"
    both.write_text("\n".join([*lines[:31], *Path(files["tools"]).read_text().splitlines()[1:]]))
    record = shift(files["films"], both, output_dir=str(tmp_path / "out"), **MODEL)
    assert (record.shared_rows[0], record.target_data.num_rows) == (30, 60)
    assert any("30 exactly" in note for note in record.notes)
    with pytest.raises(DataError, match=r"All 60 rows of films\.csv are in films\.csv too"):
        shift(files["films"], files["films"], output_dir=str(tmp_path / "out"), **MODEL)


@pytest.mark.slow
def test_groups_are_left_out_and_change_places_whole(tmp_path):
    for name, nouns, seed in (("a", FILMS, 0), ("b", TOOLS, 1)):
        path = tmp_path / f"{name}.csv"
        write(path, nouns, seed)
        head, *lines = path.read_text().splitlines()
        path.write_text(
            "\n".join([f"{head},who", *(f"{line},{name}{n % 6}" for n, line in enumerate(lines))])
        )
    record = shift(
        tmp_path / "a.csv", tmp_path / "b.csv", group_by="who", output_dir=str(tmp_path / "out"), **MODEL
    )
    assert record.domain_test.unit == "group"
    assert (record.estimate.left_out, len(record.estimate.parts)) == ("group", 6)
    write(tmp_path / "b.csv", TOOLS, 1)
    alone = shift(
        tmp_path / "a.csv", tmp_path / "b.csv", group_by="who", output_dir=str(tmp_path / "out"), **MODEL
    )
    assert (alone.domain_test.unit, alone.estimate.left_out) == ("row", "group")
    assert any("Only one of the two data sets has groups" in note for note in alone.notes)


def test_a_head_is_that_of_the_folds_of_a_run(files):
    config = RunConfig(dataset=files["films"], **MODEL)
    head = SourceHead(labelled_features(config, make_accelerator(config)))
    assert sorted(np.bincount(head.folds).tolist()) == [20, 20, 20]
    rows = np.flatnonzero(head.folds == 1)
    wanted = head.of(np.flatnonzero(head.folds != 1)).scores(head.features.values[rows])
    assert head.out_of_fold[rows] == pytest.approx(wanted)
    assert np.array_equal(head.whole.weight, head.of(np.arange(60)).weight)


def test_two_folds_are_enough_to_try_an_estimate(files, tmp_path):
    settings = MODEL | {"num_folds": 2, "output_dir": str(tmp_path)}
    assert len(shift(files["films"], files["more films"], **settings).estimate.parts) == 2


def test_numbers_have_a_test_and_no_accuracy(tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        rng = np.random.default_rng(seed)
        lines = [f"{rng.choice(FILMS)} {rng.choice(GOOD)} {seed}{n},{rng.normal():.3f}" for n in range(30)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *lines]))
    paths, settings = (tmp_path / "a.csv", tmp_path / "b.csv"), MODEL | {"output_dir": str(tmp_path / "out")}
    record = shift(*paths, **settings)
    assert (record.estimate, record.given_labels) == (None, None)
    assert "right for" not in shift_text(record)
    with pytest.raises(ConfigError, match=r"one label a row, and a\.csv has numbers"):
        shift(*paths, label_target=5, **settings)


@pytest.mark.slow
def test_pictures_from_the_command_line(tmp_path, capsys):
    for name, low in (("bright", 120), ("dark", 0)):
        for number in range(30):
            place = tmp_path / name / ("left", "right")[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng([number, low]).integers(low, low + 60, (8, 8), np.uint8)
            pixels[:, : 4 * (number % 2) + 2] = 250
            Image.fromarray(pixels).save(place / f"{number}.png")
    words = [
        "shift",
        str(tmp_path / "bright"),
        str(tmp_path / "dark"),
        "--base_model",
        "builtin:digits-resnet",
    ]
    words += ["--num_folds", "3", "--output_dir", str(tmp_path / "out")]
    assert main([*words, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["verdict"] == "another domain"
    assert value["estimate"]["target_accuracy"] is not None
    assert main(words) == 0
    assert "Is dark another domain than bright? Yes." in capsys.readouterr().out
    assert "data:image/jpeg" in (tmp_path / "out" / "shift.html").read_text()


def test_a_page_runs_nothing_that_rows_or_labels_hold(files, tmp_path):
    hostile = "<script>alert(1)</script><img src=http://x/y onerror=a()>{{ 7*7 }}"
    lines = [f"{hostile} {word} {n},{hostile if n % 2 else 'other'}" for n, word in enumerate(FILMS * 3)]
    for name, part in (("a", lines), ("b", [line.replace("}} ", "}} bolt ", 1) for line in lines])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *part]))
    shift(tmp_path / "a.csv", tmp_path / "b.csv", output_dir=str(tmp_path / "out"), **MODEL)
    page = Page((tmp_path / "out" / "shift.html").read_text())
    assert not page.of("script")
    assert all(image["src"].startswith("data:") for image in page.of("img"))
    assert "{{ 7*7 }}" in page.text
