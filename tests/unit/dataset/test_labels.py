import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posterity.dataset import columns, csv_table, labels, list_cells
from posterity.dataset.issues import Issue
from posterity.dataset.options import TableForm
from posterity.errors import UserError

NAME = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="|["), min_size=1).map(str.strip)
NAMES = st.lists(NAME.filter(bool), unique=True, max_size=5)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(tmp_path, *lines, **options):
    """Targets, vocabulary and issues of a CSV made of ``lines`` with an Id column."""
    form = TableForm("Id", **options)
    table = csv_table.read_table(write(tmp_path / "labels.csv", *lines))
    one_hot = columns.find_label_columns(
        table, id_column="Id", list_column=form.list_column, label_columns=form.label_columns, image_column=None
    )
    found = labels.read_labels(table, table.columns["Id"], one_hot, form)
    return found.targets, found.vocabulary, found.issues


@pytest.mark.parametrize(
    ("cell", "value"), [("0", 0), ("1", 1), (" 1 ", 1), ("0.0", 0), ("1.0", 1), ("TRUE", 1), ("False", 0), ("01", 1)]
)
def test_one_hot_cells_that_are_read(tmp_path, cell, value):
    targets, _, issues = read(tmp_path, "Id,A", f"x,{cell}", "y,1")
    assert targets[:, 0].tolist() == [value, 1]
    assert issues == []


@pytest.mark.parametrize("cell", ["2", "yes", "", "-1", "T", "1_0", "1e0", "0.5", "nan", "NA"])
def test_one_hot_cells_that_are_not(tmp_path, cell):
    _, _, issues = read(tmp_path, "Id,A", f"x,{cell}", "y,1")
    assert issues == [Issue("bad_label_cell", 2, "x", f"column 'A': expected 0 or 1, got {cell!r}")]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("['Comedy', 'Drama']", ["Comedy", "Drama"]),
        ('["Comedy", "Drama"]', ["Comedy", "Drama"]),
        ("Comedy|Drama", ["Comedy", "Drama"]),
        (" Comedy | Drama ", ["Comedy", "Drama"]),
        ("N/A", ["N/A"]),
        ("['N/A']", ["N/A"]),
        ('["caf\\u00e9"]', ["café"]),
        ("Drama|Drama", ["Drama"]),
        ("[3, 7]", ["3", "7"]),
        ("3|7", ["3", "7"]),
        ("", []),
        ("  ", []),
        ("[]", []),
    ],
)
def test_list_cells_that_are_read(cell, expected):
    assert list_cells.parse_list(cell, "|") == expected


def test_the_delimiter_may_be_longer_than_a_character():
    assert list_cells.parse_list("a, b; c", "; ") == ["a, b", "c"]


@pytest.mark.parametrize("cell", ["[Comedy, Drama]", "['Comedy'", "[['a']]", "[null]", "[True]", "[1.5]", "[nan]"])
def test_list_cells_that_are_no_list(cell):
    with pytest.raises(ValueError, match="expected a list of labels like") as error:
        list_cells.parse_list(cell, "|")
    assert repr(cell) in str(error.value)


@pytest.mark.parametrize("cell", ["['']", "[' ', 'a']"])
def test_an_empty_name_in_a_list_is_refused(cell):
    with pytest.raises(ValueError, match="expected a name for every label"):
        list_cells.parse_list(cell, "|")


@settings(max_examples=60, deadline=None)
@given(NAMES)
def test_all_three_forms_of_a_list_say_the_same(names):
    forms = [repr(names), json.dumps(names), "|".join(names)]
    assert [list_cells.parse_list(form, "|") for form in forms] == [names] * 3


def test_multi_hot_by_hand():
    encoded = labels.multi_hot([["b"], [], ["c", "a"]], ["a", "b", "c"])
    assert encoded.dtype == np.uint8
    assert encoded.tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1]]


def test_multi_hot_names_an_unknown_label_and_the_nearest():
    with pytest.raises(ValueError, match="'Dramma' is not in the vocabulary; the nearest is 'Drama'"):
        labels.multi_hot([["Dramma"]], ["Comedy", "Drama"])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_names_undoes_multi_hot(data):
    vocabulary = data.draw(NAMES)
    chosen = [name for name in vocabulary if data.draw(st.booleans())]
    assert labels.names(labels.multi_hot([chosen], vocabulary)[0], vocabulary) == chosen


def test_nearest_ignores_case_and_is_silent_without_a_likeness():
    assert csv_table.nearest("GENRE", ["Id", "Genre"]) == "; the nearest is 'Genre'"
    assert csv_table.nearest("Genre", ["Id", "xyz"]) == ""


def test_a_table_keeps_text_as_it_stands_and_knows_the_lines(tmp_path):
    path = write(tmp_path / "t.csv", "\ufeffId, Text ,N/A", "001,NA,", "", '2,"a', 'b",N/A', "3,'x',0")
    table = csv_table.read_table(path)
    assert table.columns == {"Id": ["001", "2", "3"], "Text": ["NA", "a\nb", "'x'"], "N/A": ["", "N/A", "0"]}
    assert table.lines == [2, 4, 6]


def test_a_table_with_windows_line_ends_and_no_final_one(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"Id,A\r\nx,1\r\ny,0")
    table = csv_table.read_table(tmp_path / "t.csv")
    assert table.columns == {"Id": ["x", "y"], "A": ["1", "0"]}
    assert table.lines == [2, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a header and one row per image. Got nothing. Set data.labels in params.yaml."),
        (b"\n\n", "Got nothing"),
        (b"Id,A\n", "Got a header but no row."),
        (
            b"Id,A\nx,1\ncaf\xe9,0\n",
            "line 3: expected UTF-8 text. Got the byte 0xe9 at position 12. If it is in the encoding of",
        ),
        (b"\xef\xbb\xbfI,A\n\xe9,0\n", "line 2: expected UTF-8 text. Got the byte 0xe9 at position 7."),
        (
            "Id,A\nx,1\n".encode("utf-16-le"),
            "line 1: expected UTF-8 text. Got the byte 0x00 at position 1, as UTF-16 without a",
        ),
        (b"Id,A,B,A\nx,1,0,1\n", "line 1: column names must be unique. Got 'A' 2 times. Rename or remove them."),
        (b"Id,A,A \nx,1,0\n", "Got 'A' 2 times"),
        (
            b"Id,A\nx,1\ny\nz,0,0,0\n",
            "every row must have 2 cells, as the header has. Got: line 3 has 1, line 4 has 4.",
        ),
        (b'Id,A\nx,1\n"y,0\n', "line 3: not valid CSV: unexpected end of data"),
        (b'Id,A\n"x"y,1\n', "line 2: not valid CSV: ',' expected after '\"'"),
    ],
)
def test_what_is_no_table(tmp_path, content, message):
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        csv_table.read_table(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_only_the_first_ragged_rows_are_shown(tmp_path):
    path = write(tmp_path / "t.csv", "Id,A", *["x"] * 7)
    with pytest.raises(
        UserError, match=r"line 6 has 1, \.\.\. \(7 in all\)\. Put a cell that contains the delimiter ','"
    ):
        csv_table.read_table(path)


def test_a_missing_table_and_a_folder_in_its_place(tmp_path):
    with pytest.raises(UserError, match=r"none.csv does not exist. Expected the labels CSV. Set data.labels"):
        csv_table.read_table(tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"cannot be read: Is a directory. Set data.labels"):
        csv_table.read_table(tmp_path)


def find(header, **roles):
    table = csv_table.TextTable(Path("t.csv"), {name: ["0"] for name in header}, [2])
    roles = {"id_column": "Id", "list_column": None, "label_columns": None, "image_column": None} | roles
    return columns.find_label_columns(table, **roles)


def test_label_columns_are_all_without_another_role_or_those_named():
    assert find(["A", "Id", "Genre", "File", "N/A"], list_column="Genre", image_column="File") == ["A", "N/A"]
    assert find(["A", "Id", "Title", "B"], label_columns=("B", "A")) == ["B", "A"]
    assert find(["A", "Id", "Genre"], list_column="Genre", label_columns=()) == []
    assert find(["Id", "Genre"], list_column="Genre") == []
    assert find(["", "Id", "A"], label_columns=("A",)) == ["A"]


@pytest.mark.parametrize(
    ("header", "roles", "message"),
    [
        (
            ["id", "A"],
            {},
            "t.csv, line 1: no column 'Id' (data.id_column); the nearest is 'id'. Got the columns 'id', 'A'. "
            "Correct data.id_column in params.yaml.",
        ),
        (
            ["Id", "A"],
            {"list_column": "Genre"},
            "t.csv, line 1: no column 'Genre' (data.list_column). Got the columns 'Id', 'A'. "
            "Correct data.list_column in params.yaml, or set data.list_column: null.",
        ),
        (["Id", "A"], {"image_column": "File"}, "params.yaml, or set data.image_column: null."),
        (["Id", "Drama"], {"label_columns": ("Dramma",)}, "'Dramma' (data.label_columns); the nearest is 'Drama'."),
        (["x", "A"], {"list_column": "y"}, "no column 'Id' (data.id_column); no column 'y' (data.list_column)."),
        (["Id;A;B"], {}, "no column 'Id' (data.id_column)"),
        (["", "Id", "A"], {}, "every column needs a name"),
        (["Id", "A"], {"label_columns": ("A", "Id")}, "data.label_columns names 'Id', the data.id_column."),
        (["Id"], {}, "t.csv, line 1: no column holds labels. Got the columns 'Id'."),
        (["Id", "A"], {"label_columns": ()}, "no column holds labels. Got the columns 'Id', 'A'."),
    ],
)
def test_columns_that_do_not_fit(header, roles, message):
    with pytest.raises(UserError) as error:
        find(header, **roles)
    assert message in str(error.value)


def test_one_hot_labels_keep_their_order_and_the_label_na(tmp_path):
    targets, vocabulary, issues = read(tmp_path, "Id,Drama,N/A,Comedy", "x,1,0,0", "y,0.0, 1 ,1.0")
    assert vocabulary == ["Drama", "N/A", "Comedy"]
    assert targets.tolist() == [[1, 0, 0], [0, 1, 1]]
    assert targets.dtype == np.uint8
    assert issues == []


def test_listed_labels_make_a_sorted_vocabulary(tmp_path):
    lines = ["Id,Genre", "x,b|N/A", "y,\"['a', 'b']\"", "z,"]
    targets, vocabulary, issues = read(tmp_path, *lines, list_column="Genre")
    assert vocabulary == ["N/A", "a", "b"]
    assert targets.tolist() == [[1, 0, 1], [0, 1, 1], [0, 0, 0]]
    assert issues == []


def test_bad_one_hot_cells_are_listed_with_line_and_column(tmp_path):
    targets, _, issues = read(tmp_path, "Id,A,B", "x,2,1", "y,1,yes", "z,0,", "w,0,1")
    assert issues == [
        Issue("bad_label_cell", 2, "x", "column 'A': expected 0 or 1, got '2'"),
        Issue("bad_label_cell", 3, "y", "column 'B': expected 0 or 1, got 'yes'"),
        Issue("bad_label_cell", 4, "z", "column 'B': expected 0 or 1, got ''"),
    ]
    assert targets.tolist() == [[0, 1], [1, 0], [0, 0], [0, 1]]


def test_bad_list_cells_are_listed(tmp_path):
    lines = ["Id,Genre,Drama,Comedy", "x,[Drama],1,0", "y,Dramma|Comedy,0,1", "z,Comedy,0,1", "v,zzz,0,0"]
    _, vocabulary, issues = read(tmp_path, *lines, list_column="Genre")
    assert vocabulary == ["Drama", "Comedy"]
    assert issues == [
        Issue(
            "bad_label_cell", 2, "x", "column 'Genre': expected a list of labels like ['A', 'B'] or A|B, got '[Drama]'"
        ),
        Issue("bad_label_cell", 3, "y", "column 'Genre': no column for the label 'Dramma'; the nearest is 'Drama'"),
        Issue("bad_label_cell", 5, "v", "column 'Genre': no column for the label 'zzz'"),
    ]


def test_bad_cells_of_a_list_alone_leave_no_label(tmp_path):
    targets, vocabulary, issues = read(tmp_path, "Id,Genre", "x,[A", "y,[B", list_column="Genre")
    assert (targets.shape, vocabulary, [issue.line for issue in issues]) == ((2, 0), [], [2, 3])


def test_disagreement_says_what_each_form_says(tmp_path):
    lines = ["Id,Genre,Drama,Comedy", "x,Drama,1,0", "y,Comedy,1,0", "z,,1,0", "w,Drama|Comedy,1,1", "v,Drama,2,0"]
    targets, _, issues = read(tmp_path, *lines, list_column="Genre")
    assert issues == [
        Issue("bad_label_cell", 6, "v", "column 'Drama': expected 0 or 1, got '2'"),
        Issue("labels_disagree", 3, "y", "column 'Genre' says ['Comedy'], the one-hot columns say ['Drama']"),
        Issue("labels_disagree", 4, "z", "column 'Genre' says [], the one-hot columns say ['Drama']"),
    ]
    assert targets[:4].tolist() == [[1, 0], [1, 0], [1, 0], [1, 1]]


def test_a_column_without_a_single_0_or_1_is_one_error(tmp_path):
    with pytest.raises(UserError) as error:
        read(tmp_path, "Id,Title,A,Year,B", "x,Up,1,2009,0", "y,Her,0,2013,1")
    assert str(error.value).endswith(
        "labels.csv: a one-hot column must hold 0 and 1, or what data.values names. Got neither anywhere in column "
        "'Title' (line 2: 'Up'), column 'Year' (line 2: '2009'). Name only the labels in params.yaml: "
        'data.label_columns: [A, B], or say what the texts mean: data.values: {"Up": present, "Her": absent} (each '
        "present, absent or unknown)."
    )
    assert read(tmp_path, "Id,Title,A", "x,Up,1", label_columns=["A"])[1] == ["A"]


@pytest.mark.parametrize("lines", [("Id,A,B", "x,0,0", "y,0,0"), ("Id,A,B", "x,0,0.0")])
def test_no_label_in_the_whole_file(tmp_path, lines):
    with pytest.raises(UserError, match=r"no row has a label\. Expected a 1 in a one-hot column or a name"):
        read(tmp_path, *lines)
    with pytest.raises(UserError, match="no row has a label"):
        read(tmp_path, "Id,Genre", "x,", "y,[]", list_column="Genre")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=8).filter(lambda y: any(map(any, y)))
)
def test_one_hot_and_list_give_the_same_targets(tmp_path_factory, y):
    folder, names = tmp_path_factory.mktemp("labels"), ["A", "N/A", "C"]
    listed = ["|".join(name for name, on in zip(names, row, strict=True) if on) for row in y]
    one_hot = [",".join(str(int(on)) for on in row) for row in y]
    rows = [f"{i},{text},{cells}" for i, (text, cells) in enumerate(zip(listed, one_hot, strict=True))]
    targets, vocabulary, issues = read(folder, "Id,Genre,A,N/A,C", *rows, list_column="Genre")
    assert (targets.astype(bool).tolist(), vocabulary, issues) == (y, names, [])


def test_a_column_that_says_that_there_is_no_label(tmp_path):
    lines = ["Id,No Finding,A,B", "x,1,,", "y,0,1,", "z,,1,0", "w,1,1,0"]
    options = {"values": {"": "unknown"}, "no_label_names": ["No Finding"]}
    targets, vocabulary, issues = read(tmp_path, *lines, label_columns=["A", "B"], **options)
    assert vocabulary == ["A", "B"]
    assert targets.tolist() == [[0, 0], [1, 2], [1, 0], [1, 0]]  # x: unknown becomes absent
    assert issues == [
        Issue(
            "bad_label_cell",
            5,
            "w",
            "column 'No Finding' says that there is no label (data.no_label_names), others A",
        )
    ]


def test_signs_that_make_no_number(tmp_path):
    _, _, issues = read(tmp_path, "Id,A", "x,--1", "y,1", "z,+-1", "w,-0")
    assert [issue.id for issue in issues] == ["x", "z"]
