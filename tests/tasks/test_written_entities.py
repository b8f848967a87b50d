"""Entities in other shapes than lists of words and tags, as rows to learn from."""

import json

import pytest
from datasets import Dataset

from hf_transfer import RunConfig
from hf_transfer.data.opening import find_task, open_dataset
from hf_transfer.data.rows import label_rows
from hf_transfer.errors import DataError
from hf_transfer.tasks.written_lists import written_list

SENTENCES = [["Ann", "Berg", "saw", "Oslo", "."], ["No", "one"], ["Bob"]]
TAGS = [["B-PER", "I-PER", "O", "B-LOC", "O"], ["O", "O"], ["B-PER"]]
TEXTS = ["Ann Berg saw Oslo.", "No one", "Bob"]
SPANS = [[(0, 8, "PER"), (13, 17, "LOC")], [], [(0, 3, "PER")]]


def as_triples(spans):
    return [list(span) for span in spans]


def as_regions(spans):
    return [{"start": start, "end": end, "labels": [label]} for start, end, label in spans]


def as_offsets(spans):
    return [{"start_offset": start, "end_offset": end, "label": label} for start, end, label in spans]


def as_spans(spans):
    return [{"start": start, "end": end, "label": label} for start, end, label in spans]


def as_tokens(text, words):
    starts = [text.find(word) for word in words]
    return [
        {"text": word, "start": start, "end": start + len(word)}
        for word, start in zip(words, starts, strict=True)
    ]


def as_studio(text, spans):
    regions = [
        {"value": region, "from_name": "label", "to_name": "text", "type": "labels"}
        for region in as_regions(spans)
    ]
    return {"data": {"text": text}, "annotations": [{"result": regions}]}


ROWS = list(zip(TEXTS, SPANS, strict=True))
EXPORTS = {
    "doccano": [{"text": text, "label": as_triples(spans)} for text, spans in ROWS],
    "doccano, relations": [{"text": text, "entities": as_offsets(spans)} for text, spans in ROWS],
    "Label Studio": [as_studio(text, spans) for text, spans in ROWS],
    "Label Studio, minimal": [
        {"id": 0, "text": text} | ({"label": as_regions(spans)} if spans else {}) for text, spans in ROWS
    ],
    "Prodigy": [{"text": text, "spans": as_spans(spans), "answer": "accept"} for text, spans in ROWS],
    "Prodigy with its words": [
        {"text": text, "tokens": as_tokens(text, words), "spans": as_spans(spans), "answer": "accept"}
        for (text, spans), words in zip(ROWS, SENTENCES, strict=True)
    ],
    "spaCy": [[text, {"entities": as_triples(spans)}] for text, spans in ROWS],
}  # fmt: skip


def opened(path, **settings):
    config = RunConfig(dataset=str(path), **settings)
    return open_dataset(config, find_task(config))


def tags_of(data):
    return [[data.label_names[i] for i in row] for row in data.rows["label"]]


@pytest.mark.parametrize("tool", EXPORTS)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_each_export_becomes_the_same_words_and_tags(tmp_path, tool, name):
    rows = EXPORTS[tool]
    (tmp_path / name).write_text(json.dumps(rows) if name == "a.json" else "\n".join(map(json.dumps, rows)))
    data = opened(tmp_path / name)
    assert (data.rows["input"][:], tags_of(data)) == (SENTENCES, TAGS)
    assert data.scheme == "spans of characters"
    assert f"3 spans of characters in column '{data.label_column}' became IOB2 tags of words." in data.notes
    words = Dataset.from_dict({"tokens": SENTENCES, "ner_tags": TAGS})
    assert data.fingerprint == label_rows(words, RunConfig(), "tokens").fingerprint


@pytest.mark.parametrize(
    "write",
    [str, json.dumps, lambda words: str(words).replace(",", ""), lambda words: str(tuple(words))],
    ids=["Python", "JSON", "numpy", "tuple"],
)
def test_lists_that_a_csv_holds_as_text_are_lists(tmp_path, write):
    cells = [[write(words), write(tags)] for words, tags in zip(SENTENCES, TAGS, strict=True)]
    quoted = ['"' + '","'.join(cell.replace('"', '""') for cell in row) + '"' for row in cells]
    (tmp_path / "a.csv").write_text("\n".join(["tokens,ner_tags", *quoted]))
    data = opened(tmp_path / "a.csv")
    assert (data.rows["input"][:], tags_of(data)) == (SENTENCES, TAGS)


def test_texts_with_all_their_tags_in_one_text_are_split(tmp_path):
    (tmp_path / "a.tsv").write_text("words\ttags\nAnn saw\tB-PER,O\nRome\tB-LOC\n")
    data = opened(tmp_path / "a.tsv")
    assert (data.rows["input"][:], tags_of(data)) == ([["Ann", "saw"], ["Rome"]], [["B-PER", "O"], ["B-LOC"]])
    assert data.notes == ("Texts of columns 'words' and 'tags' were split at spaces, a word for each tag.",)


def test_a_row_with_other_numbers_of_words_and_tags_is_not_split(tmp_path):
    (tmp_path / "a.tsv").write_text("words\ttags\nAnn saw\tB-PER\nRome\tB-LOC\n")
    with pytest.raises(DataError, match=r"'words' holds string, not lists of words"):
        open_dataset(RunConfig(dataset=str(tmp_path / "a.tsv")), "tokens")


def test_test_rows_without_any_span_are_read():
    rows = Dataset.from_list(EXPORTS["Prodigy"])
    test = Dataset.from_list([{"text": "No one", "spans": []}])
    data = label_rows(rows, RunConfig(), "tokens", test=test)
    assert data.test["input"][:] == [["No", "one"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("['a', \"it's\", 'b\\'c']", ["a", "it's", "b'c"]),
        ("['a' 'b'\n 'c']", ["a", "b", "c"]),
        (' [ "a" , "\\u00e9" ] ', ["a", "é"]),
        ("('a',)", ["a"]),
        ("[]", []),
        ("['a', 1]", None),
        ("['a'", None),
        ("[a, b]", None),
        ("'a'", None),
        ("['\\x']", None),
        ("['a'] + ['b']", None),
    ],
)
def test_only_lists_of_texts_are_lists(text, words):
    assert written_list(text) == words
