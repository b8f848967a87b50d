"""Views of pictures: each row by its own draws, of the same shape, and no stronger than said."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_transfer.tasks.inputs.picture_views import views


def drawn(seed):
    return torch.Generator().manual_seed(seed)


def pictures(rows=4, channels=3, height=32, width=32, seed=0):
    return torch.randint(256, (rows, channels, height, width), generator=drawn(seed), dtype=torch.uint8)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.sampled_from([1, 3]), st.integers(2, 80), st.integers(2, 80), st.integers(0, 99))
def test_views_follow_from_the_seed_and_have_the_pictures_shape(rows, channels, height, width, seed):
    given_pictures = pictures(rows, channels, height, width)
    before = given_pictures.clone()
    seen = views(given_pictures, drawn(seed), mirror=True)
    assert (seen.shape, seen.dtype) == (given_pictures.shape, torch.uint8)
    assert torch.equal(seen, views(given_pictures, drawn(seed), mirror=True))
    assert torch.equal(given_pictures, before)


def test_two_views_differ_and_so_do_those_of_equal_pictures():
    same = pictures(1, height=96, width=96).expand(3, -1, -1, -1)
    random = drawn(0)
    first, second = views(same, random, mirror=False), views(same, random, mirror=False)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_a_view_of_one_colour_stays_one_and_changes_as_much_as_said():
    plain = torch.full((200, 1, 16, 16), 100, dtype=torch.uint8)
    seen = views(plain, drawn(0), mirror=True)
    assert torch.equal(seen, seen[:, :, :1, :1].expand_as(seen))
    assert 60 <= seen.min() < 70  # 40 % darker
    assert 130 < seen.max() <= 140


def test_grey_pictures_stay_grey_in_three_channels():
    seen = views(pictures(20, 1).expand(-1, 3, -1, -1), drawn(0), mirror=True)
    assert (seen.amax(1).int() - seen.amin(1).int()).max() <= 1


def test_some_views_of_coloured_pictures_are_grey():
    seen = views(pictures(400, height=8, width=8), drawn(0), mirror=False).int()
    grey = (seen.amax(1) - seen.amin(1)).amax((1, 2)) <= 1
    assert 0.14 < grey.float().mean() < 0.26


def ramp(rows):
    """Pictures that grow lighter to the right."""
    line = torch.linspace(0, 255, 64).to(torch.uint8)
    return line.expand(rows, 3, 32, 64)


@pytest.mark.parametrize(("mirror", "low", "high"), [(False, 0, 0), (True, 0.4, 0.6)])
def test_pictures_are_mirrored_only_where_asked(mirror, low, high):
    seen = views(ramp(200), drawn(0), mirror=mirror).float().mean((1, 2))
    assert low <= (seen[:, 0] > seen[:, -1]).float().mean() <= high


def test_a_crop_shows_a_third_of_the_picture_or_more():
    """Of a picture in which each pixel tells its column, without changes of light."""
    seen = views(ramp(300), drawn(0), mirror=False).float()
    contrast = seen.amax((1, 2, 3)) - seen.amin((1, 2, 3))
    # Sides of 4 : 3 at 35 % of the area, times the least contrast and light.
    assert contrast.min() > 255 * (0.35 / (4 / 3)) ** 0.5 * 0.6 * 0.6 - 8
    assert contrast.max() > 200


def test_small_pictures_are_not_blurred_and_large_ones_are():
    def sharpness(side):
        board = (torch.arange(side)[:, None] + torch.arange(side)) % 2 * 255
        seen = views(board.expand(200, 3, side, side).to(torch.uint8), drawn(0), mirror=False).float()
        return seen.diff(dim=3).abs().amax((1, 2, 3)).numpy()

    assert np.quantile(sharpness(48), 0.02) > 2 * np.quantile(sharpness(224), 0.3)
