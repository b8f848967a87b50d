"""What shots, shift and adapt leave in a run's folder: sections of its card and its report, and checks."""

import json
import shutil
from pathlib import Path

import pytest
from digit_pictures import label_file, pictures
from small_runs import PICTURES, edit, make_run, wrong

from hf_transfer import RunConfig, adapt, shift, shots, write_card
from hf_transfer.report.page.page import write_report
from hf_transfer.runs.companions import Companions, read_companions
from hf_transfer.runs.hub.files import collect
from hf_transfer.runs.results import read_results
from hf_transfer.transfer.shift import open_domains
from hf_transfer.verify.verify_run import verify_run

ROWS = {name: PICTURES[name] for name in ("base_model", "max_rows")}
SECTIONS = {
    "shots": ("### A few labelled rows a class", "shots.json has all figures"),
    "shift": ("### Beside other data", "Is negatives another domain than "),
    "adapt": ("### Adapted to another domain", "Is an adapted head better in negatives?"),
}
PLOTS = {"shots.png", "clouds.png", "adapt.png"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run, of whose rows three other verbs told something afterwards."""
    base = tmp_path_factory.mktemp("beside")
    folder = make_run("pictures", base, card=False)
    before = {path: path.read_bytes() for path in folder.glob("model/*")}
    target = pictures(base / "negatives", range(40, 110), lambda grey: 255 - grey)
    settings = ROWS | {"output_dir": str(folder)}
    shots(PICTURES["dataset"], shots=[1, 4], num_draws=9, num_episodes=9, **settings)
    domains = open_domains(RunConfig(dataset=PICTURES["dataset"], **ROWS), target)
    labels = label_file(base / "labels.csv", domains.target, 30)
    shift(PICTURES["dataset"], target, label_target=30, **settings)
    shift(PICTURES["dataset"], target, labels=labels, **settings)
    write_card(folder, redraw=False)
    adapt(PICTURES["dataset"], target, labels=labels, arms=("z-score", "coral"), **settings)
    assert before == {path: path.read_bytes() for path in folder.glob("model/*")} != {}
    return folder


@pytest.fixture
def copy(run, tmp_path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def found_beside(run: Path) -> Companions:
    return read_companions(run, read_results(run))


def test_each_is_a_section_of_the_card(run):
    card = (run / "README.md").read_text("utf-8")
    for name, parts in SECTIONS.items():
        section = card.split(f"<!-- hf-transfer:begin {name} -->")[1].split(f":end {name} -->")[0]
        assert [part for part in parts if part not in section] == []
        assert "\n|---|" in section
        assert "](plots/" in section
    assert str(run.parent) not in card
    assert {path.name for path in run.glob("plots/*")} >= PLOTS


@pytest.mark.slow
def test_each_is_a_section_of_the_report(run):
    page = write_report(run, with_data=False).read_text("utf-8")
    for title, words in SECTIONS.values():
        assert title.replace("###", "<h2>").replace("> ", ">") in page
        assert words in page
    assert page.count('<figure><img src="data:image/svg') == len(SECTIONS)


def test_the_adapted_model_lies_beside_the_runs_own(run):
    assert "A head for" in (run / "adapted" / "README.md").read_text("utf-8")
    assert (run / "adapted" / "model" / "config.json").is_file()
    files = {path.relative_to(run).as_posix() for path in collect(run).values()}
    assert {"shots.json", "adapt.json", *(f"plots/{name}" for name in PLOTS)} <= files
    assert not {name for name in files if name.startswith("adapted/") or "shift.json" in name}


def test_what_follows_from_what_was_written_is_recomputed(run):
    states = {check.name: check.state for check in verify_run(run)}
    assert {name: states[name] for name in SECTIONS} == dict.fromkeys(SECTIONS, "ok")
    assert states["card"] == "ok"
    assert wrong(run) == ""


def test_an_altered_number_is_named(copy):
    edit(copy, lambda values: values["sizes"][1].update(mean=0.9), "shots.json")
    edit(copy, lambda values: values["by_labels"].update(exact=[0.4, 0.5]), "shift.json")
    edit(copy, lambda values: values["estimate"].update(worst_error=0.0), "shift.json")
    edit(copy, lambda values: values["arms"][1].update(p=0.001), "adapt.json")
    found = wrong(copy)
    for name in ("shots.sizes[1].mean", "shift.by_labels.exact[0]", "adapt.arms[1].p", "README.md, shots"):
        assert f"{name}: written" in found or name in found
    assert "shift.estimate.worst_error: written 0.0" in found


def test_shots_without_draws_are_not_checked(copy):
    edit(copy, lambda values: [size.pop("draws") for size in values["sizes"]], "shots.json")
    (check,) = (check for check in verify_run(copy) if check.name == "shots")
    assert (check.state, "did not keep" in check.found) == ("not checked", True)


def test_the_file_that_quotes_rows_may_be_left_behind(copy):
    (copy / "shift.json").unlink()
    checks = {check.name: check for check in verify_run(copy)}
    assert (checks["shift"].state, checks["card"].state) == ("not checked", "ok")
    assert "it quotes rows" in checks["shift"].found


@pytest.mark.parametrize(
    ("name", "key"), [("shots", "dataset"), ("shift", "source_data"), ("adapt", "source")]
)
def test_what_is_of_other_rows_is_left_out(copy, name, key):
    assert getattr(found_beside(copy), name) is not None
    edit(copy, lambda values: values[key].update(fingerprint="other"), f"{name}.json")
    assert getattr(found_beside(copy), name) is None
    write_card(copy, redraw=False)
    assert f"hf-transfer:begin {name} " not in (copy / "README.md").read_text("utf-8")
    assert json.loads((copy / f"{name}.json").read_text("utf-8"))  # and stays
