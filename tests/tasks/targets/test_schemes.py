"""Tags of each scheme in IOB2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.tasks.targets.schemes import to_iob2

IOB2 = ["B-PER", "I-PER", "I-PER", "O", "B-LOC", "B-LOC", "B-PER", "I-PER"]


def converted(*rows, names=None):
    return to_iob2([list(rows)], ["column 'tags'"], names)


def written(tags, alone="B", last="I", inside="I"):
    """IOB2 tags with other letters."""
    followed = [*tags[1:], "O"]
    for tag, after in zip(tags, followed, strict=True):
        goes_on = after.startswith("I-")
        letter = {"B": "B" if goes_on else alone, "I": inside if goes_on else last}.get(tag[0], "")
        yield letter + tag[1:] if tag != "O" else tag


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("IOB2", IOB2),
        ("BIOES", list(written(IOB2, "S", "E"))),
        ("BILOU", list(written(IOB2, "U", "L"))),
        ("BMES", list(written(IOB2, "S", "E", "M"))),
        ("IOB1", ["I-PER", "I-PER", "I-PER", "O", "I-LOC", "B-LOC", "I-PER", "I-PER"]),
    ],
)
@pytest.mark.parametrize(
    "form", ["{0}-{1}", "{0}_{1}", "{1}-{0}", "{1}_{0}"], ids=["usual", "underscore", "behind", "behind_"]
)
def test_each_scheme_becomes_iob2(scheme, tags, form):
    given = [tag if tag == "O" else form.format(*tag.split("-")) for tag in tags]
    found = converted(given)
    assert (found.scheme, found.parts) == (scheme, [[IOB2]])
    assert bool(found.notes) == (given != IOB2)


def test_types_alone_are_entities_where_they_stand_side_by_side():
    found = converted(["PER", "PER", "O", "LOC", "PER"], ["art-film", "o-x"])
    assert found.parts == [[["B-PER", "I-PER", "O", "B-LOC", "B-PER"], ["B-art-film", "B-o-x"]]]
    assert found.notes == (
        "Tags in column 'tags' are IO and were converted to IOB2: 6 tags, such as 'PER' to 'B-PER'. Words of "
        "one type side by side are taken as one entity, as such tags cannot part two.",
    )


@pytest.mark.parametrize("tags", [["I-PER", "I-PER", "O"], ["i-PER", "i-PER", "o"], ["PER", "PER", "o"]])
def test_letters_may_be_small_and_i_alone(tags):
    assert converted(tags).parts == [[["B-PER", "I-PER", "O"]]]


def test_letters_alone_are_of_one_type():
    assert converted(["B", "I", "O", "B"]).parts == [[["B-ENTITY", "I-ENTITY", "O", "B-ENTITY"]]]


def test_declared_names_become_those_of_iob2_in_their_order():
    assert converted(["PER", "O"], names=("O", "PER", "LOC")).names == (
        "O",
        "B-PER",
        "I-PER",
        "B-LOC",
        "I-LOC",
    )
    assert converted(["I-PER", "O"], names=("O", "I-PER", "B-PER")).names == ("O", "I-PER", "B-PER")
    assert converted(["B-X", "O"], names=("B-X", "O")).names == ("B-X", "O")


@given(st.lists(st.lists(st.sampled_from(["PER", "LOC", "O"]), max_size=6), min_size=1, max_size=4))
def test_iob2_from_any_types_stays_as_it_is(rows):
    rows = [*rows, ["PER", "O"]]
    once = converted(*rows)
    again = converted(*once.parts[0])
    assert (again.parts, again.notes, again.scheme) == (once.parts, (), "IOB2")
