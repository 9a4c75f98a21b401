"""Which pictures look alike, block by block."""

import io

import numpy as np
import pytest
from PIL import Image

from posterity.pixels.likeness import similarities
from posterity.pixels.perceptual_hash import thumbnail
from posterity.pixels.resize import resize_by_area
from unit.pixels.pictures import blobs

SIDE = 320


def similarity(first, second):
    (value,) = similarities(thumbnail(first)[None], thumbnail(second)[None])
    return float(value)


def recompressed(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=30)
    return np.asarray(Image.open(buffer))


COPIES = {
    "resized": lambda image: resize_by_area(image, 160, 200),
    "recompressed": recompressed,
    "cropped by 5 % a side": lambda image: image[16:-16, 16:-16],
    "cropped by 4 % at the top and 3 % on the left": lambda image: image[13:, 10:],
    "brighter": lambda image: (image + 15).astype(np.uint8),
    "all of it": lambda image: recompressed((resize_by_area(image[12:-5, 3:-15], 200, 200) + 10).astype(np.uint8)),
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_a_copy_looks_like_the_original_whichever_comes_first(change):
    for seed in range(10):
        image = blobs(seed, SIDE)
        assert similarity(image, change(image)) >= 0.9
        assert similarity(change(image), image) >= 0.9


def test_other_pictures_do_not():
    thumbnails = np.stack([thumbnail(blobs(seed, SIDE)) for seed in range(300)])
    values = similarities(thumbnails[:-1], thumbnails[1:])  # more than one chunk
    assert values.max() < 0.7
    assert abs(values.mean()) < 0.3
    assert similarity(blobs(0, SIDE), 255 - blobs(0, SIDE)) < -0.5


def test_bars_and_margins_that_are_alike_say_nothing():
    def framed(seed):
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        image[:, 70:250] = 75 + blobs(seed, SIDE)[:, 70:250] // 4 * 3
        return image

    first, second = framed(1), framed(2)
    assert np.corrcoef(thumbnail(first).ravel(), thumbnail(second).ravel())[0, 1] > 0.85
    assert similarity(first, second) < 0.5
    assert similarity(first, recompressed(first)) > 0.97


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_blank_pictures_are_like_no_other_not_even_themselves(colour):
    noise = np.random.default_rng(0).integers(-2, 3, (SIDE, SIDE, 3))
    blank = np.clip(colour + noise, 0, 255).astype(np.uint8)
    assert similarity(blank, blank) == 0
    assert similarity(blank, blobs(0, SIDE)) < 0.2
    dotted = blank.copy()
    dotted[10:30, 10:30] = 255 - colour  # one block of 16 with something in it
    assert similarity(dotted, dotted) == 0


def test_no_pairs_have_no_similarities():
    nothing = np.empty((0, 64, 64), np.uint8)
    assert similarities(nothing, nothing).tolist() == []
