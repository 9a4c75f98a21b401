import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from posterity.evaluation.calibration import (
    Calibration,
    expected_calibration_error,
    fit_calibration,
    reliability_points,
)
from posterity.evaluation.metrics import binary_cross_entropy


def logit(score):
    return np.log(score / (1 - score))


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def overconfident(num_rows=500, num_labels=2, seed=0):
    """Scores whose logit is twice that of the true probability, plus 1."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 1, (num_rows, num_labels))
    return (rng.random(logits.shape) < sigmoid(logits)).astype(np.uint8), sigmoid(2 * logits + 1)


def platt_targets(positive):
    num_positive, num_negative = positive.sum(), (1 - positive).sum()
    return np.where(positive == 1, (num_positive + 1) / (num_positive + 2), 1 / (num_negative + 2))


def platt_of_scikit_learn(positive, score):
    """Slope and intercept; a soft target is a row of either class, weighted."""
    target, logits = platt_targets(positive), logit(score)
    rows, classes = np.tile(logits, 2)[:, None], np.repeat([1, 0], len(target))
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12)
    model.fit(rows, classes, sample_weight=np.concatenate([target, 1 - target]))
    return model.coef_[0, 0], model.intercept_[0]


def test_platt_is_the_logistic_regression_of_scikit_learn():
    y_true, y_score = overconfident()
    found = fit_calibration(y_true, y_score, method="platt", min_positives=10)
    for label in range(2):
        slope, intercept = platt_of_scikit_learn(y_true[:, label], y_score[:, label])
        assert found.curves[label][0] == pytest.approx((slope, intercept), rel=1e-6)
        calibrated = sigmoid(slope * logit(y_score[:, label]) + intercept)
        assert found.apply(y_score)[:, label] == pytest.approx(calibrated, abs=1e-7)
    # Made with slope 2 and intercept 1, so that x = (logit - 1) / 2; 500 rows give the slope to about 0.1.
    assert np.array(found.curves)[:, 0] == pytest.approx(np.array([[0.5, -0.5]] * 2), abs=0.25)


def test_platt_converges_from_scores_far_out():
    # A few scores of 1 - 1e-9 (clipped to 1 - 1e-7) among small ones, all negative but one of them.
    y_score = np.array([*np.linspace(1e-8, 1e-3, 200), 0.5, *[1 - 1e-9] * 3])
    y_true = (np.arange(204) >= 199).astype(np.uint8)
    ((curve,),) = fit_calibration(y_true[:, None], y_score[:, None], method="platt", min_positives=1).curves
    assert curve == pytest.approx(platt_of_scikit_learn(y_true, np.clip(y_score, 1e-7, 1 - 1e-7)), rel=1e-6)


def test_separable_labels_have_a_finite_platt_curve():
    y_true, y_score = np.repeat([[0], [1]], 20, axis=0), np.repeat([[0.2], [0.7]], 20, axis=0)
    calibrated = fit_calibration(y_true, y_score, method="platt", min_positives=10).apply(y_score)
    # Two scores and two parameters: both targets are met.
    assert calibrated.ravel() == pytest.approx(np.repeat([1 / 22, 21 / 22], 20))


def test_isotonic_is_that_of_scikit_learn_on_platts_targets():
    y_true, y_score = overconfident()
    new_scores = np.random.default_rng(1).random((1000, 2))
    found = fit_calibration(y_true, y_score, method="isotonic", min_positives=10).apply(new_scores)
    for label in range(2):
        reference = IsotonicRegression(out_of_bounds="clip").fit(y_score[:, label], platt_targets(y_true[:, label]))
        assert found[:, label] == pytest.approx(reference.predict(new_scores[:, label]), abs=1e-12)


def test_isotonic_worked_out_by_hand():
    # Two positives and two negatives: targets 3/4 and 1/4. 0.4 and 0.6 are in the wrong order and share their mean.
    y_true, y_score = [[0], [1], [0], [1]], [[0.2], [0.4], [0.6], [0.8]]
    found = fit_calibration(y_true, y_score, method="isotonic", min_positives=2)
    assert found.curves == (((0.2, 0.25), (0.4, 0.5), (0.6, 0.5), (0.8, 0.75)),)
    assert found.apply([[0.0], [0.3], [0.5], [1.0]]).ravel() == pytest.approx([0.25, 0.375, 0.5, 0.75])


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_calibration_is_monotone_within_zero_and_one_and_corrects_overconfidence(method):
    y_true, y_score = overconfident(4000)
    found = fit_calibration(y_true[:2000], y_score[:2000], method=method, min_positives=10)
    grid = np.tile(np.linspace(0, 1, 1001)[:, None], 2)
    calibrated = found.apply(grid)
    assert (np.diff(calibrated, axis=0) >= 0).all()
    assert calibrated.min() >= 0
    assert calibrated.max() <= 1
    after = found.apply(y_score[2000:])
    assert expected_calibration_error(y_true[2000:], y_score[2000:]) > 0.1
    assert expected_calibration_error(y_true[2000:], after) < 0.03
    assert binary_cross_entropy(y_true[2000:], after) < 0.95 * binary_cross_entropy(y_true[2000:], y_score[2000:])


@pytest.mark.parametrize("method", ["platt", "isotonic"])
@given(rows=st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=30))
@settings(max_examples=200, deadline=None)
def test_whatever_the_rows_calibration_is_monotone_within_zero_and_one(method, rows):
    y_true, y_score = np.array(rows).T[:, :, None]
    found = fit_calibration(y_true, y_score, method=method, min_positives=1)
    calibrated = found.apply(np.array([0, *np.sort(y_score.ravel()), 1])[:, None])
    assert (np.diff(calibrated, axis=0) >= 0).all()
    assert calibrated.min() >= 0
    assert calibrated.max() <= 1


def test_off_leaves_the_scores_as_they_are():
    y_true, y_score = overconfident()
    assert (fit_calibration(y_true, y_score, method="off", min_positives=10).apply(y_score) == y_score).all()


@pytest.mark.parametrize("method", ["platt", "isotonic"])
@pytest.mark.parametrize("positive_in_rare", [9, 491])  # of 500 rows: too few positives, too few negatives
def test_rare_labels_share_the_curve_of_all_cells(method, positive_in_rare):
    y_true, y_score = overconfident(num_labels=3)
    y_true[:, 1:] = 0
    y_true[:positive_in_rare, 1] = 1
    found = fit_calibration(y_true, y_score, method=method, min_positives=10)
    pooled = fit_calibration(y_true.reshape(-1, 1), y_score.reshape(-1, 1), method=method, min_positives=1)
    own = fit_calibration(y_true[:, :1], y_score[:, :1], method=method, min_positives=10)
    assert found.curves == (own.curves[0], pooled.curves[0], pooled.curves[0])
    assert own.curves != pooled.curves
    y_true[:, 1] = np.arange(500) < 10
    assert fit_calibration(y_true, y_score, method=method, min_positives=10).curves[1] != pooled.curves[0]


def test_a_negative_platt_slope_gives_way_to_the_curve_of_all_cells():
    y_true, y_score = overconfident(num_labels=3)
    y_score[:, 2] = 1 - y_score[:, 2]  # one label answers the opposite
    found = fit_calibration(y_true, y_score, method="platt", min_positives=10)
    pooled = fit_calibration(y_true.reshape(-1, 1), y_score.reshape(-1, 1), method="platt", min_positives=1)
    assert pooled.curves[0][0][0] > 0
    assert found.curves[2] == pooled.curves[0]
    assert found.curves[0] != pooled.curves[0]


def test_if_all_cells_answer_the_opposite_the_score_is_left_as_it_is():
    y_true, y_score = overconfident()
    found = fit_calibration(y_true, 1 - y_score, method="platt", min_positives=10)
    assert found.apply(y_score) == pytest.approx(y_score, abs=1e-6)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
@pytest.mark.parametrize("value", [0, 1])
def test_if_all_cells_are_the_same_the_score_is_left_as_it_is(method, value):
    _, y_score = overconfident()
    found = fit_calibration(np.full(y_score.shape, value), y_score, method=method, min_positives=1)
    assert found.apply(y_score) == pytest.approx(y_score, abs=1e-6)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_constant_score_becomes_the_frequency(method):
    y_true, y_score = np.repeat([[1], [0]], [30, 70], axis=0), np.full((100, 1), 0.9)
    calibrated = fit_calibration(y_true, y_score, method=method, min_positives=10).apply(y_score)
    # The mean of Platt's targets: 31/32 thirty times and 1/72 seventy times.
    assert calibrated == pytest.approx((30 * 31 / 32 + 70 / 72) / 100)
    assert np.ptp(calibrated) == 0


@pytest.mark.parametrize("method", ["off", "platt", "isotonic"])
def test_json_keeps_every_bit(method):
    y_true, y_score = overconfident()
    found = fit_calibration(y_true, y_score, method=method, min_positives=10)
    again = Calibration.from_content(json.loads(json.dumps(asdict(found), allow_nan=False)))
    assert again == found
    assert (again.apply(y_score) == found.apply(y_score)).all()


def test_calibration_error_worked_out_by_hand():
    # Ten bins. (0.1, 0.2]: 0.15 no, 0.2 yes: 0.5 observed, 0.175 claimed. (0.8, 0.9]: both yes: 1 and 0.875.
    y_true, y_score = [[0, 1], [1, 1]], [[0.15, 0.85], [0.2, 0.9]]
    assert expected_calibration_error(y_true, y_score, bins=10) == pytest.approx((0.325 + 0.125) / 2)
    points = reliability_points(y_true, y_score, bins=10)
    assert points["mean_score"].tolist() == pytest.approx([0.175, 0.875])
    assert points["observed_frequency"].tolist() == [0.5, 1]
    assert points["count"].tolist() == [2, 2]
    # One bin: 3 of 4 against the mean 0.525. Cells that no bin may lose: 0 and 1.
    assert expected_calibration_error(y_true, y_score, bins=1) == pytest.approx(0.225)
    assert expected_calibration_error([[0, 1]], [[0.0, 1.0]]) == 0
    assert expected_calibration_error([[1, 0]], [[0.0, 1.0]]) == 1


def test_reliability_points_are_those_of_scikit_learn():
    y_true, y_score = overconfident()
    points = reliability_points(y_true, y_score.round(2), bins=10)  # rounded: some scores lie on edges
    observed, mean_score = calibration_curve(y_true.ravel(), y_score.round(2).ravel(), n_bins=10)
    assert points["observed_frequency"].to_numpy() == pytest.approx(observed)
    assert points["mean_score"].to_numpy() == pytest.approx(mean_score)
    assert points["count"].sum() == y_true.size


def test_wrong_arguments_are_named():
    y_true, y_score = overconfident()
    with pytest.raises(ValueError, match=r"method must be one of .*'isotonic'.* >= 1\. Got 'beta' and 1"):
        fit_calibration(y_true, y_score, method="beta", min_positives=1)
    with pytest.raises(ValueError, match="min_positives >= 1. Got 'platt' and 0"):
        fit_calibration(y_true, y_score, method="platt", min_positives=0)
    found = fit_calibration(y_true, y_score, method="platt", min_positives=1)
    with pytest.raises(ValueError, match=r"scores must have shape \(num_rows, 2\)\. Got \(500, 1\)"):
        found.apply(y_score[:, :1])
    with pytest.raises(ValueError, match=r"scores must be finite and lie in \[0, 1\]"):
        found.apply(np.where(y_score == y_score.max(), np.nan, y_score))
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        reliability_points(y_true, y_score, bins=0)
