"""From scores to decided labels: calibration and thresholds together, and judging them on rows that they never saw."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from posterity.errors import UserError
from posterity.evaluation.calibration import Calibration, expected_calibration_error, fit_calibration
from posterity.evaluation.metrics import BoolArray, FloatArray, binary_cross_entropy, checked, scored_labels
from posterity.evaluation.thresholds import fit_thresholds

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Decisions:
    """How the labels of an image are decided; travels in the model card as `dataclasses.asdict` writes it.

    Attributes
    ----------
    calibration : Calibration
        From scores to probabilities.
    thresholds : tuple of float
        Threshold of each label, on calibrated scores.
    at_least_one : bool
        Whether an image without a label gets its likeliest one.
    """

    calibration: Calibration
    thresholds: tuple[float, ...]
    at_least_one: bool

    @staticmethod
    def from_content(content: dict[str, Any]) -> "Decisions":
        """Undo `dataclasses.asdict`, also after a trip through JSON."""
        return Decisions(
            calibration=Calibration.from_content(content["calibration"]),
            thresholds=tuple(content["thresholds"]),
            at_least_one=content["at_least_one"],
        )

    def apply(self, scores: npt.ArrayLike) -> tuple[FloatArray, BoolArray]:
        """Calibrate ``scores`` in [0, 1], (N, L), and decide: float64 (N, L) in [0, 1] and bool (N, L).

        Of equally likely labels, ``at_least_one`` takes the one with the highest score (an isotonic curve is flat in
        places), then the first.

        Raises
        ------
        ValueError
            If there is not one column for each label or a score is out of range.
        """
        calibrated = self.calibration.apply(scores)
        decided = calibrated >= np.asarray(self.thresholds)
        if self.at_least_one:
            is_likeliest = calibrated == calibrated.max(axis=1, keepdims=True)
            likeliest = np.where(is_likeliest, np.asarray(scores, dtype=np.float64), -1).argmax(axis=1)
            without = np.flatnonzero(~decided.any(axis=1))
            decided[without, likeliest[without]] = True
        return calibrated, decided


def fit(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    *,
    calibration: str = "off",
    objective: str = "f1",
    target_precision: float = 0.7,
    min_positives: int = 10,
    at_least_one: bool = False,
) -> Decisions:
    """Choose calibration and thresholds on all given rows: the decisions that travel with a model.

    Thresholds are chosen on calibrated scores, so that the one shared by rare labels means the same for each. How
    good such decisions are must not be read off these very rows: see `cross_fit`.

    Parameters
    ----------
    y_true : array-like of 0 and 1, shape (N, L)
        Multi-hot labels.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row.
    calibration : {"off", "platt", "isotonic"}
        See `posterity.evaluation.calibration.fit_calibration`.
    objective : {"f1", "precision"}
        What a threshold is to achieve; see `posterity.evaluation.thresholds.best_threshold`.
    target_precision : float
        In (0, 1]; for the objective ``precision``.
    min_positives : int, at least 1
        Labels with fewer positive rows share one calibration and one threshold.
    at_least_one : bool
        Whether a row without a label gets its likeliest one; the thresholds are chosen without regard to that.

    Raises
    ------
    ValueError
        If shapes do not match, there is no cell, or a value is out of range.
    """
    curves = fit_calibration(y_true, y_score, method=calibration, min_positives=min_positives)
    thresholds = fit_thresholds(
        y_true,
        curves.apply(y_score),
        objective=objective,
        target_precision=target_precision,
        min_positives=min_positives,
    )
    return Decisions(curves, tuple(thresholds.tolist()), at_least_one)


def cross_fit(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, groups: npt.ArrayLike, *, folds: int, seed: int, **options: Any
) -> tuple[FloatArray, BoolArray]:
    """Calibrate and decide every row by decisions that were fitted without it, nor any copy of it.

    The rows are dealt into ``folds`` parts; each part is judged by the decisions fitted on the others. The outcome says
    how good the decisions of `fit` are on new rows, or a little less: those have seen all the rows.

    Parameters
    ----------
    y_true : array-like of 0 and 1, shape (N, L)
        Multi-hot labels.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row.
    groups : array-like of int, shape (N,)
        Rows of one group stay in one part; `posterity.splitting.assign.group_rows` makes them.
    folds, seed : int
        As in `assign_folds`.
    **options
        Those of `fit`.

    Returns
    -------
    calibrated : ndarray of float64 in [0, 1], shape (N, L)
    decided : ndarray of bool, shape (N, L)

    Raises
    ------
    UserError
        If there are fewer groups than folds.
    ValueError
        If shapes do not match, there is no cell, or a value is out of range.
    """
    truth, scores = checked(y_true, y_score)
    if np.shape(groups) != (len(truth),):
        raise ValueError(f"groups must have shape ({len(truth)},). Got {np.shape(groups)}")
    fold_of_row = assign_folds(groups, folds=folds, seed=seed)
    calibrated, decided = np.empty_like(scores), np.empty_like(truth)
    for fold in range(folds):
        held_out = fold_of_row == fold
        decisions = fit(truth[~held_out], scores[~held_out], **options)
        calibrated[held_out], decided[held_out] = decisions.apply(scores[held_out])
    return calibrated, decided


def assign_folds(groups: npt.ArrayLike, *, folds: int, seed: int) -> IntArray:
    """Deal whole groups, shuffled, into ``folds`` parts of as many groups each, give or take one: (N,), 0 to folds - 1.

    Labels have no say in it, although it would spread the rare ones more evenly: the part that a row lies in would then
    depend on its labels, and so would the decisions that it is judged by.

    Raises
    ------
    UserError
        If ``folds`` is below 2 or above the number of groups.
    """
    names, group_of_row = np.unique(np.asarray(groups), return_inverse=True)
    if not 2 <= folds <= len(names):
        raise UserError(
            f"params.yaml: decide.folds must be an integer from 2 to the number of different validation images, which "
            f"is {len(names)}. Got {folds}. Change it, or validate on more images (split.validation_fraction)."
        )
    fold_of_group = np.random.default_rng(seed).permutation(len(names)) % folds
    return np.asarray(fold_of_group[group_of_row], dtype=np.int64)


def tuned_scores(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    calibrated: npt.ArrayLike,
    decided: npt.ArrayLike,
    prior_decided: npt.ArrayLike,
) -> dict[str, float]:
    """Score cross-fitted decisions, beside those that the same procedure makes of the label frequencies (``*_prior``).

    ==========================  ======================================================================================
    f1_micro_tuned, *_prior     F1 over all cells
    f1_macro_tuned, *_prior     F1, mean over the scored labels (`metrics.scored_labels`); left out without any
    subset_accuracy_tuned, ...  share of rows with every label right
    bce_calibrated              binary cross-entropy of the calibrated scores (lower is better)
    ece, ece_calibrated         expected calibration error before and after (lower is better)
    ==========================  ======================================================================================

    Parameters
    ----------
    y_true : array-like of 0 and 1, shape (N, L)
        Multi-hot labels.
    y_score : array-like of float in [0, 1], shape (N, L)
        Scores as the network gave them.
    calibrated, decided : array-like of float in [0, 1] and of bool, shape (N, L)
        What `cross_fit` made of them.
    prior_decided : array-like of bool, shape (N, L)
        What `cross_fit` decides, by the same options, on `posterity.evaluation.metrics.prior_scores`.

    Raises
    ------
    ValueError
        If shapes do not match, there is no cell, or a value is out of range.
    """
    truth, _ = checked(y_true, y_score)
    found = {
        "bce_calibrated": binary_cross_entropy(truth, calibrated),
        "ece": expected_calibration_error(truth, y_score),
        "ece_calibrated": expected_calibration_error(truth, calibrated),
    }
    for suffix, answers in (("", decided), ("_prior", prior_decided)):
        predicted = checked(truth, answers)[1].astype(bool)
        # F1 = 2 TP / (positive rows + predicted rows), and 0 where there is neither.
        true_positives = (truth & predicted).sum(axis=0)
        sizes = truth.sum(axis=0) + predicted.sum(axis=0)
        label_f1 = 2 * true_positives / np.maximum(sizes, 1)
        found[f"f1_micro_tuned{suffix}"] = float(2 * true_positives.sum() / max(sizes.sum(), 1))
        found[f"subset_accuracy_tuned{suffix}"] = float((truth == predicted).all(axis=1).mean())
        if scored_labels(truth).any():
            found[f"f1_macro_tuned{suffix}"] = float(label_f1[scored_labels(truth)].mean())
    return found
