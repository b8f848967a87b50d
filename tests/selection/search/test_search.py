import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from hf_transfer import ImageClassification, RunConfig, open_dataset
from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError
from hf_transfer.layers import peft_installed
from hf_transfer.report.card.card import write_card
from hf_transfer.report.words.search import agreement
from hf_transfer.runs.hub.files import collect
from hf_transfer.runs.results import read_results
from hf_transfer.runs.schema import from_json, to_json
from hf_transfer.runs.search_record import SearchCandidate
from hf_transfer.selection.search import budget as budgets
from hf_transfer.selection.search import run as searching
from hf_transfer.selection.search.candidates import propose
from hf_transfer.selection.search.report import search_text
from hf_transfer.selection.search.run import SearchOptions, open_study, predict_cost, search
from hf_transfer.tasks import task_of_kind
from hf_transfer.verify.verify_run import verify_run


@pytest.fixture
def config(tmp_path) -> RunConfig:
    return RunConfig(
        base_model="builtin:digits-resnet", dataset="builtin:digits_5to9", max_rows=60, num_folds=2,
        num_repeats=1, num_epochs=1, batch_size=16, learning_rates=(1e-3,), output_dir=str(tmp_path / "run"),
    )  # fmt: skip


def searched(config, **options):
    data = open_dataset(config, "image")
    return search(ImageClassification(config, data.label_names), data, config, SearchOptions(**options))


def wrong(run) -> list[str]:
    return [check.name for check in verify_run(run) if check.state == "wrong"]


@pytest.fixture
def unranked(monkeypatch):
    """The ranking beside the choice is left out, which takes as long as all trials."""
    monkeypatch.setattr(searching, "_rank", lambda _: None)


@pytest.fixture(scope="module")
def sliced(tmp_path_factory):
    run = tmp_path_factory.mktemp("search") / "run"
    config = RunConfig(
        base_model="builtin:digits-resnet", dataset="builtin:digits_5to9", max_rows=80, num_folds=2,
        num_repeats=1, num_epochs=1, batch_size=16, learning_rates=(1e-3,), output_dir=str(run),
    )  # fmt: skip
    return run, config, searched(config, mode="design-slice")


def test_rows_that_chose_are_in_no_fold_and_all_rows_make_the_final_model(sliced):
    run, _, about = sliced
    folds, predictions = pq.read_table(run / "folds.parquet"), pq.read_table(run / "predictions.parquet")
    aside = set(folds.filter(folds["aside"])["row_id"].to_pylist())
    assert len(aside) == about.rows.selection == 16
    assert aside.isdisjoint(predictions["row_id"].to_pylist())
    assert predictions.num_rows == about.rows.judged == 64
    assert read_results(run).final.num_rows == 80


def test_a_head_in_closed_form_is_written_and_read_back(config):
    """It has no epochs, so that what stands for them is no number."""
    config = replace(config, learning_rates=(), num_epochs=1)
    task = ImageClassification(config, [str(digit) for digit in range(5)])
    head = searching._candidate(propose(task, config, 48)[0])
    assert head.solved
    assert from_json(SearchCandidate, json.loads(json.dumps(to_json(head)))) == head


def test_full_training_is_judged_beside_the_choice_which_can_be_verified(sliced):
    run, _, about = sliced
    results = read_results(run)
    assert len(results.grid) == len(about.judged.tried) == 2
    assert results.choice.rule == "one standard error"
    assert about.judged.trainable == results.trainable.spec
    (chosen,) = [line for line in about.finalists[0] if line.chosen]
    assert chosen.behind == 0 == min(line.behind for line in about.finalists[0])
    assert wrong(run) == []


def test_a_spoiled_choice_is_found(sliced, tmp_path):
    run, _, _ = sliced
    results = json.loads((run / "results.json").read_text())
    results["choice"]["costs"] = results["choice"]["costs"][::-1]
    worse = [entry for entry in results["grid"] if not entry["best"]]
    before = {name: results["config"][name] for name in ("trainable", "learning_rate")}
    assert any(before != {name: entry[name] for name in before} for entry in worse)
    copied = tmp_path / "copy"
    copied.mkdir()
    for path in run.rglob("*"):
        if path.is_file():
            target = copied / path.relative_to(run)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    results["choice"]["rule"] = "best"
    for entry in results["grid"]:
        entry["best"] = not entry["best"]
    (copied / "results.json").write_text(json.dumps(results))
    assert "scores" in wrong(copied)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda about: about["judged"]["score"].update(mean=0.99), "search.judged.score.mean: written 0.99"),
        (lambda about: about["verdicts"].update(rate="Any."), "search.verdicts.rate: written 'Any.'"),
        (
            lambda about: about["judged"]["tried"][1]["scores"]["accuracy"].update(mean=0.99),
            "search.judged.tried[1].scores.accuracy.mean: written 0.99",
        ),
    ],
)
def test_a_search_that_tells_other_scores_than_the_folds_is_found(sliced, tmp_path, change, words):
    run = shutil.copytree(sliced[0], tmp_path / "run")
    about = json.loads((run / "search.json").read_text())
    change(about)
    (run / "search.json").write_text(json.dumps(about))
    found = {check.name: check.differences for check in verify_run(run)}
    assert any(line.startswith(words) for line in found["search"])


def test_the_card_tells_what_was_searched_and_is_verified_when_published(sliced, tmp_path):
    run = shutil.copytree(sliced[0], tmp_path / "run")
    card = write_card(run).read_text()
    assert "**Which layers should learn?** trainable=" in card
    assert all(f"(plots/{name}.png)" in card for name in ("trials", "depth"))
    files = collect(run)
    assert {"search.json", "rank.json", "plots/trials.png", "plots/depth.png"} <= set(files)
    for name, path in files.items():
        target = tmp_path / "snapshot" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    assert wrong(tmp_path / "snapshot") == []


@pytest.mark.usefixtures("unranked")
@pytest.mark.slow
def test_it_goes_on_with_the_trials_that_are_there(sliced):
    run, config, about = sliced
    before = {path: path.stat().st_mtime_ns for path in (run / "search").iterdir()}
    again = searched(config, mode="design-slice")
    assert {path: path.stat().st_mtime_ns for path in (run / "search").iterdir()} == before
    assert again.trials == about.trials
    assert again.judged == about.judged


def test_the_four_answers_are_told(sliced):
    run, _, about = sliced
    text = search_text(run, about)
    for question in ("good start?", "Which layers should learn?", "At which learning rate?", "overfit?"):
        assert question in text
    assert "16 rows that are in no fold" in text


@pytest.mark.slow
def test_every_fold_chooses_for_itself_when_nested(config):
    about = searched(config, mode="nested")
    assert len(about.finalists) == 2
    assert all(0 < share <= 1 for share in agreement(about).values())
    run = Path(config.output_dir)
    results = read_results(run)
    assert results.grid is None
    assert sum(fold.num_valid for fold in results.folds) == 60
    assert "Each fold chose anew" in about.verdicts["layers"]
    assert wrong(run) == []


@pytest.mark.usefixtures("unranked")
@pytest.mark.slow
def test_shared_rows_are_said_to_flatter(config):
    about = searched(replace(config, max_rows=30), mode="shared")
    assert about.rows.judged == 30
    assert "somewhat too good" in about.verdicts["layers"]


@pytest.mark.slow
def test_everything_is_tried_when_exhaustive(config):
    about = searched(config, exhaustive=True)
    tried = {(entry.settings["trainable"], entry.learning_rate) for entry in about.judged.tried}
    assert tried == {(one.trainable, 1e-3) for one in about.candidates}
    scores = [entry.scores["accuracy"].mean for entry in about.judged.tried]
    assert about.judged.score.mean == max(scores)


@pytest.mark.slow
def test_a_budget_ends_the_search_in_good_order(config, monkeypatch):
    clock = iter(range(0, 10**6, 40))
    monkeypatch.setattr(budgets.time, "monotonic", lambda: float(next(clock)))
    about = searched(config, mode="design-slice", max_hours=0.1)
    assert about.partial.startswith("The time was up after")
    assert about.judged is None
    assert about.verdicts["layers"].startswith("Can't tell yet.")
    assert json.loads((Path(config.output_dir) / "search.json").read_text()) == json.loads(
        json.dumps(to_json(about))
    )


def test_candidates_differ_and_go_from_few_parameters_to_many(config):
    data = open_dataset(config, "image")
    candidates = propose(
        ImageClassification(config, data.label_names), replace(config, learning_rates=()), 50
    )
    sizes = [candidate.parameters for candidate in candidates]
    assert sizes == sorted(set(sizes))
    assert [candidates[0].name, candidates[-1].name] == ["the head", "everything"]
    assert candidates[0].cost == 0
    assert max(candidate.cost for candidate in candidates) == candidates[-1].cost == pytest.approx(3)
    assert [len(candidate.rates) for candidate in candidates] == [1, 3, 3, 3, 3]  # the head is solved
    assert candidates[0].rates == (0.0,)
    assert all(candidate.config.learning_rate in candidate.rates for candidate in candidates[1:])
    assert [candidate.name for candidate in candidates if candidate.conditional] == ["the first block"]


@pytest.mark.parametrize("kind", ["text", "tokens"])
def test_a_plain_head_is_solved_and_adapters_are_among_the_candidates(kind, tiny_bert_folder, tmp_path):
    dataset = {"text": "builtin:reviews", "tokens": "builtin:mentions"}[kind]
    config = RunConfig(
        base_model=str(tiny_bert_folder),
        dataset=dataset,
        max_rows=30,
        max_length=16,
        output_dir=str(tmp_path),
    )
    data = open_dataset(config, kind)
    candidates = propose(task_of_kind(kind)(config, data.label_names), config, 50)
    found = {candidate.config.trainable: candidate for candidate in candidates}
    # A classifier of texts has a pooler below its output; a tagger has its output alone.
    assert found["head"].config.head_solver == {"text": "gradient", "tokens": "lbfgs"}[kind]
    assert ("head+lora" in found) == peft_installed()
    if peft_installed():
        assert found["head+lora"].parameters < found["last:25%"].parameters
        assert found["head+lora"].config.learning_rate >= found["all"].config.learning_rate
        assert 0 < found["head+lora"].cost < found["all"].cost
        assert "lora" not in str(found["all"].config.trainable)


def test_there_must_be_something_pretrained(config):
    config = replace(config, from_scratch=True)
    data = open_dataset(config, "image")
    with pytest.raises(ConfigError, match="has no pretrained weights here"):
        propose(ImageClassification(config, data.label_names), config, 50)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "sliced"}, "mode='sliced' is not one of design-slice, nested, shared"),
        ({"max_hours": 0.0}, "max_hours=0.0 must be above 0"),
        ({"exhaustive": True, "mode": "nested"}, "leave mode out"),
    ],
)
def test_options_that_cannot_be(options, words):
    with pytest.raises(ConfigError, match=words):
        SearchOptions(**options)


def test_what_it_would_cost_is_told_without_a_run(config, capsys):
    data = open_dataset(config, "image")
    cost = predict_cost(
        open_study(ImageClassification(config, data.label_names), data, config), SearchOptions()
    )
    assert 0 < cost.selection_seconds < np.inf
    assert cost.mode == "shared"
    assert not Path(config.output_dir).exists()
    words = ["--base_model", config.base_model, "--dataset", config.dataset, "--max_rows", "60"]
    words += ["--output_dir", config.output_dir, "--dry_run"]
    assert main(["search", "image_classification", *words]) == 0
    assert "mode shared: about" in capsys.readouterr().out
    assert not Path(config.output_dir).exists()


def test_a_recipe_that_is_none_is_refused(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("DEFAULTS = 1\n")
    assert main(["search", str(path)]) == 2
    assert "it must define DEFAULTS, a RunConfig, and import one task" in capsys.readouterr().err
