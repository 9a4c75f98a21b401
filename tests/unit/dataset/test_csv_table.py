"""Delimiters and what stands above the header; the rest of reading a table is in test_labels.py."""

import pytest

from posterity.dataset import csv_table
from posterity.errors import UserError


def read(tmp_path, text, delimiter=","):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    return csv_table.read_table(tmp_path / "t.csv", delimiter)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " "])
def test_any_character_can_separate_columns(tmp_path, delimiter):
    table = read(tmp_path, f'Id{delimiter}A\nx{delimiter}"1{delimiter}2"\n', delimiter)
    assert table.columns == {"Id": ["x"], "A": [f"1{delimiter}2"]}


def test_white_space_separates_columns_in_runs(tmp_path):
    table = read(tmp_path, 'Id   A\tB\n  x  1 \t 0\n\ny   "a b"  1  \n', "whitespace")
    assert table.columns == {"Id": ["x", "y"], "A": ["1", "a b"], "B": ["0", "1"]}
    assert table.lines == [2, 4]


def test_the_first_column_by_white_space_may_have_no_name(tmp_path):
    table = read(tmp_path, "A B\nx 1 0\ny 0 1\n", "whitespace")
    assert table.columns == {"id": ["x", "y"], "A": ["1", "0"], "B": ["0", "1"]}


def test_the_number_of_rows_above_the_header_is_checked(tmp_path):
    table = read(tmp_path, "2\nA B\nx 1 0\ny 0 1\n", "whitespace")
    assert (table.lines, table.header_line) == ([3, 4], 2)
    with pytest.raises(UserError, match=r"line 1: the file says that it has 3 rows\. Got 2\."):
        read(tmp_path, "3\nA B\nx 1 0\ny 0 1\n", "whitespace")


def test_the_line_of_excel_has_to_agree(tmp_path):
    table = read(tmp_path, "sep=;\r\nId;A\r\nx;1\r\n", ";")
    assert (table.columns, table.lines) == ({"Id": ["x"], "A": ["1"]}, [3])
    with pytest.raises(UserError, match=r'\(sep=;\), params.yaml says ",". Set data.delimiter: ";".'):
        read(tmp_path, "sep=;\r\nId;A\r\nx;1\r\n")


def test_a_cell_may_have_any_length(tmp_path):
    assert len(read(tmp_path, f"Id,A\nx,{'1' * 500_000}\n").columns["A"][0]) == 500_000


@pytest.mark.parametrize(
    ("text", "delimiter", "expected"),
    [
        ("Id;A;B\nx;1;0\n", ",", ";"),
        ("Id\tA\nx\t1,5\n", ",", "\t"),
        ("Id,A\nx,1|2\n", ",", ""),
        ("Id A\nx 1\n", ",", "whitespace"),
        ("Id,A\nx,1\n", ";", ","),
        ("Id\nx\n", ",", ""),
    ],
)
def test_a_better_delimiter(text, delimiter, expected):
    assert csv_table.better_delimiter(text, delimiter) == expected


def test_ragged_rows_by_the_wrong_delimiter_name_the_right_one(tmp_path):
    with pytest.raises(UserError, match=r'separated by ";": set data.delimiter: ";".'):
        read(tmp_path, "Id;A\nx;1,5,5\ny;2\n")
