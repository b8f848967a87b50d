import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image as Pillow

from hf_transfer.errors import ConfigError
from hf_transfer.tasks.inputs.pictures import read_picture, rescaled
from hf_transfer.tasks.inputs.windows import SIXTEEN_BITS, eight_bits, own_window, parse_window

VALUES = arrays(
    np.float64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(-2000, 4000)
)


def test_16_bit_pictures_keep_the_values_that_they_had():
    values = np.arange(65536)
    assert (eight_bits(values, SIXTEEN_BITS) == (values + 128) // 257).all()


@given(VALUES, st.integers(1, 9), st.integers(-50, 50))
@settings(max_examples=50, deadline=None)
def test_a_picture_looks_the_same_in_any_unit(values, factor, shift):
    first, second = (eight_bits(v, own_window(v)).astype(int) for v in (values, values * factor + shift))
    assert abs(first - second).max() <= 1
    assert (np.diff(first.ravel()[np.argsort(values.ravel())]) >= 0).all()


def test_a_few_glowing_pixels_do_not_darken_the_rest():
    values = np.linspace(0, 100, 10_000)
    values[:5] = 1e6
    assert own_window(values)[1] < 101


def test_values_that_are_no_numbers_are_black_and_decide_nothing():
    values = np.array([[np.nan, 0.0, 10.0]])
    assert eight_bits(values, own_window(values)).tolist() == [[0, 0, 255]]


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_picture_of_one_value_stays_one(value):
    values = np.full((3, 3), value)
    assert np.ptp(eight_bits(values, own_window(values))) == 0


def test_the_setting_says_what_is_black_and_white():
    assert parse_window("auto") is None
    assert parse_window("-160,240") == (-160.0, 240.0)
    for wrong in ("bone", "240,-160", "1,2,3"):
        with pytest.raises(ConfigError, match=f"window='{wrong}' must be auto, percentiles, or"):
            parse_window(wrong)


def test_a_dark_16_bit_picture_is_stretched_when_asked():
    stream = io.BytesIO()
    Pillow.fromarray(np.array([[0, 2000, 4000]], np.uint16)).save(stream, "PNG")
    picture = {"bytes": stream.getvalue(), "path": None}
    plain = np.asarray(read_picture(picture))[0, :, 0].tolist()
    assert plain == [0, 8, 16]
    assert rescaled(picture, None) is picture
    assert np.asarray(read_picture(rescaled(picture, (0.0, 4000.0))))[0, :, 0].tolist() == [0, 128, 255]
    assert np.asarray(read_picture(rescaled(picture, "percentiles")))[0, :, 0].tolist() == [0, 128, 255]
