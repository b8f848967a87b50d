"""Other labelled rows in every training part: their effect is tested, copies of held-out rows left out."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_runs import edit, make_run, plain_config, wrong

from hf_transfer import RunConfig, open_dataset
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.report.card.card import card_text
from hf_transfer.report.compare import compare_runs, open_runs
from hf_transfer.runs.added import class_changes, group_changes, losing_words
from hf_transfer.runs.results import read_results
from hf_transfer.runs.run_folder import RunFolder
from hf_transfer.runs.summary import summary_text
from hf_transfer.scores.findings import GroupChanges
from hf_transfer.study.added_training import AddedRunner
from hf_transfer.study.experiment import Experiment
from hf_transfer.study.fold_runner import FoldRunner
from hf_transfer.tasks.inputs.pictures import read_picture
from hf_transfer.training.workers import make_accelerator
from hf_transfer.verify.verify_run import verify_run

OWN = {"max_rows": 60, "num_folds": 5, "final": "none"}


def write(folder: Path, name_of) -> str:
    """Digits as pictures in folders, each called as said."""
    data = open_dataset(RunConfig(dataset="builtin:digits_5to9", max_rows=120), "image")
    for number, row in enumerate(data.rows):
        path = folder / name_of(data.label_names[row["label"]]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        read_picture(row["input"]).save(path)
    return str(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    swapped = write(folder / "swapped", lambda name: str(5 + (int(name) + 1) % 5))
    alike = write(folder / "alike", str)
    return make_run("pictures", folder, card=False, **OWN, add_source=(swapped, alike))


def test_rows_with_the_wrong_labels_hurt_and_the_classes_that_lose_are_named(run):
    swapped, alike = read_results(run).added_sources
    assert swapped.verdict == "hurts"
    assert {one.label for one in swapped.classes} == {"5", "6", "7", "8", "9"}
    assert len(swapped.losing) >= 3
    assert any(one.p_loses < 0.05 for one in swapped.losing)
    assert f"{len(swapped.losing)} of 5 classes lose" in losing_words(swapped)
    assert "Beyond chance: '" in losing_words(swapped)
    assert all(f"{one.label!r} (" in losing_words(swapped) for one in swapped.losing)
    assert alike.verdict != "hurts"


def test_copies_of_the_runs_own_rows_are_left_out_and_counted(run):
    swapped, alike = read_results(run).added_sources
    assert (swapped.num_rows, swapped.num_dropped) == (60, 60)
    assert (alike.num_rows, alike.num_dropped) == (60, 60)


@pytest.mark.slow
def test_nothing_of_the_run_changes_by_it(run, tmp_path):
    other = make_run("pictures", tmp_path, card=False, **OWN)
    assert (run / "predictions.parquet").read_bytes() == (other / "predictions.parquet").read_bytes()
    assert read_results(other).added_sources == []


def test_compare_tells_it_of_the_run_that_tested_it(run, tmp_path):
    without = Path(shutil.copytree(run, tmp_path / "without"))
    edit(without, lambda values: values.update(added_sources=[]))
    found = compare_runs(open_runs([without, run]))
    said = found.to_text()
    assert "without and pictures have the same accuracy on every fold" in said
    (line,) = [line for line in said.splitlines() if "from swapped help?" in line]
    assert line.startswith(
        "pictures: Do more rows from swapped help? no, they hurt: negative transfer. 60 rows"
    )
    assert " of 5 classes lose: " in line
    assert " only with the added rows" in line
    assert "with with the" not in said
    assert "The scores of the runs themselves are without the rows that --add_source names" in said
    told = found.to_dict()["added_sources"]["pictures"]
    assert [one["verdict"] for one in told] == [one.verdict for one in read_results(run).added_sources]
    assert "--add_source" not in compare_runs(open_runs([without])).to_text()


def test_all_tests_of_the_compared_runs_are_one_family(run, tmp_path):
    again = Path(shutil.copytree(run, tmp_path / "again"))
    own = read_results(run).added_sources[0].pair
    both = compare_runs(open_runs([run, again])).added
    assert [one.pair.p_adjusted for one in both["again"]] == [one.pair.p_adjusted for one in both["pictures"]]
    assert own.p < own.p_adjusted == pytest.approx(2 * own.p)
    assert both["again"][0].pair.p_adjusted == pytest.approx(4 * own.p)


def test_card_and_summary_tell_it(run):
    results = read_results(run)
    card = card_text(run, results, "a run", list)
    assert "Do more rows from swapped help?" in card
    assert "negative transfer" in card
    assert "60 rows left out, as the run's data has the same inputs." in card
    assert str(run.parent) not in card
    assert "of swapped: hurts; accuracy" in summary_text(results)


def test_it_is_verified_and_a_forged_score_is_found(run):
    (check,) = [check for check in verify_run(run) if check.name == "added source"]
    assert check.state == "ok"
    edit(run, lambda values: values["added_sources"][0].update(added=0.99))
    assert "added_sources[0].added" in wrong(run)
    edit(run, lambda values: values["added_sources"][0].update(added=read_pair(values)))


def read_pair(values) -> float:
    """The true mean, from the other and the difference."""
    first = values["added_sources"][0]
    return first["alone"] + first["pair"]["mean"]


@pytest.mark.slow
def test_rows_of_the_run_alone_are_refused(tmp_path):
    same = write(tmp_path / "same", str)
    with pytest.raises(DataError, match="are among those of the run"):
        make_run("pictures", tmp_path, card=False, **OWN | {"max_rows": 120}, add_source=(same,))


def test_other_labels_are_refused_before_anything_is_trained(tmp_path):
    other = write(tmp_path / "other", lambda name: f"digit {name}")
    with pytest.raises(DataError, match="digit 5"):
        make_run("pictures", tmp_path, card=False, **OWN, add_source=(other,))
    assert not list(tmp_path.glob("pictures/folds/*"))


def test_heads_on_a_base_model_without_weights_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="a base model without weights"):
        make_run("text", tmp_path, card=False, trainable="head", add_source=("builtin:reviews",))


LEARNS = OWN | {"num_folds": 2, "trainable": "last:1", "num_epochs": 2, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    swapped = write(folder / "swapped", lambda name: str(5 + (int(name) + 1) % 5))
    return make_run("pictures", folder, card=False, **LEARNS, add_source=(swapped,))


def test_where_layers_learn_each_fold_is_trained_with_the_added_rows_and_verified(trained):
    results = read_results(trained)
    (found,) = results.added_sources
    assert found.trained
    assert (found.num_rows, found.num_dropped) == (60, 60)
    assert found.alone == pytest.approx(results.headline.mean)
    assert found.added != found.alone
    assert json.loads((trained / "results.json").read_text())["added_sources"][0]["verdict"] == found.verdict
    assert "the same training reaches" in card_text(trained, results, "a run", list)
    (check,) = [check for check in verify_run(trained) if check.name == "added source"]
    assert check.state == "ok"
    edit(trained, lambda values: values["added_sources"][0].update(verdict="helps"))
    assert "added_sources[0].verdict" in wrong(trained)
    edit(trained, lambda values: values["added_sources"][0].update(verdict=found.verdict))


def test_only_unfinished_folds_are_trained_with_them_again(trained, capsys):
    (found,) = read_results(trained).added_sources
    first, second = (trained / "folds" / found.folder / f"r0f{fold}" for fold in (0, 1))
    kept, again = ((place / "predictions.parquet").read_bytes() for place in (first, second))
    (second / "done.json").unlink()
    capsys.readouterr()
    make_run("pictures", trained.parent, card=False, **LEARNS, add_source=(str(trained.parent / "swapped"),))
    assert (first / "predictions.parquet").read_bytes() == kept
    assert (second / "predictions.parquet").read_bytes() == again
    said = capsys.readouterr().err
    assert f"{found.folder}, fold 2" in said
    assert "fold 1" not in said


def test_the_added_rows_are_learned_from_and_never_stop_nor_are_held_out(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_transfer.study.fold_runner.FEWEST_TO_STOP_EARLY", 20)
    others = open_dataset(RunConfig(dataset="builtin:digits_5to9", max_rows=50, seed=1), "image")
    config = plain_config(
        base_model="builtin:digits-resnet", dataset="builtin:digits_5to9", max_rows=60, num_folds=2,
        weight_decay="auto", early_stopping=2, output_dir=str(tmp_path),
    )  # fmt: skip
    data = open_dataset(config, "image")
    experiment = Experiment(data.task(config, data.target), data, config)
    own = FoldRunner(experiment, make_accelerator(config), RunFolder(tmp_path))
    runner, unit = AddedRunner(own, others.rows, others.fingerprint), experiment.units[0]
    found = runner._rows(experiment.train_rows(unit), unit.seed, config)
    plain = own._rows(experiment.train_rows(unit), unit.seed, config)
    new = set(range(60, 110))
    assert {*found.train} == {*plain.train} | new
    assert {*found.inner} == {*plain.inner}
    for (learn, check), (before, checked) in zip(found.splits, plain.splits, strict=True):
        assert {*learn} == {*before} | new
        assert {*check} == {*checked}
    assert len(runner.row_names) == 110
    assert runner.replay.encoded["labels"][60:] == others.rows["label"][:]
    assert runner.replay.plain.row_of.tolist() == list(range(110))


class Numbers:
    right_or_wrong = False


class Yes:
    """A row is right where it says 1."""

    right_or_wrong = True

    def compared(self, table):
        return table["said"].to_numpy(), np.ones(len(table))


def test_numbers_have_no_classes_and_no_groups_that_lose():
    assert class_changes(None, None, Numbers()) == []
    assert group_changes(None, None, Numbers()) is None


def test_groups_that_lose_are_counted():
    """One of 20 rows loses all, by more than chance; one loses one of two, one wins, one stays."""
    sizes = (20, 2, 3, 4)
    units = np.repeat(np.arange(4), sizes)
    before, after = np.ones(29), np.ones(29)
    after[:20] = after[20] = before[22] = 0
    tables = [pa.table({"unit": units, "said": said}) for said in (before, after)]
    found = group_changes(*tables, Yes())
    assert found == GroupChanges(num_groups=4, num_losing=2, num_sure=1)
    assert group_changes(*(table.drop_columns("unit") for table in tables), Yes()) is None
    alone = [table.set_column(0, "unit", pa.array(range(29))) for table in tables]
    assert group_changes(*alone, Yes()) is None


@pytest.mark.slow
def test_a_run_with_groups_says_how_many_lose_and_is_verified(tmp_path):
    data = open_dataset(RunConfig(dataset="builtin:digits_5to9", max_rows=60), "image")
    lines = []
    for number, row in enumerate(data.rows):
        path = tmp_path / "own" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        read_picture(row["input"]).save(path)
        lines.append({"image": path.name, "label": data.label_names[row["label"]], "who": number % 12})
    (tmp_path / "own" / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    swapped = write(tmp_path / "swapped", lambda name: str(5 + (int(name) + 1) % 5))
    own = OWN | {"dataset": str(tmp_path / "own" / "rows.jsonl"), "group_by": "who"}
    run = make_run("pictures", tmp_path, card=False, **own, add_source=(swapped,))
    (found,) = read_results(run).added_sources
    assert found.groups.num_groups == 12
    assert found.groups.num_losing > 3
    assert f"{found.groups.num_losing} of 12 groups lose" in losing_words(found)
    (check,) = [check for check in verify_run(run) if check.name == "added source"]
    assert check.state == "ok"
