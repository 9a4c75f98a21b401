"""An image coloured by a map."""

import cv2
import numpy as np
import pytest

from posterity.pixels.overlay import overlay

IMAGE = np.array([[[255, 255, 255], [0, 0, 0], [200, 0, 0]]], np.uint8)


def test_where_the_map_is_zero_the_picture_is_paler_and_as_light_as_it_was():
    found = overlay(IMAGE, np.zeros((1, 3), np.float32))
    # Of pure red, 200, the grey is 0.299 · 200 = 60; three fifths of the way there: 116 of red and 36 of the others.
    assert found.tolist() == [[[255, 255, 255], [0, 0, 0], [116, 36, 36]]]
    assert abs(int(cv2.cvtColor(found, cv2.COLOR_RGB2GRAY)[0, 2]) - 60) <= 1


def test_where_the_map_is_one_it_is_bright_yellow_and_the_picture_shows_through():
    found = overlay(IMAGE, np.ones((1, 3), np.float32))
    # The brightest colour of inferno is (252, 255, 164), of which there are three quarters.
    np.testing.assert_allclose(found[0, 1], [189, 191, 123], atol=1)
    np.testing.assert_allclose(found[0, 0], [253, 255, 187], atol=1)


def test_on_grey_more_of_the_map_is_lighter():
    image = np.full((1, 256, 3), 0, np.uint8)
    found = overlay(image, np.linspace(0, 1, 256, dtype=np.float32)[None])
    light = cv2.cvtColor(found, cv2.COLOR_RGB2GRAY)[0].astype(int)
    assert (np.diff(light) >= -1).all()  # but for rounding
    assert light[-1] - light[0] > 150


@pytest.mark.parametrize(
    ("image", "saliency", "message"),
    [
        (IMAGE.astype(np.float32), np.zeros((1, 3), np.float32), "Got float32"),
        (IMAGE[..., 0], np.zeros((1, 3), np.float32), r"Got uint8 \(1, 3\)"),
        (IMAGE, np.zeros((3, 1), np.float32), r"shape \(1, 3\) of the image. Got \(3, 1\)"),
        (IMAGE, np.full((1, 3), 1.5, np.float32), "from 0 to 1"),
        (IMAGE, np.full((1, 3), np.nan, np.float32), "from 0 to 1"),
    ],
)
def test_what_does_not_fit_is_an_error(image, saliency, message):
    with pytest.raises(ValueError, match=message):
        overlay(image, saliency)
