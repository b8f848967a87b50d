"""Words and tags, a word a line."""

import pytest

from hf_transfer.data.conll_files import is_conll
from hf_transfer.data.data_files import read_file
from hf_transfer.errors import DataError

PLAIN = "Ann B-PER\nsaw O\nRome B-LOC\n\nBob B-PER\n"
WORDS = {"tokens": [["Ann", "saw", "Rome"], ["Bob"]], "ner_tags": [["B-PER", "O", "B-LOC"], ["B-PER"]]}


def write(folder, content, name="a.conll"):
    (folder / name).write_bytes(content.encode())
    return folder / name


def loaded(*given):
    rows, notes = read_file(write(*given))
    return rows.to_dict(), notes


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(" ", "\t"),
        PLAIN.replace(" ", "   ").replace("\n", "\r\n") + "\r\n\r\n\x1a",
        f"\ufeff\n \n{PLAIN}",
        f"-DOCSTART- O\n\n{PLAIN}",
        f"# id 1 a b\n{PLAIN}",
        "".join(" ".join(reversed(line.split())) + "\n" for line in PLAIN.split("\n")),
    ],
)
@pytest.mark.parametrize("name", ["a.conll", "a.iob", "a.txt", "a.tsv", "eng.train"])
def test_sentences_are_read_however_they_are_set_out(tmp_path, content, name):
    assert loaded(tmp_path, content, name)[0] == WORDS


def test_the_four_columns_of_conll_2003_have_their_names(tmp_path):
    content = (
        "-DOCSTART- -X- -X- O\n\nAnn NNP B-NP B-PER\nsaw VB B-VP O\n\n-DOCSTART- -X- -X- O\n\n# NN B-NP O\n"
    )
    rows, notes = loaded(tmp_path, content)
    assert rows == {
        "tokens": [["Ann", "saw"], ["#"]],
        "pos_tags": [["NNP", "VB"], ["NN"]],
        "chunk_tags": [["B-NP", "B-VP"], ["B-NP"]],
        "ner_tags": [["B-PER", "O"], ["O"]],
        "document": ["1", "2"],
    }
    assert "a.conll is read as CoNLL: 2 sentences, with 'tokens' from column 1" in notes[0]
    assert notes[1].startswith("a.conll has 2 documents; --group_by document keeps")


def test_words_that_are_counted_are_in_the_second_column(tmp_path):
    rows, _ = loaded(tmp_path, "# http://x\t[2009]\n1\tAnn\tB-PER\tO\n2\tsaw\tO\tO\n", "a.tsv")
    assert (rows["tokens"], rows["column_3"]) == ([["Ann", "saw"]], [["B-PER", "O"]])


def test_words_may_hold_other_spaces(tmp_path):
    content = "New York\tB-LOC\na\u00a0b\tO\n\nc\x85d\tO\n"
    assert loaded(tmp_path, content)[0]["tokens"] == [["New York", "a\u00a0b"], ["c\x85d"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "Ann NNP B-PER\nsaw O\n",
            r"line 2 has 2 values \('saw O'\), where .* tag are expected, 3 values as",
        ),
        (
            "Ann\nsaw\n",
            r"line 1 has 1 value \('Ann'\), where a word and its tag are expected. Give each word",
        ),
        ("\n\n", "holds no rows"),
    ],
)
def test_lines_that_are_no_words_are_refused_with_their_number(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        loaded(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    ["text\tlabel\na\tO\nb\tB-PER\n", "a\tO\n", "O my\nI say\n", "O\nB-PER\n", "", "\xe9", "1\t2\n3\t4\n"],
)
def test_other_files_are_no_conll(tmp_path, content):
    assert not is_conll(write(tmp_path, content, "a.tsv"))
