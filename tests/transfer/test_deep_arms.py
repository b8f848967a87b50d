"""Arms that train the backbone: what the term asks and leaves alone, and what is published."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from digit_pictures import label_file, pictures
from PIL import Image
from torch import nn
from transformers import AutoImageProcessor, AutoModelForImageClassification

from hf_transfer import RunConfig
from hf_transfer.cli.main import main
from hf_transfer.errors import ConfigError, ModelError
from hf_transfer.report.words.adapt import adapt_text
from hf_transfer.runs.adapt_record import AdaptRecord
from hf_transfer.runs.schema import from_json
from hf_transfer.transfer.adapt_run import begin
from hf_transfer.transfer.adapting import SOURCE, AdaptOptions
from hf_transfer.transfer.deep_arms import DeepTraining
from hf_transfer.transfer.shift import open_domains
from hf_transfer.transfer.target_term import Adversary, LeastConfusion, _statistics_held

CPU = torch.device("cpu")
SETTINGS = {
    "base_model": "builtin:digits-resnet", "trainable": "last:1", "num_epochs": 1, "learning_rate": 1e-3,
    "batch_size": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Digits in white on black, and other digits in grey on a lighter ground."""
    folder = tmp_path_factory.mktemp("digits")
    faded = pictures(folder / "faded", range(60, 120), lambda grey: 60 + grey / 2)
    return pictures(folder / "source", range(60)), faded


@pytest.fixture(scope="module")
def domains(folders):
    source, target = folders
    return open_domains(RunConfig(dataset=source, **SETTINGS), target)


@pytest.fixture(scope="module")
def training(domains):
    return DeepTraining(domains.source, domains.target, np.arange(len(domains.target)))


@pytest.fixture(scope="module")
def alone(training):
    return training.tuned([SOURCE])[SOURCE]


def weights(tuned):
    return {name: tensor.clone() for name, tensor in tuned.model.state_dict().items()}


def same(one, other) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_without_reversal_it_is_the_source_alone_to_the_bit(training, alone):
    """Weights, running statistics and answers: the term moves nothing but what tells the domains apart."""
    still = {"dann": partial(Adversary, schedule=lambda _progress: 0.0)}
    found = training.tuned(["dann"], still)["dann"]
    assert same(weights(alone), weights(found))
    assert np.array_equal(alone.outputs, found.outputs)


@pytest.mark.parametrize("arm", ["dann", "mcc"])
def test_a_term_moves_the_layers_that_learn_and_no_others(training, alone, arm):
    found, before = weights(training.tuned([arm])[arm]), weights(alone)
    moved = {name for name in before if not torch.equal(found[name], before[name])}
    fresh = training.source.task.build_model().state_dict()
    learned = {name for name in before if not torch.equal(fresh[name], before[name])}
    assert moved
    assert moved <= learned


def test_the_reversed_gradient_has_the_sign_and_the_size_of_the_schedule():
    """It is that of telling the domains apart, times minus the factor."""
    gradients = {}
    for factor in (1.0, 0.25):
        torch.manual_seed(0)
        asked = Adversary(4, RunConfig(weight_decay=0.0), CPU, schedule=lambda _, factor=factor: factor)
        source, target = (torch.linspace(0, 1, 12).reshape(3, 4) + i for i in range(2))
        source.requires_grad_(True)
        asked(source, target, target, 0.5).backward()
        gradients[factor] = source.grad
    torch.manual_seed(0)
    plain = Adversary(4, RunConfig(weight_decay=0.0), CPU).teller
    source = source.detach().requires_grad_(True)
    told = plain(torch.cat([source, target]))
    wanted = torch.cat([torch.ones(3, 1), torch.zeros(3, 1)])
    nn.functional.binary_cross_entropy_with_logits(told, wanted).backward()
    torch.testing.assert_close(gradients[1.0], -source.grad)
    torch.testing.assert_close(gradients[0.25], -0.25 * source.grad)


def test_what_tells_the_domains_apart_learns_to():
    torch.manual_seed(0)
    asked = Adversary(2, RunConfig(weight_decay=0.0, optimizer="sgd"), CPU)
    source, target = torch.tensor([[1.0, 0.0]] * 4), torch.tensor([[0.0, 1.0]] * 4)
    losses = []
    for _ in range(20):
        loss = asked(source, target, target, 0.0)
        loss.backward()
        asked.step(0.1)
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_confusion_reads_the_targets_logits_alone():
    asked = LeastConfusion(2, RunConfig(), CPU)
    sure, torn = 50 * torch.eye(3), torch.zeros(3, 3)
    assert asked(torn, torn, sure, 0.0).item() == pytest.approx(0.0, abs=1e-6)
    assert asked(sure, sure, torn, 0.0).item() > 0.5


def test_a_model_that_reads_tokens_is_told():
    asked = Adversary(2, RunConfig(weight_decay=0.0), CPU)
    with pytest.raises(ModelError, match="Take mcc in its place"):
        asked(torch.zeros(2, 3, 2), torch.zeros(2, 3, 2), torch.zeros(2, 5), 0.0)


def test_no_label_of_the_target_is_read(domains, training):
    """Other labels on the same rows give the same model."""
    rows = domains.target.data.rows
    others = rows.remove_columns("label").add_column(
        "label", rows["label"][::-1], feature=rows.features["label"]
    )
    mixed = replace(domains.target, data=replace(domains.target.data, rows=others))
    again = DeepTraining(domains.source, mixed, np.arange(len(mixed)))
    assert same(weights(training.tuned(["dann"])["dann"]), weights(again.tuned(["dann"])["dann"]))


def test_running_statistics_are_held_in_learning_layers_too():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5)).train()
    with _statistics_held(model):
        model(torch.randn(8, 2) + 5)
        assert model[1].training
    assert model[0].training
    assert model[0].running_mean.tolist() == [0.0, 0.0]


def test_what_passes_is_published_as_a_plain_model(folders, domains, tmp_path, capsys):
    """Through the command line: all layers learn, the gate judges, plain libraries load what is published."""
    labels = label_file(tmp_path / "labels.csv", domains.target, 30)
    words = ["--labels", str(labels), "--arms", "z-score,mcc", "--trainable", "last:1", "--num_epochs", "1"]
    settings = ["--base_model", "builtin:digits-resnet", "--output_dir", str(tmp_path / "run")]
    assert main(["adapt", *folders, *words, *settings, "--json"]) == 0
    record = from_json(AdaptRecord, json.loads(capsys.readouterr().out))
    assert [(arm.name, arm.deep) for arm in record.arms] == [
        (SOURCE, True), ("z-score", False), ("mcc", True),
    ]  # fmt: skip
    assert (record.trained.trainable, record.trained.num_epochs) == ("last:1", 1)
    assert record.reload.problem is None
    assert "(last:1): source, mcc; 1 epoch" in adapt_text(record)
    assert not (tmp_path / "run" / "arms").exists()  # which were kept until all were trained


def test_the_published_model_is_the_one_that_was_judged(folders, domains, tmp_path):
    """Whichever the gate names."""
    from hf_transfer.transfer.adapt_run import publish

    found = begin(domains, AdaptOptions(arms=("dann",)))
    assert publish(found, tmp_path / "model").problem is None
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "model").eval()
    processor = AutoImageProcessor.from_pretrained(tmp_path / "model")
    files = [Image.open(value["path"]).convert("RGB") for value in domains.target.data.rows["input"][:5]]
    with torch.inference_mode():
        logits = model(**processor(files, return_tensors="pt")).logits
    np.testing.assert_allclose(logits, found.tuned[SOURCE].outputs[:5], atol=1e-4)


def test_labelled_rows_are_kept_apart(domains, tmp_path):
    labels = label_file(tmp_path / "labels.csv", domains.target)
    found = begin(domains, AdaptOptions(labels=labels, arms=("mcc",), split_target=True))
    assert set(found.training.rows) == set(range(60)) - set(found.few.rows.tolist())


def test_settings_of_several_trainings_are_refused(domains):
    task = domains.source.task
    two = type(task)(task.settings.changed({"learning_rates": (1e-3, 1e-4)}), task.target)
    with pytest.raises(ConfigError, match="takes no lists of settings"):
        DeepTraining(replace(domains.source, task=two), domains.target, np.arange(9))


def test_domains_of_the_source_choose_among_heads_alone(domains):
    with pytest.raises(ConfigError, match="--trainable last:1 trains layers below"):
        begin(domains, AdaptOptions(arms=("dann",), domain_column="look"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "opens"), [(lambda grey: 60 + grey / 2, True), (lambda grey: 255 - grey, False)]
)
def test_the_gate_says_what_is_true_of_the_other_rows(change, opens, tmp_path):
    """In faded digits DANN is better, in negatives nothing is: by rows without a label too."""
    source = pictures(tmp_path / "source", range(100))
    target = pictures(tmp_path / "target", range(100, 300), change)
    config = RunConfig(
        dataset=source, **SETTINGS | {"num_epochs": 12, "learning_rate": 1.5e-3, "batch_size": 32}
    )
    both = open_domains(config, target)
    labels = label_file(tmp_path / "labels.csv", both.target, 60)
    found = begin(both, AdaptOptions(labels=labels, arms=("dann",)))
    others = np.delete(np.arange(len(both.target)), found.few.rows)
    right = {name: (found.classes[name] == both.target.labels)[others].mean() for name in found.names}
    assert found.gate.opened_for == ("dann" if opens else None)
    assert (right["dann"] > right[SOURCE] + 0.05) == opens


def test_arms_that_were_trained_are_taken_up_by_the_next_start(domains, tmp_path, monkeypatch, capsys):
    def training(num_rows=60):
        return DeepTraining(domains.source, domains.target, np.arange(num_rows), tmp_path / "arms")

    found = training().tuned([SOURCE, "mcc"])
    trained = []
    plain = DeepTraining._trained
    monkeypatch.setattr(DeepTraining, "_trained", lambda *all: trained.append(all[1]) or plain(*all))
    again = training().tuned([SOURCE, "mcc"])
    assert trained == []
    for name, one in found.items():
        assert same(weights(one), weights(again[name]))
        assert (one.outputs == again[name].outputs).all()
    file = tmp_path / "arms" / "mcc.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert same(weights(found["mcc"]), weights(training().tuned(["mcc"])["mcc"]))
    assert trained == ["mcc"]
    assert f"Arm mcc is trained again: {file} is damaged." in capsys.readouterr().err
    training(num_rows=40).tuned(["mcc"])  # of other rows
    assert trained == ["mcc", "mcc"]
