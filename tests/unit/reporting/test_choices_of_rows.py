"""Which rows, pairs and images the report picks."""

import numpy as np
import pytest

from posterity.evaluation.scored_rows import ScoredRows, checked
from posterity.reporting.confusions import Confusion, confusions, missed
from posterity.reporting.doubts import entropy, to_label_next
from posterity.reporting.seen import Unlabelled
from posterity.reporting.selection import Picks, picks


def test_picks_are_the_most_telling_rows_of_each_kind():
    truth = np.array([1, 1, 1, 0, 0, 0, 1])[:, None]
    score = np.array([0.9, 0.95, 0.2, 0.8, 0.85, 0.1, 0.1])[:, None]
    rows = checked(truth, score)
    found = picks(rows, rows.scores >= 0.5, 0, each=2)
    assert found == Picks(hits=[1, 0], false_positives=[4, 3], false_negatives=[6, 2])
    assert picks(rows, rows.scores >= 0.5, 0, each=1).hits == [1]


def test_an_unknown_cell_is_no_mistake():
    rows = checked([[2], [1], [0]], [[0.9], [0.8], [0.1]])
    assert picks(rows, np.array([[True], [True], [False]]), 0, each=3) == Picks([1], [], [])
    pair = checked([[1, 2], [1, 2], [1, 0], [1, 0]], [[0.1, 0.9]] * 4)
    found = confusions(pair, np.array([[False, True]] * 4), most=5)
    # All four rows miss the first label; of two it is not known whether they have the second one.
    assert found == [Confusion(true=0, instead=1, count=2, possible=2)]
    assert found[0].share == 1.0


def test_a_confusion_that_occurs_once_is_left_out():
    rows = ScoredRows(np.array([[True, False]]), np.zeros((1, 2)))
    assert confusions(rows, np.array([[False, True]]), most=5) == []


def test_the_least_certain_images_come_first():
    scores = np.array([[0.99, 0.01], [0.5, 0.6], [0.9, 0.2]])
    images = np.zeros((3, 4, 4, 3), np.uint8)
    found = to_label_next(Unlabelled(["sure", "torn", "between"], images, scores, 3, 0), ["A", "B"])
    assert [item["name"] for item in found] == ["torn", "between", "sure"]
    assert found[0]["guesses"] == "B 0.60, A 0.50"
    # One label at 1/2, which is one bit, and one that is certain: half a bit on the mean.
    assert entropy(np.array([[0.5, 1.0]])).tolist() == pytest.approx([0.5])


def test_what_is_decided_where_a_label_is_missed_beside_how_often_it_is_elsewhere():
    # The first label is on rows 0 to 2 and is missed on 0 and 1. The second one is wrongly decided on rows 0 and 3; it
    # is unknown on row 2. So it is wrong on 1 of 2 missed rows, and on 2 of 3 rows that are known not to have it.
    rows = checked([[1, 0], [1, 0], [1, 2], [0, 0]], [[0.1, 0.9]] * 4)
    decided = np.array([[0, 1], [0, 0], [1, 1], [0, 1]], dtype=bool)
    found = missed(rows, decided, 0)
    assert (found.missed, found.support, found.nothing) == (2, 3, 1)
    assert found.instead == [Confusion(true=0, instead=1, count=1, possible=2)]
    assert found.usual == pytest.approx([2 / 3])
