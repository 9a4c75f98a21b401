"""What holds rows together."""

import numpy as np
import pandas as pd
import pytest

from posterity.splitting.groups import group_rows, groups_of, possible_folds, warn_of_few


def test_a_third_key_joins_rows_and_an_empty_one_does_not():
    #           0    1    2    3    4    5
    ids = ["a", "b", "c", "d", "e", "e"]
    digests = ["0", "1", "2", "3", "0", "5"]
    patients = ["", "P1", "", "P1", "P2", ""]
    # 0 and 4 share image 0, 4 and 5 id e, 1 and 3 the patient; 2 stands alone, for two empty cells are nobody.
    assert group_rows(ids, digests, patients).tolist() == [0, 1, 2, 1, 0, 0]


def test_an_empty_key_is_shared_with_nobody():
    assert group_rows(["", ""], ["0", "1"]).tolist() == [0, 1]


def test_groups_of_an_index_with_and_without_a_group_column():
    index = pd.DataFrame({"line": [2, 3, 4], "id": ["a", "b", "c"], "sha256": ["x", "y", "y"]})
    assert groups_of(index).tolist() == [0, 1, 1]
    assert groups_of(index.assign(group=["P", "P", ""])).tolist() == [0, 0, 0]


def test_all_keys_want_equal_lengths():
    with pytest.raises(ValueError, match="same length, got 2 and 2 and 1"):
        group_rows(["a", "b"], ["0", "1"], ["P"])


@pytest.mark.parametrize(
    ("groups", "folds", "message"),
    [
        ([0, 1, 2, 3, 4, 4], 5, ""),
        (
            [0, 1, 1, 1],
            2,
            "there are only 2 different validation images (copies, and images of one split.group_column,",
        ),
        ([0, 0], 5, ""),  # no folds at all: whoever wants five raises the error
    ],
)
def test_fewer_groups_than_folds_make_fewer_folds(groups, folds, message, capsys):
    assert possible_folds(groups, wanted=5) == folds
    assert message in capsys.readouterr().err


def test_intervals_of_few_images_are_warned_of(capsys):
    warn_of_few(np.arange(30) // 3)
    assert capsys.readouterr().err == ""
    warn_of_few(np.arange(28) // 4)
    assert "only 7 different validation images (copies, and images of one" in capsys.readouterr().err
