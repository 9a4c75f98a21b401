"""What is said of one label, worked out by hand from six rows and three labels."""

import numpy as np
import pytest

from posterity.evaluation.scored_rows import checked
from posterity.showing.label_facts import facts

#                 cat, dog, fox
TARGETS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [2, 0, 1], [1, 0, 0]])
SCORES = np.array([[0.9, 0.1, 0], [0.3, 0.8, 0], [0.7, 0.2, 0], [0.1, 0, 0.9], [0.99, 0, 0], [0.1, 0.6, 0.7]])
DECIDED = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 1]], dtype=bool)


@pytest.fixture(scope="module")
def cat():
    rows = checked(TARGETS, SCORES)
    return facts(
        rows, 0, np.array([0.6, 0.4, 0.4]), np.arange(6), DECIDED, threshold=0.5, num_samples=200, seed=1, examples=2
    )


def test_rows_that_do_not_know_the_label_are_left_out(cat):
    assert (cat.support, cat.known) == (3, 5)


def test_figures(cat):
    # From the highest score down: 0.9 yes, 0.7 no, 0.3 yes, then 0.1 twice, yes and no.
    assert cat.figures["average_precision"] == pytest.approx((1 / 1 + 2 / 3 + 3 / 5) / 3)
    assert cat.figures["average_precision_prior"] == pytest.approx(3 / 5)
    assert (cat.figures["precision"], cat.figures["recall"]) == pytest.approx((1 / 2, 1 / 3))  # at 0.5
    losses = [0.9, 0.3, 1 - 0.7, 1 - 0.1, 0.1]
    assert cat.figures["skill"] == pytest.approx(1 - np.log(losses).sum() / np.log([0.6, 0.6, 0.4, 0.4, 0.6]).sum())
    assert cat.figures["map_macro_low"] <= cat.figures["average_precision"] <= cat.figures["map_macro_high"]


def test_decisions(cat):
    assert cat.decided == {"right": 1, "wrong": 1, "missed": 2, "precision": 1 / 2, "recall": 1 / 3, "f1": 2 / 5}


def test_examples_are_ranked_and_leave_unknown_cells_out(cat):
    assert (cat.best, cat.missed, cat.wrong) == ([0, 1], [5, 1], [2, 3])


def test_confusions(cat):
    assert cat.truly == [(1, 1)]  # row 2 got cat in place of dog
    assert cat.instead == [(1, 1), (2, 1)]  # row 5 got dog and fox in place of cat; what row 1 got is right


def test_reliability_has_bins_of_a_fifth(cat):
    expected = [(0.1, 1 / 2, 2), (0.3, 1.0, 1), (0.7, 0.0, 1), (0.9, 1.0, 1)]
    assert cat.reliability == [pytest.approx(point) for point in expected]


def test_a_label_that_every_row_has_is_not_scored():
    rows = checked([[1], [1]], [[0.3], [0.6]])
    found = facts(rows, 0, np.array([0.5]), np.arange(2), None, threshold=0.5, num_samples=10, seed=1)
    assert "average_precision" not in found.figures
    assert (found.best, found.wrong, found.decided, found.truly) == ([1, 0], [], {}, [])
