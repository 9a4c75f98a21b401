import numpy as np
import pytest

from posterity.evaluation.label_figures import PER_LABEL_COLUMNS, per_label, precision_recall_points
from posterity.evaluation.metrics import evaluate

Y_TRUE = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 0]], np.uint8)
Y_SCORE = np.array([[0.9, 0.2, 0.4], [0.3, 0.6, 0.1], [0.6, 0.7, 0.2], [0.2, 0.1, 0.3]])


def random_example(num_rows=200, num_labels=5, seed=0):
    rng = np.random.default_rng(seed)
    y_true = (rng.random((num_rows, num_labels)) < 0.3).astype(np.uint8)
    return y_true, np.clip(0.3 * y_true + 0.7 * rng.random(y_true.shape), 0, 1)


def test_per_label_worked_out_by_hand():
    y_true = np.hstack([np.zeros((4, 1), np.uint8), Y_TRUE])
    y_score = np.hstack([np.full((4, 1), 0.5), Y_SCORE])
    table = per_label(y_true, y_score, ["absent", "a", "b", "c"], 0.5)
    assert list(table.columns) == PER_LABEL_COLUMNS
    assert table["label"].tolist() == ["a", "c", "b", "absent"]  # a and c tie and keep their order
    assert table["support"].tolist() == [2, 1, 1, 0]
    assert table.iloc[0, 2:].tolist() == [1, 0.5, 1, 1, 1, 1]
    assert table.iloc[1, 2:].tolist() == [1, 0.25, 1, 0, 0, 0]
    assert table.iloc[2, 2:].tolist() == pytest.approx([0.5, 0.25, 2 / 3, 0.5, 1, 2 / 3])
    assert table.iloc[3, 2:].isna().all()


def test_per_label_means_are_the_macro_scores():
    y_true, y_score = random_example()
    table, found = per_label(y_true, y_score, list("abcde"), 0.4), evaluate(y_true, y_score, [0.3] * 5, threshold=0.4)
    assert table["average_precision"].mean() == pytest.approx(found["map_macro"])
    assert table["f1"].mean() == pytest.approx(found["f1_macro"])
    assert table["average_precision"].is_monotonic_decreasing


def test_precision_recall_points_worked_out_by_hand():
    table = precision_recall_points(Y_TRUE, Y_SCORE, ["a", "b", "c"])
    label_b = table[table["label"] == "b"]
    # Scores of b, from the top: 0.7 (no), 0.6 (yes), 0.2 (no), 0.1 (no).
    assert label_b["recall"].tolist() == [0, 0, 1, 1, 1]
    assert label_b["precision"].tolist() == pytest.approx([1, 0, 1 / 2, 1 / 3, 1 / 4])
    assert table["label"].drop_duplicates().tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("max_points", [2, 10, 100])
def test_curves_are_thinned_evenly_with_both_ends_kept(max_points):
    y_true, y_score = random_example(num_rows=2000)
    whole = precision_recall_points(y_true, y_score, list("abcde"), max_points=10**6)
    thinned = precision_recall_points(y_true, y_score, list("abcde"), max_points=max_points)
    assert len(whole[whole["label"] == "a"]) > 1000
    for name, curve in thinned.groupby("label"):
        assert 2 <= len(curve) <= max_points
        full = whole[whole["label"] == name]
        for end in (0, -1):
            assert curve[["recall", "precision"]].iloc[end].tolist() == full[["recall", "precision"]].iloc[end].tolist()
        assert curve["recall"].is_monotonic_increasing
        if max_points > 2:
            assert curve["recall"].diff().max() < 1.5 / (max_points - 2)
        assert curve.merge(full).shape[0] >= len(curve)  # every point kept is one of the curve


def test_labels_that_are_not_scored_have_no_curve():
    table = precision_recall_points([[1, 0], [0, 0]], [[0.8, 0.1], [0.1, 0.2]], ["a", "b"])
    assert set(table["label"]) == {"a"}
    empty = precision_recall_points([[0], [0]], [[0.8], [0.1]], ["a"])
    assert empty.empty
    assert list(empty.columns) == ["label", "recall", "precision"]


def test_the_threshold_is_inclusive():
    assert per_label([[1], [0]], [[0.3], [0.1]], ["a"], 0.3)["recall"].tolist() == [1]


def test_wrong_label_names_and_max_points_are_named():
    with pytest.raises(ValueError, match=r"label_names must name the 3 columns of y_true\. Got 2 names"):
        per_label(Y_TRUE, Y_SCORE, ["a", "b"])
    with pytest.raises(ValueError, match="max_points must be at least 2, got 1"):
        precision_recall_points(Y_TRUE, Y_SCORE, ["a", "b", "c"], max_points=1)
