import numpy as np
import pandas as pd
import pytest

from posterity.errors import UserError
from posterity.evaluation.decision_checks import check_rows, check_single_label, warn_of_few_rows
from posterity.evaluation.decisions import DecisionOptions
from posterity.evaluation.scored_rows import checked

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


def test_too_few_rows_are_warned_of(capsys):
    rows = checked([[1, 0], [0, 0], [1, 1]], np.full((3, 2), 0.5))
    warn_of_few_rows(rows, 0.6)
    assert capsys.readouterr().err == ""
    warn_of_few_rows(rows, 0.9)
    assert capsys.readouterr().err == (
        "WARNING: decide.target_recall is 0.9, which takes at least 9 validation images with a label to promise. Got "
        "2: every label is decided on every image. Lower it, or validate on more images (split.validation_fraction).\n"
    )


def test_the_options_say_what_is_checked(capsys):
    rows = checked([[1, 1, 0], [1, 0, 0], [0, 0, 1]], np.full((3, 3), 0.5))
    check_rows(rows, INDEX, DecisionOptions(target_recall=0.9))
    assert capsys.readouterr().err == ""
    check_rows(rows, INDEX, DecisionOptions(objective="recall", target_recall=0.9))
    assert "at least 9 validation images" in capsys.readouterr().err
    with pytest.raises(UserError, match="1 of 3 validation images with two labels or more"):
        check_rows(rows, INDEX, DecisionOptions(exactly_one=True))
