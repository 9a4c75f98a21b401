import numpy as np
import pandas as pd
import pytest

from posterity.errors import UserError
from posterity.evaluation.scored_rows import checked
from posterity.evaluation.single_label import check_single_label

INDEX = pd.DataFrame({"line": [2, 3, 4], "id": ["a", "b", "c"]})


def check(y_true):
    check_single_label(checked(y_true, np.full((3, 3), 0.5)), INDEX)


def test_one_label_a_row_is_fine(capsys):
    check([[1, 0, 0], [0, 0, 1], [2, 2, 1]])
    check([[1, 0, 0], [0, 2, 0], [2, 2, 2]])  # the unknown label may be the one
    assert capsys.readouterr() == ("", "")


def test_rows_with_several_labels_are_counted_and_one_is_named():
    with pytest.raises(UserError) as caught:
        check([[1, 0, 0], [1, 1, 2], [1, 1, 1]])
    assert str(caught.value) == (
        "params.yaml: decide.exactly_one: true needs data in which every image has one label. Got 2 of 3 validation "
        "images with two labels or more, such as 'b' (line 3) with 2. Set decide.exactly_one: false, or correct the "
        "labels."
    )


def test_rows_without_a_label_are_counted(capsys):
    check([[1, 0, 0], [0, 0, 0], [0, 2, 0]])
    assert "WARNING: 1 of 3 validation images have no label." in capsys.readouterr().err
