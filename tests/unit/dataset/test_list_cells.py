import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posterity.dataset.list_cells import is_vector, parse_list, read_cell, split, vector_length

NAME = st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zs"]), min_size=1, max_size=8).map(str.strip)
NAMES = st.lists(NAME.filter(bool), unique=True, min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("['roof' 'tree']", ["roof", "tree"]),
        ("['roof'\n 'tree']", ["roof", "tree"]),
        ("array(['roof', 'tree'], dtype=object)", ["roof", "tree"]),
        ("('roof', 'tree')", ["roof", "tree"]),
        ("('roof',)", ["roof"]),
        ("{'roof', 'tree'}", ["roof", "tree"]),
        ("set()", []),
        ("()", []),
        ('{"choices": ["roof", "tree"]}', ["roof", "tree"]),
        ("[3 7]", ["3", "7"]),
        ("roof|tree|", ["roof", "tree"]),
        ("||roof", ["roof"]),
        ("'roof'|'tree'", ["roof", "tree"]),
        ('"roof"|"tree"', ["roof", "tree"]),
        ("'n Sync|tree", ["'n Sync", "tree"]),
        ("(no genres listed)", ["(no genres listed)"]),
        ("Ocean's Eleven", ["Ocean's Eleven"]),
        ("[u'roof']", ["roof"]),
    ],
)
def test_forms_that_are_read(cell, expected):
    assert parse_list(cell, "|") == expected


@pytest.mark.parametrize(
    "cell",
    [
        "['roof' 'tree', 'car']",
        "['a''b']",
        "['a' ... 'z']",
        '{"a": 1}',
        "{}",
        "[{'a': 1}]",
        "['a',, 'b']",
        "[,]",
        "[1.5]",
    ],
)
def test_forms_that_are_refused(cell):
    with pytest.raises(ValueError, match="expected a list of labels like"):
        parse_list(cell, "|")


@pytest.mark.parametrize("cell", ["[0, 1, 0]", "[0 1 0]", "1|0|1", "(1, 1)"])
def test_a_vector_of_0_and_1_is_no_list_of_names(cell):
    with pytest.raises(ValueError, match="a vector of 0 and 1"):
        parse_list(cell, "|")


def test_a_column_of_vectors_has_one_length():
    assert vector_length(["[0, 1, 0]", "[1. 0. 1.]", ""]) == 3
    assert vector_length(["0 1 0", "1 1 1"]) == 3
    assert vector_length(["[0]", "[1]", "[0, 1]"]) == 0  # numbers of classes
    assert vector_length(["[0, 1]", "[0, 2]"]) == 0
    assert vector_length(["1", "0"]) == 0
    assert [is_vector(text) for text in ("[True, False]", "a b", "")] == [True, False, False]


@given(NAMES)
def test_python_json_and_numpy_say_the_same(names):
    forms = [repr(names), json.dumps(names), repr(tuple(names)), repr(np.array(names, dtype=object)), str(names)]
    assert [read_cell(form, "|").names for form in forms] == [names] * len(forms)
    assert not any(read_cell(form, "|").is_delimited for form in forms)


def test_quotes_protect_the_delimiter():
    assert split('"Crime, Drama", Action', ",") == ["Crime, Drama", "Action"]
    assert split("Action, 'Crime, Drama'", ",") == ["Action", "Crime, Drama"]


def test_what_only_begins_with_a_quote_is_not_quoted():
    assert split("'80s|'90s", "|") == ["'80s", "'90s"]
    assert split('"Weird Al" Yankovic|Rock', "|") == ['"Weird Al" Yankovic', "Rock"]
    assert split('"the ""best"""|x', "|") == ['the "best"', "x"]
