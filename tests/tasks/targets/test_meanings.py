import pytest

from hf_transfer.tasks.targets.meanings import means_something, spoken, zero_shot_problems


@pytest.mark.parametrize(
    "name",
    [
        "cat",
        "golden_retriever",
        "Not spam",
        "no",
        "covid19",
        "class struggle",
        "猫",
        "été",
        "n01440764 tench",
    ],
)
def test_a_word_means_something(name):
    assert means_something(name)
    assert zero_shot_problems("one", [name, "other"], "classes") == []


@pytest.mark.parametrize(
    "name",
    [
        "0", "17", "-1", "1.5", "A", "b", "LABEL_0", "class12", "Class A", "cls-3", "n01440764", "a3f9",
        "id_7", "", "?",
    ],
)  # fmt: skip
def test_a_number_a_letter_or_an_id_does_not(name):
    assert not means_something(name)
    (problem,) = zero_shot_problems("one", ["cat", name], "classes")
    assert f"and name {name!r} says nothing of what is meant" in problem


def test_labels_without_names_are_refused():
    (problem,) = zero_shot_problems(None, ["price"], "numbers")
    assert problem.endswith("the labels are numbers. Leave it out.")


def test_a_name_is_written_as_it_is_said():
    assert spoken("golden_retriever") == spoken(" golden-retriever ") == "golden retriever"
