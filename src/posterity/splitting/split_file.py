"""The split on disk: which rows of the tensor cache train, which validate, and which are kept for the test."""

import os
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity import choices, files
from posterity.errors import UserError

STAGE = "split"  # which makes the file
TRAIN: choices.Side = "train"
VALIDATION: choices.Side = "validation"
TEST: choices.Side = "test"
LEAVE_OUT: choices.Side = "leave_out"
IntArray = npt.NDArray[np.int64]
SideArray = npt.NDArray[np.str_]


class RowsBySide(NamedTuple):
    """Row numbers of the cache, ascending, on each side; rows that are left out are on none.

    Attributes
    ----------
    train, validation, test : ndarray of int64
        Rows to train on, to validate on, and to score once everything is chosen.
    """

    train: IntArray
    validation: IntArray
    test: IntArray


def write(path: str | os.PathLike[str], index: pd.DataFrame, sides: SideArray) -> None:
    """Write ``line,id,side`` for every row of a cache's ``index``, in its order.

    ``sides``, of shape (N,), holds `TRAIN`, `VALIDATION`, `TEST` or `LEAVE_OUT`.
    """
    files.write_csv(path, index[["line", "id"]].assign(side=sides))


def read(path: str | os.PathLike[str], index: pd.DataFrame) -> RowsBySide:
    """Read what `write` wrote, as row numbers of the cache.

    Raises
    ------
    UserError
        If the file is damaged or not what dvc.lock says of it, or if the rows are not those of the cache's ``index``.
    """
    table = files.read_csv(path, STAGE).reindex(columns=["line", "side"])
    is_known = table["side"].isin([TRAIN, VALIDATION, TEST, LEAVE_OUT])
    if table["line"].tolist() != index["line"].astype(str).tolist() or not is_known.all():
        raise UserError(
            f"{path}: expected one side (train, validation, test or leave_out) for each cached row. "
            "Run `dvc repro split`."
        )
    return RowsBySide(*(np.flatnonzero(table["side"] == side) for side in (TRAIN, VALIDATION, TEST)))
