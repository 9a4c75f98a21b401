"""Texts of a column as sides, and copies on several sides."""

import numpy as np
import pandas as pd
import pytest

from posterity.errors import UserError
from posterity.splitting.side_column import read_sides, settle_conflicts

MEANING = {"Train": "train", "dev": "validation", "test": "test", "x": "leave_out", "": "train"}
INDEX = pd.DataFrame(
    {
        "line": [2, 3, 4, 5, 6, 8],
        "id": ["a", "a", "b", "c", "d", "e"],
        "sha256": ["0", "1", "2", "2", "4", "5"],
        "group": ["", "", "P", "", "P", "Q"],
    }
)
GROUPS = np.array([0, 0, 1, 1, 1, 2])  # a; b, c and d; e


def test_case_does_not_matter_and_an_empty_cell_is_a_text():
    texts = ["train", "TRAIN", "Dev", "test", "X", ""]
    assert read_sides(texts, MEANING, column="fold").tolist() == [
        "train", "train", "validation", "test", "leave_out", "train",
    ]  # fmt: skip


def test_texts_without_a_meaning_are_listed_with_the_line_to_add():
    texts = ["train", "3", "3", "", "holdout", "3"]
    with pytest.raises(UserError) as caught:
        read_sides(texts, {"train": "train"}, column="fold")
    assert str(caught.value) == (
        "params.yaml: split.sides must say which side every text of column 'fold' (split.side_column) means. It has no "
        "line for '3' in 3 rows, '' in 1 row, 'holdout' in 1 row. Add one for each below split.sides, such as "
        '`"3": leave_out` (or train, validation, test), or name another column.'
    )


def test_of_many_unknown_texts_the_most_frequent_are_shown():
    texts = [str(number) for number in range(30) for _ in range(number)]
    with pytest.raises(UserError, match=r"for '29' in 29 rows, .*'20' in 20 rows, \.\.\. \(29 texts in all\)\. Add"):
        read_sides(texts, {}, column="fold")


def test_sides_that_agree_are_left_alone():
    sides = np.array(["test", "test", "train", "train", "train", "validation"])
    found, torn = settle_conflicts(sides, GROUPS, INDEX, policy="fail", column="fold")
    assert (found.tolist(), torn) == (sides.tolist(), 0)


def test_a_row_that_is_left_out_tears_nothing_apart():
    sides = np.array(["test", "leave_out", "train", "leave_out", "train", "train"])
    found, torn = settle_conflicts(sides, GROUPS, INDEX, policy="fail", column="fold")
    assert (found.tolist(), torn) == (sides.tolist(), 0)


def test_copies_on_several_sides_stop_with_examples_and_ways_on():
    sides = np.array(["train", "test", "validation", "train", "train", "train"])
    with pytest.raises(UserError) as caught:
        settle_conflicts(sides, GROUPS, INDEX, policy="fail", column="fold")
    assert str(caught.value).splitlines() == [
        "params.yaml: column 'fold' (split.side_column) must keep copies on one side, or the figures flatter the "
        "model. Got 2 groups of rows that belong together and lie on several sides:",
        "  line 2, 'a': train; line 3, 'a': test (the same id)",
        "  line 5, 'c': train; line 4, 'b': validation (the same image bytes)",
        "  Correct the column, or set split.side_conflict: leave_out (keeps the test rows of such a group, else its "
        "validation rows; 3 rows would be left out) or keep (only warns).",
    ]


def test_examples_say_what_holds_rows_together():
    sides = np.array(["train", "train", "test", "test", "train", "train"])
    with pytest.raises(UserError, match=r"line 6, 'd': train; line 4, 'b': test \(the same group\)"):
        settle_conflicts(sides, GROUPS, INDEX, policy="fail", column="fold")
    # 3 and 4 have nothing in common but row 2.
    sides = np.array(["train", "train", "leave_out", "test", "train", "train"])
    with pytest.raises(UserError, match=r"line 6, 'd': train; line 5, 'c': test \(together through other rows\)"):
        settle_conflicts(sides, GROUPS, INDEX, policy="fail", column="fold")


def test_of_many_conflicts_three_are_shown():
    count = 5
    index = pd.DataFrame(
        {"line": range(2, 12), "id": np.repeat(list("abcde"), 2), "sha256": [str(k) for k in range(10)]}
    )
    with pytest.raises(UserError, match="Got 5 groups of rows") as caught:
        settle_conflicts(
            np.tile(["train", "test"], count), np.repeat(np.arange(count), 2), index, policy="fail", column="fold"
        )
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[4]) == (6, "  ... and 2 more")


def test_the_most_protected_side_keeps_its_rows():
    sides = np.array(["train", "validation", "test", "validation", "train", "train"])
    found, torn = settle_conflicts(sides, GROUPS, INDEX, policy="leave_out", column="fold")
    assert found.tolist() == ["leave_out", "validation", "test", "leave_out", "leave_out", "train"]
    assert torn == 2
    kept, torn = settle_conflicts(sides, GROUPS, INDEX, policy="keep", column="fold")
    assert (kept.tolist(), torn) == (sides.tolist(), 2)
