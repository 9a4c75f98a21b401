import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from posterity.evaluation.decisions import DecisionOptions, fit
from posterity.evaluation.risk_control import ALWAYS, recall_threshold, rows_needed
from posterity.evaluation.scored_rows import checked


def threshold(y_true, y_score, target):
    return recall_threshold(checked(y_true, y_score), target)


def mean_loss(y_true, y_score, cut):
    """Mean, over the rows with a label, of the share of its labels that score below ``cut``."""
    losses = [
        np.mean(np.asarray(scores)[np.asarray(truth) == 1] < cut)
        for truth, scores in zip(y_true, y_score, strict=True)
        if 1 in truth
    ]
    return float(np.mean(losses)), len(losses)


def draw(rng, num_rows, num_labels=6):
    """Rows with a label or more, and scores that know something of them."""
    y_true = rng.random((num_rows, num_labels)) < 0.3
    y_true[np.arange(num_rows), rng.integers(num_labels, size=num_rows)] = True
    return y_true, rng.random(y_true.shape) ** np.where(y_true, 0.5, 2)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        # Losses may sum up to (1 - target) * 5 - 1: -0.5, 0, 0.5, 1, 1.5 and 3.5. They are, from the lowest score of a
        # label up: 1/2 (0.1), 1 (0.3), 2 (0.5), 2.5 (0.7), 3.5 (0.9), 4 (0.95).
        (0.9, ALWAYS),
        (0.8, 0.075),  # nothing may be missed, and the label with 0.1 least of all; 0.05 is below it
        (0.7, 0.25),
        (0.6, 0.4),  # two halves; 0.3 is missed, 0.5 is not
        (0.5, 0.4),
        (0.1, 0.925),  # all but the last half
    ],
)
def test_thresholds_worked_out_by_hand(target, expected):
    y_true = [[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 0]]
    y_score = [[0.1, 0.7, 0.05], [0.5, 0.2, 0.0], [0.0, 0.9, 0.0], [0.0, 0.3, 0.95], [0.8, 0.0, 0.0]]
    assert threshold(y_true, y_score, target) == pytest.approx(expected)


def test_a_row_without_a_label_and_unknown_cells_have_no_part_in_it():
    y_true, y_score = draw(np.random.default_rng(0), 30)
    cells = y_true.astype(np.uint8)
    cells[:, 5] = 2
    kept = (cells[:, :5] == 1).any(axis=1)
    expected = threshold(y_true[kept, :5], y_score[kept, :5], 0.8)
    assert not kept.all()
    found = threshold(cells, y_score, 0.8)
    assert mean_loss(y_true[kept, :5], y_score[kept, :5], found) == mean_loss(
        y_true[kept, :5], y_score[kept, :5], expected
    )
    assert found >= expected  # scores of rows without a label can lie between


@st.composite
def cells(draw_from):
    num_rows, num_labels = draw_from(st.integers(1, 12)), draw_from(st.integers(1, 3))
    number = num_rows * num_labels
    truth = draw_from(st.lists(st.sampled_from([0, 1, 1, 2]), min_size=number, max_size=number))
    score = draw_from(st.lists(st.integers(0, 12), min_size=number, max_size=number))
    shape = (num_rows, num_labels)
    return np.reshape(truth, shape), np.reshape(score, shape) / 12


@given(cells(), st.sampled_from([0.1, 0.3, 0.5, 0.75, 0.9]))
@settings(max_examples=300, deadline=None)
def test_it_is_the_highest_of_all_thresholds_that_keep_the_promise(given_cells, target):
    y_true, y_score = given_cells
    assume((y_true == 1).any())
    found = threshold(y_true, y_score, target)
    kept = []
    for cut in np.arange(-1, 26) / 24:  # between and at all scores
        loss, number = mean_loss(y_true, y_score, max(cut, 0.0))
        if number / (number + 1) * loss + 1 / (number + 1) <= 1 - target + 1e-9:
            kept.append(max(cut, 0.0))
    if not kept:
        assert found == ALWAYS
        return
    known = y_true != 2
    decided = y_score >= found
    assert np.array_equal(decided[known], (y_score >= max(kept))[known])  # it decides as the highest does
    assert found <= max(kept)


@pytest.mark.parametrize("target", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("num_rows", [12, 40, 100])
def test_it_is_the_threshold_of_mapie(target, num_rows):
    risk_control = pytest.importorskip("mapie.risk_control")
    y_true, y_score = draw(np.random.default_rng(num_rows), num_rows, num_labels=4)
    scores = np.unique(y_score)
    grid = np.concatenate([[ALWAYS], (scores[1:] + scores[:-1]) / 2])
    controller = risk_control.MultiLabelClassificationController(
        predict_function=lambda rows: y_score[rows.ravel()],
        risk="recall",
        method="crc",
        target_level=target,
        predict_params=grid,
    )
    if num_rows < rows_needed(target):
        with pytest.warns(UserWarning, match="cannot be controlled"):
            controller.calibrate(np.arange(num_rows)[:, None], y_true.astype(int))
    else:
        controller.calibrate(np.arange(num_rows)[:, None], y_true.astype(int))
    assert threshold(y_true, y_score, target) == controller.best_predict_param[0]


@pytest.mark.parametrize(("num_rows", "target"), [(20, 0.8), (60, 0.9)])
def test_the_promise_is_kept_on_new_images_and_no_more_is_decided_than_it_takes(num_rows, target):
    """The expected loss is at most 1 - target and at least that less 2 / (n + 1) (Angelopoulos et al., theorem 2)."""
    rng = np.random.default_rng(7)
    losses = []
    for _ in range(600):
        cut = threshold(*draw(rng, num_rows), target)
        losses.append(mean_loss(*draw(rng, 60), cut)[0])
    allowed = 1 - target
    error = np.std(losses) / np.sqrt(len(losses))
    assert error < 0.004
    assert allowed - 2 / (num_rows + 1) - 2 * error < np.mean(losses) < allowed + 2 * error


@pytest.mark.parametrize(("target", "expected"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.97, 33), (0.01, 1)])
def test_so_many_rows_are_needed(target, expected):
    assert rows_needed(target) == expected
    y_score = np.linspace(0.3, 0.9, expected)[:, None]
    y_true, low = np.ones((expected, 2), int), np.full((expected, 1), 0.1)
    y_true[:, 1] = 0
    assert threshold(y_true, np.hstack([y_score, low]), target) > ALWAYS
    if expected > 1:
        assert threshold(y_true[1:], np.hstack([y_score, low])[1:], target) == ALWAYS


@pytest.mark.parametrize("target", [0, 1, -0.5, float("nan")])
def test_a_target_out_of_range_is_named(target):
    with pytest.raises(ValueError, match=f"target_recall must be above 0 and below 1. Got {target}"):
        threshold([[1]], [[0.5]], target)


def test_all_labels_share_the_threshold_of_the_calibrated_scores():
    y_true, y_score = draw(np.random.default_rng(1), 200)
    found = fit(y_true, y_score, DecisionOptions(objective="recall", target_recall=0.85))
    assert found.thresholds == (threshold(y_true, y_score, 0.85),) * 6
    calibrated = fit(y_true, y_score, DecisionOptions("platt", "recall", target_recall=0.85))
    scores = calibrated.calibration.apply(y_score)
    assert calibrated.thresholds == (threshold(y_true, scores, 0.85),) * 6
