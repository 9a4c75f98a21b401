"""The random order in which an epoch serves its rows."""

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


def epoch_order(rows: IntArray, *, seed: int, epoch: int, rows_per_shard: int, shuffle_shards: int | None) -> IntArray:
    """Shuffle ``rows`` for one epoch.

    Parameters
    ----------
    rows : array of int, shape (n,)
        In the numbering of the cache.
    seed, epoch : int
        The order is drawn from these two numbers.
    rows_per_shard : int
        Row r is in shard r // rows_per_shard.
    shuffle_shards : int, optional
        With None, all orders of the rows are equally likely. Otherwise the shards are shuffled and taken this many at a
        time, and the rows of these shards are shuffled together. If the files do not fit into memory, the disk then
        reads a few shards at a time instead of seeking for every image.

    Returns
    -------
    array of int, shape (n,)
        ``rows`` in another order.
    """
    generator = np.random.default_rng([seed, epoch])
    if shuffle_shards is None:
        return generator.permutation(rows)
    shards = rows // rows_per_shard
    turn = generator.permutation(int(shards.max(initial=0)) + 1)  # the turn of each shard
    # Sort by the window of shards first, and within a window by a random key.
    return rows[np.lexsort((generator.random(len(rows)), turn[shards] // shuffle_shards))]
