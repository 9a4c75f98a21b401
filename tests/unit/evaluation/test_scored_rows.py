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


def test_unknown_cells_are_neither_present_nor_absent():
    rows = checked([[1, 2], [2, 0], [0, 2], [2, 2]], [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]])
    assert rows.known.tolist() == [[True, False], [False, True], [True, False], [False, False]]
    assert rows.truth.tolist() == [[True, False], [False, False], [False, False], [False, False]]
    assert rows.scored_labels.tolist() == [True, False]  # label 1 has a known negative row, and no positive one
    assert rows.judged_rows.tolist() == [True, True, True, False]
    assert [cells.tolist() for cells in rows.column(0)] == [[True, False], [0.1, 0.5]]
    assert [cells.tolist() for cells in rows.cells()] == [[True, False, False], [0.1, 0.4, 0.5]]
    assert rows.only_known(np.ones((4, 2), bool)).sum() == 3
    assert rows.with_scores(1 - rows.scores).known is rows.known
    assert rows.subset(np.array([False, True, False, True])).known.tolist() == [[False, True], [False, False]]


def test_without_an_unknown_cell_there_is_no_mask():
    rows = checked([[1, 0], [0, 1]], [[0.1, 0.2], [0.3, 0.4]])
    assert rows.known is None
    assert rows.subset(np.array([True, False])).known is None
    assert [cells.tolist() for cells in rows.column(1)] == [[False, True], [0.2, 0.4]]
    assert rows.judged_rows.tolist() == [True, True]


def test_wrong_arrays_are_named():
    with pytest.raises(ValueError, match=r"y_score must have the shape of y_true, \(1, 2\)\. Got \(1, 1\)"):
        checked([[1, 0]], [[0.5]])
    with pytest.raises(ValueError, match=r"label_names must name the 2 columns of y_true\. Got 1 names"):
        checked([[1, 0]], [[0.5, 0.5]], ["a"])
    with pytest.raises(ValueError, match=r"train_frequencies must have shape \(2,\)\. Got \(1,\)"):
        checked_frequencies([0.5], 2)
