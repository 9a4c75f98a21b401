"""Whether an exported model says what Keras says, and what a lower precision costs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from posterity.evaluation import label_figures, metrics
from posterity.evaluation.decisions import Decisions
from posterity.evaluation.scored_rows import checked
from posterity.exporting.formats import TOLERANCE

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """How far probabilities and decisions of an export are from those of Keras.

    Attributes
    ----------
    largest : float
        The largest difference of a probability, but for `at_steps`; NaN if a probability is NaN.
    at_steps : int
        Number of probabilities that are further apart because an isotonic curve has a step there: scores that agree
        within the tolerance lie on both sides of it.
    changed : int
        Number of decisions that differ.
    unexplained : int
        How many of these differ although no score lies within the tolerance of where the decision changes.
    cells : int
        Number of probabilities that were compared.
    """

    largest: float
    at_steps: int
    changed: int
    unexplained: int
    cells: int


def agreement(
    decisions: Decisions,
    scores: FloatArray,
    probabilities: FloatArray,
    decided: BoolArray,
    tolerance: float = TOLERANCE,
) -> Agreement:
    """Compare what an export says with what the decisions of the model make of the scores of Keras.

    Parameters
    ----------
    decisions : Decisions
        Calibration, thresholds and rules.
    scores : ndarray of float in [0, 1], shape (n, num_labels)
        Of Keras, not calibrated.
    probabilities : ndarray of float, shape (n, num_labels)
        Of the export, calibrated.
    decided : ndarray of bool, shape (n, num_labels)
        Of the export.
    tolerance : float
        Of a score, and of a probability.

    Examples
    --------
    The second score is so near to its threshold that either decision is right.

    >>> from posterity.evaluation.calibration import Calibration
    >>> decisions = Decisions(Calibration("off", ((), ())), (0.5, 0.5), at_least_one=False)
    >>> found = agreement(decisions, np.array([[0.9, 0.50001]]), np.array([[0.9, 0.49999]]), np.array([[True, False]]))
    >>> round(found.largest, 6), found.changed, found.unexplained
    (2e-05, 1, 0)
    """
    raw = np.asarray(scores, np.float64)
    expected, wanted = decisions.apply(raw)
    low, high = (decisions.calibration.apply((raw + shift).clip(0, 1)) + shift for shift in (-tolerance, tolerance))
    got = np.asarray(probabilities, np.float64)
    is_step = (np.abs(got - expected) > tolerance) & (got >= low) & (got <= high)
    if decisions.calibration.method != "isotonic":
        is_step[:] = False
        low, high = expected - tolerance, expected + tolerance
    changed = decided != wanted
    explained = may_change(decisions, low, high)
    apart = np.where(is_step, 0.0, np.abs(got - expected))
    return Agreement(
        float(apart.max(initial=0.0)),
        int(is_step.sum()),
        int(changed.sum()),
        int((changed & ~explained).sum()),
        int(got.size),
    )


def may_change(decisions: Decisions, low: FloatArray, high: FloatArray) -> BoolArray:
    """Which decisions, bool (n, num_labels), may change while probabilities stay between ``low`` and ``high``."""
    thresholds = np.asarray(decisions.thresholds)
    near: BoolArray = (low <= thresholds) & (thresholds <= high)
    if not (decisions.exactly_one or decisions.at_least_one):
        return near
    candidates = high >= low.max(axis=1, keepdims=True)
    several = candidates & (candidates.sum(axis=1, keepdims=True) > 1)
    if decisions.exactly_one:
        return np.asarray(several)
    # The likeliest label is decided if no threshold is reached, and that may change with any of them.
    return np.asarray(near | several | (candidates & near.any(axis=1, keepdims=True)))


@dataclass(frozen=True)
class Loss:
    """Figures of calibrated probabilities on the validation side.

    Attributes
    ----------
    bce : float
        Mean cross-entropy over the known cells.
    map_macro : float or None
        Mean average precision of the labels that have a positive and a negative row; None if there is none.
    """

    bce: float
    map_macro: float | None


def loss(targets: npt.NDArray[np.uint8], probabilities: FloatArray) -> Loss:
    """Figures of ``probabilities`` in [0, 1], (n, num_labels), for ``targets`` of 0, 1 and 2 (unknown)."""
    rows = checked(targets, np.asarray(probabilities, np.float64).clip(0, 1))
    table = label_figures.per_label_checked(rows, [str(label) for label in range(rows.num_labels)], 0.5)
    mean = float(table["average_precision"].mean()) if rows.scored_labels.any() else None
    return Loss(metrics.binary_cross_entropy_checked(rows), mean)
