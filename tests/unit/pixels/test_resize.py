import itertools
import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from posterity.choices import Fit
from posterity.pixels.resize import fit_by_area, fit_by_pillow, resize_by_area
from posterity.workers.threads import threads

SIDE = st.integers(1, 40)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box_means(size, new_size):
    """Matrix (new_size, size): each new pixel's share of every old one."""
    edges = [k * size / new_size for k in range(new_size + 1)]
    overlaps = [
        [max(0.0, min(stop, k + 1) - max(start, k)) for k in range(size)] for start, stop in itertools.pairwise(edges)
    ]
    return np.array(overlaps) * new_size / size


def linear(size, new_size):
    """Matrix (new_size, size): each new pixel's centre between the centres of two old ones."""
    weights = np.zeros((new_size, size))
    for k in range(new_size):
        place = min(max((k + 0.5) * size / new_size - 0.5, 0), size - 1)
        below = min(math.floor(place), max(size - 2, 0))
        weights[k, below] = 1 - (place - below)
        weights[k, min(below + 1, size - 1)] += place - below
    return weights


@given(height=SIDE, width=SIDE, new_height=SIDE, new_width=SIDE, seed=st.integers(0, 9))
def test_shrunk_sides_are_averaged_and_grown_sides_interpolated(height, width, new_height, new_width, seed):
    pixels = noise(height, width, seed)
    rows, columns = (
        (box_means if new < old else linear)(old, new) for old, new in ((height, new_height), (width, new_width))
    )
    expected = np.einsum("ih,hwc,jw->ijc", rows, pixels, columns)
    # Rounded to whole levels; OpenCV also rounds the weights of growing, to 1/256.
    tolerance = 0.51 + (new_height > height or new_width > width)
    assert np.abs(resize_by_area(pixels, new_width, new_height) - expected).max() <= tolerance


def test_by_hand():
    pixels = np.repeat(np.array([[0, 30, 90], [60, 120, 30]], np.uint8)[..., None], 3, axis=2)
    assert resize_by_area(pixels, 1, 1)[0, 0].tolist() == [55] * 3
    assert resize_by_area(pixels, 2, 2)[..., 0].tolist() == [[10, 70], [80, 60]]  # (0 + 30 / 2) / 1.5, ...
    assert resize_by_area(pixels, 1, 4)[..., 0].tolist() == [[40], [48], [63], [70]]  # 40 and 70, then 1/4 and 3/4
    assert resize_by_area(pixels, 3, 2) is pixels


def test_every_thread_resizes_alike():
    # A factor of 2 has the most half-way values, whose rounding OpenCV lets each thread choose.
    images = [noise(60, 80, seed) for seed in range(8)]
    here = [resize_by_area(image, 40, 30) for image in images]
    for workers in (1, 3):
        there = threads(workers)(lambda image: resize_by_area(image, 40, 30), images)
        np.testing.assert_array_equal(list(there), here)


def test_pad_and_crop_by_hand():
    # 2 high, 6 wide: columns 0, 50, ..., 250.
    pixels = np.repeat(np.tile(np.arange(0, 256, 50, dtype=np.uint8), (2, 1))[..., None], 3, axis=2)
    assert fit_by_area(pixels, 3, 3, "pad")[..., 0].tolist() == [[0, 0, 0], [25, 125, 225], [0, 0, 0]]
    assert fit_by_area(pixels, 2, 2, "crop")[..., 0].tolist() == [[100, 150]] * 2
    assert fit_by_area(pixels, 3, 3, "stretch")[..., 0].tolist() == [[25, 125, 225]] * 3


@given(height=SIDE, width=SIDE, new_height=SIDE, new_width=SIDE)
def test_padding_has_the_geometry_of_pillow(height, width, new_height, new_width):
    image = Image.fromarray(np.full((height, width, 3), 255, np.uint8))
    expected = np.asarray(ImageOps.pad(image, (new_width, new_height)))
    assume(expected.any())  # Pillow rounds the short side of a strip to 0, and the image is gone
    np.testing.assert_array_equal(fit_by_area(np.asarray(image), new_width, new_height, "pad"), expected)
    np.testing.assert_array_equal(fit_by_pillow(image, new_width, new_height, "pad", "bicubic"), expected)


@pytest.mark.parametrize("resampling", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
def test_the_filters_of_pillow_are_pillows(resampling):
    image, size, method = Image.fromarray(noise(35, 50)), (17, 31), Image.Resampling[resampling.upper()]
    by_fit = {
        "stretch": image.resize(size, method),
        "pad": ImageOps.pad(image, size, method),
        "crop": ImageOps.fit(image, size, method),
    }
    for fit in get_args(Fit):
        np.testing.assert_array_equal(fit_by_pillow(image, *size, fit, resampling), np.asarray(by_fit[fit]))


@pytest.mark.parametrize(("height", "width"), [(40, 30), (30, 40), (21, 90), (90, 21)])
def test_cropping_cuts_where_pillow_does(height, width):
    ramp = np.add.outer(np.arange(height), np.arange(width)) * 1.5
    pixels = np.repeat(ramp.astype(np.uint8)[..., None], 3, axis=2)
    expected = np.asarray(ImageOps.fit(Image.fromarray(pixels), (12, 12), Image.Resampling.BOX)).astype(int)
    # Pillow cuts at fractions of a pixel, we at whole ones: at most half a pixel, of 1.5 grey levels, on either axis.
    assert np.abs(fit_by_area(pixels, 12, 12, "crop") - expected).max() <= 3


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("shape", [(1, 40_000), (40_000, 1)])
def test_a_strip_is_no_trouble(shape, fit):
    pixels = np.full((*shape, 3), 7, np.uint8)
    for fitted in (fit_by_area(pixels, 6, 4, fit), fit_by_pillow(Image.fromarray(pixels), 6, 4, fit, "bilinear")):
        assert fitted.shape == (4, 6, 3)
        assert set(np.unique(fitted)) == ({0, 7} if fit == "pad" else {7})
