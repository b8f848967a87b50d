from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from near_carrier import NearCarrier
from small_runs import KINDS, plain_config

from hf_transfer import cross_validate, open_dataset
from hf_transfer.cluster.placing import Placing
from hf_transfer.errors import ConfigError, DoneEarlyError, RunError
from hf_transfer.study import cross_validation

LAST = {
    "base_model": "builtin:tiny-bert", "dataset": "builtin:reviews", "max_rows": 40, "num_folds": 2,
    "num_epochs": 1, "batch_size": 16, "learning_rate": 1e-3, "max_length": 16, "trainable": "last:1",
}  # fmt: skip


def run(config, kind, carrier=None):
    data = open_dataset(config, kind)
    task = data.task(config, data.target)
    if carrier is None:
        return cross_validate(task, data, config)
    return cross_validation.cross_validate(task, data, config, engine=Placing(carrier))


def predictions(folder):
    paths = sorted(Path(folder).rglob("*predictions.parquet"))
    return {path.relative_to(folder).as_posix(): pq.read_table(path) for path in paths}


def weights(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).glob("model/**/*.safetensors")
    }


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    config = plain_config(**LAST, output_dir=str(tmp_path_factory.mktemp("here") / "run"))
    return config, run(config, "text")


@pytest.mark.parametrize(
    "name",
    ["pictures", *(pytest.param(name, marks=pytest.mark.slow) for name in ("words", "grid", "sounds"))],
)
def test_what_comes_back_is_what_one_process_finds_to_the_bit(name, tmp_path):
    kind, settings = KINDS[name]
    config = plain_config(**settings | {"final": "refit"}, output_dir=str(tmp_path / "one"))
    run(config, kind)
    run(replace(config, output_dir=str(tmp_path / "many")), kind, carrier := NearCarrier())
    assert predictions(tmp_path / "one") == predictions(tmp_path / "many")
    assert weights(tmp_path / "one") == weights(tmp_path / "many") != {}
    if name == "pictures":  # whose heads are trained together; of sounds it depends on the machine
        assert [order["kind"] for order in carrier.orders] == ["heads", "final"]


def test_averaged_weights_come_back_with_their_ends(tmp_path):
    averaged = {"trainable": "last:1", "head_start": "probe", "wise": "0.5", "final": "refit", "max_rows": 20}
    config = plain_config(**KINDS["pictures"][1] | averaged, output_dir=str(tmp_path / "one"))
    run(config, "image")
    run(replace(config, output_dir=str(tmp_path / "many")), "image", NearCarrier())
    assert predictions(tmp_path / "one") == predictions(tmp_path / "many")
    one, many = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "final").glob("*.safetensors")}
        for name in ("one", "many")
    )
    assert one == many
    assert len(one) == 2


def test_units_that_train_alone_are_a_piece_of_work_each(here, tmp_path):
    config = replace(here[0], output_dir=str(tmp_path / "run"))
    run(config, "text", carrier := NearCarrier())
    assert predictions(here[0].output_dir) == predictions(tmp_path / "run")
    assert weights(here[0].output_dir) == weights(tmp_path / "run")
    assert [order["kind"] for order in carrier.orders] == ["heads", "units", "units", "final"]


def test_rows_are_put_once_and_the_rest_is_small(here, tmp_path):
    config = replace(here[0], output_dir=str(tmp_path / "run"), learning_curve=True)
    run(config, "text", carrier := NearCarrier())
    assert len(carrier.put_bytes) == 2  # rows with the model, and settings
    assert len([order for order in carrier.orders if order["kind"] == "units"]) > 4


def test_all_layers_are_never_tried_as_heads(here, tmp_path):
    config = replace(here[0], output_dir=str(tmp_path / "run"), trainable="all", final="none")
    run(config, "text", carrier := NearCarrier())
    assert [order["kind"] for order in carrier.orders] == ["units", "units"]


def test_a_driver_that_is_killed_goes_on_from_what_is_there(here, tmp_path):
    config = replace(here[0], output_dir=str(tmp_path / "run"))
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        run(config, "text", NearCarrier(stop_after=2))
    (done,) = (tmp_path / "run").glob("folds/*/done.json")
    before = done.stat().st_mtime_ns
    run(config, "text", carrier := NearCarrier())
    assert done.stat().st_mtime_ns == before
    assert sum(order["kind"] == "units" for order in carrier.orders) == 1
    assert predictions(here[0].output_dir) == predictions(tmp_path / "run")


def test_work_that_is_lost_fails_its_fold_alone_and_the_next_run_does_it(here, tmp_path):
    config = replace(here[0], output_dir=str(tmp_path / "run"))

    def loses(order):
        return "the node died" if order["kind"] == "units" and order["units"][0]["fold"] == 1 else None

    result = run(config, "text", NearCarrier(loses))
    assert [fold.error for fold in result.folds] == [None, "the node died"]
    run(config, "text", NearCarrier())
    assert predictions(here[0].output_dir) == predictions(tmp_path / "run")


def test_an_error_of_the_kit_on_a_node_fails_the_fold_and_is_not_tried_again(here, tmp_path, monkeypatch):
    from hf_transfer.cluster import work

    def refuses(*order):
        raise ConfigError("no room on this node")

    monkeypatch.setattr(work, "_KINDS", {**work._KINDS, "units": refuses})
    config = replace(here[0], output_dir=str(tmp_path / "run"), final="none")
    carrier = NearCarrier()
    with pytest.raises(RunError, match=r"Every fold failed\. The first: ConfigError: no room on this node"):
        run(config, "text", carrier)
    assert [order["kind"] for order in carrier.orders] == ["heads", "units", "units"]


def test_a_defect_on_a_node_is_no_failure_of_a_fold(here, tmp_path, monkeypatch):
    from hf_transfer.cluster import work

    monkeypatch.setattr(work, "_KINDS", {**work._KINDS, "units": lambda *order: 1 / 0})
    with pytest.raises(ZeroDivisionError, match="division"):
        run(replace(here[0], output_dir=str(tmp_path / "run")), "text", NearCarrier())


def test_a_final_model_that_is_lost_leaves_the_scores(here, tmp_path):
    config = replace(here[0], output_dir=str(tmp_path / "run"))
    lost = NearCarrier(lambda order: "the node died" if order["kind"] == "final" else None)
    result = run(config, "text", lost)
    assert (result.results.final.kind, result.results.final.error) == ("none", "the node died")
    assert result.scores == here[1].scores


@pytest.mark.parametrize("final", ["ensemble", pytest.param("soup", marks=pytest.mark.slow)])
def test_models_of_the_folds_come_back_to_be_joined(final, tmp_path):
    config = plain_config(**LAST | {"final": final, "sealed": 0.2}, output_dir=str(tmp_path / "one"))
    run(config, "text")
    run(replace(config, output_dir=str(tmp_path / "many")), "text", NearCarrier())
    assert weights(tmp_path / "one") == weights(tmp_path / "many") != {}
    assert predictions(tmp_path / "one") == predictions(tmp_path / "many")
    kept = [{p.relative_to(tmp_path / run) for p in (tmp_path / run).rglob("*")} for run in ("one", "many")]
    assert kept[0] == kept[1]


def test_never_more_is_handed_over_than_can_be_looked_through(here, tmp_path, monkeypatch):
    monkeypatch.setattr("hf_transfer.cluster.placing._AHEAD", 2)
    config = replace(here[0], output_dir=str(tmp_path / "run"), num_folds=4, final="none")
    run(config, "text", carrier := NearCarrier())
    assert carrier.most_waiting == 2
    assert len(list((tmp_path / "run").glob("folds/*/done.json"))) == 4


def test_a_dry_run_says_the_price_and_leaves_nothing(here, tmp_path):
    config = replace(here[0], output_dir=str(tmp_path / "run"), dry_run=True)
    with pytest.raises(
        DoneEarlyError, match=r"About .* processor-hours: 2 trainings and the final model on "
    ):
        run(config, "text", NearCarrier())
    with pytest.raises(DoneEarlyError, match=r"About .* on this machine: 2 trainings and the final model"):
        run(config, "text")
    assert not (tmp_path / "run").exists()


def test_somebodys_own_task_stays_here(here, tmp_path):
    from hf_transfer import SequenceClassification

    class Own(SequenceClassification):
        name = "own-task"

    data = open_dataset(here[0], "text")
    with pytest.raises(ConfigError, match="carries the kit's own tasks, and Own is another"):
        cross_validation.cross_validate(
            Own(here[0], data.target), data, replace(here[0], output_dir=str(tmp_path / "run")),
            engine=Placing(NearCarrier()),
        )  # fmt: skip


def test_folds_of_two_kinds_of_machine_are_refused(here, tmp_path, monkeypatch):
    """As the bits of a fold would depend on where it was placed."""
    from hf_transfer.study import fold_scorer

    before, devices = fold_scorer.environment, iter(["cpu: one", "another: two"])
    monkeypatch.setattr(fold_scorer, "environment", lambda d: replace(before(d), device=next(devices)))
    config = replace(here[0], output_dir=str(tmp_path / "run"), trainable="all", final="none")
    with pytest.raises(ConfigError, match=r"threads? on another; .* on cpu.*--mixed_environments"):
        run(config, "text", NearCarrier())


@pytest.mark.slow
def test_a_search_places_the_folds_that_judge_its_choice(tmp_path):
    from hf_transfer.selection.search.run import SearchOptions, search

    kind, settings = KINDS["pictures"]
    config = plain_config(**settings | {"final": "refit"}, output_dir=str(tmp_path / "one"))
    data = open_dataset(config, kind)
    task = data.task(config, data.target)
    search(task, data, config, SearchOptions("shared"))
    carrier = NearCarrier()
    many = replace(config, output_dir=str(tmp_path / "many"))
    search(task, data, many, SearchOptions("shared"), engine=Placing(carrier))
    assert "final" in {order["kind"] for order in carrier.orders}
    assert predictions(tmp_path / "one") == predictions(tmp_path / "many")
    assert weights(tmp_path / "one") == weights(tmp_path / "many") != {}
