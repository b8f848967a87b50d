import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hf_transfer.errors import DataError
from hf_transfer.runs.card_file import join_card, merge_card, with_record

WORDS = st.text("ab #|*`<>-é", min_size=1, max_size=12).map(lambda text: f"own {text} text")


def section(name: str, text: str) -> str:
    return f"<!-- hf-transfer:begin {name} -->\n{text}\n<!-- hf-transfer:end {name} -->\n"


def made(number: int = 1, *names: str, **header: object) -> str:
    """A card as the kit writes it, with a number in each section."""
    body = "\n".join(section(name, f"{name} {number}") for name in names or ("top", "mid", "low"))
    return join_card(header := {"tags": ["kit"], **header}, with_record(header, body))


def header_of(text: str) -> dict[str, object]:
    header: dict[str, object] = yaml.safe_load(text.split("---\n")[1])
    return header


def test_a_card_that_nobody_touched_becomes_the_new_one() -> None:
    new = made(2, "top", "extra", "low", license="mit")
    assert merge_card(made(1, license="apache-2.0"), new) == new


@given(st.lists(st.tuples(st.sampled_from(["top", "mid", "low", "record"]), WORDS), max_size=5))
def test_text_of_either_card_is_kept_once_in_its_place(texts: list[tuple[str, str]]) -> None:
    old, new, expected = made(1), made(2), made(2)
    for i, (name, own) in enumerate(texts):
        mark = f"<!-- hf-transfer:begin {name} -->"
        if i % 3 != 1:
            old = old.replace(mark, f"{i} {own}\n\n{mark}")
        if i % 3 != 0:
            new = new.replace(mark, f"{i} {own}\n\n{mark}")
        expected = expected.replace(mark, f"{i} {own}\n\n{mark}")
    merged = merge_card(old, new)
    assert sorted(merged.split("\n\n")) == sorted(expected.split("\n\n"))
    assert merge_card(merged, new) == merged


def test_text_of_the_new_card_survives_where_its_section_was_removed() -> None:
    old = made(1).replace(section("mid", "mid 1") + "\n", "")
    new = made(2).replace("<!-- hf-transfer:begin mid", "mine\n\n<!-- hf-transfer:begin mid") + "\nlast\n"
    merged = merge_card(old, new)
    assert merged.count("\nmine\n") == merged.count("\nlast\n") == 1
    assert "mid 2" not in merged


def test_keys_of_both_people_are_kept() -> None:
    old = made(1).replace("tags:", "language: en\ntags:")
    new = made(2).replace("tags:", "license: mit\ntags:")
    assert header_of(merge_card(old, new)) == {"language": "en", "license": "mit", "tags": ["kit"]}


def test_without_the_record_nothing_in_the_header_is_taken_for_the_kits() -> None:
    old = made(1).split("<!-- hf-transfer:begin record")[0].replace("kit", "mine")
    merged = merge_card(old, made(2))
    assert header_of(merged) == {"tags": ["mine"]}
    assert "top 2" in merged
    assert merge_card(merged, made(2)) == merged


def test_a_record_that_was_damaged_counts_as_none() -> None:
    old = made(1).replace('{"header": {', '{"header": [').replace("- kit", "- mine")
    assert header_of(merge_card(old, made(2))) == {"tags": ["mine"]}


@pytest.mark.parametrize("index", [None, "text", [1, {"name": "x"}, {"name": "x", "results": [3]}]])
def test_a_strange_model_index_does_no_harm(index: object) -> None:
    ours = {"name": "m", "results": [{"dataset": {"args": {"kit": "hf-transfer-kit"}}, "metrics": []}]}
    old, new = made(1, **{"model-index": index}), made(2, **{"model-index": [ours]})
    assert header_of(merge_card(old, new))["model-index"][0] == ours  # type: ignore[index]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (section("top", "").replace("end top", "end mid"), "needs an end of the same name, once"),
        (section("top", "") * 2, "needs an end of the same name, once"),
        ("---\na: [\n---\n", "brought up to date: while parsing"),
        ("---\n- a\n---\n", "must hold 'key: value' lines"),
    ],
)
def test_what_is_broken_is_named(broken: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        merge_card(broken, made(1))
