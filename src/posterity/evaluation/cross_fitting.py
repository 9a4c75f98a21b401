"""How good decisions are on rows that had no part in choosing them: cross-fitting, and the figures of its outcome."""

import numpy as np
import numpy.typing as npt

from posterity.evaluation.calibration import expected_calibration_error_checked
from posterity.evaluation.decisions import DEFAULT_OPTIONS, DecisionOptions, fit_checked
from posterity.evaluation.folds import assign_folds
from posterity.evaluation.metrics import binary_cross_entropy_checked, subset_accuracy
from posterity.evaluation.scored_rows import BoolArray, FloatArray, ScoredRows, checked


def cross_fit(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    groups: npt.ArrayLike,
    options: DecisionOptions = DEFAULT_OPTIONS,
    *,
    folds: int,
    seed: int,
) -> tuple[FloatArray, BoolArray]:
    """Calibrate and decide every row by decisions that were fitted without that row and without any copy of it.

    The rows are dealt into ``folds`` parts; each part is judged by the decisions fitted on the others. The outcome says
    how good the decisions of `decisions.fit` are on new rows, or a little less: those are fitted on all the rows.

    Parameters
    ----------
    y_true : array-like of 0, 1 and 2, shape (N, L)
        Multi-hot labels; 2 = unknown.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row.
    groups : array-like of int, shape (N,)
        Rows of one group stay in one part; `posterity.splitting.groups.group_rows` makes them.
    options : DecisionOptions
        How decisions are chosen.
    folds, seed : int
        As in `posterity.evaluation.folds.assign_folds`.

    Returns
    -------
    calibrated : ndarray of float64 in [0, 1], shape (N, L)
    decided : ndarray of bool, shape (N, L)

    Raises
    ------
    UserError
        If there are fewer groups than folds.
    ValueError
        If shapes do not match, there is no known cell, or a value is out of range.

    Examples
    --------
    With four parts of one row each, the other three rows always show that 0.9 is positive and 0.1 is not.

    >>> y_true, y_score = [[1], [1], [0], [0]], [[0.9], [0.9], [0.1], [0.1]]
    >>> calibrated, decided = cross_fit(y_true, y_score, groups=[0, 1, 2, 3], folds=4, seed=0)
    >>> decided.ravel()
    array([ True,  True, False, False])

    If the two positive rows are copies of each other, and so are the two negative ones, each pair is judged by
    decisions that have seen only the other kind. Then all of them are wrong.

    >>> calibrated, decided = cross_fit(y_true, y_score, groups=[0, 0, 1, 1], folds=2, seed=0)
    >>> decided.ravel()
    array([False, False,  True,  True])
    """
    return cross_fit_checked(checked(y_true, y_score), groups, options, folds=folds, seed=seed)


def cross_fit_checked(
    rows: ScoredRows,
    groups: npt.ArrayLike,
    options: DecisionOptions,
    *,
    folds: int,
    seed: int,
    others: ScoredRows | None = None,
) -> tuple[FloatArray, BoolArray]:
    """Do the work of `cross_fit` on rows that are checked.

    ``others`` are further rows that have a part in all decisions and are not decided on themselves: training rows with
    out-of-fold scores.
    """
    if np.shape(groups) != (len(rows),):
        raise ValueError(f"groups must have shape ({len(rows)},). Got {np.shape(groups)}")
    fold_of_row = assign_folds(groups, folds=folds, seed=seed)
    calibrated, decided = np.empty_like(rows.scores), np.empty_like(rows.truth)
    for fold in range(folds):
        held_out = fold_of_row == fold
        fitted = fit_checked(rows.subset(~held_out).joined(others), options)
        calibrated[held_out], decided[held_out] = fitted.apply_checked(rows.scores[held_out])
    return calibrated, decided


def tuned_scores(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    calibrated: npt.ArrayLike,
    decided: npt.ArrayLike,
    prior_decided: npt.ArrayLike,
) -> dict[str, float]:
    """Score cross-fitted decisions, next to those that the same procedure makes of the label frequencies (``*_prior``).

    ==========================  ======================================================================================
    f1_micro_tuned, *_prior     F1 over all known cells
    f1_macro_tuned, *_prior     F1, mean over the labels with a positive and a negative row; left out if there are none
    subset_accuracy_tuned, ...  share of rows with every known label right
    recall_per_image_tuned, ..  share of its known true labels that a row is given, mean over the rows with one
    labels_per_image_tuned, ..  number of its known labels that a row is given, right or wrong, mean over the rows
    bce_calibrated              binary cross-entropy of the calibrated scores (lower is better)
    ece, ece_calibrated         expected calibration error before and after (lower is better)
    ==========================  ======================================================================================

    Parameters
    ----------
    y_true : array-like of 0, 1 and 2, shape (N, L)
        Multi-hot labels; 2 = unknown.
    y_score : array-like of float in [0, 1], shape (N, L)
        Scores as the network gave them.
    calibrated, decided : array-like of float in [0, 1] and of bool, shape (N, L)
        What `cross_fit` made of them.
    prior_decided : array-like of bool, shape (N, L)
        What `cross_fit` decides, by the same options, on `posterity.evaluation.metrics.prior_scores`.

    Raises
    ------
    ValueError
        If shapes do not match, there is no known cell, or a value is out of range.
    """
    calibrated_rows, decided_rows, prior_rows = (
        checked(y_true, answers) for answers in (calibrated, decided, prior_decided)
    )
    return tuned_scores_checked(
        checked(y_true, y_score),
        calibrated_rows.scores,
        decided_rows.scores.astype(bool),
        prior_rows.scores.astype(bool),
    )


def tuned_scores_checked(
    rows: ScoredRows, calibrated: FloatArray, decided: BoolArray, prior_decided: BoolArray
) -> dict[str, float]:
    """Do the work of `tuned_scores` on rows that are checked."""
    calibrated_rows = rows.with_scores(calibrated)
    found = {
        "bce_calibrated": binary_cross_entropy_checked(calibrated_rows),
        "ece": expected_calibration_error_checked(rows),
        "ece_calibrated": expected_calibration_error_checked(calibrated_rows),
    }
    truth, scored = rows.truth, rows.scored_labels
    for suffix, answers in (("", decided), ("_prior", prior_decided)):
        predicted = rows.only_known(answers)
        # F1 = 2 TP / (positive rows + predicted rows), and 0 where there is neither.
        true_positives = (truth & predicted).sum(axis=0)
        sizes = truth.sum(axis=0) + predicted.sum(axis=0)
        label_f1 = 2 * true_positives / np.maximum(sizes, 1)
        found[f"f1_micro_tuned{suffix}"] = float(2 * true_positives.sum() / max(sizes.sum(), 1))
        found[f"subset_accuracy_tuned{suffix}"] = subset_accuracy(rows, predicted)
        found[f"labels_per_image_tuned{suffix}"] = float(predicted[rows.judged_rows].sum(axis=1).mean())
        if (with_label := truth.any(axis=1)).any():
            recall = (truth & predicted).sum(axis=1)[with_label] / truth.sum(axis=1)[with_label]
            found[f"recall_per_image_tuned{suffix}"] = float(recall.mean())
        if scored.any():
            found[f"f1_macro_tuned{suffix}"] = float(label_f1[scored].mean())
    return found
