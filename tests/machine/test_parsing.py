import pytest

from hf_transfer.machine.parsing import parse_json, parse_yaml


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '[{"b": {"a": 1, "c": 2, "a": 3}}]'])
def test_an_object_with_one_name_twice_is_refused(text):
    with pytest.raises(ValueError, match="it has 'a' twice"):
        parse_json(text)


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 1\n", "b: {a: 1, a: 2}"])
def test_settings_that_stand_twice_are_refused(text):
    with pytest.raises(ValueError, match="it has 'a' twice"):
        parse_yaml(text)


def test_one_name_in_several_objects_is_read():
    assert parse_json('[{"a": {"a": 1}}, {"a": 2}]') == [{"a": {"a": 1}}, {"a": 2}]
    assert parse_yaml("a: {a: 1}\nb: {a: 2}") == {"a": {"a": 1}, "b": {"a": 2}}


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_json, "[" * 10**5, "nested too deep"),
        (parse_json, '{"a": ' + "9" * 5000 + "}", "a number is too long"),
        (parse_yaml, "[" * 10**4, "nested too deep"),
    ],
    ids=["deep JSON", "a long number", "deep YAML"],
)
def test_what_would_stop_a_parser_short_is_a_plain_error(parse, text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)
