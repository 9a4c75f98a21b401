"""The head, which is trained on the features of pretrained backbones, and the last layer of every network."""

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

FloatArray = npt.NDArray[np.floating]


def build_head(
    mean: FloatArray,
    variance: FloatArray,
    label_frequencies: npt.ArrayLike,
    *,
    hidden_units: int,
    dropout: float,
) -> keras.Model:
    """Build the part that is trained on features: standardisation, dropout, at most one hidden layer, the last layer.

    Parameters
    ----------
    mean, variance : array of float, shape (length,)
        Of the training features.
    label_frequencies : array of float, shape (num_labels,)
        Share of training rows that carry each label, each in (0, 1): what the head answers before training.
    hidden_units : int
        Width of the hidden layer; 0 for none.
    dropout : float
        Share of values dropped before each layer with weights, in [0, 1).

    Returns
    -------
    keras.Model
        Takes float32 (batch, length), returns probabilities float32 (batch, num_labels).
    """
    features = keras.Input((len(mean),), name="features")
    variance = _divisible(mean, variance)
    x = layers.Normalization(mean=mean, variance=variance, dtype="float32", name="standardise")(features)
    x = layers.Dropout(dropout, name="features_dropout")(x)
    if hidden_units:
        x = layers.Dense(hidden_units, activation="gelu", name="hidden")(x)
        x = layers.Dropout(dropout, name="hidden_dropout")(x)
    last = probabilities(np.size(label_frequencies), np.asarray(label_frequencies, dtype=np.float64))
    last.kernel_initializer = keras.initializers.Zeros()  # so that every image starts at the frequencies
    return keras.Model(features, last(x), name="head")


def standardisation(mean: FloatArray, variance: FloatArray) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What a head of `build_head` subtracts from features, and what it divides them by: float32 (length,) each."""
    deviation = np.sqrt(_divisible(mean, variance).astype(np.float32))
    return mean.astype(np.float32), np.maximum(deviation, np.float32(keras.config.epsilon()))


def behind_dropout(head: keras.Model) -> keras.Model:
    """The layers of a head of `build_head` after its first dropout, with their weights.

    It takes features float32 (batch, length) that are standardised already, and in training dropped as well.
    """
    vectors = keras.Input(head.input_shape[1:], name="standardised")
    x = vectors
    for layer in head.layers[head.layers.index(head.get_layer("features_dropout")) + 1 :]:
        x = layer(x)
    return keras.Model(vectors, x, name="behind_dropout")


def _divisible(mean: FloatArray, variance: FloatArray) -> FloatArray:
    # A feature that was the same in all training images, if not for rounding, may differ in another: divided by a
    # deviation of nearly 0 it would drown all others in the hidden layer.
    return np.where(variance > 1e-10 * mean**2, variance, 1.0)


def probabilities(num_labels: int, start: npt.NDArray[np.float64] | None) -> layers.Dense:
    """The last layer of every network: one sigmoid per label.

    Its bias makes it answer ``start``, each in (0, 1), to a vector of zeros; None for a bias of 0.
    """
    bias = "zeros" if start is None else keras.initializers.Constant(np.log(start / (1 - start)).tolist())
    # float32 whatever the precision policy: a sigmoid in float16 cannot come nearer to 1 than 5e-4.
    return layers.Dense(num_labels, activation="sigmoid", bias_initializer=bias, dtype="float32", name="probabilities")
