import numpy as np

from posterity.nn.batches import Batches


def served_rows(batches, cache):
    """Which rows an epoch serves, told by their pixels."""
    all_images = cache.images(np.arange(len(cache))).reshape(len(cache), -1)
    return [
        int(np.flatnonzero((all_images == image.reshape(-1)).all(axis=1))[0])
        for k in range(len(batches))
        for image in batches[k][0]
    ]


def test_without_a_seed_rows_come_in_their_order(cache):
    rows = np.array([70, 3, 41, 5, 6])
    batches = Batches(cache, rows, batch_size=2)
    assert len(batches) == 3
    assert served_rows(batches, cache) == rows.tolist()
    images, targets = batches[1]
    assert images.dtype == np.uint8
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets, cache.targets[[41, 5]])


def test_every_epoch_is_another_permutation_and_repeats_from_the_seed(cache):
    rows = np.arange(10, 60)
    epochs = []
    for _ in range(2):
        batches = Batches(cache, rows, batch_size=16, shuffle_seed=7)
        for _ in range(2):
            epochs.append(served_rows(batches, cache))
            batches.on_epoch_end()
    first, second, first_again, second_again = epochs
    assert first == first_again
    assert second == second_again
    assert sorted(first) == sorted(second) == rows.tolist()
    assert len({tuple(first), tuple(second), tuple(rows)}) == 3
