import json

import numpy as np
import pytest
from sketches import results_of, sketch

from hf_transfer.report.plots.search import trial_map
from hf_transfer.report.words.search import agreement, search_answers
from hf_transfer.runs.companions import read_companions
from hf_transfer.runs.rank_record import RankRecord
from hf_transfer.runs.schema import to_json
from hf_transfer.runs.search_record import Search

HEAD, ALL = "the head", "everything"


def nested(*choices, judged=("head", 1e-3), **parts):
    """What search.json holds of a nested search in which the folds made these choices."""
    score = {"mean": 0.9, "interval": [0.8, 1.0]}
    trainable, rate = judged
    tried = {"trainable": trainable, "learning_rate": rate, "scores": {"accuracy": score}}
    search = {
        "mode": "nested",
        "candidates": [
            {"name": HEAD, "trainable": "head", "learning_rates": [1e-4, 1e-3, 1e-2]},
            {"name": ALL, "trainable": "all", "learning_rates": [1e-4, 1e-3, 1e-2]},
        ],
        "finalists": [
            [
                {"candidate": name, "learning_rate": rate, "chosen": name == layers} for name in (HEAD, ALL)
            ]
            for layers, rate in choices
        ],
        "judged": {
            "metric": "accuracy", "score": score, "trainable": trainable, "learning_rate": rate,
            "parameters": 5, "total": 100, "num_rows": 60, "head_solver": "gradient", "tried": [tried],
        },
    }  # fmt: skip
    return sketch(Search, search | parts)


@pytest.mark.parametrize(
    ("choices", "shares", "answers"),
    [
        ([(HEAD, 1e-3)] * 3, (1.0, 1.0), ("trainable=head", "0.001")),
        ([(HEAD, 1e-3), (HEAD, 1e-2), (ALL, 1e-2)], (2 / 3, 1 / 3), ("trainable=head", "can't tell")),
        ([(HEAD, 1e-3), (ALL, 1e-3)], (0.5, 1.0), ("can't tell", "0.001")),
    ],
)
def test_what_half_of_the_folds_or_fewer_chose_is_no_answer(choices, shares, answers):
    search = nested(*choices)
    assert tuple(agreement(search, search.judged)) == pytest.approx(shares)
    found = search_answers(search)
    assert (found.layers.answer, found.rate.answer) == answers
    assert ("more rows are needed" in found.layers.words) == (answers[0] == "can't tell")


def test_the_choices_of_the_folds_are_counted_in_the_words():
    found = search_answers(nested((HEAD, 1e-3), (ALL, 1e-2), (HEAD, 1e-4)))
    assert "the head in 2 of 3, everything in 1 of 3" in found.layers.words
    assert "The folds found best for these layers: 0.0001, 0.001, 0.01." in found.rate.words


def test_one_choice_for_all_folds_agrees_with_itself():
    search = nested((HEAD, 1e-3), mode="shared")
    assert agreement(search, search.judged) == (1.0, 1.0)


def test_without_a_judgement_nothing_is_told():
    search = Search(mode="nested", candidates=[], partial="The time was up.")
    assert {found.answer for found in search_answers(search)} == {"can't tell"}


def trial(layers, rate, loss, half=0):
    return {"candidate": layers, "learning_rate": rate, "loss": loss, "half": half}


def test_the_map_has_the_mean_of_the_first_halves_and_frames_what_was_chosen():
    trials = [
        trial(HEAD, 1e-3, 0.2), trial(HEAD, 1e-3, 0.4), trial(HEAD, 1e-3, 9.0, half=1),
        trial(HEAD, 1e-2, None), trial(ALL, 1e-2, 0.5), trial(ALL, 1e-3, float("inf")),
    ]  # fmt: skip
    axes = trial_map(nested((HEAD, 1e-3), (ALL, 1e-2), trials=trials)).axes[0]
    values = np.ma.filled(axes.images[0].get_array(), np.nan)
    assert np.allclose(values, [[0.3, np.nan], [np.nan, 0.5]], equal_nan=True)
    assert [label.get_text() for label in axes.get_yticklabels()] == [HEAD, ALL]
    assert sorted(frame.get_xy() for frame in axes.patches) == [(-0.5, -0.5), (0.5, 0.5)]


@pytest.mark.parametrize("trials", [[], [trial(HEAD, 1e-3, None)]])
def test_there_is_no_map_without_a_loss(trials):
    assert trial_map(nested((HEAD, 1e-3), trials=trials)) is None


@pytest.mark.parametrize(
    ("config", "fingerprint", "found"),
    [
        ({"trainable": "head", "learning_rate": 1e-3}, "rows", (True, True)),
        ({"trainable": "head", "learning_rate": 1e-2}, "rows", (False, True)),
        ({"trainable": "all", "learning_rate": 1e-3}, "other rows", (False, False)),
    ],
)
def test_what_an_earlier_search_left_is_not_taken_for_this_one(tmp_path, config, fingerprint, found):
    (tmp_path / "search.json").write_text(json.dumps(to_json(nested((HEAD, 1e-3)))))
    (tmp_path / "rank.json").write_text(
        json.dumps(to_json(sketch(RankRecord, {"dataset": {"fingerprint": "rows"}})))
    )
    beside = read_companions(
        tmp_path, results_of({"config": config, "dataset": {"fingerprint": fingerprint}})
    )
    assert (beside.search is not None, beside.rank is not None) == found
