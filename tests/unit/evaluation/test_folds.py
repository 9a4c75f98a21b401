import numpy as np
import pytest

from posterity.errors import UserError
from posterity.evaluation.folds import assign_folds, training_folds, warn_of_large_part


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


def test_parts_are_of_as_many_rows_whatever_the_sizes_of_the_groups():
    groups = np.repeat(np.arange(40), np.arange(1, 41))  # 820 rows
    found = assign_folds(groups, folds=5, seed=0)
    assert np.bincount(found).tolist() == [164] * 5
    assert all(len(set(found[groups == group])) == 1 for group in range(40))


def test_a_group_larger_than_a_part_has_one_for_itself_and_it_is_said(capsys):
    groups = np.r_[np.zeros(700, int), np.arange(1, 201)]
    folds = training_folds(groups, folds=5, repeats=2, seed=3)
    for found in folds:
        assert sorted(np.bincount(found).tolist()) == [50, 50, 50, 50, 700]
    warn_of_large_part(folds)
    assert capsys.readouterr().err == (
        "WARNING: one of 5 folds (train.folds) has 700 of 900 training images, since they belong together (copies, or "
        "split.group_column). Its network learns from the other 200, and is as large a part of the model as the others "
        "are.\n"
    )


@pytest.mark.parametrize(("groups", "folds"), [(np.arange(900) // 3, 5), (np.zeros(9, int), 1)])
def test_parts_that_are_alike_need_no_warning(groups, folds, capsys):
    warn_of_large_part(training_folds(groups, folds=folds, repeats=1, seed=0))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            [0, 0, 1],
            r"train\.folds must be an integer from 2 to the number of different training images \(copies, and ",
        ),
        (
            [0, 0, 1],
            r"count as one\), which is 2\. Got 3\. Lower it \(1 = one network that sees all of them\), or train",
        ),
        ([0, 0, 0], r"train\.folds is 3: expected two different training images \(copies.*\)\. Got 1\. Lower it \(1 ="),
    ],
)
def test_more_folds_than_different_images_are_an_error(groups, message):
    with pytest.raises(UserError, match=message):
        training_folds(groups, folds=3, repeats=1, seed=0)
