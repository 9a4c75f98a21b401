"""Which rows must not be separated: copies of one another, and what belongs to one patient, video or product."""

import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

IntArray = npt.NDArray[np.int64]


def group_rows(ids: Sequence[str], digests: Sequence[str], *more: Sequence[str]) -> IntArray:
    """Number the groups of rows that must not be separated.

    Two rows belong together if they share an id, the bytes of the image or another key, directly or through other rows
    (the connected components of that relation).

    Parameters
    ----------
    ids, digests : sequence of str, length N
        Id and image digest of every row.
    *more : sequences of str, length N
        Further keys that hold rows together, such as the patient; "" holds nothing together.

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

    Two images of one patient belong together; those of nobody in particular do not.

    >>> group_rows(["a", "b", "c", "d"], ["w", "x", "y", "z"], ["P1", "", "P1", ""]).tolist()
    [0, 1, 0, 2]
    """
    for keys in (digests, *more):
        if len(keys) != len(ids):
            raise ValueError(f"ids, digests and keys must have the same length, got {len(ids)} and {len(keys)}")
    parents = list(range(len(ids)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]  # halves the path, so that long chains stay cheap
            row = parents[row]
        return row

    for number, keys in enumerate((ids, digests, *more)):
        first_rows: dict[str, int] = {}
        for row, key in enumerate(keys):
            if number >= 2 and key == "":
                continue
            low, high = sorted((root(first_rows.setdefault(key, row)), root(row)))
            parents[high] = low
    # A root is the first row of its group, so numbering the sorted roots is numbering by first appearance.
    roots = np.array([root(row) for row in range(len(ids))], dtype=np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def groups_of(index: pd.DataFrame) -> IntArray:
    """`group_rows` for the ``index`` of a cache: by ``id``, ``sha256`` and, if there is such a column, ``group``."""
    keys = [index[name].tolist() for name in ("id", "sha256", "group") if name in index.columns]
    return group_rows(*keys)


def possible_folds(groups: npt.ArrayLike, *, wanted: int) -> int:
    """Return ``wanted`` folds, or as many as there are groups if those are fewer (but two); a line on stderr says so.

    >>> possible_folds([0, 0, 1, 2, 3], wanted=3)
    3
    """
    possible = len(np.unique(np.asarray(groups)))
    if possible >= wanted or possible < 2:
        return wanted
    print(
        f"WARNING: decide.folds is {wanted}, and there are only {possible} different validation images: they make "
        f"{possible} folds. Figures of so few images say little.",
        file=sys.stderr,
    )
    return possible
