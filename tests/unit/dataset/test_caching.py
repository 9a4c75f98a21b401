"""The counts of metrics/data.json; tests/stages/test_preprocess.py shows the caching of images."""

import numpy as np

from posterity.dataset.caching import counts


def test_unknown_labels_are_counted_only_if_there_are_any():
    targets = np.array([[1, 2, 0], [2, 2, 1], [1, 1, 0]], np.uint8)
    found = counts(targets, ["a", "b", "c"], [], in_csv=4, dropped=1)
    per_label = [
        [{"label": name, "rows": rows} for name, rows in zip("abc", n, strict=True)] for n in ((2, 1, 1), (1, 2, 0))
    ]
    assert (found["positives"], found["unknown"]) == tuple(per_label)
    assert found["rows_by_number_of_labels"] == [0, 2, 1]
    assert "unknown" not in counts(targets % 2, ["a", "b", "c"], [], in_csv=3, dropped=0)
