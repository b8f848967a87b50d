"""What `inspect` shows of a data set."""

import json
import re
from dataclasses import replace

import pytest
from labelled import noise, pictures, texts, words
from target_rows import texts as rows_of

from hf_transfer.cli.inspect import report
from hf_transfer.cli.main import main
from hf_transfer.data.audit import audit
from hf_transfer.folds import FoldColumns, plan_folds


def test_the_report_shows_what_each_fold_will_hold():
    data = texts([(f"text number {i}", "xxy"[i % 3]) for i in range(12)])
    plan = plan_folds(data.rows["row_id"][:], 3, seed=0, columns=FoldColumns(labels=data.rows["label"][:]))
    text = report(audit(data), data, plan)
    assert "12 rows of text" in text
    assert "2 classes in 3 folds, stratified; the rarest is 'y'" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["x", "8", "66.7%"] in [line[:3] for line in lines]
    held = {line[0]: [int(n) for n in line[3:]] for line in lines if line[:1] in (["x"], ["y"])}
    assert {name: sum(counts) for name, counts in held.items()} == {"x": 8, "y": 4}
    assert all(max(counts) - min(counts) <= 1 for counts in held.values())


def test_classes_of_one_size_have_no_rarest_one():
    for labels, said in (
        ("xxyy", "each has 2"),
        ("xxyz", "2 are the rarest, with 1"),
        ("xxy", "the rarest is 'y'"),
    ):
        data = texts([(f"text number {i}", label) for i, label in enumerate(labels)])
        plan = plan_folds(data.rows["row_id"][:], 2, seed=0, columns=FoldColumns())
        assert f"classes in 2 folds, random; {said}\n" in report(audit(data), data, plan)


def test_groups_are_counted():
    data = texts([(f"text number {i}", "xy"[i % 2]) for i in range(6)])
    data = replace(data, rows=data.rows.add_column("group", list("aaabbc")))
    plan = plan_folds(data.rows["row_id"][:], 2, seed=0, columns=FoldColumns())
    said = report(audit(data), data, plan)
    assert "3 groups that stay together: 1 to 3 rows each, the middle one 2" in said
    alike = replace(data, rows=data.rows.remove_columns("group").add_column("group", list("aabbcc")))
    assert "3 groups that stay together: 2 rows each\n" in report(audit(alike), alike, plan)


def test_the_report_shows_examples_and_notes():
    data = texts([("x" * 80, "x"), ("x" * 80, "y"), (" ", "y"), ("other", "y")], [("other", "x"), ("w", "y")])
    plan = plan_folds(data.rows["row_id"][:], 2, seed=0, columns=FoldColumns())
    text = report(audit(data), data, plan)
    assert f"Exact duplicates: 1 group\n  rows 0, 1: '{'x' * 59}…'" in text
    assert "Duplicates with different labels: 1 group" in text
    assert "Also in the test split: 1 pairs" in text
    assert "1 row with empty text left out: row 2." in text


def test_the_report_counts_entities_of_words_and_names_pictures():
    for data in (words(), pictures([noise(0), noise(0), noise(1)], ["x", "y", "y"])):
        plan = plan_folds(data.rows["row_id"][:], 2, seed=0, columns=FoldColumns())
        text = report(audit(data), data, plan)
        assert ("entities" in text) == (data.target.per_word)
        assert ("rows 0, 1: a picture in memory" in text) == (bool(data.input.suffixes))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("numbers", ("ranges in 3 folds, stratified", "range ")),
        ("label_sets", ("3 labels in 3 folds, entity", "label ")),
    ],
)
def test_numbers_are_told_by_ranges_and_sets_by_labels(target, words, tmp_path, capsys):
    columns = rows_of(target)
    lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines))
    assert main(["inspect", str(path), "--target", target, "--num_folds", "3"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere/rows.csv"], r"DataError: No such file or folder: .*rows\.csv\. Give a file, a folder"),
        (["builtin:reviewz"], r"DataError: No dataset builtin:reviewz\. Did you mean builtin:reviews\?"),
        (
            ["builtin:reviews", "--label_column", "y"],
            r"ColumnError: No column 'y' .* Pass --label_column NAME",
        ),
    ],
)
def test_what_is_wrong_for_every_kind_is_told_in_one_line(capsys, words, message):
    assert main(["inspect", *words]) == 3
    assert re.fullmatch(message + "[^\n]*\n", capsys.readouterr().err)


def test_labels_of_several_columns_are_named_by_each(tmp_path, capsys):
    lines = [{"text": f"text {i}", "late": i % 2, "rude": i % 3 == 0} for i in range(12)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    named = ["inspect", str(tmp_path / "rows.jsonl"), "--label_columns", "late,rude", "--kind", "text"]
    assert main(named) == 0
    assert "input from column 'text', labels from columns 'late' and 'rude'" in capsys.readouterr().out
