"""What is trained on top of pretrained backbones, and both as one model."""

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from posterity.nn.networks.scratch import probabilities

FloatArray = npt.NDArray[np.floating]


def build_head(
    mean: FloatArray,
    variance: FloatArray,
    label_frequencies: npt.ArrayLike,
    *,
    hidden_units: int,
    dropout: float,
) -> keras.Model:
    """Build the part that is trained on features: standardise, drop, at most one hidden layer, a sigmoid a label.

    Parameters
    ----------
    mean, variance : array of float, shape (length,)
        Of the training features.
    label_frequencies : array of float, shape (num_labels,)
        Share of training rows that carry each label, each in (0, 1): where the head starts.
    hidden_units : int
        Width of the hidden layer; 0 = none.
    dropout : float
        Share of values dropped before each layer with weights, in [0, 1).

    Returns
    -------
    keras.Model
        float32 (batch, length) to probabilities float32 (batch, num_labels).
    """
    # A feature that was the same in all training images, if not for rounding, may differ in another: divided by a
    # deviation of nearly 0 it would drown all others in the hidden layer.
    variance = np.where(variance > 1e-10 * mean**2, variance, 1.0)
    features = keras.Input((len(mean),), name="features")
    x = layers.Normalization(mean=mean, variance=variance, dtype="float32", name="standardise")(features)
    x = layers.Dropout(dropout, name="features_dropout")(x)
    if hidden_units:
        x = layers.Dense(hidden_units, activation="gelu", name="hidden")(x)
        x = layers.Dropout(dropout, name="hidden_dropout")(x)
    last = probabilities(np.size(label_frequencies), np.asarray(label_frequencies, dtype=np.float64))
    last.kernel_initializer = keras.initializers.Zeros()  # so that every image starts at the frequencies
    return keras.Model(features, last(x), name="head")


def assemble(backbone: keras.Model, head: keras.Model) -> keras.Model:
    """Join what `networks.extractor.feature_model` and `build_head` made: raw images in, probabilities out."""
    images = keras.Input(backbone.input_shape[1:], dtype="uint8", name="image")
    return keras.Model(images, head(backbone(images)), name="classifier")
