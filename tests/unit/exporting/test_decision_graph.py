"""The operations in an exported graph beside `Decisions.apply`, which they stand for."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from posterity.errors import UserError
from posterity.evaluation.calibration import Calibration
from posterity.evaluation.decisions import Decisions
from posterity.exporting import decision_graph
from posterity.exporting.decision_graph import decision_function, float32_not_below

# Knots are float32, as scores are. Flat in places, of different lengths, and a jump where two knots have one score: 0.5
# itself is above it.
CURVES = (
    ((0.125, 0.2), (0.3125, 0.2), (0.4375, 0.9)),
    ((0.5, 0.1), (0.5, 0.6)),
    ((0.25, 0.2),),
)
CALIBRATIONS = {
    "off": Calibration("off", ((),) * 3),
    "platt": Calibration("platt", (((2.0, -0.5),), ((0.3, 1.5),), ((1.0, 0.0),))),
    "isotonic": Calibration("isotonic", CURVES),
}
RULES = [(False, False), (True, False), (False, True), (True, True)]
# Ends, values a bit beyond them as a sigmoid may give, ties, and float32 beside knots and thresholds.
EDGES = [0.0, 1.0, 1e-9, 1 - 6e-8, 0.125, 0.25, 0.3125, 0.5, np.nextafter(np.float32(0.5), 0), 0.7, 0.99]
SCORES = np.array(list(itertools.product(EDGES, repeat=3)), np.float32)
THRESHOLDS = (0.7, 0.5, 0.25)


@pytest.mark.parametrize(("at_least_one", "exactly_one"), RULES)
@pytest.mark.parametrize("method", CALIBRATIONS)
def test_the_graph_decides_as_posterity_does(method, at_least_one, exactly_one):
    decisions = Decisions(CALIBRATIONS[method], THRESHOLDS, at_least_one, exactly_one)
    probabilities, decided = tf.function(decision_function(decisions))(tf.constant(SCORES))
    expected, wanted = decisions.apply(SCORES)
    np.testing.assert_allclose(probabilities.numpy(), expected, atol=3e-7)
    assert decided.dtype == tf.bool
    # Platt's curve rounds in float32: nothing here is that near to a threshold or to another label but what is equal.
    apart = np.abs(expected - THRESHOLDS).min(axis=1) > 1e-6
    if method == "platt":
        ranked = np.sort(expected, axis=1)
        apart &= ranked[:, 2] - ranked[:, 1] > 1e-6
    else:
        apart[:] = True
    assert apart.sum() > 800
    np.testing.assert_array_equal(decided.numpy()[apart], wanted[apart])


def test_scores_beyond_the_ends_count_as_the_ends():
    decisions = Decisions(Calibration("off", ((), ())), (0.5, 2.0), at_least_one=False)
    probabilities, decided = decision_function(decisions)(tf.constant([[1.0000001, -1e-7]]))
    assert probabilities.numpy().tolist() == [[1.0, 0.0]]
    assert decided.numpy().tolist() == [[True, False]]  # 2 is the threshold that nothing reaches


def test_a_float32_reaches_a_threshold_exactly_if_it_does_in_float64():
    thresholds = np.random.default_rng(0).random(1000)
    rounded = float32_not_below(thresholds)
    for score in (rounded, np.nextafter(rounded, np.float32(0))):
        np.testing.assert_array_equal(score >= rounded, score.astype(np.float64) >= thresholds)


def test_too_long_curves_are_refused(monkeypatch):
    monkeypatch.setattr(decision_graph, "MOST_SEGMENTS", 11)
    with pytest.raises(UserError, match=r"at most 11 pieces .* Got 12\. Set decide\.calibration: platt"):
        decision_graph.segments(CALIBRATIONS["isotonic"])  # 3 labels x (3 knots + 1)
