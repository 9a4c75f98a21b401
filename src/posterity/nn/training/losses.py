"""The losses, by name: cross-entropies of probabilities that weigh labels, or hard and easy answers, differently.

Batches with unknown targets (NaN) want a masked loss, and the metric `KnownCrossentropy`.
"""

import math
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from posterity import choices


@dataclass(frozen=True)
class LossOptions:
    """What the losses can be told; each looks only at its own options.

    With these defaults every loss equals `keras.losses.BinaryCrossentropy`, but for the weights of `weighted_bce`.

    Attributes
    ----------
    label_smoothing : float
        All losses. In [0, 1): targets y become y (1 - label_smoothing) + label_smoothing / 2.
    positive_weight_cap : float
        ``weighted_bce``. The largest weight of a positive, > 0.
    focal_gamma : float
        ``focal``. >= 0; plays down answers that are nearly right.
    focal_alpha : float, optional
        ``focal``. In (0, 1); weighs positives by alpha and negatives by 1 - alpha. None weighs neither.
    asymmetric_gamma_positive, asymmetric_gamma_negative : float
        ``asymmetric``. >= 0; play down positives and negatives that are nearly right.
    asymmetric_clip : float
        ``asymmetric``. In [0, 1); negatives with a probability below it cost nothing.
    """

    label_smoothing: float = 0.0
    positive_weight_cap: float = math.inf
    focal_gamma: float = 0.0
    focal_alpha: float | None = None
    asymmetric_gamma_positive: float = 0.0
    asymmetric_gamma_negative: float = 0.0
    asymmetric_clip: float = 0.0


def build(
    name: choices.Loss,
    options: LossOptions = LossOptions(),
    *,
    label_frequencies: npt.ArrayLike,
    masked: bool = False,
) -> keras.losses.Loss:
    """Make the loss called ``name``.

    It takes targets float in [0, 1] and probabilities, both (batch, num_labels), and is the mean over labels and rows.
    If it is masked, a target may be NaN, which is unknown, see `FocusedCrossentropy`.

    Parameters
    ----------
    name : {"bce", "weighted_bce", "focal", "asymmetric"}
        ``bce`` is Keras' own, unless a target may be unknown; the others are a `FocusedCrossentropy`: with
        `positive_weights`, as in Lin et al. 2017, "Focal Loss for Dense Object Detection", eq. 5, and as in Ridnik et
        al. 2021, "Asymmetric Loss For Multi-Label Classification", eq. 4 to 7.
    options : LossOptions
        Options of the loss.
    label_frequencies : array of float, shape (num_labels,)
        Share of training rows that carry each label, each in (0, 1), for `positive_weights`.
    masked : bool
        Whether a target may be NaN.
    """
    if name == "bce" and not masked:
        return keras.losses.BinaryCrossentropy(label_smoothing=options.label_smoothing)
    if name == "bce":
        return FocusedCrossentropy(label_smoothing=options.label_smoothing, masked=masked)
    if name == "weighted_bce":
        weights = positive_weights(label_frequencies, cap=options.positive_weight_cap)
        return FocusedCrossentropy(label_smoothing=options.label_smoothing, positive_weight=weights, masked=masked)
    if name == "focal":
        return FocusedCrossentropy(
            label_smoothing=options.label_smoothing,
            positive_weight=1.0 if options.focal_alpha is None else options.focal_alpha,
            negative_weight=1.0 if options.focal_alpha is None else 1 - options.focal_alpha,
            gamma_positive=options.focal_gamma,
            gamma_negative=options.focal_gamma,
            masked=masked,
        )
    return FocusedCrossentropy(
        label_smoothing=options.label_smoothing,
        gamma_positive=options.asymmetric_gamma_positive,
        gamma_negative=options.asymmetric_gamma_negative,
        clip=options.asymmetric_clip,
        masked=masked,
    )


def positive_weights(label_frequencies: npt.ArrayLike, *, cap: float) -> npt.NDArray[np.float64]:
    """Weigh the positives of each label so that together they weigh as much as its negatives, but at most ``cap``.

    Parameters
    ----------
    label_frequencies : array of float, shape (num_labels,)
        Share f of training rows that carry each label, each in (0, 1).
    cap : float
        Upper limit, > 0: a label with two positives would otherwise outweigh everything.

    Returns
    -------
    array of float64, shape (num_labels,)
        min(cap, (1 - f) / f).
    """
    frequencies = np.asarray(label_frequencies, dtype=np.float64)
    return np.minimum(cap, (1 - frequencies) / frequencies)


class KnownCrossentropy(keras.metrics.Mean):
    """The metric `keras.metrics.BinaryCrossentropy`, as the mean over the known targets; an unknown one is NaN."""

    def update_state(
        self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor, sample_weight: keras.KerasTensor | None = None
    ) -> None:
        """Add the known cells of a batch, (batch, num_labels); ``sample_weight``, (batch,), weighs its rows."""
        known, y = _separated(y_true)
        weights = ops.cast(known, "float32")
        if sample_weight is not None:
            weights = weights * ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
        p = _inside(ops.cast(y_pred, "float32"))
        super().update_state(-y * ops.log(p) - (1 - y) * ops.log(1 - p), sample_weight=weights)


class FocusedCrossentropy(keras.losses.Loss):
    """Binary cross-entropy in which positives and negatives have their own weights and focusing factors.

    With a probability p and q = max(p - clip, 0), a target y costs

        positive_weight · y · (1 - p)^gamma_positive · -log p
        + negative_weight · (1 - y) · q^gamma_negative · -log(1 - q),

    which for targets of 0 and 1 is the focal loss of Lin et al. 2017 (both gammas equal, no clip) or the asymmetric
    loss of Ridnik et al. 2021. It is linear in y: a target that mixes two rows costs the same mixture of their costs.
    (`keras.losses.BinaryFocalCrossentropy` agrees for 0 and 1. In between it uses one factor, from
    y p + (1 - y)(1 - p), which at y = 1/2 is constant however wrong p is.)

    The gradient is that of the formula, as in the gradient analysis of Ridnik et al. An option of their code holds the
    focusing factors constant in the gradient, which the formula does not say.

    If it is masked, targets that are NaN cost nothing and have a gradient of exactly 0, and what the known ones of a
    row cost is still divided by the number of all labels. So every known cell counts the same, whichever row and batch
    it comes in. The weights of `posterity.nn.training.batches.Batches` bring the loss to the scale of fully known
    targets.

    Parameters
    ----------
    label_smoothing : float
        In [0, 1): targets move that share of the way to 1/2.
    positive_weight, negative_weight : float or array of float, shape (num_labels,)
        >= 0.
    gamma_positive, gamma_negative : float
        Exponents, >= 0.
    clip : float
        Subtracted from the probability of a negative, in [0, 1).
    masked : bool
        Whether a target may be NaN.
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        positive_weight: npt.ArrayLike = 1.0,
        negative_weight: npt.ArrayLike = 1.0,
        gamma_positive: float = 0.0,
        gamma_negative: float = 0.0,
        clip: float = 0.0,
        masked: bool = False,
    ) -> None:
        super().__init__(name="focused_crossentropy")
        self.label_smoothing = label_smoothing
        self.positive_weight = np.asarray(positive_weight, dtype=np.float32)
        self.negative_weight = np.asarray(negative_weight, dtype=np.float32)
        self.gamma_positive = gamma_positive
        self.gamma_negative = gamma_negative
        self.clip = clip
        self.masked = masked

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """The cost of each row, shape (batch,), of targets and probabilities, both float (batch, num_labels)."""
        p = _inside(y_pred)
        q = ops.maximum(p - self.clip, keras.config.epsilon())
        known = None
        if self.masked:
            known, y_true = _separated(y_true)
        y = y_true * (1 - self.label_smoothing) + self.label_smoothing / 2
        positive = self.positive_weight * y * _power(1 - p, self.gamma_positive) * -ops.log(p)
        negative = self.negative_weight * (1 - y) * _power(q, self.gamma_negative) * -ops.log(1 - q)
        costs = positive + negative
        if known is not None:
            costs = ops.where(known, costs, 0.0)
        return ops.mean(costs, axis=-1)


def _inside(probabilities: keras.KerasTensor) -> keras.KerasTensor:
    # Kept 1e-7 away from 0 and 1, as Keras does: neither a logarithm nor the slope of a power below 1 is infinite.
    epsilon = keras.config.epsilon()
    return ops.clip(probabilities, epsilon, 1 - epsilon)


def _separated(y_true: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Which targets are known, and the targets with 0 for the others.

    NaN goes before it can meet a number: in a gradient, 0 times NaN is NaN, so that a mask at the end is too late.
    """
    known = ops.logical_not(ops.isnan(y_true))
    return known, ops.where(known, y_true, 0.0)


def _power(base: keras.KerasTensor, exponent: float) -> keras.KerasTensor | float:
    return 1.0 if exponent == 0 else ops.power(base, exponent)
