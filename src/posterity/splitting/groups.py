"""Which rows must not be separated: those that are copies of one another."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


def group_rows(ids: Sequence[str], digests: Sequence[str]) -> IntArray:
    """Number the groups of rows that must not be separated.

    Two rows belong together if they share an id or the bytes of the image, directly or through other rows (the
    connected components of that relation).

    Parameters
    ----------
    ids, digests : sequence of str, length N
        Id and image digest of every row.

    Returns
    -------
    ndarray of int64, shape (N,)
        Group of every row, 0, 1, ... in order of first appearance.

    Raises
    ------
    ValueError
        If the lengths differ.

    Examples
    --------
    The first and the third row have the same image, the third and the fourth the same id.

    >>> group_rows(["a", "b", "c", "c"], ["x", "y", "x", "z"]).tolist()
    [0, 1, 0, 0]
    """
    if len(ids) != len(digests):
        raise ValueError(f"ids and digests must have the same length, got {len(ids)} and {len(digests)}")
    parents = list(range(len(ids)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]  # halves the path, so that long chains stay cheap
            row = parents[row]
        return row

    for keys in (ids, digests):
        first_rows: dict[str, int] = {}
        for row, key in enumerate(keys):
            low, high = sorted((root(first_rows.setdefault(key, row)), root(row)))
            parents[high] = low
    # A root is the first row of its group, so numbering the sorted roots is numbering by first appearance.
    roots = np.array([root(row) for row in range(len(ids))], dtype=np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)
