import contextlib
import io
import struct
import time

import numpy as np
import pytest
from datasets import Dataset, Features, Image
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image as Pillow

from hf_transfer import RunConfig
from hf_transfer.errors import DataError
from hf_transfer.models.base_model import open_base_model
from hf_transfer.tasks.inputs import pictures
from hf_transfer.tasks.inputs.picture_processor import PictureProcessor
from hf_transfer.tasks.inputs.pictures import encode_pixels, picture_bytes, read_picture, scan_pictures


def saved(picture, file_format="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def noise(mode="RGB", size=(12, 8)):
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Pillow.fromarray(values).convert(mode)


def pixel(picture, place=(0, 0)):
    return read_picture(picture).getpixel(place)


def grey(level, side=4):
    return saved(Pillow.new("RGB", (side, side), (level, level, level)))


def rows_of(pictures):
    values = [p if p is None or isinstance(p, dict) else {"bytes": p, "path": None} for p in pictures]
    return Dataset.from_dict({"input": values}, Features({"input": Image(decode=False)}))


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
@settings(max_examples=50, deadline=None)
def test_encoded_pixels_read_back_the_same(pixels):
    assert np.array_equal(np.asarray(read_picture(encode_pixels(pixels))), pixels)


@pytest.mark.parametrize("file_format", ["AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"])
def test_each_format_is_read_as_rgb(file_format):
    assert read_picture(saved(noise(), file_format)).mode == "RGB"


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
def test_each_mode_is_read_as_rgb(mode):
    assert read_picture(saved(noise(mode))).mode == "RGB"


def test_cmyk_is_read_as_rgb():
    assert pixel(saved(Pillow.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))[0] > 200


def test_16_bits_are_scaled_and_not_clipped():
    values = np.array([[0, 257 * 10, 65535]], np.uint16)
    picture = read_picture(saved(Pillow.fromarray(values)))
    assert [picture.getpixel((x, 0))[0] for x in range(3)] == [0, 10, 255]


def test_16_bit_greymaps_are_scaled():
    assert pixel(b"P5 1 1 65535\n" + struct.pack(">H", 257 * 99)) == (99, 99, 99)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_pixels_of_unknown_range_are_refused(dtype):
    data = saved(Pillow.fromarray(np.ones((2, 2), dtype)), "TIFF")
    with pytest.raises(DataError, match=r"which value is white is not known"):
        read_picture(data)


def test_transparent_pixels_show_white_and_not_what_hides_under_them():
    assert pixel(saved(Pillow.new("RGBA", (2, 2), (255, 0, 0, 0)))) == (255, 255, 255)


def test_a_transparent_palette_entry_shows_white():
    picture = Pillow.new("P", (2, 2), 0)
    picture.putpalette([200, 0, 0])
    assert pixel(saved(picture, transparency=0)) == (255, 255, 255)


def test_the_rotation_of_the_camera_is_applied():
    exif = Pillow.Exif()
    exif[0x0112] = 6
    assert read_picture(saved(noise(size=(12, 8)), "JPEG", exif=exif)).size == (8, 12)


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Pillow.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixel(data) == (255, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_odd_shapes_are_read(size):
    assert read_picture(saved(Pillow.new("RGB", size))).size == size


def test_a_decompression_bomb_is_refused_before_it_unfolds(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100)
    with pytest.raises(DataError, match=r"too large .12 x 9 pixels.; at most 100 pixels"):
        read_picture(saved(noise(size=(12, 9))))


@pytest.mark.parametrize("side", [14_000, 10_000])  # above Pillow's error, and its warning
def test_what_pillow_calls_a_bomb_is_refused(side):
    with pytest.raises(DataError, match=r"too large"):
        read_picture(f"P5 {side} {side} 255\n".encode())


@pytest.mark.parametrize("file_format", ["AVIF", "BMP", "JPEG", "PNG", "TIFF", "WEBP"])
def test_a_picture_cut_short_is_refused(file_format):
    data = saved(noise(size=(40, 40)), file_format)
    with pytest.raises(DataError, match=r"damaged or cut short|not a picture"):
        read_picture(data[: len(data) // 2])


@given(st.data())
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damage_is_either_read_or_a_data_error(data):
    file_format = data.draw(st.sampled_from(["AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "WEBP"]))
    encoded = bytearray(saved(noise(), file_format))
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(encoded) - 1), st.integers(0, 255)))):
        encoded[place] = value
    with contextlib.suppress(DataError):
        assert read_picture(bytes(encoded)).mode == "RGB"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<!DOCTYPE html><html>", "not a picture of a known format .it starts with b'<!DOCTYPE ht'"),
        (b"", "the row holds no picture"),
        ({"bytes": None, "path": None}, "the row holds no picture"),
    ],
)
def test_what_is_no_picture_is_refused(data, message):
    with pytest.raises(DataError, match=message):
        read_picture(data)


def test_heic_needs_another_package_and_says_so():
    data = b"\x00\x00\x00\x18ftypheic" + bytes(16)
    try:
        import pillow_heif
    except ImportError:
        with pytest.raises(DataError, match=r"a HEIC picture, which needs pillow-heif: pip install"):
            read_picture(data)
    else:
        pillow_heif.register_heif_opener()
        assert read_picture(saved(noise(), "HEIF")).mode == "RGB"


def test_a_picture_is_read_from_its_path(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(saved(Pillow.new("RGB", (2, 2), "red")))
    assert pixel(path) == pixel(str(path)) == pixel({"bytes": None, "path": str(path)}) == (255, 0, 0)


def test_a_missing_or_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"cannot be opened .No such file"):
        picture_bytes(tmp_path / "absent.png")
    with pytest.raises(DataError, match=r"the file is empty"):
        picture_bytes(tmp_path / "empty.png")


def test_scanning_gives_the_bad_with_position_path_and_reason(tmp_path):
    good = saved(noise())
    absent = {"bytes": None, "path": str(tmp_path / "absent.png")}
    bad = scan_pictures(rows_of([good, b"html", None, good, absent]))
    assert [(one.position, one.path) for one in bad] == [(1, None), (2, None), (4, absent["path"])]
    assert "not a picture" in bad[0].reason
    assert "holds no picture" in bad[1].reason


def test_scanning_shows_each_good_picture_once_and_in_order():
    shades = range(150)  # more than a batch
    seen = []
    rows = rows_of([encode_pixels(np.full((1, 1), shade, np.uint8)) for shade in shades])
    assert scan_pictures(rows, visit=lambda i, p: seen.append((i, p.getpixel((0, 0))[0]))) == []
    assert seen == [(shade, shade) for shade in shades]


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3), (4, 6, 4), (1, 4, 6), (3, 4, 6)])
def test_arrays_of_each_layout_are_written(shape):
    assert read_picture(encode_pixels(np.zeros(shape, np.int64))).size == (6, 4)


def test_large_arrays_take_several_blocks():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    assert np.array_equal(np.asarray(read_picture(encode_pixels(pixels))), pixels)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((2, 2), 0.5), "of type float64; arrays must hold whole numbers, 0 to 255"),
        (np.full((2, 2), 300), "pixels from 300 to 300; arrays must hold 0 to 255"),
        (np.full((2, 2), -1), "pixels from -1 to -1"),
        (np.zeros((0, 2), np.uint8), "0 pixels of type uint8"),
        (np.zeros((5, 4, 2), np.uint8), r"shape \(5, 4, 2\)"),
        (np.zeros(5, np.uint8), r"shape \(5,"),
    ],
)
def test_arrays_that_are_no_picture_are_refused(pixels, message):
    with pytest.raises(DataError, match=message):
        encode_pixels(pixels)


@pytest.mark.parametrize("name", ["a.nii", "a.NII.gz"])
def test_a_damaged_volume_names_the_extra_that_whole_ones_need(name, tmp_path):
    (tmp_path / name).write_bytes(b"no volume at all")
    with pytest.raises(DataError, match=r"damaged: .* nibabel .*hf-transfer-kit\[medical\]"):
        read_picture(str(tmp_path / name))


def test_what_is_made_of_pictures_is_given_in_order():
    rows = rows_of([grey(i) for i in range(20)])
    seen = []
    assert (
        scan_pictures(rows, make=lambda p: p.getpixel((0, 0))[0], visit=lambda *words: seen.append(words))
        == []
    )
    assert seen == [(i, i) for i in range(20)]


def test_few_large_pictures_are_in_memory_at_one_time(monkeypatch):
    """As many as their pixels have room for; one that is larger than all room, alone."""
    room, held, most = pictures._Room(100), [], []
    monkeypatch.setattr(pictures, "_room", room)
    rows = rows_of([grey(i, side) for i, side in enumerate([5, 7, 20] * 8)])

    def make(image):
        held.append(image.width * image.height)
        most.append(sorted(held))
        time.sleep(0.002)
        held.remove(image.width * image.height)

    assert scan_pictures(rows, make=make) == []
    assert len(most) == 24
    assert all(sum(now) <= 100 or len(now) == 1 for now in most)


def test_large_pictures_are_resized_as_others_are(monkeypatch):
    processor = PictureProcessor(open_base_model(RunConfig(base_model="builtin:digits-resnet")))
    given = [grey(i, 20 + i) for i in range(9)]
    together = processor.read(given)
    monkeypatch.setattr(pictures, "_LARGE", 24 * 24)
    assert all(one.equal(other) for one, other in zip(processor.read(given), together, strict=True))
