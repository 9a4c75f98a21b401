"""From scores to probabilities: calibration of each label, and how far scores are from observed frequencies.

Scores are calibrated if, of the cells (a row and a label) that got 0.3, three in ten are positive, and so on. Only
known cells count.
"""

import math
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity import choices
from posterity.evaluation.scored_rows import EPSILON, BoolArray, FloatArray, ScoredRows, checked

METHODS = get_args(choices.CalibrationMethod)
Curve = tuple[tuple[float, float], ...]

_MAX_STEPS = 100  # Newton needs about 6
_LAST_STEP = 1e-9

# The curve where none can be estimated: it leaves the score as it is.
_IDENTITY: dict[str, Curve] = {"platt": ((1.0, 0.0),), "isotonic": ((0.0, 0.0), (1.0, 1.0))}


@dataclass(frozen=True)
class Calibration:
    """A monotone function of the score for each label; `dataclasses.asdict` makes plain JSON content of it.

    Attributes
    ----------
    method : {"off", "platt", "isotonic"}
        How a curve is read.
    curves : tuple of tuples of pairs of float, one for each label
        ``platt``: one pair, slope (> 0) and intercept on the logit of the score; ``isotonic``: knots (score,
        probability), scores ascending, straight lines between them and constant beyond; ``off``: no pair.
    """

    method: str
    curves: tuple[Curve, ...]

    @staticmethod
    def from_content(content: dict[str, Any]) -> "Calibration":
        """Undo `dataclasses.asdict`, also after a trip through JSON, which knows lists only.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a field is missing, of another type or outside its range.
        """
        if not isinstance(content, dict):
            raise TypeError(f"calibration is a {type(content).__name__} instead of an object")
        curves = tuple(tuple((float(x), float(y)) for x, y in curve) for curve in content["curves"])
        method = content["method"]
        if method not in METHODS:
            raise ValueError(f"calibration.method: expected one of {', '.join(METHODS)}. Got {str(method)[:100]!r}")
        for number, curve in enumerate(curves):
            if not _is_curve(method, curve):
                raise ValueError(f"calibration.curves[{number}] is no curve of the method {method}")
        return Calibration(method, curves)

    def apply(self, scores: npt.ArrayLike) -> FloatArray:
        """Calibrate ``scores`` in [0, 1], (N, L) -> float64 (N, L) in [0, 1].

        Raises
        ------
        ValueError
            If there is not one column for each label or a score is out of range.
        """
        raw = np.asarray(scores, dtype=np.float64)
        if raw.ndim != 2 or raw.shape[1] != len(self.curves):
            raise ValueError(f"scores must have shape (num_rows, {len(self.curves)}). Got {raw.shape}")
        if not ((raw >= 0) & (raw <= 1)).all():
            raise ValueError("scores must be finite and lie in [0, 1]")
        return self.apply_checked(raw)

    def apply_checked(self, scores: FloatArray) -> FloatArray:
        """Do the work of `apply` on scores that are checked."""
        if self.method == "off":
            return scores
        columns = []
        for curve, score in zip(self.curves, scores.T, strict=True):
            first, second = np.array(curve).T
            if self.method == "platt":
                columns.append(_sigmoid(first * _logit(score) + second))
            else:
                columns.append(np.interp(score, first, second))
        return np.stack(columns, axis=1)


def fit_calibration(y_true: npt.ArrayLike, y_score: npt.ArrayLike, *, method: str, min_positives: int) -> Calibration:
    """Calibrate each label on the given rows.

    ``platt``: logistic regression of the label on the logit of its score [1]. ``isotonic``: the best non-decreasing
    step function, with straight lines between its steps [2]. Both are fitted to Platt's targets, (P + 1) / (P + 2) for
    the P positive rows and 1 / (N + 2) for the N negative ones, instead of 1 and 0: no probability is ever 0 or 1, and
    none is more extreme than the number of rows supports.

    A label with fewer than ``min_positives`` positive or as few negative rows gets the one curve that is fitted to the
    cells of all labels. So does a label whose Platt slope comes out negative: such a slope would reverse the ranking.
    If the slope for all cells is negative too, or all cells are the same, the score is left as it is.

    Parameters
    ----------
    y_true : array-like of 0, 1 and 2, shape (N, L)
        Multi-hot labels; 2 = unknown.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row.
    method : {"off", "platt", "isotonic"}
        ``off`` leaves the scores as they are.
    min_positives : int, at least 1
        Rows of either kind that a curve of its own needs.

    Raises
    ------
    ValueError
        If shapes do not match, there is no known cell, a value is out of range or the method is not one of `METHODS`.

    References
    ----------
    [1] Platt (1999), Probabilistic Outputs for Support Vector Machines.
    [2] Zadrozny & Elkan (2002), Transforming Classifier Scores into Accurate Multiclass Probability Estimates.

    Examples
    --------
    Two positive and two negative rows have the targets 3/4 and 1/4. The middle two are in the wrong order, so both get
    the mean of their targets.

    >>> calibration = fit_calibration(
    ...     [[0], [1], [0], [1]], [[0.2], [0.4], [0.6], [0.8]], method="isotonic", min_positives=2
    ... )
    >>> calibration.apply([[0.2], [0.5], [0.8]])
    array([[0.25],
           [0.5 ],
           [0.75]])
    """
    return fit_calibration_checked(checked(y_true, y_score), method=method, min_positives=min_positives)


def fit_calibration_checked(rows: ScoredRows, *, method: str, min_positives: int) -> Calibration:
    """Do the work of `fit_calibration` on rows that are checked."""
    if method not in METHODS or min_positives < 1:
        raise ValueError(f"method must be one of {METHODS} and min_positives >= 1. Got {method!r} and {min_positives}")
    if method == "off":
        return Calibration(method, ((),) * rows.num_labels)
    curves = [_fit_curve(method, positive, score, min_positives) for positive, score in rows.columns()]
    shared: Curve = ()
    if None in curves:
        shared = _fit_curve(method, *rows.cells(), 1) or _IDENTITY[method]
    return Calibration(method, tuple(curve or shared for curve in curves))


def expected_calibration_error(y_true: npt.ArrayLike, y_score: npt.ArrayLike, bins: int = 15) -> float:
    """Mean distance between score and observed frequency over all cells, in [0, 1]; lower is better.

    ``sum_b n_b / n |mean score_b - observed frequency_b|`` over bins of equal width [1], here of the score of each
    cell instead of the confidence in the top class. It does not reward knowledge about the image: the constant label
    frequencies are nearly perfect by this measure.

    Parameters and errors are those of `reliability_points`.

    References
    ----------
    [1] Guo, Pleiss, Sun & Weinberger (2017), On Calibration of Modern Neural Networks, equation 3.

    Examples
    --------
    Two cells with the mean score 0.175, of which half are positive, and two with 0.875, which are both positive:
    (0.325 + 0.125) / 2.

    >>> round(expected_calibration_error([[0, 1], [1, 1]], [[0.15, 0.85], [0.2, 0.9]], bins=10), 4)
    0.225
    """
    return expected_calibration_error_checked(checked(y_true, y_score), bins)


def expected_calibration_error_checked(rows: ScoredRows, bins: int = 15) -> float:
    """Do the work of `expected_calibration_error` on rows that are checked."""
    points = reliability_points_checked(rows, bins)
    distances = (points["mean_score"] - points["observed_frequency"]).abs()
    return float((points["count"] * distances).sum() / points["count"].sum())


def reliability_points(y_true: npt.ArrayLike, y_score: npt.ArrayLike, bins: int = 15) -> pd.DataFrame:
    """How often labels were present that were given a certain score: the points of a reliability diagram.

    Parameters
    ----------
    y_true : array-like of 0, 1 and 2, shape (N, L)
        Multi-hot labels; 2 = unknown.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row.
    bins : int, at least 1
        Number of bins, of equal width; a score on an edge belongs to the lower bin.

    Returns
    -------
    DataFrame
        ``mean_score``, ``observed_frequency``, ``count``: one line for each bin that holds a cell, scores ascending.

    Raises
    ------
    ValueError
        If shapes do not match, there is no known cell, a value is out of range or ``bins`` is below 1.

    Examples
    --------
    >>> reliability_points([[0, 1], [1, 1]], [[0.15, 0.85], [0.2, 0.9]], bins=10)
       mean_score  observed_frequency  count
    0       0.175                 0.5      2
    1       0.875                 1.0      2
    """
    return reliability_points_checked(checked(y_true, y_score), bins)


def reliability_points_checked(rows: ScoredRows, bins: int = 15) -> pd.DataFrame:
    """Do the work of `reliability_points` on rows that are checked."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    truth, scores = rows.cells()
    bin_of_cell = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], scores)
    count = np.bincount(bin_of_cell, minlength=bins)
    used = count > 0
    sums = [np.bincount(bin_of_cell, weights=values, minlength=bins)[used] for values in (scores, truth)]
    count = count[used]
    return pd.DataFrame({"mean_score": sums[0] / count, "observed_frequency": sums[1] / count, "count": count})


def _is_curve(method: str, curve: Curve) -> bool:
    """Whether `Calibration.apply_checked` makes probabilities of all scores in [0, 1] by this curve."""
    if not all(math.isfinite(x) and math.isfinite(y) for x, y in curve):
        return False
    if method == "off":
        return not curve
    if method == "platt":
        return len(curve) == 1 and curve[0][0] > 0
    scores, probabilities = [x for x, _ in curve], [y for _, y in curve]
    return bool(curve) and scores == sorted(scores) and 0 <= min(probabilities) <= max(probabilities) <= 1


def _fit_curve(method: str, positive: BoolArray, score: FloatArray, min_rows: int) -> Curve | None:
    """The curve of ``positive`` and ``score``, both (N,), or None if the rows do not allow one."""
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if min(num_positive, num_negative) < min_rows:
        return None
    target = np.where(positive, (num_positive + 1) / (num_positive + 2), 1 / (num_negative + 2))
    return _fit_platt(target, score) if method == "platt" else _fit_isotonic(target, score)


def _fit_platt(target: FloatArray, score: FloatArray) -> Curve | None:
    logits = _logit(score)
    if np.ptp(logits) == 0:
        # One score shows nothing but its frequency: move the curve there, and leave its slope as it is.
        return ((1.0, float(_logit(target.mean()) - logits[0])),)
    # Newton's method on two parameters. LogisticRegression takes no soft targets; with every row given twice, weighted,
    # it took 5 to 15 times as long. The first column is scaled to keep the Hessian well conditioned.
    centre, scale = logits.mean(), logits.std()
    columns = np.stack([(logits - centre) / scale, np.ones_like(logits)])
    parameters = np.array([0.0, _logit(target.mean())])
    for _ in range(_MAX_STEPS):
        probability = _sigmoid(parameters @ columns)
        hessian = columns * probability * (1 - probability) @ columns.T
        step = np.linalg.solve(hessian, columns @ (target - probability))
        while _platt_loss(parameters + step, columns, target) > _platt_loss(parameters, columns, target):
            step = step / 2  # ends at the latest when the step is lost in rounding
        parameters = parameters + step
        if np.abs(step).max() < _LAST_STEP:
            break
    slope = float(parameters[0] / scale)
    return ((slope, float(parameters[1] - slope * centre)),) if slope > 0 else None


def _platt_loss(parameters: FloatArray, columns: FloatArray, target: FloatArray) -> float:
    """Mean cross-entropy of ``target`` (N,) and the sigmoid of ``parameters`` (2,) @ ``columns`` (2, N)."""
    logits = parameters @ columns
    return float(np.mean(np.logaddexp(0, logits) - target * logits))


def _fit_isotonic(target: FloatArray, score: FloatArray) -> Curve:
    from sklearn.isotonic import IsotonicRegression  # takes most of a second, and a prediction needs none of it

    model = IsotonicRegression(out_of_bounds="clip").fit(score, target)
    return tuple(zip(model.X_thresholds_.tolist(), model.y_thresholds_.tolist(), strict=True))


def _logit(score: npt.ArrayLike) -> FloatArray:
    clipped = np.clip(score, EPSILON, 1 - EPSILON)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def _sigmoid(logits: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-np.logaddexp(0, -logits)))  # 1 / (1 + exp(-x)) overflows below -709
