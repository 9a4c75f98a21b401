import numpy as np
import pytest

from posterity.errors import UserError
from posterity.evaluation.folds import assign_folds, training_folds


def test_parts_depend_on_the_seed():
    groups = np.arange(100)
    first = assign_folds(groups, folds=5, seed=0)
    assert (first == assign_folds(groups, folds=5, seed=0)).all()
    assert (first != assign_folds(groups, folds=5, seed=1)).any()
    assert np.bincount(first).tolist() == [20] * 5


def test_repeats_are_dealt_anew_and_keep_groups_together():
    groups = np.arange(60) // 3
    found = training_folds(groups, folds=4, repeats=3, seed=1)
    assert found.shape == (3, 60)
    for one, other in [(0, 1), (1, 2), (0, 2)]:
        assert (found[one] != found[other]).any()
    for folds in found:
        assert np.bincount(folds).tolist() == [15] * 4
        assert (folds[::3] == folds[1::3]).all()
    assert (found == training_folds(groups, folds=4, repeats=3, seed=1)).all()


def test_one_fold_holds_all_rows():
    assert training_folds([0, 0, 1], folds=1, repeats=2, seed=0).tolist() == [[0, 0, 0]] * 2


def test_more_folds_than_different_images_are_an_error():
    message = (
        r"^params\.yaml: train\.folds must be an integer from 2 to the number of different training images, which is "
        r"2\. Got 3\. Change it, or train on more images\.$"
    )
    with pytest.raises(UserError, match=message):
        training_folds([0, 0, 1], folds=3, repeats=1, seed=0)
