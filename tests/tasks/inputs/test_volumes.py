import json
from dataclasses import replace

import numpy as np
import pytest
from datasets import Dataset
from support.scans import write_dicom, write_nifti

from hf_transfer.config.run_config import RunConfig
from hf_transfer.data.new_inputs import read_new_inputs
from hf_transfer.data.opening import open_dataset
from hf_transfer.errors import ConfigError, DataError
from hf_transfer.tasks.image_classification import ImageClassification
from hf_transfer.tasks.inputs.image import Image
from hf_transfer.tasks.inputs.pictures import encode_pixels, read_picture

SECRETS = ("SECRET", "1.2.826")


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(np.int16)


def folder(tmp_path, write):
    """Two classes of four files each; `write` makes one of a class and a number."""
    for label in ("healthy", "ill"):
        for number in range(4):
            write(tmp_path / "scans" / label, label, number)
    return RunConfig(dataset=str(tmp_path / "scans"))


def patients(place, label, number):
    pytest.importorskip("pydicom")
    patient = f"SECRET-{label}-{number // 2}"
    tags = {"StudyInstanceUID": f"1.2.826.{number}", "Modality": "CR", "Manufacturer": "ab"[number % 2]}
    write_dicom(place / f"{patient}-{number}.dcm", noise(number, 8, 8), patient, **tags)


def volumes(place, label, number):
    pytest.importorskip("nibabel")
    values = noise(number, 6, 5, 3).astype(np.float32)
    values[..., 1] = 0
    write_nifti(place / f"{number}.nii.gz", values)


def opened(config):
    return open_dataset(config, ImageClassification)


def everything(data):
    return json.dumps([data.rows.remove_columns(["group"])[:], data.notes], default=str)


def test_patients_are_found_as_groups_and_no_name_goes_further(tmp_path):
    data = opened(folder(tmp_path, patients))
    assert len(set(data.rows["group"])) == 4
    assert data.grouped_by == "PatientID"
    assert set(data.rows["site"]) == {"a", "b"}
    assert not any(secret in everything(data) for secret in SECRETS)
    assert "8 DICOM files, modality CR, 4 patients, 8 rows, a slice each." in data.notes
    assert any("Rows of one PatientID stay in one fold (4 of them)" in note for note in data.notes)


def test_where_all_patients_are_called_alike_studies_are_the_groups(tmp_path):
    def anonymised(place, label, number):
        pytest.importorskip("pydicom")
        write_dicom(place / f"{number}.dcm", noise(number, 8, 8), "ANON", StudyInstanceUID=f"1.{number}")

    data = opened(folder(tmp_path, anonymised))
    assert data.grouped_by == "StudyInstanceUID"
    assert any("PatientID is the same in all files" in note for note in data.notes)


def test_groups_that_are_named_win_and_time_leaves_none(tmp_path):
    config = folder(tmp_path, patients)
    assert opened(replace(config, group_by="StudyInstanceUID")).grouped_by == "StudyInstanceUID"
    with pytest.raises(DataError, match="No column 'acquired'"):
        opened(replace(config, group_by="acquired"))


def test_a_file_without_an_end_is_a_scan_by_its_content(tmp_path):
    config = folder(tmp_path, patients)
    for path in (tmp_path / "scans").rglob("*.dcm"):
        path.rename(path.with_name(path.stem))
    assert len(opened(config).rows) == 8


def test_volumes_become_slices_without_the_empty_ones(tmp_path):
    data = opened(folder(tmp_path, volumes))
    assert data.rows["row_id"][:4] == ["0#0", "0#2", "1#0", "1#2"]
    assert data.grouped_by == "volume"
    assert data.rows["group"][:3] == ["0", "0", "1"]
    assert data.rows["label"][:] == [0] * 8 + [1] * 8
    assert data.rows[1]["input"]["path"] == "0.nii.gz#2"
    assert read_picture(data.rows[1]["input"]).size == (6, 5)
    assert "8 NIfTI files, 16 rows, a slice each, 8 slices of one value left out." in data.notes
    assert opened(RunConfig(dataset=str(tmp_path / "scans"))).fingerprint == data.fingerprint


def test_ids_that_were_given_get_the_number_of_the_slice(tmp_path):
    pytest.importorskip("nibabel")
    write_nifti(tmp_path / "a.nii", noise(0, 4, 4, 2))
    (tmp_path / "b.png").write_bytes(encode_pixels(np.arange(16, dtype=np.uint8).reshape(4, 4)))
    rows = "file_name,label,id\na.nii,yes,first\nb.png,no,second\n"
    (tmp_path / "rows.csv").write_text(rows)
    data = opened(RunConfig(dataset=str(tmp_path / "rows.csv"), id_column="id"))
    assert data.rows["row_id"][:] == ["first#0", "first#1", "second"]
    assert data.rows["group"][:] == ["first", "first", "second"]


def test_ids_that_hold_a_patients_are_refused(tmp_path):
    pytest.importorskip("pydicom")
    for number in range(2):
        write_dicom(tmp_path / f"{number}.dcm", noise(number, 4, 4), f"SECRET{number}")
    (tmp_path / "rows.csv").write_text("file_name,label,id\n0.dcm,yes,x-SECRET0\n1.dcm,no,b\n")
    with pytest.raises(DataError, match=r"1 id in column 'id' hold the PatientID .* leave --id_column out"):
        opened(RunConfig(dataset=str(tmp_path / "rows.csv"), id_column="id"))


def test_a_scan_that_cannot_be_read_is_told_of_as_any_picture(tmp_path):
    config = folder(tmp_path, patients)
    path = next((tmp_path / "scans" / "ill").glob("*SECRET*"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"1 picture of 8 cannot be read:\n.*SECRET.*damaged or cut short"):
        opened(config)
    data = opened(replace(config, on_bad_image="skip"))
    assert len(data.rows) == 7
    assert not any(secret in everything(data) for secret in SECRETS)


def test_names_of_scans_that_are_left_out_stay_private(tmp_path):
    pytest.importorskip("pydicom")
    for number in range(3):
        write_dicom(tmp_path / f"SECRET{number}.dcm", noise(number, 4, 4), f"SECRET{number}")
    (tmp_path / "metadata.csv").write_text("file_name,label\nSECRET0.dcm,yes\nSECRET1.dcm,no\n")
    data = opened(RunConfig(dataset=str(tmp_path)))
    assert "1 file not named in metadata.csv left out." in data.notes
    assert "SECRET" not in everything(data)


def test_plain_pictures_pass_untouched(tmp_path):
    rows = Dataset.from_dict({"image": ["a.png", "b.jpg"], "label": ["x", "y"]})
    config = RunConfig()
    found = Image().opened(rows, "image", folder=tmp_path, outside=False, config=config)
    assert found.rows is rows
    assert found.sources is None


def test_a_window_is_no_setting_of_texts():
    with pytest.raises(ConfigError, match="window='-160,240': texts have no such setting"):
        open_dataset(RunConfig(dataset="builtin:reviews", window="-160,240"), "text")


def test_new_volumes_are_read_as_slices_and_as_a_whole(tmp_path):
    pytest.importorskip("nibabel")
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(tmp_path / name, noise(0, 4, 4, 2))
    (tmp_path / "c.png").write_bytes(encode_pixels(np.arange(16, dtype=np.uint8).reshape(4, 4)))
    found = read_new_inputs([str(tmp_path), str(tmp_path / "c.png")], Image(), "image")
    assert found.volumes == [[0, 1], [2, 3]]
    ends = ["a.nii.gz#0", "a.nii.gz#1", "b.nii.gz#0", "b.nii.gz#1", "c.png", "c.png"]
    assert [name.rpartition("/")[2] for name in found.names] == ends
    whole = found.with_volumes
    assert [name.rpartition("/")[2] for name in whole.names[6:]] == [
        "a.nii.gz, mean of 2 slices", "b.nii.gz, mean of 2 slices",
    ]  # fmt: skip
    assert whole.rows["slice"].to_pylist() == [0, 1, 0, 1, None, None, None, None]
    assert len(whole.values) == len(whole.names) == whole.rows.num_rows == 8
