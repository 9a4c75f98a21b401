"""From scores to decided labels: calibration and thresholds together."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from posterity import choices
from posterity.evaluation.calibration import Calibration, fit_calibration_checked
from posterity.evaluation.scored_rows import BoolArray, FloatArray, ScoredRows, checked
from posterity.evaluation.thresholds import fit_thresholds_checked


@dataclass(frozen=True)
class DecisionOptions:
    """How calibration and thresholds are chosen.

    Attributes
    ----------
    calibration : {"off", "platt", "isotonic"}
        See `posterity.evaluation.calibration.fit_calibration`.
    objective : {"f1", "precision", "recall"}
        What a threshold is to achieve; see `posterity.evaluation.thresholds.best_threshold`, and for ``recall``
        `posterity.evaluation.risk_control.recall_threshold`.
    target_precision : float
        In (0, 1]; for the objective ``precision``.
    target_recall : float
        Above 0 and below 1; for the objective ``recall``.
    min_positives : int, at least 1
        Labels with fewer positive rows share one calibration and one threshold.
    at_least_one : bool
        Whether a row without a label gets its likeliest one; the thresholds are chosen without regard to that.
    exactly_one : bool
        Whether every row gets its likeliest label and no other one: for single-label data. Thresholds and
        ``at_least_one`` then decide nothing.
    """

    calibration: choices.CalibrationMethod = "off"
    objective: choices.ThresholdObjective = "f1"
    target_precision: float = 0.7
    target_recall: float = 0.9
    min_positives: int = 10
    at_least_one: bool = False
    exactly_one: bool = False


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
    exactly_one : bool
        Whether every image gets its likeliest label and no other one, whatever the thresholds are.
    """

    calibration: Calibration
    thresholds: tuple[float, ...]
    at_least_one: bool
    exactly_one: bool = False

    @staticmethod
    def from_content(content: dict[str, Any]) -> "Decisions":
        """Undo `dataclasses.asdict`, also after a trip through JSON.

        ``exactly_one`` may be missing: models of older versions do not have it, and decide by their thresholds.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a field is missing, of another type or outside its range.
        """
        thresholds, at_least_one = content["thresholds"], content["at_least_one"]
        if not isinstance(thresholds, list | tuple) or not all(
            isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in thresholds
        ):
            raise ValueError("thresholds is no list of finite numbers")
        if not isinstance(at_least_one, bool):
            raise TypeError("at_least_one is neither true nor false")
        exactly_one = content.get("exactly_one", False)
        if not isinstance(exactly_one, bool):
            raise TypeError("exactly_one is neither true nor false")
        curves = Calibration.from_content(content["calibration"])
        return Decisions(curves, tuple(thresholds), at_least_one, exactly_one)

    def apply(self, scores: npt.ArrayLike) -> tuple[FloatArray, BoolArray]:
        """Calibrate scores, and decide which labels each row gets.

        Of equally likely labels, ``at_least_one`` and ``exactly_one`` take the one with the highest score (an isotonic
        curve is flat in places), then the first.

        Parameters
        ----------
        scores : array-like of float in [0, 1], shape (N, L)
            Score of every label on every row.

        Returns
        -------
        calibrated : ndarray of float64 in [0, 1], shape (N, L)
        decided : ndarray of bool, shape (N, L)

        Raises
        ------
        ValueError
            If there is not one column for each label or a score is out of range.

        Examples
        --------
        On the second row no score reaches its threshold; 0.4 is the highest.

        >>> decisions = Decisions(Calibration("off", ((), ())), thresholds=(0.5, 0.2), at_least_one=True)
        >>> calibrated, decided = decisions.apply([[0.6, 0.3], [0.4, 0.1]])
        >>> decided
        array([[ True,  True],
               [ True, False]])

        Of single-label data every row gets its likeliest label.

        >>> decisions = Decisions(Calibration("off", ((), ())), (0.5, 0.2), at_least_one=False, exactly_one=True)
        >>> calibrated, decided = decisions.apply([[0.6, 0.3], [0.4, 0.1]])
        >>> decided
        array([[ True, False],
               [ True, False]])
        """
        raw = np.asarray(scores, dtype=np.float64)
        return self._decide(self.calibration.apply(raw), raw)

    def apply_checked(self, scores: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Do the work of `apply` on scores that are checked."""
        return self._decide(self.calibration.apply_checked(scores), scores)

    def _decide(self, calibrated: FloatArray, scores: FloatArray) -> tuple[FloatArray, BoolArray]:
        decided = calibrated >= np.asarray(self.thresholds)
        if self.at_least_one or self.exactly_one:
            is_likeliest = calibrated == calibrated.max(axis=1, keepdims=True)
            likeliest = np.where(is_likeliest, scores, -1).argmax(axis=1)
            if self.exactly_one:
                decided[:] = False
            without = np.flatnonzero(~decided.any(axis=1))
            decided[without, likeliest[without]] = True
        return calibrated, decided


DEFAULT_OPTIONS = DecisionOptions()


def fit(y_true: npt.ArrayLike, y_score: npt.ArrayLike, options: DecisionOptions = DEFAULT_OPTIONS) -> Decisions:
    """Choose calibration and thresholds on all given rows: the decisions that travel with a model.

    Thresholds are chosen on calibrated scores, so that the one shared by rare labels means the same for each of them.
    These rows cannot show how good such decisions are: see `posterity.evaluation.cross_fitting.cross_fit`.

    Parameters
    ----------
    y_true : array-like of 0, 1 and 2, shape (N, L)
        Multi-hot labels; 2 = unknown.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row.
    options : DecisionOptions
        How they are chosen.

    Raises
    ------
    ValueError
        If shapes do not match, there is no known cell, or a value is out of range.

    Examples
    --------
    >>> fit([[1], [1], [0]], [[0.9], [0.7], [0.5]]).thresholds  # midway between 0.7 and 0.5
    (0.6,)
    """
    return fit_checked(checked(y_true, y_score), options)


def fit_checked(rows: ScoredRows, options: DecisionOptions) -> Decisions:
    """Do the work of `fit` on rows that are checked."""
    curves = fit_calibration_checked(rows, method=options.calibration, min_positives=options.min_positives)
    thresholds = fit_thresholds_checked(
        rows.with_scores(curves.apply_checked(rows.scores)),
        objective=options.objective,
        target_precision=options.target_precision,
        target_recall=options.target_recall,
        min_positives=options.min_positives,
    )
    return Decisions(curves, tuple(thresholds.tolist()), options.at_least_one, options.exactly_one)
