"""The scores of the finished run with what they are scores of: rows, labels, sides and decisions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from posterity import reading
from posterity.cache import rows as cached_rows
from posterity.errors import UserError
from posterity.evaluation.score_file import scored_validation_rows
from posterity.evaluation.score_table import read_decided
from posterity.evaluation.scored_rows import BoolArray, IntArray, ScoredRows
from posterity.showing import run
from posterity.splitting import split_file


@dataclass(frozen=True, eq=False)
class Scored:
    """The N validation rows of a run of L labels.

    Attributes
    ----------
    rows : ScoredRows
        Labels, and the network's own scores, before calibration.
    numbers : ndarray of int64, shape (N,)
        Their row numbers in the cache, ascending.
    decided : ndarray of bool, shape (N, L), or None
        What is decided, by thresholds that the row had no part in; None if stage evaluate has not run.
    """

    rows: ScoredRows
    numbers: IntArray
    decided: BoolArray | None


def read(cached: cached_rows.Rows, sides: split_file.RowsBySide) -> Scored | None:
    """Read the scores of the validation rows; None if there are none yet.

    Raises
    ------
    UserError
        If a file is damaged, or of other rows.
    """
    place = run.path("scores")
    if not place.exists():
        return None
    rows = scored_validation_rows(place, cached.targets[sides.validation])
    table, index = run.path("table"), cached.index.iloc[sides.validation]
    return Scored(rows, sides.validation, read_decided(table, index, cached.label_names) if table.exists() else None)


def out_of_fold(cached: cached_rows.Rows, sides: split_file.RowsBySide) -> npt.NDArray[np.float64] | None:
    """Scores of the training rows by networks that did not see them, (rows, labels); None without folds."""
    place = run.path("out-of-fold")
    if not place.exists():
        return None
    scores = reading.read_array(place, "train", np.float32, ndim=3)
    if not len(scores):
        return None
    expected = (len(sides.train), len(cached.label_names))
    if scores.shape[1:] != expected:
        raise UserError(f"{place}: expected scores {expected}. Got {scores.shape[1:]}. Run `dvc repro train`.")
    return np.asarray(scores.mean(axis=0, dtype=np.float64))
