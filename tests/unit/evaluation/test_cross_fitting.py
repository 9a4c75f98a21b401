from typing import Any, cast

import numpy as np
import pytest

from posterity.errors import UserError
from posterity.evaluation import metrics
from posterity.evaluation.calibration import METHODS
from posterity.evaluation.cross_fitting import cross_fit, cross_fit_checked, tuned_scores
from posterity.evaluation.decisions import DecisionOptions, fit
from posterity.evaluation.folds import assign_folds
from posterity.evaluation.scored_rows import checked


def informative(num_rows=300, seed=0):
    """Labels of 50 %, 30 %, 10 % and 2 % of the rows, with scores that know something of them."""
    rng = np.random.default_rng(seed)
    y_true = (rng.random((num_rows, 4)) < [0.5, 0.3, 0.1, 0.02]).astype(np.uint8)
    return y_true, np.clip(0.3 * y_true + 0.7 * rng.random(y_true.shape), 0, 1)


def noise(seed, num_rows=400, num_labels=20):
    rng = np.random.default_rng(seed)
    return (rng.random((num_rows, num_labels)) < 0.1).astype(np.uint8), rng.random((num_rows, num_labels))


@pytest.mark.parametrize("calibration", METHODS)
def test_cross_fitting_is_a_loop_over_parts_that_hold_whole_groups(calibration):
    y_true, y_score = informative()
    groups, options = np.arange(300) // 2, DecisionOptions(calibration=calibration)
    calibrated, decided = cross_fit(y_true, y_score, groups, options, folds=4, seed=7)
    fold_of_row = assign_folds(groups, folds=4, seed=7)
    assert sorted(np.bincount(fold_of_row)) == [74, 74, 76, 76]
    for row in range(300):
        others = np.flatnonzero(fold_of_row != fold_of_row[row])
        expected = fit(y_true[others], y_score[others], options).apply(y_score[[row]])
        assert (calibrated[row] == expected[0]).all()
        assert (decided[row] == expected[1]).all()


@pytest.mark.parametrize("calibration", METHODS)
def test_other_rows_have_a_part_in_every_decision(calibration):
    y_true, y_score = informative()
    groups, options = np.arange(100) // 2, DecisionOptions(calibration=calibration)
    rows, others = checked(y_true[:100], y_score[:100]), checked(y_true[100:], y_score[100:])
    _, decided = cross_fit_checked(rows, groups, options, folds=4, seed=7, others=others)
    fold_of_row = assign_folds(groups, folds=4, seed=7)
    for row in range(0, 100, 10):
        chosen_by = np.concatenate([np.flatnonzero(fold_of_row != fold_of_row[row]), np.arange(100, 300)])
        expected = fit(y_true[chosen_by], y_score[chosen_by], options).apply(y_score[[row]])[1]
        assert (decided[row] == expected).all()


@pytest.mark.parametrize("calibration", METHODS)
def test_labels_of_a_row_or_of_its_copy_do_not_change_its_own_outcome(calibration):
    y_true, y_score = informative(100)
    groups, options = np.arange(100) // 2, DecisionOptions(calibration=calibration)
    before = cross_fit(y_true, y_score, groups, options, folds=5, seed=0)
    changed = 0
    for row in range(0, 100, 5):
        flipped = y_true.copy()
        flipped[row] = 1 - flipped[row]
        after = cross_fit(flipped, y_score, groups, options, folds=5, seed=0)
        copies = groups == groups[row]
        for old, new in zip(before, after, strict=True):
            assert (old[copies] == new[copies]).all()
            changed += (old != new).any()
    assert changed > 0  # others are judged by it


@pytest.mark.parametrize("calibration", METHODS)
def test_noise_tuned_by_cross_fitting_does_not_beat_the_prior_as_it_does_when_tuned_on_itself(calibration):
    naive, fair, options = [], [], DecisionOptions(calibration=calibration)
    for seed in range(6):
        y_true, y_score = noise(seed)
        prior = metrics.prior_scores(y_true.mean(axis=0), 400)
        _, prior_decided = cross_fit(y_true, prior, np.arange(400), options, folds=5, seed=seed)
        calibrated, decided = cross_fit(y_true, y_score, np.arange(400), options, folds=5, seed=seed)
        found = tuned_scores(y_true, y_score, calibrated, decided, prior_decided)
        # The prior's best is to predict everything, through calibration and all: F1 = 2 p / (1 + p).
        assert prior_decided.all()
        fair.append(found["f1_macro_tuned"] - found["f1_macro_tuned_prior"])
        calibrated, decided = fit(y_true, y_score, options).apply(y_score)
        found = tuned_scores(y_true, y_score, calibrated, decided, prior_decided)
        naive.append(found["f1_macro_tuned"] - found["f1_macro_tuned_prior"])
    # Over 30 seeds the mean of fair is -0.011 (standard deviation 0.005), that of naive 0.019 (0.003).
    assert np.mean(fair) < 0
    assert max(fair) < 0.01
    assert min(naive) > 0.01


def test_prior_decisions_with_rare_labels_predict_all_of_some_labels_and_nothing_of_the_others():
    y_true, _ = informative(1000)
    for calibration in METHODS:
        prior = metrics.prior_scores(y_true.mean(axis=0), 1000)
        options = DecisionOptions(calibration=calibration, min_positives=30)
        _, decided = cross_fit(y_true, prior, np.arange(1000), options, folds=5, seed=0)
        assert decided[:, :3].all()
        assert not decided[:, 3].any()  # by F1 over all cells, the rare label is not worth it


def test_tuned_scores_worked_out_by_hand():
    y_true = [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]]
    y_score = [[0.9, 0.2, 0.1], [0.4, 0.6, 0.1], [0.3, 0.1, 0.1], [0.2, 0.2, 0.1]]
    decided = [[1, 0, 0], [1, 1, 1], [1, 0, 0], [0, 0, 0]]
    everything = np.ones((4, 3), bool)
    found = tuned_scores(y_true, y_score, np.full((4, 3), 1 / 3), np.array(decided, bool), everything)
    assert found == {
        "f1_micro_tuned": pytest.approx(2 * 3 / (4 + 5)),
        # The third label is nowhere: it is not scored, though it is decided once.
        "f1_macro_tuned": pytest.approx((2 * 2 / (2 + 3) + 2 * 1 / (2 + 1)) / 2),
        "subset_accuracy_tuned": 1 / 4,
        "f1_micro_tuned_prior": pytest.approx(2 * 4 / (4 + 12)),
        "f1_macro_tuned_prior": pytest.approx(2 * 2 / (2 + 4)),
        "subset_accuracy_tuned_prior": 0,
        # Of the rows with a label, the first two get all they have and the last one nothing.
        "recall_per_image_tuned": pytest.approx(2 / 3),
        "recall_per_image_tuned_prior": 1,
        "labels_per_image_tuned": 5 / 4,
        "labels_per_image_tuned_prior": 3,
        "bce_calibrated": pytest.approx(-(4 * np.log(1 / 3) + 8 * np.log(2 / 3)) / 12),
        # 15 bins: no two different scores share one. Of the 0.2s one in three is positive; the 0.1s are all negative.
        "ece": pytest.approx((0.1 + 0.6 + 0.4 + 0.3 + 3 * (1 / 3 - 0.2) + 5 * 0.1) / 12),
        "ece_calibrated": pytest.approx(0),
    }


@pytest.mark.parametrize("num_labels", [1, 4])
def test_f1_at_one_half_is_that_of_evaluate(num_labels):
    y_true, y_score = (values[:, :num_labels] for values in informative())
    expected = metrics.evaluate(y_true, y_score, [0.5] * num_labels)
    found = tuned_scores(y_true, y_score, y_score, y_score >= 0.5, y_score >= 0.5)
    for name in ("f1_micro", "f1_macro", "subset_accuracy"):
        assert found[f"{name}_tuned"] == found[f"{name}_tuned_prior"] == pytest.approx(expected[name])
    assert found["bce_calibrated"] == pytest.approx(expected["bce"])
    assert found["ece"] == found["ece_calibrated"]


def test_the_macro_score_is_left_out_if_no_label_is_scored():
    nothing = np.zeros((3, 2), bool)
    found = tuned_scores(nothing, nothing, nothing, nothing, ~nothing)
    assert "f1_macro_tuned" not in found
    assert "f1_macro_tuned_prior" not in found
    assert "recall_per_image_tuned" not in found
    assert found["labels_per_image_tuned_prior"] == 2
    assert found["f1_micro_tuned"] == 0
    assert found["subset_accuracy_tuned"] == 1


def test_the_target_precision_is_reached_on_rows_that_the_thresholds_never_saw():
    y_true, y_score = informative(4000)
    options = DecisionOptions(objective="precision", target_precision=0.8)
    _, decided = cross_fit(y_true, y_score, np.arange(4000), options, folds=5, seed=0)
    for label in range(3):
        precision = y_true[decided[:, label], label].mean()
        assert decided[:, label].sum() > 100
        assert precision == pytest.approx(0.8, abs=0.04)  # 100 rows or more: a standard error of 0.04 at most


@pytest.mark.parametrize(
    ("groups", "folds", "message"),
    [
        ([0, 0, 1, 1], 3, r"decide\.folds must be an integer from 2 to .* images \(.*\), which is 2\. Got 3\."),
        ([0, 1, 2, 3], 1, r"which is 4\. Got 1\."),
        ([5, 5, 5, 5], 2, r"expected two different validation images .*\. Got 1\. .*split\.validation_fraction"),
    ],
)
def test_too_few_images_for_the_parts(groups, folds, message):
    with pytest.raises(UserError, match=message):
        cross_fit(np.eye(4), np.eye(4), groups, folds=folds, seed=0)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"groups must have shape \(4,\)\. Got \(3,\)"):
        cross_fit(np.eye(4), np.eye(4), [0, 1, 2], folds=2, seed=0)
    options = DecisionOptions(objective=cast(Any, "accuracy"))
    with pytest.raises(ValueError, match="objective must be one of .* Got 'accuracy'"):
        cross_fit(np.eye(4), np.eye(4), np.arange(4), options, folds=2, seed=0)
