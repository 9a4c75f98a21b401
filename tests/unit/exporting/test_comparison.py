"""What counts as a difference between an export and Keras, with numbers worked out by hand."""

import numpy as np
import pytest

from posterity.evaluation.calibration import Calibration
from posterity.evaluation.decisions import Decisions
from posterity.exporting.comparison import agreement, loss

OFF = Calibration("off", ((), ()))
STEP = Calibration("isotonic", (((0.5, 0.1), (0.5, 0.9)), ((0.0, 0.0), (1.0, 1.0))))


def compared(decisions, scores, probabilities, decided):
    found = agreement(decisions, *(np.array([row]) for row in (scores, probabilities, decided)))
    return round(found.largest, 6), found.at_steps, found.changed, found.unexplained


def test_a_difference_of_a_decision_far_from_its_threshold_is_not_explained():
    decisions = Decisions(OFF, (0.5, 0.5), at_least_one=False)
    assert compared(decisions, [0.6, 0.2], [0.6, 0.2], [True, False]) == (0, 0, 0, 0)
    assert compared(decisions, [0.6, 0.2], [0.61, 0.2], [False, False]) == (0.01, 0, 1, 1)
    assert compared(decisions, [0.50009, 0.2], [0.49995, 0.2], [False, False]) == (0.00014, 0, 1, 0)


def test_a_step_of_a_curve_explains_probabilities_that_are_far_apart():
    decisions = Decisions(STEP, (0.4, 0.4), at_least_one=False)
    assert compared(decisions, [0.49995, 0.2], [0.9, 0.2], [True, False]) == (0, 1, 1, 0)
    assert compared(decisions, [0.4998, 0.2], [0.9, 0.2], [True, False]) == (0.8, 0, 1, 1)


def test_the_likeliest_label_may_be_either_of_two_that_are_as_likely():
    exactly_one = Decisions(OFF, (2.0, 2.0), at_least_one=False, exactly_one=True)
    assert compared(exactly_one, [0.30001, 0.3], [0.30001, 0.30002], [False, True]) == (2e-05, 0, 2, 0)
    assert compared(exactly_one, [0.31, 0.3], [0.31, 0.3], [False, True]) == (0, 0, 2, 2)


def test_without_a_label_depends_on_thresholds_that_are_near():
    at_least_one = Decisions(OFF, (0.9, 0.3), at_least_one=True)
    # The second label is just decided by Keras; the export falls back on the likeliest one, the first.
    assert compared(at_least_one, [0.5, 0.3], [0.5, 0.29999], [True, False]) == (1e-05, 0, 2, 0)
    assert compared(at_least_one, [0.5, 0.35], [0.5, 0.35], [True, False]) == (0, 0, 2, 2)


def test_nothing_is_equal_to_nan():
    decisions = Decisions(OFF, (0.5, 0.5), at_least_one=False)
    found = agreement(decisions, np.array([[0.6, 0.2]]), np.array([[np.nan, 0.2]]), np.array([[True, False]]))
    assert np.isnan(found.largest)


def test_loss_and_average_precision_leave_unknown_cells_out():
    targets = np.array([[1, 0], [0, 2], [1, 0]], np.uint8)
    found = loss(targets, np.array([[0.5, 0.5], [0.5, 0.9], [0.25, 0.5]]))
    assert found.bce == pytest.approx((4 * np.log(2) + np.log(4)) / 5)
    # The first label: 0.5 and 0.5 are ranks of their own together, precision 1/2, then 2/3 at 0.25.
    assert found.map_macro == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert loss(targets[:, 1:], np.array([[0.5], [0.5], [0.5]])).map_macro is None
