"""The three states of a cell of the targets array: the label is absent, present, or nobody knows."""

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

ABSENT = 0
PRESENT = 1
UNKNOWN = 2


def is_known(targets: UInt8Array) -> BoolArray:
    """Which cells say something, of the same shape as ``targets``.

    Parameters
    ----------
    targets : ndarray of uint8, any shape
        `ABSENT`, `PRESENT` or `UNKNOWN` in every cell.

    Examples
    --------
    >>> is_known(np.array([[0, 1, 2]], np.uint8)).tolist()
    [[True, True, False]]
    """
    known: BoolArray = targets != UNKNOWN
    return known


def is_present(targets: UInt8Array) -> BoolArray:
    """Which cells say that the label is present, of the same shape as ``targets``.

    Examples
    --------
    >>> is_present(np.array([[0, 1, 2]], np.uint8)).tolist()
    [[False, True, False]]
    """
    present: BoolArray = targets == PRESENT
    return present
