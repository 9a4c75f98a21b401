from pathlib import Path

import pytest

from posterity.dataset.csv_table import TextTable
from posterity.dataset.issues import Issue
from posterity.dataset.label_rows import join
from posterity.dataset.options import TableForm
from posterity.errors import UserError

FORM = {"rows": "label", "list_column": "Label"}


def table(*rows: str, header: str = "Id,Label,Sure") -> TextTable:
    cells = [row.split(",") for row in rows]
    names = header.split(",")
    columns = {name: [row[k] for row in cells] for k, name in enumerate(names)}
    return TextTable(Path("t.csv"), columns, list(range(2, 2 + len(rows))))


def test_rows_of_an_image_are_joined_wherever_they_stand():
    joined, labels = join(table("a,roof,1", "b,tree,1", "a,tree,1"), TableForm("Id", **FORM))
    assert (joined.columns["Id"], joined.lines) == (["a", "b"], [2, 3])
    assert labels.vocabulary == ["roof", "tree"]
    assert labels.targets.tolist() == [[1, 1], [0, 1]]
    assert labels.issues == []


def test_the_presence_column_says_absent_and_the_rest_is_a_choice():
    rows = table("a,roof,1", "a,tree,0", "b,roof,0", "b,car,1")
    _, labels = join(rows, TableForm("Id", presence_column="Sure", **FORM))
    assert (labels.vocabulary, labels.targets.tolist()) == (["car", "roof", "tree"], [[0, 1, 0], [1, 0, 0]])
    _, labels = join(rows, TableForm("Id", presence_column="Sure", unlisted_labels="unknown", **FORM))
    assert labels.targets.tolist() == [[2, 1, 0], [1, 0, 2]]


def test_rows_that_contradict_each_other_and_cells_that_say_nothing_are_listed():
    rows = table("a,roof,1", "a,roof,0", "b,tree,maybe", "b,roof,1")
    _, labels = join(rows, TableForm("Id", presence_column="Sure", **FORM))
    assert labels.issues == [
        Issue("labels_disagree", 2, "a", "'roof': line 2 and line 3 say different things"),
        Issue("bad_label_cell", 4, "b", "line 4, column 'Sure': expected 0 or 1, got 'maybe'"),
    ]


def test_a_name_for_no_label_stands_alone():
    form = TableForm("Id", no_label_names=["none"], **FORM)
    _, labels = join(table("a,none,1", "b,roof,1", "b,none,1"), form)
    assert (labels.vocabulary, labels.targets.tolist()) == (["roof"], [[0], [1]])
    assert labels.says_none.tolist() == [True, True]
    assert [(issue.kind, issue.line) for issue in labels.issues] == [("bad_label_cell", 3)]


def test_a_name_for_no_label_counts_only_if_it_is_present():
    form = TableForm("Id", presence_column="Sure", no_label_names=["none"], **FORM)
    _, labels = join(table("a,none,0", "a,roof,1", "b,none,0", "b,roof,0"), form)
    assert labels.targets.tolist() == [[1], [0]]
    assert (labels.says_none.tolist(), labels.issues) == ([False, False], [])


def test_what_is_the_images_must_be_the_same_in_its_rows():
    rows = table("a,roof,x.png", "a,tree,y.png", header="Id,Label,File")
    with pytest.raises(
        UserError, match=r"column 'File' must say the same .* Got 'x.png' in line 2 and 'y.png' in line 3"
    ):
        join(rows, TableForm("Id", **FORM), constant_columns=["File"])
    joined, _ = join(table("a,roof,x.png", header="Id,Label,File"), TableForm("Id", **FORM), constant_columns=["File"])
    assert joined.columns["File"] == ["x.png"]


def test_a_table_without_a_label_is_refused():
    with pytest.raises(UserError, match="no row has a label"):
        join(table("a,,1", "b,,1"), TableForm("Id", **FORM))
