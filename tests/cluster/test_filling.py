"""Features that machines compute are those of one process, and verbs find them in the cache."""

from dataclasses import replace

import numpy as np
import pytest
from near_carrier import NearCarrier

from hf_transfer import RunConfig, SequenceClassification, rank, shots
from hf_transfer.cli.main import main
from hf_transfer.cluster import filling
from hf_transfer.cluster.computing import check_origin, plain_pass
from hf_transfer.cluster.placing import Placing
from hf_transfer.errors import ConfigError, RunError
from hf_transfer.machine.cache import StoreFolder, cache_folder, clear, stores_folder
from hf_transfer.models.base_model import _builtin_folder
from hf_transfer.selection.rank.ranking import rank_models
from hf_transfer.training.workers import make_accelerator
from hf_transfer.transfer.adapt_run import run_adapt
from hf_transfer.transfer.adapting import AdaptOptions
from hf_transfer.transfer.combining import combine_models
from hf_transfer.transfer.features import features_of, open_labelled
from hf_transfer.transfer.publishing import publish_combination
from hf_transfer.transfer.shift import open_domains
from hf_transfer.transfer.shots import ShotOptions, score_shots

REVIEWS = {"dataset": "builtin:reviews", "max_rows": 40, "max_length": 16}
DIGITS = {"dataset": "builtin:digits_5to9", "max_rows": 40}
MODELS = {
    "texts": (REVIEWS, ["builtin:tiny-bert"]),
    "words": (REVIEWS | {"dataset": "builtin:mentions"}, ["builtin:tiny-bert"]),
    "pictures": (DIGITS, ["builtin:digits-resnet"]),
}


@pytest.fixture(autouse=True)
def _empty_cache():
    clear(cache_folder())


def opened(settings, model="builtin:tiny-bert", **changes):
    return open_labelled(RunConfig(**settings | {"base_model": model} | changes))


def features(some, engine=None):
    return features_of(some, make_accelerator(some[0].task.settings), engine)


def rows_of(carrier):
    """How many rows were sent."""
    return sum(sum(block["batches"]) for order in carrier.orders for block in order["blocks"])


def unfinished():
    return [entry for entry in StoreFolder(stores_folder(), 0).entries() if not entry.finished]


@pytest.mark.parametrize("name", [pytest.param("texts", marks=pytest.mark.slow), "words", "pictures"])
def test_a_ranking_is_the_same_to_the_bit(name):
    settings, models = MODELS[name]
    config = RunConfig(**settings | {"num_folds": 2})
    here = rank_models(config, models, num_repeats=1)
    clear(cache_folder())
    there = rank_models(config, models, num_repeats=1, engine=Placing(carrier := NearCarrier()))
    assert [order["kind"] for order in carrier.orders] == ["features"] * len(carrier.orders)
    for one, other in zip(here.candidates, there.candidates, strict=True):
        assert not one.reused
        assert other.reused
        assert one.score.record == other.score.record
        assert [layer.record for layer in one.layers] == [layer.record for layer in other.layers]
        assert one.picked == other.picked
    assert {name: one.score.folds.tolist() for name, one in here.scratch.items()} == {
        name: one.score.folds.tolist() for name, one in there.scratch.items()
    }


def test_several_passes_are_a_piece_of_work_each_and_one_is_shared_out():
    both = [opened(REVIEWS), opened(REVIEWS, max_rows=39)]
    features(both, Placing(carrier := NearCarrier()))
    assert [len(order["blocks"]) for order in carrier.orders] == [1, 1]
    assert len(carrier.put_bytes) == 3  # the model once, and the settings of each pass
    clear(cache_folder())
    (found,) = features(both[:1], Placing(carrier := NearCarrier()))
    assert [sum(block["batches"]) for order in carrier.orders for block in order["blocks"]] == [32, 8]
    clear(cache_folder())
    (wanted,) = features(both[:1])
    assert np.array_equal(found.values, wanted.values)


def test_a_piece_of_work_is_never_larger_than_a_block(monkeypatch):
    monkeypatch.setattr(filling, "MOST_ROWS", 16)
    features([opened(REVIEWS)], Placing(carrier := NearCarrier()))
    assert [order["blocks"][0]["batches"] for order in carrier.orders] == [[16], [16], [8]]


def test_what_is_stored_is_not_computed_again():
    for wanted in (1, 0):
        features([opened(DIGITS, "builtin:digits-resnet", max_rows=10)], Placing(carrier := NearCarrier()))
        assert len(carrier.orders) == wanted


def test_what_is_lost_costs_its_own_pass_and_the_next_call_does_it():
    both = [opened(REVIEWS), opened(REVIEWS, max_rows=39)]
    lost = NearCarrier(lambda order: "The node died." if sum(order["blocks"][0]["batches"]) == 39 else None)
    with pytest.raises(RunError, match=r"Some features did not come back from the cluster: The node died\."):
        features(both, Placing(lost))
    assert not unfinished()
    found = features(both, Placing(carrier := NearCarrier()))
    assert rows_of(carrier) == 39
    clear(cache_folder())
    for one, wanted in zip(found, features(both), strict=True):
        assert np.array_equal(one.values, wanted.values)


def test_a_driver_that_is_killed_goes_on_from_whole_passes():
    both = [opened(REVIEWS), opened(REVIEWS, max_rows=39)]
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        features(both, Placing(NearCarrier(stop_after=1)))
    assert not unfinished()
    features(both, Placing(carrier := NearCarrier()))
    assert rows_of(carrier) == 40  # as what is handed over last comes back first here


def test_an_error_of_the_kit_on_a_node_is_told(monkeypatch):
    from hf_transfer.cluster import work

    def refuses(*order):
        raise ConfigError("no room on this node.")

    monkeypatch.setattr(work, "_KINDS", {"features": refuses})
    with pytest.raises(RunError, match=r"from the cluster: ConfigError: no room on this node\. Whole ones"):
        features([opened(REVIEWS)], Placing(NearCarrier()))


def test_there_must_be_room_in_the_cache():
    with pytest.raises(ConfigError, match=r"have no room in the cache: .*cache_gb=1e-06\. Raise --cache_gb"):
        features([opened(REVIEWS, cache_gb=1e-6)], Placing(NearCarrier()))


ORIGIN = {"features": [["output"], [0, 4], []], "weights": "ab", "arithmetic": ["2.14", "cpu", 1]}


def test_nodes_that_compute_other_bits_are_refused_unless_allowed():
    other = ORIGIN | {"arithmetic": ["2.14", "NVIDIA H200", 2]}
    with pytest.raises(ConfigError, match=r"by 2 threads on NVIDIA H200 .*, and others by 1 thread on cpu"):
        check_origin(other, ORIGIN, "m", mixed=False)
    check_origin(other, ORIGIN, "m", mixed=True)
    with pytest.raises(ConfigError, match="base_model='m' has other weights on a node"):
        check_origin(other | {"weights": "cd"}, ORIGIN, "m", mixed=True)


def test_features_of_any_machine_are_stored_apart():
    """As those of this process must stay those of this process."""
    one = opened(REVIEWS, max_rows=10)
    mixed = replace(one.task.settings, engine="ray", mixed_environments=True)
    both = [one, replace(one, task=type(one.task)(mixed, one.task.target))]
    for some in both:
        features([some], Placing(carrier := NearCarrier()))
        assert len(carrier.orders) == 1


def test_somebodys_own_task_stays_here():
    class Own(SequenceClassification):
        name = "own-task"

    config = RunConfig(**REVIEWS)
    with pytest.raises(ConfigError, match="carries the kit's own tasks, and Own is another"):
        plain_pass(Own(config, ("a", "b")), "output")


@pytest.mark.parametrize("verb", [rank, shots])
def test_functions_that_place_nothing_refuse_an_engine(verb):
    models = "builtin:tiny-bert" if verb is shots else ["builtin:tiny-bert"]
    with pytest.raises(ConfigError, match="engine='ray' is for fine_tune and cross_validate here"):
        verb("builtin:reviews", models, max_rows=20, engine="ray")


def test_two_domains_are_two_passes(tmp_path):
    config = RunConfig(**DIGITS, base_model="builtin:digits-resnet")
    domains = open_domains(config, "builtin:digits_0to4", engine=Placing(carrier := NearCarrier()))
    assert len(carrier.orders) == 2
    clear(cache_folder())
    wanted = open_domains(config, "builtin:digits_0to4")
    assert np.array_equal(domains.source.values, wanted.source.values)
    assert np.array_equal(domains.target.values, wanted.target.values)


def test_few_labels_score_the_same():
    config = RunConfig(**DIGITS, base_model="builtin:digits-resnet")
    options = ShotOptions(shots=(1, 2), num_draws=3, num_episodes=5)
    there = score_shots(config, options, engine=Placing(NearCarrier()))
    clear(cache_folder())
    assert score_shots(config, options).sizes == there.sizes


def test_training_is_not_placed(tmp_path):
    engine = Placing(NearCarrier())
    config = RunConfig(**REVIEWS, base_model="builtin:tiny-bert", trainable="last:1", engine="ray")
    with pytest.raises(ConfigError, match="--trainable last:1 trains in this process, and engine='ray'"):
        run_adapt(config, "builtin:mentions", AdaptOptions(), engine=engine)
    with pytest.raises(ConfigError, match="--setfit trains in this process, and engine='ray' computes"):
        score_shots(config, ShotOptions(setfit=True), engine=engine)


@pytest.mark.slow
def test_a_combination_is_judged_and_trained_on_nodes(tmp_path):
    own = _builtin_folder("builtin:digits-resnet")  # which goes along
    settings = DIGITS | {"num_folds": 2, "num_repeats": 1, "trainable": "head"}
    records = []
    for name, engine in (("here", None), ("there", Placing(carrier := NearCarrier()))):
        clear(cache_folder())
        config = RunConfig(**settings, output_dir=str(tmp_path / name))
        record = combine_models(config, ["builtin:digits-resnet", own], num_repeats=1, engine=engine)
        publish_combination(config, record, judge_only=False, engine=engine)
        records.append(record)
    assert records[0].members == records[1].members
    assert {order["kind"] for order in carrier.orders} == {"features", "heads", "final"}
    models = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("here", "there")]
    assert models[0] == models[1]


@pytest.mark.parametrize(
    "words",
    [
        ["rank", "builtin:digits_5to9", "builtin:digits-resnet", "--num_repeats", "1"],
        ["shift", "builtin:digits_5to9", "builtin:digits_0to4"],
        ["adapt", "builtin:digits_5to9", "builtin:digits_0to4"],
        ["shots", "builtin:digits_5to9", "--shots=1,2", "--draws=3", "--episodes=0"],
        ["features", "builtin:digits_5to9"],
    ],
    ids=lambda words: words[0],
)
def test_the_command_line_places_work(words, tmp_path, monkeypatch, capsys):
    carrier = NearCarrier()
    monkeypatch.setattr("hf_transfer.cluster.ray_carrier.RayCarrier", lambda config: carrier)
    words = [*words, "--max_rows", "30", "--num_folds", "2", "--output_dir", str(tmp_path / "out")]
    words += ["--base_model", "builtin:digits-resnet"] if words[0] != "rank" else []
    assert main([*words, "--engine", "ray"]) == 0
    assert {order["kind"] for order in carrier.orders} == {"features"}
