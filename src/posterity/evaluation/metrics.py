"""How good scores are, compared with knowing nothing about the image: multi-label metrics and their baseline.

The baseline, called *prior*, gives every row the label frequencies of the train side as its scores. A macro mean is
taken over the *scored* labels, those with a positive and a negative row: average precision needs the first, ROC AUC
both, and one set for all of them keeps the means comparable. Labels that are not scored are counted, not averaged.

Unknown cells are left out. A figure over cells is taken over the known ones, and a figure of a label over the rows in
which it is known. A figure of a row judges its known labels only, as if there were no others, and passes over rows
without any: a row with few known labels is easier to get right.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity.evaluation.label_figures import per_label_checked
from posterity.evaluation.scored_rows import (
    EPSILON,
    BoolArray,
    FloatArray,
    ScoredRows,
    checked,
    checked_frequencies,
)
from posterity.targets import PRESENT, UNKNOWN


def label_frequencies(targets: npt.ArrayLike) -> FloatArray:
    """Share of the rows that have each label, of those in which it is known, pulled just inside (0, 1).

    Half a row is added on either side (Krichevsky & Trofimov 1981). So a label that training never saw, or always saw,
    has finite log-odds and does not give the prior an infinite loss.

    Parameters
    ----------
    targets : array-like of 0, 1 and 2, shape (N, L)
        Multi-hot labels of the training rows; 2 = unknown. A label that no row knows gets 0.5.

    Returns
    -------
    ndarray of float64, shape (L,)

    Examples
    --------
    All of three rows have the first label: (3 + 0.5) / (3 + 1). One has the second: (1 + 0.5) / (3 + 1).

    >>> label_frequencies([[1, 0], [1, 0], [1, 1]])
    array([0.875, 0.375])

    If nobody knows whether the third row has the second label, none of two has it: (0 + 0.5) / (2 + 1).

    >>> label_frequencies([[1, 0], [1, 0], [1, 2]]).round(4)
    array([0.875 , 0.1667])
    """
    cells = np.asarray(targets)
    present, known = (cells == PRESENT).sum(axis=0), (cells != UNKNOWN).sum(axis=0)
    return np.asarray((present + 0.5) / (known + 1.0), dtype=np.float64)


def prior_scores(train_frequencies: npt.ArrayLike, num_rows: int) -> FloatArray:
    """Scores of the baseline that ignores the image: the same label frequencies on every row.

    Parameters
    ----------
    train_frequencies : array-like of float in [0, 1], shape (L,)
        Share of the training rows that have each label.
    num_rows : int
        Number of rows, N.

    Returns
    -------
    ndarray of float64, shape (N, L)

    Examples
    --------
    >>> prior_scores([0.25, 0.5], num_rows=2)
    array([[0.25, 0.5 ],
           [0.25, 0.5 ]])
    """
    frequencies = np.asarray(train_frequencies, dtype=np.float64)
    return np.tile(frequencies, (num_rows, 1))


def binary_cross_entropy(y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> float:
    """Mean of ``-log p`` over all known cells, where p is the score given to what was the case; lower is better.

    Scores are clipped to [1e-7, 1 - 1e-7] as Keras does, and summed in float64, which Keras does not: the two agree to
    about six digits.

    Parameters
    ----------
    y_true : array-like of 0, 1 and 2, shape (N, L)
        Multi-hot labels; 2 = unknown.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row.

    Raises
    ------
    ValueError
        If shapes do not match, there is no known cell, or a value is out of range.

    Examples
    --------
    What was the case got the scores 1/2 and 1/4. The mean of log 2 and log 4 is 1.5 log 2, or 1.0397.

    >>> round(binary_cross_entropy([[1, 0]], [[0.5, 0.75]]), 4)
    1.0397
    """
    return binary_cross_entropy_checked(checked(y_true, y_score))


def binary_cross_entropy_checked(rows: ScoredRows) -> float:
    """Do the work of `binary_cross_entropy` on rows that are checked."""
    losses = row_losses(rows)
    return float(losses.mean() if rows.known is None else losses.sum() / rows.known.sum())


def evaluate(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, train_frequencies: npt.ArrayLike, *, threshold: float = 0.5
) -> dict[str, float | int]:
    """Score all rows and labels, next to the prior (``*_prior``).

    | figure | meaning |
    |---|---|
    | bce, bce_prior | binary cross-entropy (lower is better) |
    | skill | 1 - bce / bce_prior: 0 = no better than the prior, 1 = perfect, below 0 = worse |
    | map_macro | average precision [1], mean over the scored labels |
    | map_macro_prior | the same for constant scores: the mean of those labels' frequencies among these rows |
    | map_micro, *_prior | average precision over all known cells at once |
    | roc_auc_macro | area under the ROC curve, mean over the scored labels; knowing nothing gives 0.5 |
    | f1_macro, f1_micro | F1 at ``threshold``, over the scored labels or all known cells, 0 if nothing is predicted |
    | hamming_loss | share of known cells on the wrong side of ``threshold`` (lower is better) |
    | subset_accuracy | share of rows with every known label on the right side of ``threshold`` |
    | lrap | label ranking average precision; a row without or with every label counts as 1 (scikit-learn) |
    | coverage_error | how far down the ranking the last true label is (lower is better); a row without any: 0 |
    | hit_at_1, *_prior | share of rows whose highest score is a true label; a row without any is a miss |
    | precision_at_3, ... | share of true labels among the three highest scores (all, if there are fewer than three) |
    | labels_scored | number of labels with a positive and a negative row |
    | rows_scored | number of rows with a known label |
    | cells_unknown | number of unknown cells; only if there is one |

    lrap, coverage_error, hit_at_1 and precision_at_3 rank the known labels of each row among themselves. Of equal
    scores in a row, the earlier column ranks higher in hit_at_1 and precision_at_3; lrap and coverage_error give the
    whole tie its worst rank.

    Parameters
    ----------
    y_true : array-like of 0, 1 and 2, shape (N, L)
        Multi-hot labels; 2 = unknown.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row.
    train_frequencies : array-like of float in [0, 1], shape (L,)
        Share of the *training* rows that have each label.
    threshold : float
        Scores from here on are predicted positive.

    Returns
    -------
    dict
        Finite numbers. What is undefined is left out: the macro means if no label is scored, map_micro if all known
        cells are the same, lrap and coverage_error for a single label.

    Raises
    ------
    ValueError
        If shapes do not match, there is no known cell, or a value is out of range.

    See Also
    --------
    posterity.evaluation.label_figures.per_label : each label on its own.
    posterity.evaluation.bootstrap.bootstrap_intervals : how far skill and map_macro may be off.

    References
    ----------
    [1] ``sum (R_n - R_{n-1}) P_n`` over the distinct thresholds, without interpolation, as in scikit-learn.

    Examples
    --------
    Every cell is given 0.8 for what is the case, where the prior gives it 0.5: skill is 1 - log(0.8) / log(0.5).

    >>> found = evaluate([[1, 0], [0, 1]], [[0.8, 0.2], [0.2, 0.8]], train_frequencies=[0.5, 0.5])
    >>> round(found["skill"], 4), found["map_macro"], found["map_macro_prior"]
    (0.6781, 1.0, 0.5)
    """
    rows = checked(y_true, y_score)
    frequencies = checked_frequencies(train_frequencies, rows.num_labels)
    table = per_label_checked(rows, [str(column) for column in range(rows.num_labels)], threshold)
    return evaluate_checked(rows, frequencies, table, threshold=threshold)


def evaluate_checked(
    rows: ScoredRows, train_frequencies: FloatArray, per_label: pd.DataFrame, *, threshold: float
) -> dict[str, float | int]:
    """Do the work of `evaluate` on rows that are checked, with the table `label_figures.per_label` of these rows."""
    from sklearn import metrics  # takes most of a second, and a training needs none of it

    prior = rows.with_scores(prior_scores(train_frequencies, len(rows)))
    bce, bce_prior = binary_cross_entropy_checked(rows), binary_cross_entropy_checked(prior)
    (truth, scores), (_, prior_cells) = rows.cells(), prior.cells()
    predicted = scores >= threshold
    found: dict[str, float | int] = {
        "bce": bce,
        "bce_prior": bce_prior,
        "skill": 1 - bce / bce_prior,
        "f1_micro": metrics.f1_score(truth, predicted, zero_division=0),
        "hamming_loss": metrics.hamming_loss(truth, predicted),
        "subset_accuracy": subset_accuracy(rows, rows.scores >= threshold),
        "hit_at_1": _precision_at(rows, 1),
        "hit_at_1_prior": _precision_at(prior, 1),
        "precision_at_3": _precision_at(rows, 3),
        "precision_at_3_prior": _precision_at(prior, 3),
        "labels_scored": int(rows.scored_labels.sum()),
        "rows_scored": int(rows.judged_rows.sum()),
    }
    if rows.known is not None:
        found["cells_unknown"] = int((~rows.known).sum())
    if truth.any() and not truth.all():
        found["map_micro"] = metrics.average_precision_score(truth, scores)
        found["map_micro_prior"] = metrics.average_precision_score(truth, prior_cells)
    if rows.num_labels > 1:
        found["lrap"] = metrics.label_ranking_average_precision_score(*_for_ranking(rows))
        found["coverage_error"] = metrics.coverage_error(*_for_ranking(rows))
    if found["labels_scored"]:
        found["map_macro"] = per_label["average_precision"].mean()  # pandas passes over the empty cells
        found["map_macro_prior"] = per_label["average_precision_prior"].mean()
        found["roc_auc_macro"] = per_label["roc_auc"].mean()
        found["f1_macro"] = per_label["f1"].mean()
    return {name: value if isinstance(value, int) else float(value) for name, value in found.items()}


def row_losses(rows: ScoredRows) -> FloatArray:
    """Binary cross-entropy of every row, (N,), scores clipped as Keras does: mean over its labels.

    If a cell is unknown, it is the sum over the known labels of each row instead: the mean over all known cells is not
    one of row means. In a ratio of two such losses of the same rows, their number cancels out.
    """
    clipped = np.clip(rows.scores, EPSILON, 1 - EPSILON)
    losses = -np.log(np.where(rows.truth, clipped, 1 - clipped))
    return np.asarray(losses.mean(axis=1) if rows.known is None else losses.sum(axis=1, where=rows.known))


def subset_accuracy(rows: ScoredRows, predicted: BoolArray) -> float:
    """Share of rows of which ``predicted``, (N, L), has every known label right; rows without any are left out."""
    right = rows.truth == rows.only_known(predicted)
    return float(right[rows.judged_rows].all(axis=1).mean())


def _for_ranking(rows: ScoredRows) -> tuple[BoolArray, FloatArray]:
    """Truth and scores of the rows with a known label, (n, L) each, unknown labels ranking below all others."""
    if rows.known is None:
        return rows.truth, rows.scores
    judged = rows.judged_rows
    return rows.truth[judged], np.where(rows.known, rows.scores, -1.0)[judged]


def _precision_at(rows: ScoredRows, count: int) -> float:
    """Share of true labels among the ``count`` highest known scores of each row (all, if there are fewer)."""
    truth, scores = _for_ranking(rows)
    highest = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    found = np.take_along_axis(truth, highest, axis=1)
    if rows.known is None:
        return float(found.mean())
    return float((found.sum(axis=1) / np.minimum(rows.known[rows.judged_rows].sum(axis=1), count)).mean())
