"""Unknown cells (2) have no part in any figure and in no choice: of all modules of `posterity.evaluation` at once."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from posterity.evaluation import bootstrap, calibration, cross_fitting, decisions, label_figures, metrics, thresholds

NAMES = ["a", "b", "c", "d"]
FREQUENCIES = [0.5, 0.25, 0.25, 0.1]

# Three rows of three labels. Row 2 is all unknown. At threshold 0.5, known cell (1, 2) is predicted wrongly.
Y_TRUE = np.array([[1, 0, 2], [0, 2, 0], [2, 2, 2], [1, 1, 0]], np.uint8)
Y_SCORE = np.array([[0.9, 0.2, 0.95], [0.3, 0.8, 0.6], [0.5, 0.5, 0.5], [0.8, 0.7, 0.75]])


def example(num_rows=300, seed=0, share=0.3):
    """Labels with ``share`` of the cells unknown, row 0 wholly and label d in all but the rows below 3, and scores."""
    rng = np.random.default_rng(seed)
    y_true = (rng.random((num_rows, 4)) < [0.5, 0.3, 0.1, 0.5]).astype(np.uint8)
    y_score = np.clip(0.3 * y_true + 0.7 * rng.random(y_true.shape), 0, 1).round(2)
    y_true[rng.random(y_true.shape) < share] = 2
    y_true[0], y_true[3:, 3] = 2, 2
    return y_true, y_score


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # p of what was the case: 0.9 0.8 | 0.7 0.4 | 0.8 0.7 0.25
        ("bce", -math.log(0.9 * 0.8 * 0.7 * 0.4 * 0.8 * 0.7 * 0.25) / 7),
        # The prior 1/2, 1/4, 1/4 gives 1/2 3/4 | 1/2 3/4 | 1/2 1/4 3/4.
        ("bce_prior", (3 * math.log(2) + 3 * math.log(4 / 3) + math.log(4)) / 7),
        ("map_macro", (1 + 1) / 2),  # label 2 has no known positive row
        ("map_macro_prior", (2 / 3 + 1 / 2) / 2),
        # Steps at 0.9 (1 of 1), 0.8 (2 of 2), 0.7 (3 of 4, 0.75 being a negative); three positives.
        ("map_micro", 1 / 3 + 1 / 3 + 1 / 3 * 3 / 4),
        # 1/2 first: 2 of 3; then everything: 3 of 7.
        ("map_micro_prior", 2 / 3 * 2 / 3 + 1 / 3 * 3 / 7),
        ("roc_auc_macro", 1),
        ("f1_micro", 2 * 3 / (2 * 3 + 2)),  # cells (1, 2) and (3, 2) are predicted wrongly
        ("f1_macro", 1),
        ("hamming_loss", 2 / 7),
        ("subset_accuracy", 1 / 3),
        ("lrap", (1 + 1 + (1 + 2 / 3) / 2) / 3),  # row 1 has no known true label
        ("coverage_error", (1 + 0 + 3) / 3),
        ("hit_at_1", 2 / 3),
        ("hit_at_1_prior", 2 / 3),
        ("precision_at_3", (1 / 2 + 0 + 2 / 3) / 3),  # rows 0 and 1 have two known labels
        ("precision_at_3_prior", (1 / 2 + 0 + 2 / 3) / 3),
        ("labels_scored", 2),
        ("rows_scored", 3),
        ("cells_unknown", 5),
    ],
)
def test_figures_worked_out_by_hand(name, expected):
    assert metrics.evaluate(Y_TRUE, Y_SCORE, [0.5, 0.25, 0.25])[name] == pytest.approx(expected, abs=1e-12)


def test_figures_without_an_unknown_cell_do_not_mention_any():
    assert "cells_unknown" not in metrics.evaluate(Y_TRUE % 2, Y_SCORE, [0.5, 0.25, 0.25])


def everything(y_true, y_score):
    """Whatever the module computes of ``y_true`` and ``y_score``, as text with all digits."""
    options = decisions.DecisionOptions(calibration="platt", min_positives=40)
    isotonic = calibration.fit_calibration(y_true, y_score, method="isotonic", min_positives=40)
    prior = metrics.prior_scores(FREQUENCIES, len(y_true))
    groups = np.arange(len(y_true)) // 2
    calibrated, decided = cross_fitting.cross_fit(y_true, y_score, groups, options, folds=3, seed=0)
    _, prior_decided = cross_fitting.cross_fit(y_true, prior, groups, options, folds=3, seed=0)
    tables = [
        label_figures.per_label(y_true, y_score, NAMES),
        label_figures.precision_recall_points(y_true, y_score, NAMES),
        calibration.reliability_points(y_true, y_score),
    ]
    figures = [
        metrics.evaluate(y_true, y_score, FREQUENCIES),
        bootstrap.bootstrap_intervals(y_true, y_score, FREQUENCIES, num_samples=30, seed=0, groups=groups),
        cross_fitting.tuned_scores(y_true, y_score, calibrated, decided, prior_decided),
        decisions.fit(y_true, y_score, options),
        isotonic,
        thresholds.fit_thresholds(
            y_true, y_score, objective="precision", target_precision=0.6, target_recall=0.9, min_positives=40
        ).tolist(),
        decisions.fit(y_true, y_score, decisions.DecisionOptions(objective="recall", target_recall=0.8)),
    ]
    return [table.to_csv() for table in tables] + [repr(figure) for figure in figures]


@pytest.mark.parametrize("replacement", [0.0, 1.0, "random"])
def test_no_figure_and_no_choice_looks_at_the_score_of_an_unknown_cell(replacement):
    y_true, y_score = example()
    other = np.random.default_rng(1).random(y_score.shape) if replacement == "random" else replacement
    before = everything(y_true, y_score)
    assert everything(y_true, np.where(y_true == 2, other, y_score)) == before
    changed = y_score.copy()
    changed[tuple(np.argwhere(y_true == 1)[0])] = 0.123
    assert all(old != new for old, new in zip(before[:6], everything(y_true, changed)[:6], strict=True))


def test_a_row_without_a_known_label_is_no_row():
    y_true, y_score = example(share=0.0)
    y_true = y_true[:, :3]
    y_score = y_score[:, :3]
    assert (y_true[0] == 2).all()
    assert (y_true[1:] < 2).all()
    expected = metrics.evaluate(y_true[1:], y_score[1:], FREQUENCIES[:3])
    found = metrics.evaluate(y_true, y_score, FREQUENCIES[:3])
    assert found.pop("cells_unknown") == 3
    assert found == pytest.approx(expected, rel=1e-12)


def test_each_label_has_the_figures_of_the_rows_that_know_it():
    y_true, y_score = example()
    table = label_figures.per_label(y_true, y_score, NAMES).set_index("label")
    for column, name in enumerate(NAMES[:3]):
        known = y_true[:, column] < 2
        alone = label_figures.per_label(y_true[known][:, [column]], y_score[known][:, [column]], [name])
        pd.testing.assert_series_equal(table.loc[name], alone.set_index("label").loc[name], check_exact=True)
        expected = sklearn_metrics.average_precision_score(y_true[known, column], y_score[known, column])
        assert table.loc[name, "average_precision"] == pytest.approx(expected)


def test_a_label_is_scored_only_if_a_known_row_is_positive_and_another_one_negative():
    y_true, y_score = [[1, 1, 2], [1, 2, 2], [2, 2, 2], [0, 2, 2]], np.full((4, 3), 0.5)
    table = label_figures.per_label(y_true, y_score, NAMES[:3])
    assert table["label"].tolist() == ["a", "b", "c"]
    assert table["support"].tolist() == [2, 1, 0]
    assert table["average_precision"].isna().tolist() == [False, True, True]
    assert table.loc[0, "average_precision_prior"] == pytest.approx(2 / 3)
    assert metrics.evaluate(y_true, y_score, [0.5] * 3)["labels_scored"] == 1


def test_label_frequencies_are_those_of_the_known_rows():
    assert metrics.label_frequencies([[1, 2, 2], [0, 1, 2], [0, 2, 2]]).tolist() == [1.5 / 4, 1.5 / 2, 0.5]
    y_true = example()[0]
    for column, found in enumerate(metrics.label_frequencies(y_true)):
        assert found == metrics.label_frequencies(y_true[y_true[:, column] < 2][:, [column]])[0]


def test_intervals_are_the_shifted_percentiles_of_a_plain_loop():
    y_true, y_score = example(num_rows=40)
    drawn = np.random.default_rng(5).integers(40, size=(60, 40))
    results = [metrics.evaluate(y_true[rows], y_score[rows], FREQUENCIES) for rows in drawn]
    intervals = bootstrap.bootstrap_intervals(y_true, y_score, FREQUENCIES, num_samples=60, seed=5, level=0.8)
    figures = metrics.evaluate(y_true, y_score, FREQUENCIES)
    level = bootstrap.expanded(0.8, 40)
    ends_taken = [(1 - level) / 2, (1 + level) / 2]
    for name, ends in (("skill", ("low", "high")), ("map_macro", ("high",))):  # the lower one: test_bootstrap.py
        values = np.array([result[name] for result in results])
        shifted = np.quantile(values, ends_taken, method="weibull") - values.mean() + figures[name]
        expected = dict(zip(("low", "high"), shifted, strict=True))
        for end in ends:
            assert intervals[f"{name}_{end}"] == pytest.approx(expected[end], rel=1e-12)


def test_a_resample_without_a_known_cell_is_left_out():
    y_true, y_score = [[2], [2], [2], [1]], [[0.5], [0.5], [0.5], [0.8]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = bootstrap.bootstrap_intervals(y_true, y_score, [0.5], num_samples=50, seed=0)
    skill = 1 - math.log(0.8) / math.log(0.5)
    assert found == {"skill_low": pytest.approx(skill), "skill_high": pytest.approx(skill)}


def test_a_calibration_and_a_threshold_are_those_of_the_known_rows():
    y_true, y_score = example()
    known = y_true[:, 1] < 2
    for method in ("platt", "isotonic"):
        whole = calibration.fit_calibration(y_true, y_score, method=method, min_positives=40)
        alone = calibration.fit_calibration(
            y_true[known][:, [1]], y_score[known][:, [1]], method=method, min_positives=40
        )
        assert whole.curves[1] == alone.curves[0]
    options = {"objective": "f1", "target_precision": 0.5, "target_recall": 0.9}
    own = thresholds.fit_thresholds(y_true[known][:, [1]], y_score[known][:, [1]], min_positives=1, **options)
    positives = int((y_true[:, 1] == 1).sum())
    assert thresholds.fit_thresholds(y_true, y_score, min_positives=positives, **options)[1] == own[0]
    # One known positive row too few: the label shares the threshold of all known cells.
    cells = y_true < 2
    shared = thresholds.fit_thresholds(y_true[cells][:, None], y_score[cells][:, None], min_positives=1, **options)
    assert thresholds.fit_thresholds(y_true, y_score, min_positives=positives + 1, **options)[1] == shared[0]
    assert shared[0] != own[0]


def test_reliability_counts_the_known_cells():
    y_true = [[0, 1, 2], [1, 1, 2]]
    found = calibration.reliability_points(y_true, [[0.15, 0.85, 0.16], [0.2, 0.9, 0.5]], bins=10)
    assert found.to_numpy().tolist() == [[pytest.approx(0.175), 0.5, 2], [pytest.approx(0.875), 1.0, 2]]


def test_a_fold_may_know_nothing():
    y_true, y_score = [[2], [2], [1], [0]], [[0.6], [0.7], [0.9], [0.1]]
    options = decisions.DecisionOptions(calibration="platt", min_positives=1)
    calibrated, decided = cross_fitting.cross_fit(y_true, y_score, [0, 0, 1, 1], options, folds=2, seed=0)
    # Rows 2 and 3 are judged by what rows 0 and 1 know: scores stay as they are, and nothing is decided.
    assert calibrated[2:].ravel() == pytest.approx([0.9, 0.1])
    assert decided[2:].ravel().tolist() == [False, False]


def test_tuned_scores_judge_the_known_cells():
    everywhere = np.ones((4, 3), bool)
    found = cross_fitting.tuned_scores(Y_TRUE, Y_SCORE, Y_SCORE, everywhere, Y_TRUE == 1)
    assert found["f1_micro_tuned"] == pytest.approx(2 * 3 / (3 + 7))
    assert found["f1_macro_tuned"] == pytest.approx((2 * 2 / (2 + 3) + 2 * 1 / (1 + 2)) / 2)
    known = np.array(Y_TRUE) != 2
    assert found["labels_per_image_tuned"] == known.sum() / known.any(axis=1).sum()
    assert found["recall_per_image_tuned"] == 1
    assert (found["subset_accuracy_tuned"], found["subset_accuracy_tuned_prior"]) == (0, 1)
    assert found["bce_calibrated"] == metrics.binary_cross_entropy(Y_TRUE, Y_SCORE)
