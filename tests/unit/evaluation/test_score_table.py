import json

import numpy as np
import pandas as pd

from posterity.evaluation.score_table import score_table
from posterity.evaluation.scored_rows import checked


def test_rows_are_listed_in_order_with_names_that_json_can_hold():
    index = pd.DataFrame({"line": [9, 4], "id": ["b", "a"], "sha256": ["x", "y"]}, index=[7, 2])
    names = ['say "cheese"', "Komödie"]
    rows = checked([[1, 1], [0, 0]], [[0.5, 0.25], [0.125, 0.75]])
    table = score_table(index, rows, np.array([[False, False], [False, True]]), names)
    assert list(table.columns) == ["line", "id", "true", "decided", 'score:say "cheese"', "score:Komödie"]
    assert table[["line", "id"]].to_numpy().tolist() == [[9, "b"], [4, "a"]]
    assert [json.loads(cell) for cell in table["true"]] == [names, []]
    assert table["decided"].tolist() == ["[]", '["Komödie"]']
    assert table["score:Komödie"].tolist() == [0.25, 0.75]


def test_unknown_labels_have_a_column_if_there_are_any():
    index = pd.DataFrame({"line": [9, 4], "id": ["b", "a"]})
    rows = checked([[1, 2], [2, 0]], [[0.5, 0.25], [0.125, 0.75]])
    table = score_table(index, rows, np.array([[False, True], [False, True]]), ["x", "y"])
    assert list(table.columns) == ["line", "id", "true", "unknown", "decided", "score:x", "score:y"]
    assert table["true"].tolist() == ['["x"]', "[]"]
    assert table["unknown"].tolist() == ['["y"]', '["x"]']
    assert table["decided"].tolist() == ['["y"]', '["y"]']  # what the model decides, whether or not anybody knows
