"""The split on disk: which rows of the tensor cache train and which validate."""

import os

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity import files
from posterity.errors import UserError

TRAIN = "train"
VALIDATION = "validation"
IntArray = npt.NDArray[np.int64]


def write(path: str | os.PathLike[str], index: pd.DataFrame, is_validation: npt.NDArray[np.bool_]) -> None:
    """Write ``line,id,side`` for every row of a cache's ``index``, in its order; ``is_validation`` has shape (N,)."""
    files.write_csv(path, index[["line", "id"]].assign(side=np.where(is_validation, VALIDATION, TRAIN)))


def read(path: str | os.PathLike[str], index: pd.DataFrame) -> tuple[IntArray, IntArray]:
    """Read what `write` wrote as two arrays of cache row numbers: training, validation.

    Raises
    ------
    UserError
        If the rows are not those of the cache's ``index``.
    """
    table = files.read_csv(path).reindex(columns=["line", "side"])
    is_known = table["side"].isin([TRAIN, VALIDATION])
    if table["line"].tolist() != index["line"].astype(str).tolist() or not is_known.all():
        raise UserError(f"{path}: expected one side (train or validation) for each cached row. Run `dvc repro split`.")
    is_validation = (table["side"] == VALIDATION).to_numpy()
    return np.flatnonzero(~is_validation), np.flatnonzero(is_validation)
