"""Pairs of hashes that differ in few bits, found without comparing every hash with every other.

A hash of 64 bits is cut into 4 bands of 16, and only hashes that have a band in common are compared (multi-index
hashing, Norouzi et al. 2012). Two hashes that differ in at most 3 bits have one for certain, with 4 to 6 bits in 90 to
65 % of the cases.
"""

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]

BAND_BITS = 16
CHUNK = 2048  # rows whose hashes are looked up at a time
# Where a band is common to more hashes than twice this, one is compared with these many before and after it in the
# order of all bits. This and ``neighbours`` bound the work where very many pictures look alike.
WINDOW = 16


def close_pairs(hashes: UInt64Array, *, max_distance: int, neighbours: int) -> IntArray:
    """Find the pairs of rows of which any hash of the one is close to the first hash of the other.

    No pair with such hashes at most 3 bits apart is missed, except in a crowd: a row brings no more than the nearest
    ``neighbours``, so that the pairs do not grow with the square of the rows.

    Parameters
    ----------
    hashes : ndarray of uint64, shape (num_rows, num_variants)
        One row per picture: the hash of the whole picture, then those of variants of it.
    max_distance : int
        Most bits that may differ, 0 to 64.
    neighbours : int
        Most pairs that a row may bring, at least 1.

    Returns
    -------
    ndarray of int64, shape (num_pairs, 2)
        Two different rows, the first one first; sorted, each pair once.

    Examples
    --------
    The second hash is one bit away from the first, the last one 63 bits from the second.

    >>> close_pairs(np.array([[0], [1], [2**64 - 1]], np.uint64), max_distance=4, neighbours=8).tolist()
    [[0, 1]]
    """
    num_rows, num_variants = hashes.shape
    bands = [_Band(hashes[:, 0], turn) for turn in range(0, 64, BAND_BITS)]
    kept = [np.empty((0, 2), np.int64)]
    for start in range(0, num_rows, CHUNK):
        queries = hashes[start : start + CHUNK].reshape(-1)
        found = np.concatenate([band.close_to(queries, max_distance) for band in bands])
        found[:, 0] = start + found[:, 0] // num_variants
        kept.append(_nearest(found[found[:, 0] != found[:, 1]], neighbours))
    return np.unique(np.sort(np.concatenate(kept), axis=1), axis=0)


class _Band:
    """Hashes in the order of their bits, counted from the bit at which a band begins.

    Parameters
    ----------
    hashes : ndarray of uint64, shape (num_rows,)
        What is looked up.
    turn : int
        Where the band begins.
    """

    def __init__(self, hashes: UInt64Array, turn: int) -> None:
        self._turn = turn
        turned = self._turned(hashes)
        self._rows = np.argsort(turned, kind="stable")
        self._hashes = turned[self._rows]
        self._starts = np.searchsorted(_band(self._hashes), np.arange(2**BAND_BITS + 1))

    def close_to(self, queries: UInt64Array, max_distance: int) -> IntArray:
        """Lines (position in ``queries``, row, distance) of the hashes with the same band that are close enough."""
        turned = self._turned(queries)
        band = _band(turned)
        first, last = self._starts[band], self._starts[band + 1]
        crowded = np.flatnonzero(last - first > 2 * WINDOW)
        place = np.searchsorted(self._hashes, turned[crowded])
        first[crowded] = np.clip(place - WINDOW, first[crowded], last[crowded] - 2 * WINDOW)
        last[crowded] = first[crowded] + 2 * WINDOW
        number = last - first
        query = np.repeat(np.arange(len(queries)), number)
        entry = np.arange(len(query)) + np.repeat(first - (np.cumsum(number) - number), number)
        distance = np.bitwise_count(self._hashes[entry] ^ turned[query])
        close = np.flatnonzero(distance <= max_distance)
        return np.stack([query[close], self._rows[entry[close]], distance[close].astype(np.int64)], axis=1)

    def _turned(self, hashes: UInt64Array) -> UInt64Array:
        """The same bits, those of the band first and those before it last."""
        if not self._turn:
            return hashes
        return (hashes << np.uint64(self._turn)) | (hashes >> np.uint64(64 - self._turn))


def _band(turned: UInt64Array) -> IntArray:
    return (turned >> np.uint64(64 - BAND_BITS)).astype(np.int64)


def _nearest(found: IntArray, neighbours: int) -> IntArray:
    """Of lines (row, other row, distance), maybe several for a pair, the nearest pairs of each row."""
    # Sorted as one number each: several times as fast as np.lexsort.
    size = int(found[:, 1].max(initial=0)) + 1
    pair, distance = np.divmod(np.sort((found[:, 0] * size + found[:, 1]) * 65 + found[:, 2]), 65)
    is_first = np.diff(pair, prepend=-1) > 0
    row, other = np.divmod(pair[is_first], size)
    row_and_distance, other = np.divmod(np.sort((row * 65 + distance[is_first]) * size + other), size)
    row = row_and_distance // 65
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    return np.stack([row, other], axis=1)[rank < neighbours]
