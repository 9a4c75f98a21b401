"""The pointing game by hand."""

import numpy as np
import pytest

from posterity.evaluation import pointing_game

WHOLE = [0.0, 0.0, 1.0, 1.0]


def map_with(row, column, height=4, width=5):
    found = np.zeros((height, width), np.float32)
    found[row, column] = 1
    return found


def test_the_middle_of_the_highest_pixel_counts():
    # Pixel (1, 3) of 4 x 5 has its middle at 0.7 of the width and 0.375 of the height.
    maps = np.repeat(map_with(1, 3)[None], 4, axis=0)
    boxes = np.array([[0.6, 0.3, 0.8, 0.4], [0.71, 0.3, 0.8, 0.4], [0.6, 0.3, 0.69, 0.4], [0.6, 0.38, 0.8, 0.4]])
    assert pointing_game.pointing_game(maps, boxes).tolist() == [True, False, False, False]


def test_the_first_of_equal_maxima_counts_and_a_flat_map_misses():
    both = map_with(0, 0) + map_with(3, 4)
    maps = np.stack([both, both, np.zeros_like(both), np.ones_like(both)])
    boxes = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], WHOLE, WHOLE])
    assert pointing_game.pointing_game(maps, boxes).tolist() == [True, False, False, False]


def test_the_rates_of_a_random_place_and_of_the_middle():
    boxes = np.array([[0.25, 0.0, 0.75, 0.5], [0.6, 0.0, 1.0, 1.0], WHOLE])
    np.testing.assert_allclose(pointing_game.random_rates(boxes), [0.25, 0.4, 1.0])
    assert pointing_game.centre_hits(boxes).tolist() == [True, False, True]


def test_no_maps_have_no_hits():
    assert pointing_game.pointing_game(np.zeros((0, 4, 5)), np.zeros((0, 4))).shape == (0,)


def test_other_shapes_are_an_error():
    with pytest.raises(ValueError, match=r"Got \(2, 4, 5\) and \(1, 4\)"):
        pointing_game.pointing_game(np.zeros((2, 4, 5)), np.array([WHOLE]))
