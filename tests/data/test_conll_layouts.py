"""CoNLL-U, CoNLL-2012, and CSV files of a word a row."""

import pytest

from hf_transfer.data.data_files import read_file
from hf_transfer.errors import DataError

OF_2012 = """#begin document (bc/x/00); part 000
bc/x/00 0 0 Anna NNP (TOP(S* - - - s1 (PERSON* (ARG0* (1
bc/x/00 0 1 Berg NNP * - - - s1 *) *) 1)
bc/x/00 0 2 saw VBD * see 01 1 s1 * (V*) -
bc/x/00 0 3 Oslo NNP *)) - - - s1 (GPE) * -

#end document
#begin document (bc/y/00); part 000
bc/y/00 0 0 Nothing NN (TOP*) - - - s1 * -
"""
OF_U = """# sent_id = 1
# text = Anna saw it
1\tAnna\tAnna\tPROPN\tNNP\t_\t2\tnsubj\t_\tNER=B-PER|SpaceAfter=No
2-3\tsawit\t_\t_\t_\t_\t_\t_\t_\t_
2\tsaw\tsee\tVERB\tVBD\t_\t0\troot\t_\t_
3\tit\tit\tPRON\tPRP\t_\t2\tobj\t_\t_
3.1\tghost\t_\t_\t_\t_\t_\t_\t_\t_

1\tGo\tgo\tVERB\tVB\t_\t0\troot\t_\t_
"""
A_WORD_A_ROW = """Sentence #,Word,POS,Tag
Sentence: 1,Anna,NNP,B-per
,Berg,NNP,I-per
,"saw, then",VBD,O
Sentence: 2,Oslo,NNP,B-geo
,.,.,O
"""


def read(folder, name, content):
    (folder / name).write_text(content, encoding="utf-8")
    return read_file(folder / name)


def test_brackets_of_conll_2012_become_tags(tmp_path):
    rows, notes = read(tmp_path, "a.v4_gold_conll", OF_2012)
    assert rows["tokens"][:] == [["Anna", "Berg", "saw", "Oslo"], ["Nothing"]]
    assert rows["ner_tags"][:] == [["B-PERSON", "I-PERSON", "O", "B-GPE"], ["O"]]
    assert len(set(rows["document"])) == 2
    assert "--group_by document" in " ".join(notes)


def test_words_of_conll_u_have_the_entities_of_its_last_column(tmp_path):
    rows, _ = read(tmp_path, "a.conllu", OF_U)
    assert rows["tokens"][:] == [["Anna", "saw", "it"], ["Go"]]
    assert rows["ner_tags"][:] == [["B-PER", "O", "O"], ["O"]]
    assert rows["upos"][0] == ["PROPN", "VERB", "PRON"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.conll",
            OF_2012.replace(" (1", " ").replace(" - - - s1 (PERSON* (ARG0*", ""),
            "line 2 has 6 values",
        ),
        (
            "a.conllu",
            OF_U.replace("NER=B-PER|", ""),
            "without entities: its last column has none such as NER=",
        ),
        ("a.conllu", OF_U.replace("\t_\t0\troot", ""), "line 5 has 7 values, where a line of CoNLL-U has 10"),
    ],
)
def test_lines_that_lack_values_are_told(name, content, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read(tmp_path, name, content)


def test_rows_of_one_word_are_joined_into_sentences(tmp_path):
    rows, (note,) = read(tmp_path, "ner.csv", A_WORD_A_ROW)
    assert rows["tokens"][:] == [["Anna", "Berg", "saw, then"], ["Oslo", "."]]
    assert rows["ner_tags"][:] == [["B-per", "I-per", "O"], ["B-geo", "O"]]
    assert rows["POS"][1] == ["NNP", "."]
    assert "5 words were joined into 2 sentences by column 'Sentence #'" in note


def test_a_number_in_every_row_joins_them_too(tmp_path):
    filled = A_WORD_A_ROW.replace("\n,", "\n1,", 2).replace("Sentence: 1", "1").replace("Sentence: 2", "2")
    rows, _ = read(tmp_path, "ner.csv", filled.replace("\n,.", "\n2,."))
    assert rows["tokens"][:] == [["Anna", "Berg", "saw, then"], ["Oslo", "."]]


@pytest.mark.parametrize("content", [
    "sentence,label\nGood film,yes\nBad film,no\n",
    "sentence,word,label\na b,a,yes\na b,b,no\n",
    "sentence,word,label\n1,a,O\n2,b,B-X\n",
])  # fmt: skip
def test_other_tables_stay_as_they_are(content, tmp_path):
    rows, notes = read(tmp_path, "a.csv", content)
    assert (len(rows), notes) == (2, ())
