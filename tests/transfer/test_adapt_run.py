"""`hf-transfer adapt`, from two data sets to a model that plain libraries load."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from digit_pictures import label_file, pictures
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from hf_transfer import RunConfig
from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.report.words.adapt import adapt_text
from hf_transfer.runs.adapt_record import AdaptRecord
from hf_transfer.runs.schema import from_json
from hf_transfer.transfer.adapt_run import begin, run_adapt
from hf_transfer.transfer.adapting import SOURCE, AdaptOptions
from hf_transfer.transfer.shift import open_domains

MODEL = {"base_model": "builtin:digits-resnet", "trainable": "head"}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("source"), range(100))


@pytest.fixture(scope="module")
def negatives(tmp_path_factory):
    """The same kind of digits in black on white."""
    return pictures(tmp_path_factory.mktemp("negatives"), range(100, 220), lambda grey: 255 - grey)


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("alike"), range(100, 200))


@pytest.fixture(scope="module")
def opened(source, negatives):
    return open_domains(RunConfig(dataset=source, **MODEL), negatives)


def test_what_passes_is_published_as_a_plain_model(source, negatives, opened, tmp_path, capsys):
    labels = label_file(tmp_path / "labels.csv", opened.target)
    words = ["--labels", str(labels), "--arms", "coral,labels-in-training"]
    settings = ["--base_model", "builtin:digits-resnet", "--output_dir", str(tmp_path / "run")]
    assert main(["adapt", source, negatives, *words, *settings, "--json"]) == 0
    record = from_json(AdaptRecord, json.loads(capsys.readouterr().out))
    assert (record.verdict, record.num_labels, record.transductive) == ("adapted", 40, True)
    assert record.reload.problem is None
    own = next(arm for arm in record.arms if arm.name == record.published)
    assert own.adjusted < 0.05
    options = AdaptOptions(labels=tmp_path / "labels.csv", arms=("coral", "labels-in-training"))
    head = begin(opened, options).heads[record.published]
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "run" / "model").eval()
    processor = AutoImageProcessor.from_pretrained(tmp_path / "run" / "model")
    files = [Image.open(value["path"]).convert("RGB") for value in opened.target.data.rows["input"][:5]]
    with torch.inference_mode():
        logits = model(**processor(files, return_tensors="pt")).logits
    np.testing.assert_allclose(logits, head.scores(opened.target.values[:5]), atol=1e-4)
    assert f"linear head: {record.published}" in (tmp_path / "run" / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_without_labels_the_sources_own_head_is_published(source, negatives, tmp_path):
    config = RunConfig(dataset=source, output_dir=str(tmp_path), **MODEL)
    record = run_adapt(config, negatives, AdaptOptions())
    assert (record.verdict, record.published) == ("no labels", SOURCE)
    assert [arm.name for arm in record.arms] == [SOURCE, "z-score", "coral", "prototypes"]
    assert all(arm.accuracy is None for arm in record.arms)
    assert "--label_target 30" in adapt_text(record)
    assert (tmp_path / "adapt.png").is_file()


def test_nothing_is_published_where_nothing_is_shifted(source, alike, tmp_path):
    domains = open_domains(RunConfig(dataset=source, **MODEL), alike)
    found = begin(domains, AdaptOptions(labels=label_file(tmp_path / "labels.csv", domains.target)))
    assert (found.verdict, found.published) == ("same domain", SOURCE)


def test_few_labels_are_too_few(opened, tmp_path):
    labels = label_file(tmp_path / "labels.csv", opened.target, 29)
    found = begin(opened, AdaptOptions(labels=labels))
    assert (found.verdict, found.label_arms) == ("too few labels", [])


def test_labelled_rows_are_kept_apart(opened, tmp_path):
    labels = label_file(tmp_path / "labels.csv", opened.target)
    found = begin(opened, AdaptOptions(labels=labels, split_target=True))
    seen = {row.tobytes() for row in found.domains.target}
    assert len(found.domains.target) == len(opened.target) - 40
    assert not any(opened.target.values[row].tobytes() in seen for row in found.few.rows)


@pytest.mark.slow
def test_the_sources_domains_choose_one_arm(source, negatives, alike, tmp_path):
    """By rows of which each half is another domain."""
    both = tmp_path / "both.jsonl"
    rows = [
        {"image": str(path), "label": path.parent.name, "look": look}
        for folder, look in ((source, "white"), (negatives, "black"))
        for path in sorted(Path(folder).rglob("*.png"))
    ]
    both.write_text("\n".join(map(json.dumps, rows)))
    config = RunConfig(dataset=str(both), group_by="look", allow_outside=True, **MODEL)
    found = begin(open_domains(config, alike, groups_target=False), AdaptOptions(domain_column="look"))
    assert set(found.left_out) == {"z-score", "coral", "prototypes"}
    assert found.row_arms == [max(found.left_out, key=found.left_out.get)]


@pytest.mark.parametrize(
    ("arms", "message"),
    [(("corall",), "must name some of z-score, coral"), (("coral", "coral"), "each once; got coral, coral")],
)
def test_arms_must_be_known(arms, message):
    with pytest.raises(ConfigError, match=message):
        AdaptOptions(arms=arms)


def test_a_label_that_the_source_lacks_is_told(opened, tmp_path):
    labels = label_file(tmp_path / "labels.csv", opened.target, name=lambda name: name + "!")
    with pytest.raises(DataError, match="the model does not know: '5!'"):
        begin(opened, AdaptOptions(labels=labels))


def test_rows_that_somebody_chose_are_refused(opened, tmp_path):
    """Only rows drawn at random say what holds for the others."""
    labels = label_file(tmp_path / "labels.csv", opened.target)
    lines = labels.read_text().splitlines()
    drawn = {line.split(",")[0] for line in lines}
    other = next(str(row_id) for row_id in opened.target.row_ids if str(row_id) not in drawn)
    labels.write_text("\n".join([*lines[:-1], f"{other},5"]))
    with pytest.raises(DataError, match=r"1 row in labels\.csv were not drawn"):
        begin(opened, AdaptOptions(labels=labels))


def test_numbers_are_refused(tmp_path, source):
    rows = [{"text": f"row {n}", "label": n / 7} for n in range(12)]
    (tmp_path / "numbers.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = RunConfig(dataset=str(tmp_path / "numbers.jsonl"), base_model="builtin:tiny-bert")
    (tmp_path / "lines.txt").write_text("one\ntwo\nthree")
    with pytest.raises(DataError, match="are numbers, and a head is adapted for rows of one class each"):
        begin(open_domains(config, str(tmp_path / "lines.txt")), AdaptOptions())


def test_one_domain_is_too_few_to_leave_one_out(source, alike, tmp_path):
    rows = [
        {"image": str(path), "label": path.parent.name, "look": "white"}
        for path in Path(source).rglob("*.png")
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = RunConfig(
        dataset=str(tmp_path / "rows.jsonl"), allow_outside=True, output_dir=str(tmp_path), **MODEL
    )
    with pytest.raises(DataError, match="domain_column look has the same value in all rows"):
        run_adapt(config, alike, AdaptOptions(domain_column="look"))


def test_one_grouping_at_a_time(source, negatives):
    config = RunConfig(dataset=source, group_by="a", **MODEL)
    with pytest.raises(ConfigError, match="leave --group_by out"):
        run_adapt(config, negatives, AdaptOptions(domain_column="b"))


@pytest.mark.parametrize("words", [["predict", "{}", "a.png"], ["verify", "{}"], ["score", "{}", "data"]])
def test_verbs_of_runs_say_what_the_folder_holds(tmp_path, words, capsys):
    (tmp_path / "model").mkdir()
    for name in ("adapt.json", "model/config.json"):
        (tmp_path / name).write_text("{}")
    assert main([word.format(tmp_path) for word in words]) == 2
    said = capsys.readouterr().err
    assert "only what another verb left: adapt.json. Give the folder of a run" in said
    assert f"{tmp_path / 'model'} is a plain model, which transformers loads" in said


def test_what_is_told_of_a_model_is_never_of_another(source, negatives, tmp_path, monkeypatch):
    """A verb that is killed while it publishes leaves no record of the model before."""
    config = RunConfig(dataset=source, output_dir=str(tmp_path), **MODEL)
    run_adapt(config, negatives, AdaptOptions(arms=("z-score",)))
    assert {"adapt.json", "README.md"} <= {path.name for path in tmp_path.iterdir()}
    monkeypatch.setattr(
        "hf_transfer.transfer.adapt_run.save_trained", lambda *_: (_ for _ in ()).throw(SystemExit)
    )
    with pytest.raises(SystemExit):
        run_adapt(config, negatives, AdaptOptions(arms=("z-score",)))
    assert not {"adapt.json", "README.md"} & {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "model" / "config.json").is_file()
