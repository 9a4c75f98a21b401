import numpy as np
import pytest

from posterity.nn.training.shuffling import epoch_order

ROWS = np.setdiff1d(np.arange(100), np.arange(0, 100, 7))  # 10 shards of 10 rows, some rows being for validation


def order(**changed):
    options = {"seed": 3, "epoch": 5, "rows_per_shard": 10, "shuffle_shards": None}
    return epoch_order(ROWS, **options | changed)


@pytest.mark.parametrize("shuffle_shards", [None, 1, 3, 100])
def test_every_row_comes_once_and_every_epoch_has_its_order(shuffle_shards):
    first, again = order(shuffle_shards=shuffle_shards), order(shuffle_shards=shuffle_shards)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(np.sort(first), ROWS)
    for other in ({"epoch": 6}, {"seed": 4}):
        assert (order(shuffle_shards=shuffle_shards, **other) != first).any()


def test_all_together_is_a_plain_permutation():
    np.testing.assert_array_equal(order(), np.random.default_rng([3, 5]).permutation(ROWS))


def test_only_a_few_shards_are_read_at_a_time():
    shards = order(shuffle_shards=3) // 10
    windows, start = [], 0
    while start < len(shards):
        window = set(shards[start : start + 24].tolist())  # no window of three shards has fewer than 24 rows here
        size = int(np.isin(shards, list(window)).sum())
        assert set(shards[start : start + size].tolist()) == window
        windows.append(window)
        start += size
    assert sorted(len(window) for window in windows) == [1, 3, 3, 3]
    assert set(order(shuffle_shards=3, epoch=6)[:24] // 10) != windows[0]


def test_rows_of_a_window_are_mixed():
    shards = order(shuffle_shards=5) // 10
    assert (np.diff(shards) != 0).mean() > 0.6  # of 5 shards mixed at random, 4 of 5 neighbours differ
