import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posterity import files
from posterity.choices import POLICIES
from posterity.dataset import checks
from posterity.dataset.issues import (
    KINDS,
    Issue,
    apply_policies,
    count_by_kind,
    dropped_lines,
    from_table,
    in_order,
    to_table,
)
from posterity.errors import UserError

KEEP = {kind: "keep" if "keep" in policies else "fail" for kind, policies in POLICIES.items()}
TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=8)
ISSUES = st.lists(st.builds(Issue, st.sampled_from(list(KINDS)), st.none() | st.integers(2, 30), TEXT, TEXT))


def missing(*lines):
    return [Issue("missing_image", line, f"id{line}", f"images/id{line}.jpg: no such file") for line in lines]


def apply(issues, policies, num_rows=100, max_dropped_fraction=0.01, **more):
    more = {"listing": "data/issues.csv", "source": "labels.csv"} | more
    return apply_policies(issues, KEEP | policies, num_rows=num_rows, max_dropped_fraction=max_dropped_fraction, **more)


def test_the_table_is_sorted_by_line_then_kind_and_ends_with_what_has_no_line():
    issues = [
        Issue("unlisted_image", None, "b.jpg", ""),
        Issue("unlisted_image", None, "a.jpg", ""),
        Issue("rare_label", None, "Western", ""),
        Issue("no_label", 10, "x", ""),
        Issue("no_label", 9, "y", ""),
        Issue("duplicate_id", 10, "x", ""),
    ]
    table = to_table(issues)
    assert list(table.columns) == ["kind", "line", "id", "detail"]
    assert table["id"].tolist() == ["y", "x", "x", "Western", "a.jpg", "b.jpg"]
    assert table["kind"].tolist()[1:3] == ["duplicate_id", "no_label"]
    assert table["line"].isna().tolist() == [False] * 3 + [True] * 3


def test_the_csv_has_whole_numbers_and_empty_cells_for_rows(tmp_path):
    issues = [
        Issue("no_label", 2, "N/A", 'a "b", c'),
        Issue("unlisted_image", None, "x.jpg", "image file without a row"),
    ]
    files.write_csv(tmp_path / "issues.csv", to_table(issues))
    assert (tmp_path / "issues.csv").read_text(encoding="utf-8") == (
        'kind,line,id,detail\nno_label,2,N/A,"a ""b"", c"\nunlisted_image,,x.jpg,image file without a row\n'
    )
    assert from_table(files.read_csv(tmp_path / "issues.csv")) == issues


def test_an_empty_list_is_a_header(tmp_path):
    files.write_csv(tmp_path / "issues.csv", to_table([]))
    assert (tmp_path / "issues.csv").read_text(encoding="utf-8") == "kind,line,id,detail\n"
    assert from_table(files.read_csv(tmp_path / "issues.csv")) == []


@settings(max_examples=50, deadline=None)
@given(ISSUES)
def test_from_table_undoes_to_table(issues):
    assert from_table(to_table(issues)) == in_order(issues)


def test_counts_has_every_kind():
    numbers = count_by_kind([*missing(2, 3), Issue("rare_label", None, "x", "")])
    assert list(numbers) == list(KINDS)
    assert {kind: number for kind, number in numbers.items() if number} == {"missing_image": 2, "rare_label": 1}


def test_keep_keeps_and_drop_drops_each_row_once():
    issues = [
        *missing(4),
        Issue("no_label", 4, "x", ""),
        Issue("no_label", 7, "x", ""),
        Issue("duplicate_id", 8, "x", ""),
        Issue("rare_label", None, "Western", ""),
    ]
    policies = {"missing_image": "drop", "no_label": "drop", "rare_label": "drop"}
    assert apply(issues, policies, max_dropped_fraction=0.02) == {4, 7}
    assert dropped_lines(issues, KEEP | policies) == {4, 7}
    assert apply([], {}) == set()


def test_fail_shows_the_first_places_the_list_and_the_fix():
    with pytest.raises(UserError) as error:
        apply(missing(9, 5, 2, 7, 11), {})
    assert str(error.value).splitlines() == [
        "labels.csv: 1 kind of problem stops the run. data/issues.csv lists every problem.",
        "  missing_image: 5 rows",
        "    line 2, 'id2': images/id2.jpg: no such file",
        "    line 5, 'id5': images/id5.jpg: no such file",
        "    line 7, 'id7': images/id7.jpg: no such file",
        "    ... and 2 more",
        "    Add the files, correct data.images, data.image_pattern or data.image_column, "
        "or set data.on_problem.missing_image: drop in params.yaml.",
    ]


def test_every_kind_that_fails_is_told_at_once_and_the_budget_too():
    issues = [
        *missing(2, 3),
        Issue("rare_label", None, "Western", "1 positive row"),
        Issue("unlisted_image", None, "a.jpg", "image file without a row"),
        Issue("labels_disagree", 8, "x", "..."),
    ]
    policies = {"missing_image": "drop", "rare_label": "fail", "unlisted_image": "fail"}
    with pytest.raises(UserError) as error:
        apply(issues, policies)
    text = str(error.value)
    assert text.startswith("labels.csv: 3 kinds of problems stop the run.")
    assert "  labels_disagree: 1 row\n    line 8, 'x': ...\n" in text
    assert "  rare_label: 1 label\n    'Western': 1 positive row\n" in text
    assert "or set data.on_problem.rare_label: keep or data.on_problem.rare_label: drop in params.yaml." in text
    assert "or set data.on_problem.unlisted_image: keep in params.yaml." in text
    assert "2 of 100 rows would be dropped" in text
    assert "more" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_offers_only_policies_that_exist(kind):
    with pytest.raises(UserError) as error:
        apply([Issue(kind, None, "x", "...")], dict.fromkeys(KINDS, "fail"))
    offered = [policy for policy in ("keep", "drop") if f"data.on_problem.{kind}: {policy}" in str(error.value)]
    assert offered == [policy for policy in POLICIES[kind] if policy != "fail"]


def test_the_budget_is_a_share_of_all_rows():
    policies = {"missing_image": "drop"}
    assert apply(missing(2), policies, num_rows=100) == {2}
    with pytest.raises(UserError) as error:
        apply(missing(2), policies, num_rows=99)
    assert str(error.value) == (
        "labels.csv: 1 of 99 rows would be dropped, 1.01%; data.max_dropped_fraction allows 1.00%. Reasons: "
        "missing_image 1; all in data/issues.csv. Repair the rows or raise data.max_dropped_fraction in params.yaml."
    )


def test_a_budget_of_0_allows_nothing_and_of_1_all_but_the_last_row():
    policies = {"missing_image": "drop"}
    with pytest.raises(UserError, match=r"data.max_dropped_fraction allows 0.00%"):
        apply(missing(2), policies, max_dropped_fraction=0)
    assert apply(missing(2), policies, num_rows=2, max_dropped_fraction=1) == {2}
    with pytest.raises(UserError, match=r"no row is left of 2. data/issues.csv gives the reasons."):
        apply(missing(2, 3), policies, num_rows=2, max_dropped_fraction=1)


def labelled(lines, ids, labels):
    """Rows with the labels X, Y, ... as text and as targets."""
    names = sorted({name for text in labels for name in text})
    targets = np.array([[name in text for name in names] for text in labels], np.uint8)
    return checks.LabelledRows(lines, ids, labels, targets)


def test_duplicates_with_the_same_labels_point_at_the_first():
    found = checks.duplicate_ids(labelled([2, 3, 4, 5], ["a", "b", "a", "a"], ["A", "B", "A", "A"]), [])
    assert found == [
        Issue("duplicate_id", 4, "a", "same id as line 2"),
        Issue("duplicate_id", 5, "a", "same id as line 2"),
    ]


def test_conflicting_duplicates_are_all_listed():
    found = checks.duplicate_ids(labelled([2, 3, 4], ["a", "a", "a"], ["X", "X", "Y"]), [])
    assert [(issue.kind, issue.line) for issue in found] == [("conflicting_duplicate", row) for row in (2, 3, 4)]
    assert [issue.detail for issue in found] == ["X here, Y in line 4", "X here, Y in line 4", "Y here, X in line 2"]


def test_rows_whose_labels_are_in_doubt_are_no_conflict():
    doubt = [Issue("bad_label_cell", 2, "a", "")]
    assert checks.duplicate_ids(labelled([2, 3], ["a", "a"], ["X", "Y"]), doubt) == [
        Issue("duplicate_id", 2, "a", "same id as line 3")
    ]


def test_identical_images_are_those_of_different_ids():
    rows = labelled([2, 3, 4, 5, 6], ["a", "a", "b", "c", "d"], ["X", "X", "XY", "X", "X"])
    paths = ["a.png", "a.png", "b.png", "c.png", "d.png"]
    assert checks.identical_images(rows, paths, ["1", "1", "1", "", ""], []) == [
        Issue("identical_image", 4, "b", "same bytes as 'a' in line 2: XY here, X there")
    ]
    assert checks.identical_images(rows, paths, ["1", "1", "2", "3", "1"], []) == [
        Issue("identical_image", 6, "d", "same bytes as 'a' in line 2")
    ]


def test_the_same_bytes_with_labels_that_exclude_each_other_are_a_conflict():
    rows = labelled([2, 3, 4], ["a", "b", "c"], ["X", "Y", "XY"])
    found = checks.identical_images(rows, ["a.png", "b.png", "c.png"], ["1", "1", "1"], [])
    assert found == [
        Issue("conflicting_duplicate", 2, "a", "X here, Y in line 3, same bytes as 'b'"),
        Issue("conflicting_duplicate", 3, "b", "Y here, X in line 2, same bytes as 'a'"),
        Issue("identical_image", 4, "c", "same bytes as 'a' in line 2: XY here, X there"),
    ]


def test_the_same_file_with_any_other_labels_is_a_conflict():
    rows = labelled([2, 3], ["a", "b"], ["X", "XY"])
    found = checks.identical_images(rows, ["f.png", "f.png"], ["1", "1"], [])
    assert found == [
        Issue("conflicting_duplicate", 2, "a", "X here, XY in line 3, same file as 'b'"),
        Issue("conflicting_duplicate", 3, "b", "XY here, X in line 2, same file as 'a'"),
    ]


def test_thousands_of_rows_may_share_a_picture():
    number = 3000
    labels = ["X", "Y", "XY"] * (number // 3)
    ids = [str(k) for k in range(number)]
    rows = labelled(list(range(2, number + 2)), ids, labels)
    found = checks.identical_images(rows, [f"{k}.png" for k in ids], ["1"] * number, [])
    kinds = {labels[issue.line - 2]: issue.kind for issue in found}
    assert kinds == {"X": "conflicting_duplicate", "Y": "conflicting_duplicate", "XY": "identical_image"}
    assert len(found) == number


def test_a_row_of_the_same_id_is_no_conflict_of_pictures():
    rows = labelled([2, 3, 4], ["a", "a", "b"], ["X", "Y", "X"])
    found = checks.identical_images(rows, ["a.png", "a.png", "b.png"], ["1", "1", "1"], [])
    assert [(issue.kind, issue.line) for issue in found] == [("conflicting_duplicate", 3), ("conflicting_duplicate", 4)]


def test_an_unknown_label_contradicts_nothing():
    targets = np.array([[1, 2], [1, 1], [1, 0]], np.uint8)
    rows = checks.LabelledRows([2, 3, 4], ["a", "a", "b"], ["X", "XY", "X"], targets)
    assert [issue.kind for issue in checks.duplicate_ids(rows, [])] == ["duplicate_id"]
    assert (rows.contradict(2, [0, 1]).tolist(), rows.exclude(2, [0, 1]).tolist()) == ([False, True], [False, False])


def test_dropping_all_but_the_first_never_drops_all():
    """The first of three twins is dropped for its label: then the second one stays."""
    issues = [Issue("no_label", 2, "a", "")]
    issues += checks.duplicate_ids(labelled([2, 3, 4], ["a", "a", "a"], ["X", "X", "X"]), issues)
    dropped = dropped_lines(issues, KEEP | {"no_label": "drop", "duplicate_id": "drop"})
    assert dropped == {2, 4}


def test_from_table_reads_missing_rows_in_every_shape():
    table = pd.DataFrame({"kind": ["no_label"] * 3, "line": ["2", "", None], "id": "x", "detail": ""})
    assert [issue.line for issue in from_table(table)] == [2, None, None]
