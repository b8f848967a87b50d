import contextlib
import gzip
import sys
from pathlib import Path

import numpy as np
import pytest
from support.scans import write_dicom, write_nifti

from hf_transfer.errors import ConfigError, DataError
from hf_transfer.tasks.inputs.pictures import MAX_PIXELS, read_picture
from hf_transfer.tasks.inputs.scans import file_format, read_scan, scan_format


def dicom():
    return pytest.importorskip("pydicom")


def bundled(name):
    return (Path(dicom().__file__).parent / "data" / "test_files" / name).read_bytes()


def nifti(name):
    return (Path(pytest.importorskip("nibabel").__file__).parent / "tests" / "data" / name).read_bytes()


def read(data, window=None):
    return read_scan(data, most_pixels=MAX_PIXELS, window=window)


def pixels(tmp_path, values, window=None, **tags):
    dicom()
    return read(write_dicom(tmp_path / "one.dcm", values, **tags).read_bytes(), window).slices[0].astype(int)


RAMP = np.arange(64, dtype=np.int16).reshape(8, 8) * 50 - 1000


@pytest.mark.parametrize(
    "twin",
    ["MR_small_RLE", "MR_small_bigendian", "MR_small_implicit", "MR_small_expb", "MR_small_jp2klossless"],
)
def test_one_picture_in_several_encodings_is_the_same(twin):
    assert (read(bundled(f"{twin}.dcm")).slices == read(bundled("MR_small.dcm")).slices).all()


def test_colours_stored_as_ybr_are_read_as_rgb():
    assert (
        abs(
            read(bundled("SC_ybr_full_422_uncompressed.dcm")).slices.astype(int)
            - read(bundled("SC_rgb_dcmtk_+eb+cr.dcm")).slices
        ).max()
        <= 6
    )
    assert read(bundled("examples_palette.dcm")).slices.shape[-1] == 3


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 900, "WindowWidth": 700}])
def test_a_monochrome1_twin_of_a_bundled_file_is_the_same_picture(tmp_path, window):
    original = dicom().dcmread(dicom().data.get_testdata_file("CT_small.dcm"))
    twin = dicom().dcmread(dicom().data.get_testdata_file("CT_small.dcm"))
    values = original.pixel_array
    top = int(values.max()) + int(values.min())
    twin.PixelData = (top - values).astype(values.dtype).tobytes()
    twin.PhotometricInterpretation = "MONOCHROME1"
    for dataset in (original, twin):
        dataset.WindowCenter = window.get("WindowCenter")
        dataset.WindowWidth = window.get("WindowWidth")
        dataset.PixelPaddingValue = 32000
    if window:  # in rescaled values, which are turned over too
        rescaled = [v * original.RescaleSlope + original.RescaleIntercept for v in (0, top)]
        twin.WindowCenter = sum(rescaled) - window["WindowCenter"] + 1
    for name, dataset in (("original", original), ("twin", twin)):
        dataset.save_as(tmp_path / f"{name}.dcm")
    first, second = (
        read((tmp_path / f"{name}.dcm").read_bytes()).slices.astype(int) for name in ("original", "twin")
    )
    assert np.ptp(first) > 200
    assert abs(first - second).max() <= 1


def test_a_negative_slope_turns_the_picture_over(tmp_path):
    up = pixels(tmp_path, RAMP, RescaleSlope=2, RescaleIntercept=10)
    down = pixels(tmp_path, RAMP, RescaleSlope=-2, RescaleIntercept=10)
    assert np.ptp(up) == 255
    assert abs(up - (255 - down)).max() <= 1


def test_the_window_of_the_file_is_of_rescaled_values(tmp_path):
    tags = {"RescaleSlope": 2, "RescaleIntercept": -24, "WindowCenter": 1000, "WindowWidth": 501}
    found = pixels(tmp_path, RAMP, **tags)
    rescaled = RAMP * 2.0 - 24
    assert (found[rescaled <= 749] == 0).all()
    assert (found[rescaled >= 1250] == 255).all()
    inside = (rescaled > 750) & (rescaled < 1249)
    assert abs(found[inside] - (rescaled[inside] - 749.5) / 500 * 255).max() <= 0.51


def test_of_several_windows_the_first_is_taken_and_one_that_is_given_wins(tmp_path):
    tags = {"RescaleSlope": 1, "RescaleIntercept": 0, "WindowCenter": [0, 900], "WindowWidth": [200, 10]}
    assert (pixels(tmp_path, RAMP, **tags) == pixels(tmp_path, RAMP, WindowCenter=0, WindowWidth=200)).all()
    given = pixels(tmp_path, RAMP, window=(-1000.0, 2150.0), **tags)
    assert abs(given.ravel() - np.arange(64) * 255 / 63).max() <= 0.51
    own = pixels(tmp_path, RAMP, window="percentiles", **tags)
    assert (own == pixels(tmp_path, RAMP)).all()


def test_padding_does_not_decide_the_contrast(tmp_path):
    padded = RAMP.copy()
    padded[:4] = -32000
    assert np.ptp(pixels(tmp_path, padded)[4:]) < 50
    assert np.ptp(pixels(tmp_path, padded, PixelPaddingValue=-32000)[4:]) == 255


def test_frames_have_windows_of_their_own(tmp_path):
    dataset = dicom().dataset.Dataset
    groups = []
    for centre in (100, 300):
        window, group = dataset(), dataset()
        window.WindowCenter, window.WindowWidth = centre, 200
        group.FrameVOILUTSequence = [window]
        groups.append(group)
    frames = np.tile(np.arange(0, 400, 100, dtype=np.int16).reshape(1, 2, 2), (2, 1, 1))
    path = write_dicom(tmp_path / "two.dcm", frames, PerFrameFunctionalGroupsSequence=groups)
    found = read(path.read_bytes())
    assert found.windowed == "file"
    assert found.slices[0].ravel().tolist() == [0, 128, 255, 255]
    assert found.slices[1].ravel().tolist() == [0, 0, 0, 128]


def test_a_4_d_volume_gives_slices_volume_by_volume():
    data = nifti("example4d.nii.gz")
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(data))
    width, height, depth, times = image.shape
    found = read(data).slices
    assert found.shape == (depth * times, height, width)
    values = np.asarray(image.dataobj)
    second = found[depth + 3].astype(int)  # third slice of the second volume, seen from below
    turned = values[:, :, 3, 1].T[::-1]
    order = np.argsort(turned.ravel(), kind="stable")
    assert (np.diff(second.ravel()[order]) >= 0).all()
    assert np.ptp(second) > 100


def test_slices_of_one_volume_share_their_contrast(tmp_path):
    pytest.importorskip("nibabel")
    values = np.zeros((8, 8, 2), np.float32)
    values[..., 0], values[..., 1] = np.arange(64).reshape(8, 8), 1e-3 * np.arange(64).reshape(8, 8)
    found = read(write_nifti(tmp_path / "a.nii", values).read_bytes()).slices
    assert found[0].max() == 255
    assert found[1].max() <= 1


@pytest.mark.parametrize("end", ["nii", "nii.gz"])
def test_files_are_known_by_what_they_begin_with(tmp_path, end):
    pytest.importorskip("nibabel")
    dicom()
    scan = write_dicom(tmp_path / "1.2.840.113", RAMP)
    volume = write_nifti(tmp_path / f"a.{end}", np.zeros((2, 2, 2), np.float32))
    assert [file_format(scan), file_format(volume)] == ["DICOM", "NIfTI"]
    (tmp_path / "text").write_text("no picture")
    assert file_format(tmp_path / "text") is None
    assert scan_format(b"", "a.DCM") == "DICOM"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("rtplan.dcm", r"a DICOM file without a picture \(modality RTPLAN\)"),
        ("MR_truncated.dcm", "damaged or cut short"),
        ("MR_small_jpeg_ls_lossless.dcm", r"compressed as JPEG-LS Lossless .* needs a decoder: pip install"),
        ("JPGExtended.dcm", "compressed as JPEG Extended .* needs a decoder: pip install"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_in_one_line(name, why):
    data = bundled(name)
    with pytest.raises(DataError, match=why) as told:
        read(data)
    assert "\n" not in str(told.value)
    with pytest.raises(DataError, match=why):
        read_picture(data)


def test_damaged_files_never_raise_anything_else():
    rng = np.random.default_rng(0)
    files = [bundled("MR_small.dcm"), nifti("example_nifti2.nii.gz")]
    for data in files:
        for _ in range(30):
            broken = bytearray(data[: rng.integers(1, len(data))])
            for place in rng.integers(0, min(len(broken), 1200), 20):
                broken[place] = rng.integers(256)
            with contextlib.suppress(DataError):
                read(bytes(broken))


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path):
    data = bundled("MR_small.dcm")
    with pytest.raises(DataError, match=r"too large \(1 x 64 x 64\); at most 4,000 pixels a slice"):
        read_scan(data, most_pixels=4000)


@pytest.mark.parametrize(
    ("package", "data"),
    [("pydicom", bytes(128) + b"DICM" + bytes(300)), ("nibabel", bytes(344) + b"n+1\x00" + bytes(99))],
)
def test_an_absent_package_is_one_line_that_names_the_extra(monkeypatch, package, data):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"by {package}, .*pip install 'hf-transfer-kit\[medical\]'\.$"):
        read_picture(data)
