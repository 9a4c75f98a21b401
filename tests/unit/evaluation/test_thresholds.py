import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posterity.evaluation.risk_control import ALWAYS
from posterity.evaluation.thresholds import NEVER, best_threshold, fit_thresholds


def best_f1(positive, score):
    return best_threshold(np.array(positive, bool), np.array(score), objective="f1", target_precision=0.7)


def at_precision(positive, score, target):
    return best_threshold(np.array(positive, bool), np.array(score), objective="precision", target_precision=target)


@pytest.mark.parametrize(
    ("positive", "score", "expected"),
    [
        # F1 from the top: 2/3, 1, 4/5, 2/3.
        ([1, 1, 0, 0], [0.9, 0.7, 0.4, 0.1], 0.55),
        # F1 from the top: 2/3, 1/2, 4/5: the lowest cut is the best, and so everything is predicted.
        ([1, 0, 1], [0.9, 0.7, 0.4], ALWAYS),
        # 1/2, 2/5, 4/6, 6/7, 6/8: order does not matter.
        ([0, 1, 0, 1, 1], [0.1, 0.9, 0.8, 0.6, 0.4], 0.25),
        # 1/2, 2/5, 1/3, 4/7, 1/2 ... the tie is broken upwards: both 0.85 and 0.25 have F1 2/3.
        ([1, 0, 0, 1, 0], [0.9, 0.8, 0.6, 0.4, 0.1], 0.85),
        # Equal scores cannot be told apart: 2/4, then all.
        ([1, 0, 1], [0.5, 0.5, 0.5], ALWAYS),
        ([0, 0], [0.5, 0.2], NEVER),
        ([1, 1], [0.5, 0.2], ALWAYS),
    ],
)
def test_best_f1_worked_out_by_hand(positive, score, expected):
    assert best_f1(positive, score) == pytest.approx(expected)


def test_predicting_all_is_best_for_constant_scores():
    assert best_f1(np.arange(100) < 3, np.full(100, 0.03)) == ALWAYS


# From the top, precision is 1, 1/2, 2/3, 3/4, 3/5; recall 1/3, 1/3, 2/3, 1, 1.
@pytest.mark.parametrize(
    ("target", "expected"), [(1, 0.85), (0.76, 0.85), (0.75, 0.25), (0.7, 0.25), (0.6, ALWAYS), (0.5, ALWAYS)]
)
def test_the_lowest_threshold_of_the_target_precision(target, expected):
    assert at_precision([1, 0, 1, 1, 0], [0.9, 0.8, 0.6, 0.4, 0.1], target) == pytest.approx(expected)


def test_an_unreachable_precision_is_never_predicted():
    assert at_precision([0, 1, 0], [0.9, 0.8, 0.1], 0.7) == NEVER
    assert at_precision([0, 0], [0.9, 0.1], 0.7) == NEVER
    assert NEVER > 1


def cells():
    return st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=1, max_size=30)


def outcomes(positive, score, cuts):
    """For each cut: true positives, predicted rows and F1."""
    decided = score >= np.array(cuts)[:, None]
    true_positives, predicted = (decided & positive).sum(axis=1), decided.sum(axis=1)
    return true_positives, predicted, 2 * true_positives / np.maximum(predicted + positive.sum(), 1)


@given(cells())
@settings(max_examples=300, deadline=None)
def test_no_other_threshold_has_a_higher_f1(rows):
    positive, score = np.array([row[0] for row in rows]), np.array([row[1] for row in rows]) / 12
    _, predicted, f1 = outcomes(positive, score, [best_f1(positive, score), *score, NEVER])
    assert f1[0] == f1.max()
    assert predicted[0] == predicted[f1 == f1.max()].min()  # of those as good, none predicts less


@given(cells(), st.sampled_from([0.1, 0.25, 0.5, 0.7, 0.9, 1.0]))
@settings(max_examples=300, deadline=None)
def test_no_other_threshold_of_the_target_precision_has_a_higher_recall(rows, target):
    positive, score = np.array([row[0] for row in rows]), np.array([row[1] for row in rows]) / 12
    threshold = at_precision(positive, score, target)
    true_positives, predicted, _ = outcomes(positive, score, [threshold, *score])
    reaches = (true_positives > 0) & (true_positives >= target * predicted - 1e-9)
    assert reaches[0] or (threshold == NEVER and not reaches.any())
    assert true_positives[0] == true_positives[reaches].max(initial=0)
    assert predicted[0] == predicted[reaches].max(initial=0)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12, unique=True), st.randoms())
@settings(max_examples=200, deadline=None)
def test_thresholds_lie_midway_even_between_neighbouring_numbers(score, random):
    score = np.sort(np.array([*score, np.nextafter(score[0], 2)]))
    positive = np.array([random.random() < 0.5 for _ in score])
    threshold = best_f1(positive, score)
    if ALWAYS < threshold < NEVER:
        below, above = score[score < threshold].max(), score[score >= threshold].min()
        assert threshold == above or threshold - below == pytest.approx(above - threshold)
        assert threshold != above or above - below <= np.spacing(above)


def example(num_rows=300):
    rng = np.random.default_rng(0)
    y_true = (rng.random((num_rows, 4)) < [0.4, 0.2, 0.0, 0.0]).astype(np.uint8)
    y_true[:9, 2] = 1
    y_true[:10, 3] = 1
    return y_true, np.clip(0.3 * y_true + 0.7 * rng.random(y_true.shape), 0, 1)


@pytest.mark.parametrize("objective", ["f1", "precision"])
def test_rare_labels_share_the_threshold_of_all_cells(objective):
    y_true, y_score = example()
    arguments = {"objective": objective, "target_precision": 0.6}
    found = fit_thresholds(y_true, y_score, **arguments, target_recall=0.9, min_positives=10)
    own = [best_threshold(y_true[:, k].astype(bool), y_score[:, k], **arguments) for k in range(4)]
    shared = best_threshold(y_true.ravel().astype(bool), y_score.ravel(), **arguments)
    assert found.tolist() == [own[0], own[1], shared, own[3]]
    assert len({shared, *own}) == 5
    assert fit_thresholds(y_true, y_score, **arguments, target_recall=0.9, min_positives=9).tolist() == own


def test_predicting_all_survives_the_shared_threshold():
    # Constant scores of rare labels: by F1 over all cells predicting everything (2 * 9 / (9 + 20)) is the best.
    y_true = np.array([[1, 1]] * 4 + [[1, 0]] + [[0, 0]] * 5)
    options = {"target_precision": 0.7, "target_recall": 0.9, "min_positives": 10}
    found = fit_thresholds(y_true, np.full((10, 2), 0.3), objective="f1", **options)
    assert found.tolist() == [ALWAYS, ALWAYS]


def test_an_unknown_objective_is_named():
    options = {"target_precision": 0.7, "target_recall": 0.9, "min_positives": 1}
    with pytest.raises(ValueError, match=r"objective must be one of \('f1', 'precision', 'recall'\)\. Got 'accuracy'"):
        fit_thresholds([[1]], [[0.5]], objective="accuracy", **options)
    with pytest.raises(ValueError, match=r"must be one of \('f1', 'precision'\) for one label\. Got 'recall'"):
        best_threshold(np.array([True]), np.array([0.5]), objective="recall", target_precision=0.7)
