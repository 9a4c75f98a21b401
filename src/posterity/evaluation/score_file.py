"""The scores of validation and training rows on disk, which stage `train` writes."""

import os

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity import reading
from posterity.errors import UserError
from posterity.evaluation.fold_figures import OutOfFold
from posterity.evaluation.folds import training_folds
from posterity.evaluation.scored_rows import IntArray, ScoredRows, checked

STAGE = "train"


def read_scores(path: str | os.PathLike[str]) -> npt.NDArray[np.float32]:
    """Read the scores of the validation rows: float32 (num_rows, num_labels) in [0, 1].

    Raises
    ------
    UserError
        If the file is missing or damaged, not what dvc.lock says of it, or holds anything else.
    """
    return _read(path, ndim=2)


def scored_validation_rows(path: str | os.PathLike[str], targets: npt.NDArray[np.uint8]) -> ScoredRows:
    """Read the scores of the validation rows beside their labels, ``targets``, uint8 (num_rows, num_labels).

    Raises
    ------
    UserError
        As `read_scores`, or if the scores are not those of such rows.
    """
    scores = read_scores(path)
    if scores.shape != targets.shape:
        raise UserError(
            f"{path}: expected scores of {targets.shape[0]} validation rows and {targets.shape[1]} labels. "
            f"Got {scores.shape}. Run `dvc repro train`."
        )
    return checked(targets, scores)


def scored_training_rows(
    path: str | os.PathLike[str],
    index: pd.DataFrame,
    targets: npt.NDArray[np.uint8],
    groups: IntArray,
    *,
    folds: int,
    repeats: int,
    seed: int,
) -> OutOfFold | None:
    """Read the out-of-fold scores of the training rows: float32 (repeats, num_rows, num_labels) in [0, 1].

    Parameters
    ----------
    path : path
        The file; without folds it holds no repeat.
    index : DataFrame
        ``line`` and ``id`` of the training rows.
    targets : array of uint8, shape (num_rows, num_labels)
        Their labels.
    groups : array of int, shape (num_rows,)
        Which of them are copies of each other.
    folds, repeats, seed : int
        As in `posterity.evaluation.folds.training_folds`.

    Returns
    -------
    OutOfFold or None
        None if there is only one fold.

    Raises
    ------
    UserError
        As `read_scores`, or if the scores are not those of such rows.
    """
    scores = _read(path, ndim=3)
    if folds == 1 and not len(scores):  # nothing is there that could be of other rows
        return None
    expected = (repeats if folds > 1 else 0, *targets.shape)
    if scores.shape != expected:
        raise UserError(
            f"{path}: expected scores of shape {expected}: repeats, training rows, labels. Got {scores.shape}. "
            "Run `dvc repro train`."
        )
    return OutOfFold(targets, scores, training_folds(groups, folds=folds, repeats=repeats, seed=seed), groups, index)


def _read(path: str | os.PathLike[str], *, ndim: int) -> npt.NDArray[np.float32]:
    scores = reading.read_array(path, STAGE, np.float32, ndim=ndim)
    wrong = scores[~((scores >= 0) & (scores <= 1))]  # written so that NaN is wrong, too
    if wrong.size:
        got = f"{wrong[0]} ({wrong.size:,} such values)"
        raise reading.damaged(path, "scores that are finite and lie in [0, 1]", got, STAGE)
    return scores
