"""From probabilities to decisions: the threshold of each label."""

import functools
from typing import get_args

import numpy as np
import numpy.typing as npt

from posterity import choices
from posterity.evaluation.risk_control import ALWAYS, recall_threshold
from posterity.evaluation.scored_rows import BoolArray, FloatArray, ScoredRows, checked

OBJECTIVES = get_args(choices.ThresholdObjective)
_OF_ONE_LABEL = ("f1", "precision")
# F1 below which a label has no threshold of its own [Lewis et al. 2004]. Where 10 of 6,529 rows had a label and the
# scores said nothing of it, the best threshold decided on 99 of 100 images, at an F1 of 0.003.
# Useful labels had 0.065 and more.
LOWEST_F1 = 0.05
NEVER = 2.0  # the threshold that no score reaches; a number, since JSON has no infinity


def fit_thresholds(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    *,
    objective: str,
    target_precision: float,
    target_recall: float,
    min_positives: int,
) -> FloatArray:
    """Choose the threshold of each label on the given rows; a score that reaches its threshold is decided positive.

    Unknown cells have no part in it. Labels with fewer than ``min_positives`` positive rows share one threshold, the
    best one for the cells of all labels taken together. So do labels whose own best F1 is below `LOWEST_F1`: where the
    scores do not tell a label apart, its best threshold is that of nearly always answering yes [1]. For ``recall`` all
    labels share one threshold, see `posterity.evaluation.risk_control.recall_threshold`.

    Parameters
    ----------
    y_true : array-like of 0, 1 and 2, shape (N, L)
        Multi-hot labels; 2 = unknown.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row; the shared threshold needs scores that mean the same in every column.
    objective : {"f1", "precision", "recall"}
        ``f1`` and ``precision`` as in `best_threshold`.
    target_precision : float
        As in `best_threshold`.
    target_recall : float
        Above 0 and below 1; for ``recall`` only.
    min_positives : int
        Positive rows that a threshold of its own needs.

    Returns
    -------
    ndarray of float64, shape (L,)
        In [0, 1], or `NEVER`.

    Raises
    ------
    ValueError
        If shapes do not match, there is no known cell, a value is out of range or the objective is not one of
        `OBJECTIVES`.

    References
    ----------
    [1] Lewis, Yang, Rose & Li (2004), RCV1: A New Benchmark Collection for Text Categorization Research, JMLR 5, the
    rule SCutFBR.1; there the label is then hardly ever decided.

    Examples
    --------
    The first label is told apart without a mistake between 0.4 and 0.7, the second one between 0.2 and 0.8.

    >>> fit_thresholds(
    ...     [[1, 0], [1, 0], [0, 0], [0, 1]],
    ...     [[0.9, 0.1], [0.7, 0.2], [0.4, 0.1], [0.1, 0.8]],
    ...     objective="f1",
    ...     target_precision=0.7,
    ...     target_recall=0.9,
    ...     min_positives=1,
    ... )
    array([0.55, 0.5 ])
    """
    return fit_thresholds_checked(
        checked(y_true, y_score),
        objective=objective,
        target_precision=target_precision,
        target_recall=target_recall,
        min_positives=min_positives,
    )


def fit_thresholds_checked(
    rows: ScoredRows, *, objective: str, target_precision: float, target_recall: float, min_positives: int
) -> FloatArray:
    """Do the work of `fit_thresholds` on rows that are checked."""
    if objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {OBJECTIVES}. Got {objective!r}")
    if objective == "recall":
        return np.full(rows.num_labels, recall_threshold(rows, target_recall))
    best = functools.partial(best_threshold, objective=objective, target_precision=target_precision)
    chosen = np.full(rows.num_labels, np.nan)
    for label in np.flatnonzero(rows.truth.sum(axis=0) >= min_positives).tolist():
        positive, score = rows.column(label)
        threshold = best(positive, score)
        if objective != "f1" or _f1(positive, score >= threshold) >= LOWEST_F1:
            chosen[label] = threshold
    shares = np.isnan(chosen)
    if shares.any():
        chosen[shares] = best(*rows.cells())
    return chosen


def _f1(positive: BoolArray, decided: BoolArray) -> float:
    return float(2 * (positive & decided).sum() / max(1, int(positive.sum()) + int(decided.sum())))


def best_threshold(positive: BoolArray, score: FloatArray, *, objective: str, target_precision: float) -> float:
    """Choose the threshold for one label.

    Thresholds lie midway between neighbouring distinct scores, so that no decision on these rows depends on the last
    bit of a score. If all rows are to be decided positive, the threshold is `ALWAYS`; by F1 that is the best one for
    constant scores.

    Parameters
    ----------
    positive : ndarray of bool, shape (N,)
        Which rows have the label.
    score : ndarray of float in [0, 1], shape (N,)
        Score of the label on every row.
    objective : {"f1", "precision"}
        ``f1``: the highest F1; of several thresholds that reach it the highest, which predicts least and so has the
        highest precision. ``precision``: of the thresholds whose precision is at least ``target_precision`` the lowest,
        which has the highest recall.
    target_precision : float
        In (0, 1]; for ``precision`` only.

    Returns
    -------
    float
        In [0, 1], or `NEVER` if no row is positive or, for ``precision``, no threshold reaches the target.

    Raises
    ------
    ValueError
        If the objective is not one of these two.

    Examples
    --------
    From the highest score down, precision is 1, 1/2, 2/3, 3/4 and 3/5; F1 is 1/2, 2/5, 2/3, 6/7 and 3/4.

    >>> positive, score = np.array([True, False, True, True, False]), np.array([0.9, 0.8, 0.6, 0.4, 0.1])
    >>> best_threshold(positive, score, objective="f1", target_precision=0.7)
    0.25
    >>> round(best_threshold(positive, score, objective="precision", target_precision=0.8), 4)
    0.85
    """
    if objective not in _OF_ONE_LABEL:
        raise ValueError(f"objective must be one of {_OF_ONE_LABEL} for one label. Got {objective!r}")
    if not positive.any():
        return NEVER
    order = np.argsort(-score, kind="stable")
    ranked, found = score[order], np.cumsum(positive[order])
    # Rows of one score are decided together: a cut comes after the last of them.
    cuts = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    predicted, true_positives = cuts + 1, found[cuts]
    if objective == "f1":
        # 2 TP / (2 TP + FP + FN); fractions of integers that are equal are equal in floating point, too.
        best = int(np.argmax(2 * true_positives / (predicted + found[-1])))
    else:
        reaching = np.flatnonzero((true_positives > 0) & (true_positives / predicted >= target_precision))
        if not reaching.size:
            return NEVER
        best = int(reaching[-1])
    if best == len(cuts) - 1:
        return ALWAYS
    above, below = float(ranked[cuts[best]]), float(ranked[cuts[best] + 1])
    middle = (above + below) / 2
    return middle if middle > below else above  # there is no number between two neighbours
