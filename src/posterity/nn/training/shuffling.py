"""The order in which an epoch serves its rows."""

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


def epoch_order(rows: IntArray, *, seed: int, epoch: int, rows_per_shard: int, shuffle_shards: int | None) -> IntArray:
    """Shuffle ``rows``, anew for each epoch.

    Parameters
    ----------
    rows : array of int, shape (n,)
        In cache numbering.
    seed, epoch : int
        What the order is drawn from.
    rows_per_shard : int
        Row r is in shard r // rows_per_shard.
    shuffle_shards : int, optional
        None: every order of the rows is as likely as every other. Otherwise the shards are shuffled, taken so many at
        a time, and the rows of these shuffled together: a disk whose files do not fit into memory then reads a few
        shards at a time instead of seeking for every image.

    Returns
    -------
    array of int, shape (n,)
        ``rows`` in another order.
    """
    generator = np.random.default_rng([seed, epoch])
    if shuffle_shards is None:
        return generator.permutation(rows)
    shards = rows // rows_per_shard
    turn = generator.permutation(int(shards.max(initial=0)) + 1)  # by shard: when it is taken
    # Within a window of shards the random key decides, between windows the window.
    return rows[np.lexsort((generator.random(len(rows)), turn[shards] // shuffle_shards))]
