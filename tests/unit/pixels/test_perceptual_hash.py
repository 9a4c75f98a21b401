"""Hashes of pictures, whole and lightly cropped."""

import numpy as np
import pytest

from posterity.pixels.perceptual_hash import NUM_CROPS, perceptual_hashes, thumbnail
from unit.pixels.pictures import blobs

Y, X = np.mgrid[:32, :32]


def distances(first, second):
    return np.bitwise_count(first ^ second)


# What imagehash.phash (4.3.2) gives for these 32 x 32 grey pixels, which it does not have to resize.
@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (X * X + 3 * Y**3 + 7 * X * Y, "9c3b0c073f938f26"),
        ((X - 10) ** 2 + (Y - 20) ** 2, "bac1c9361a3ad9c9"),
        (np.where((X > 8) & (Y < 20), 200, 30) + X, "8f8f70708f70708f"),
    ],
)
def test_the_first_hash_is_that_of_imagehash(pixels, expected):
    doubled = np.kron((pixels % 256).astype(np.uint8), np.ones((2, 2), np.uint8))
    assert f"{int(perceptual_hashes(doubled[None])[0, 0]):016x}" == expected


def test_a_thumbnail_is_the_mean_of_the_grey_pixels():
    image = np.zeros((128, 192, 3), np.uint8)
    image[:64] = [255, 0, 0]
    made = thumbnail(image)
    assert (made.shape, made.dtype) == ((64, 64), np.uint8)
    assert set(made[:32].ravel().tolist()) == {76}  # 0.299 * 255, as all of television
    assert not made[32:].any()


@pytest.mark.parametrize("shape", [(8, 8, 3), (1000, 9, 3)])
def test_thumbnails_of_odd_sizes(shape):
    assert thumbnail(np.full(shape, 7, np.uint8)).tolist() == np.full((64, 64), 7).tolist()


def test_a_lightly_cropped_copy_is_close_to_one_of_the_crops():
    originals = [blobs(seed, 640) for seed in range(20)]
    hashes = perceptual_hashes(np.stack([thumbnail(image) for image in originals]))
    for cut in [(32, 32), (32, 0), (16, 16)]:
        copies = np.stack([thumbnail(image[cut[0] : 640 - cut[1], cut[0] : 640 - cut[1]]) for image in originals])
        cropped = perceptual_hashes(copies)
        assert distances(cropped[:, :1], hashes).min(axis=1).max() <= 4
    # Without the crops they are not: this is what these are for.
    assert distances(cropped[:, 0], hashes[:, 0]).max() > 4


def test_each_picture_is_hashed_for_itself():
    pictures = np.stack([thumbnail(blobs(seed, 80)) for seed in range(600)])  # more than one chunk
    hashes = perceptual_hashes(pictures)
    assert (hashes.shape, hashes.dtype) == ((600, NUM_CROPS), np.uint64)
    assert (perceptual_hashes(pictures[[599]]) == hashes[599]).all()


def test_a_picture_of_one_colour_has_a_hash_like_any_other():
    assert perceptual_hashes(np.zeros((1, 64, 64), np.uint8)).tolist() == [[0] * NUM_CROPS]
    assert perceptual_hashes(np.zeros((0, 64, 64), np.uint8)).shape == (0, NUM_CROPS)
