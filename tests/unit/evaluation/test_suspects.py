import numpy as np
import pandas as pd
import pytest

from posterity.evaluation.scored_rows import checked
from posterity.evaluation.suspects import COLUMNS, suspect_cells
from posterity.targets import UNKNOWN


def example(num_rows=400, share=0.02):
    """Labels of 40 % and 5 % of the rows with scores that know them well, and cells that were then flipped."""
    rng = np.random.default_rng(0)
    targets = (rng.random((num_rows, 2)) < [0.4, 0.05]).astype(np.uint8)
    scores = np.where(targets == 1, [0.8, 0.5], [0.15, 0.03]) + rng.uniform(-0.02, 0.02, targets.shape)
    flipped = rng.random(targets.shape) < share
    index = pd.DataFrame({"line": np.arange(2, num_rows + 2), "id": [f"i{k}" for k in range(num_rows)]})
    return np.where(flipped, 1 - targets, targets), scores, flipped, index


def test_flipped_cells_come_first():
    targets, scores, flipped, index = example()
    table = suspect_cells(checked(targets, scores), index, ["often", "rare"])
    assert list(table) == COLUMNS
    number = int(flipped.sum())
    columns = (table["label"] == "rare").astype(int)
    hits = flipped[table["line"] - 2, columns]
    assert number > 10
    assert hits[:number].mean() > 0.9
    first = table.iloc[0]
    assert first["id"] == f"i{first['line'] - 2}"
    assert first["given"] == targets[first["line"] - 2, ["often", "rare"].index(first["label"])]
    given = table["given"].to_numpy() == 1
    agreement = np.where(given, table["score"], 1 - table["score"])
    assert (np.diff(agreement) >= 0).all()  # from the worst to the best


def test_unknown_cells_and_labels_of_few_rows_are_left_out():
    targets, scores, flipped, index = example()
    targets[:, 1] = 0
    targets[:4, 1] = 1  # one fewer than it takes
    targets[flipped[:, 0], 0] = UNKNOWN
    table = suspect_cells(checked(targets, scores), index, ["often", "rare"])
    assert "rare" not in set(table["label"])
    assert not flipped[table["line"].to_numpy() - 2, 0].any()


@pytest.mark.parametrize("names", [["often", "rare"]])
def test_labels_that_are_never_given_leave_an_empty_table(names):
    _, scores, _, index = example()
    table = suspect_cells(checked(np.zeros_like(scores, dtype=np.uint8), scores), index, names)
    assert list(table) == COLUMNS
    assert len(table) == 0
