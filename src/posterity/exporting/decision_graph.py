"""Calibration and decisions as TensorFlow operations, so that an exported graph holds them.

They compute in float32, since not every runtime knows float64; `posterity.evaluation.decisions` computes in float64. A
probability differs by about 1e-7 on that account.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from posterity.errors import UserError
from posterity.evaluation.calibration import Calibration
from posterity.evaluation.decisions import Decisions
from posterity.evaluation.scored_rows import EPSILON

# An isotonic curve becomes a table of its segments, all of which are looked at for every score: 4 MB an image.
MOST_SEGMENTS = 1_000_000
_BEYOND = 2.0  # no score reaches it

Function = Callable[[Any], tuple[Any, Any]]


def decision_function(decisions: Decisions) -> Function:
    """Make the function from scores to what is decided.

    Parameters
    ----------
    decisions : Decisions
        Calibration, thresholds and rules.

    Returns
    -------
    callable
        Takes a tensor of scores, float32 (n, num_labels), and returns calibrated probabilities, float32 (n,
        num_labels), in [0, 1], and what is decided, bool (n, num_labels). Of equally likely labels it takes the one
        that `Decisions.apply` takes.

    Raises
    ------
    UserError
        If the isotonic curves have too many knots.
    """
    import tensorflow as tf

    calibrate = _calibration(decisions.calibration)
    thresholds = float32_not_below(np.asarray(decisions.thresholds, np.float64))
    num_labels = len(thresholds)

    def decide(scores: Any) -> tuple[Any, Any]:
        scores = tf.clip_by_value(scores, 0.0, 1.0)  # a sigmoid can be 1.0000001
        probabilities = calibrate(scores)
        reached = probabilities >= thresholds
        if decisions.exactly_one or decisions.at_least_one:
            is_likeliest = probabilities >= tf.reduce_max(probabilities, axis=1, keepdims=True)
            place = tf.argmax(tf.where(is_likeliest, scores, -tf.ones_like(scores)), axis=1, output_type=tf.int32)
            likeliest = place[:, None] == np.arange(num_labels, dtype=np.int32)[None]
            if decisions.exactly_one:
                reached = likeliest
            else:
                # A maximum of 0 and 1: not every runtime has a logical "any".
                found = tf.reduce_max(tf.cast(reached, tf.float32), axis=1, keepdims=True)
                reached = tf.logical_or(reached, tf.logical_and(likeliest, found < 0.5))
        return probabilities, reached

    return decide


def float32_not_below(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The lowest float32 that is not below each value: a float32 reaches it if and only if it reaches the value.

    Examples
    --------
    0.1 lies between two float32, the nearer of which is above it; so does 0.7, but the nearer one is below.

    >>> rounded = float32_not_below(np.array([0.1, 0.7, 0.5]))
    >>> bool((rounded.astype(np.float64) >= [0.1, 0.7, 0.5]).all()), float(np.float32(0.7)) < 0.7
    (True, True)
    """
    rounded = values.astype(np.float32)
    return np.where(rounded < values, np.nextafter(rounded, np.float32(np.inf)), rounded)


def _calibration(calibration: Calibration) -> Callable[[Any], Any]:
    if calibration.method == "off":
        return lambda scores: scores
    if calibration.method == "platt":
        return _platt(calibration)
    if calibration.method == "isotonic":
        return _isotonic(calibration)
    raise UserError(
        f"expected a calibration off, platt or isotonic. Got {calibration.method!r}, which no export can hold. Set "
        "decide.calibration in params.yaml to one of them and run `dvc repro evaluate`."
    )


def _platt(calibration: Calibration) -> Callable[[Any], Any]:
    import tensorflow as tf

    slopes, intercepts = np.array([curve[0] for curve in calibration.curves], np.float32).T

    def calibrate(scores: Any) -> Any:
        # log(p) - log(1 - p) with the clipping of `posterity.evaluation.calibration`; 1 - p is exact from 1/2 on.
        logits = tf.math.log(tf.maximum(scores, EPSILON)) - tf.math.log(tf.maximum(1.0 - scores, EPSILON))
        return tf.math.sigmoid(slopes * logits + intercepts)

    return calibrate


def _isotonic(calibration: Calibration) -> Callable[[Any], Any]:
    import tensorflow as tf

    begin, end, low, rise, per_width = segments(calibration)

    def calibrate(scores: Any) -> Any:
        score = scores[:, :, None]
        inside = tf.cast(tf.logical_and(score >= begin, score < end), tf.float32)  # 1 in one segment, 0 in the others
        share = tf.clip_by_value((score - begin) * per_width, 0.0, 1.0)
        return tf.reduce_sum(inside * (low + share * rise), axis=2)

    return calibrate


def segments(calibration: Calibration) -> tuple[np.ndarray[Any, np.dtype[np.float32]], ...]:
    """The straight pieces of isotonic curves, one before the first knot and one after the last included.

    Returns
    -------
    begin, end, low, rise, per_width : ndarrays of float32, shape (num_labels, most knots + 1)
        Where a piece begins and ends (exclusive), the probability where it begins, how far it rises, and 1 / its
        width. Where a label has fewer pieces than others, the rest is never reached.

    Raises
    ------
    UserError
        If there are more than `MOST_SEGMENTS`.

    Examples
    --------
    >>> begin, end, low, rise, _ = segments(Calibration("isotonic", (((0.25, 0.0), (0.75, 1.0)),)))
    >>> begin.tolist(), low.tolist(), rise.tolist()
    ([[-1.0, 0.25, 0.75]], [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]])
    """
    width = 1 + max(len(curve) for curve in calibration.curves)
    number = len(calibration.curves)
    if number * width > MOST_SEGMENTS:
        raise UserError(
            f"expected isotonic curves of at most {MOST_SEGMENTS:,} pieces ({number:,} labels x the most knots of a "
            f"curve + 1). Got {number * width:,}. Set decide.calibration: platt in params.yaml and run "
            "`dvc repro evaluate`."
        )
    begin, end = np.full((2, number, width), _BEYOND, np.float32)
    low, rise, per_width = np.zeros((3, number, width), np.float32)
    for label, curve in enumerate(calibration.curves):
        x, y = np.array(curve, np.float64).T
        n = len(curve)
        begin[label, : n + 1] = [-1.0, *x]
        end[label, : n + 1] = [*x, _BEYOND]
        low[label, : n + 1] = [y[0], *y]
        rise[label, 1:n] = np.diff(y)
        # Knots that are one in float32 have no segment between them: their width does not matter.
        gap = np.diff(begin[label, 1 : n + 1].astype(np.float64))
        per_width[label, 1:n] = np.divide(1.0, gap, out=np.zeros_like(gap), where=gap > 1e-30)
    return begin, end, low, rise, per_width
