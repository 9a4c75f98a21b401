import numpy as np
import pytest

from posterity.evaluation.scored_rows import checked, checked_frequencies


def test_arrays_are_converted_once():
    rows = checked(np.array([[1, 0], [1, 1], [1, 0]], np.uint8), np.full((3, 2), 0.5, np.float32))
    assert rows.truth.dtype == np.bool_
    assert rows.scores.dtype == np.float64
    assert (len(rows), rows.num_labels) == (3, 2)
    assert rows.scored_labels.tolist() == [False, True]


def test_part_of_the_rows_and_other_scores():
    rows = checked([[1, 0], [0, 1], [1, 1]], [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    part = rows.subset(np.array([True, False, True]))
    assert part.truth.tolist() == [[True, False], [True, True]]
    assert part.scores.tolist() == [[0.1, 0.2], [0.5, 0.6]]
    other = rows.with_scores(1 - rows.scores)
    assert other.truth is rows.truth
    assert other.scores[0].tolist() == [0.9, 0.8]


def test_wrong_arrays_are_named():
    with pytest.raises(ValueError, match=r"y_score must have the shape of y_true, \(1, 2\)\. Got \(1, 1\)"):
        checked([[1, 0]], [[0.5]])
    with pytest.raises(ValueError, match=r"label_names must name the 2 columns of y_true\. Got 1 names"):
        checked([[1, 0]], [[0.5, 0.5]], ["a"])
    with pytest.raises(ValueError, match=r"train_frequencies must have shape \(2,\)\. Got \(1,\)"):
        checked_frequencies([0.5], 2)
