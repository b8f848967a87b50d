import pytest

from hf_transfer.machine.network import HUB_ID


@pytest.mark.parametrize("name", ["bleu", "ada/reviews", "ada-b/re_views.v2", "a" * 96, "_x/_y"])
def test_names_of_the_hub(name):
    assert HUB_ID.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    ["", "/ada/reviews", "../x", "a..b", "a--b", "a/.b", "a/b/c", "-a", "a-", "x.git", "~x", "a" * 97, "é/x"],
)
def test_what_is_no_name_of_the_hub(name):
    assert not HUB_ID.fullmatch(name)
