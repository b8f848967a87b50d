"""Quotes, delimiters and odd lines of CSV and TSV files."""

import pytest

from hf_transfer.data.data_files import read_file
from hf_transfer.errors import DataError

UNQUOTED = "text\tlabel\n{}\t0\nb\t1\n{}\t0\nd\t1\n"


def loaded(folder, content, name="a.csv"):
    (folder / name).write_bytes(content.encode())
    rows, notes = read_file(folder / name)
    return rows.to_dict(), notes


def test_a_quote_that_opens_in_one_row_and_closes_in_another_joins_none(tmp_path):
    rows, notes = loaded(tmp_path, UNQUOTED.format('"Come in', 'he said."'), "a.tsv")
    assert rows == {"text": ['"Come in', "b", 'he said."', "d"], "label": ["0", "1", "0", "1"]}
    assert notes == (
        "Quotes in a.tsv are taken as part of its texts, as one would join lines 2 to 4 into one row.",
    )


@pytest.mark.parametrize("text", ['"Yes" she said', '"open', 'a "b" c'])
def test_quotes_that_are_no_quoting_are_letters(tmp_path, text):
    assert loaded(tmp_path, UNQUOTED.format(text, "c"), "a.tsv")[0]["text"] == [text, "b", "c", "d"]


@pytest.mark.parametrize(("written", "text"), [('"say ""x"""', 'say "x"'), ('"a"', "a"), ('"a\nb"', "a\nb")])
def test_quotes_around_a_text_are_taken_off(tmp_path, written, text):
    assert loaded(tmp_path, UNQUOTED.format(written, "c"), "a.tsv") == (
        {"text": [text, "b", "c", "d"], "label": ["0", "1", "0", "1"]},
        (),
    )


def test_a_quote_that_joins_rows_among_texts_of_several_lines_is_refused(tmp_path):
    content = UNQUOTED.format('"Come in', 'he said."') + '"two\nlines"\t1\n'
    with pytest.raises(DataError, match=r"a.tsv: a quote opens in lines 2 to 4 and would join them"):
        loaded(tmp_path, content, "a.tsv")


def test_rows_that_a_quote_may_have_joined_are_told(tmp_path):
    rows, notes = loaded(tmp_path, 'text,label\n"Come in,0\nb,1\nhe said.",0\nd,1\n')
    assert rows["text"] == ["Come in,0\nb,1\nhe said.", "d"]
    assert notes[0].startswith("1 row of a.csv may be several, as a quote joins lines .*: lines 2 to 4"[:37])
    assert "lines 2 to 4. Double the quotes" in notes[0]


def test_texts_of_several_lines_are_no_joined_rows(tmp_path):
    assert loaded(tmp_path, 'text,label\n"Dear Bob,\n\nbye, Ann",0\nd,1\n')[1] == ()


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("text;label, main\na, b;x\nc;y\n", ["text", "label, main"]),
        ("text, body;label\na, b;x\nc, d;y\n", ["text, body", "label"]),
        ('"a, text";label\n"b, c";x\n', ["a, text", "label"]),
        ("text,label;main\na,b\nc,d\n", ["text", "label;main"]),
        ("text|label\na, b|x\n", ["text", "label"]),
        ("sep=;\r\ntext;label\r\na, b;x\r\n", ["text", "label"]),
        ("\ufeffSEP=\t\ntext\tlabel\na, b\tx\n", ["text", "label"]),
        ("\ufeff\ufefftext,label\na,x\n", ["text", "label"]),
        ('\ufeff"text","label"\na,x\n\x1a', ["text", "label"]),
    ],
)
def test_the_delimiter_is_what_the_rows_have_as_often_as_the_header(tmp_path, content, names):
    rows, notes = loaded(tmp_path, content)
    assert (list(rows), notes) == (names, ())
    assert len(rows[names[0]]) == content.replace("\r", "").rstrip("\x1a").count("\n") - 1 - (
        "SEP" in content.upper()
    )


def test_a_text_with_ctrl_z_inside_is_read_to_its_end(tmp_path):
    assert loaded(tmp_path, "text,label\na\x1ab,x\nc,y\n\x1a")[0]["text"] == ["a\x1ab", "c"]


def test_a_header_within_the_rows_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a.csv, line 3 repeats the first line, as when files are joined"):
        loaded(tmp_path, "text,label\na,x\ntext,label\nb,y\n")


def test_one_column_may_repeat_its_name(tmp_path):
    assert loaded(tmp_path, "text\na\ntext\n")[0] == {"text": ["a", "text"]}
