"""A run on scans, and what of it could be published."""

import numpy as np
import pytest
from support.scans import write_dicom

from hf_transfer.cli.main import main
from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.opening import open_dataset
from hf_transfer.runs.results import read_results
from hf_transfer.study.cross_validation import cross_validate
from hf_transfer.study.final.predict import predict
from hf_transfer.tasks.image_classification import ImageClassification

SECRETS = (b"SECRET", b"1.2.826", b"St. Elsewhere", b"DOE^JOHN")


def write(folder, *, disguised):
    """Ten patients with three scans each; ill ones are brighter, and of another machine where `disguised`."""
    rng = np.random.default_rng(0)
    for patient in range(10):
        label = patient % 2
        site = label if disguised else patient % 4 // 2
        for scan in range(3):
            values = rng.integers(0, 400, (16, 16)).astype(np.int16)
            values[:8] += np.int16(600 * label)
            values[:, :3] = 1000 * site  # what a machine burns into a corner
            write_dicom(
                folder / ("well", "ill")[label] / f"SECRET-{patient}-{scan}.dcm",
                values,
                f"SECRET-{patient}",
                StudyInstanceUID=f"1.2.826.{patient}",
                InstitutionName=("St. Elsewhere", "St. Elsewhere II")[site],
                PatientName="DOE^JOHN",
                WindowCenter=500,
                WindowWidth=1000,
            )


def run(tmp_path, *, disguised):
    pytest.importorskip("pydicom")
    write(tmp_path / "scans", disguised=disguised)
    config = RunConfig(
        dataset=str(tmp_path / "scans"), base_model="builtin:digits-resnet", trainable="head", num_folds=5,
        num_repeats=1, at_specificity=0.8, output_dir=str(tmp_path / "run"),
    )  # fmt: skip
    data = open_dataset(config, ImageClassification)
    cross_validate(ImageClassification(config, data.target), data, config)
    return read_results(tmp_path / "run")


def test_a_run_keeps_patients_together_and_publishes_nobody(tmp_path, monkeypatch):
    results = run(tmp_path, disguised=True)
    assert (results.dataset.grouped_by, results.folds_scheme) == ("PatientID", "stratified-group")
    assert results.scores["roc_auc"].unit == results.detections.unit == "group"
    assert results.site.alarm
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "others", disguised=False)
    for verb in (["card", "run"], ["report", "run"], ["verify", "run"]):
        assert main(verb) == 0
    found = predict("run", str(tmp_path / "scans" / "ill"))
    assert len(found) == 15
    assert main(["score", "run", "others"]) in (0, 3)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [(path.name, secret) for path in files for secret in SECRETS if secret in path.read_bytes()]
    card = (tmp_path / "run" / "README.md").read_text()
    assert "Add rows of each label from each site" in card
    assert "How well each is found, at a specificity of 0.800" in card


def test_a_site_that_is_no_way_to_the_label_is_no_alarm(tmp_path):
    results = run(tmp_path, disguised=False)
    assert not results.site.alarm
