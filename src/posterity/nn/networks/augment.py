"""Training images that differ from epoch to epoch: changed one by one (augmentation), or mixed in pairs (mixup)."""

import keras
import numpy as np
import numpy.typing as npt
from keras import layers as keras_layers
from keras import ops

ERASED_AREA = (0.02, 0.33)  # shares of the image, as in Zhong et al. 2020, "Random Erasing Data Augmentation"


def layers(
    *,
    flip: bool,
    shift: float,
    zoom: float,
    brightness: float,
    contrast: float,
    erase: float,
    seed: int,
    value_range: tuple[float, float] = (-1.0, 1.0),
) -> list[keras.layers.Layer]:
    """Make Keras layers to be called one after the other on images, float (batch, height, width, 3) in ``value_range``.

    They act in training only, draw new numbers for each image, compute in float32 whatever the precision policy, and
    keep the values in ``value_range``. No layer is made for a 0 or for ``flip=False``.

    Parameters
    ----------
    flip : bool
        Mirror half of the images left to right.
    shift : float
        Move by up to this share of the height up or down and of the width left or right, in [0, 1).
    zoom : float
        Shrink or enlarge by up to this share of the size, in [0, 1), with the aspect ratio kept.
    brightness : float
        Add up to plus or minus this share of the value range, in [0, 1], and clip.
    contrast : float
        Scale the distance of each value from the mean of its image and channel by 1 plus or minus up to this, in
        [0, 1], and clip.
    erase : float
        Probability in [0, 1] that a rectangle of the image is filled with the middle of the value range. Each of its
        sides is the square root of a number in `ERASED_AREA`, as a share of the image's side.
    seed : int
        Of all random numbers. Those of one layer do not depend on the presence of the others.
    value_range : tuple of float
        The smallest and the largest possible value.
    """
    seeds = np.random.default_rng(seed).integers(2**31, size=6).tolist()  # one seed for all would correlate the layers
    made = []
    if flip:
        made.append(keras_layers.RandomFlip("horizontal", seed=seeds[0], dtype="float32", name="flip"))
    # Pixels from outside the image are those of the image mirrored at its edge: no constant border, no smeared pixels.
    if shift:
        made.append(
            keras_layers.RandomTranslation(shift, shift, "reflect", seed=seeds[1], dtype="float32", name="shift")
        )
    if zoom:
        made.append(keras_layers.RandomZoom(zoom, None, "reflect", seed=seeds[2], dtype="float32", name="zoom"))
    for layer in made:
        # Keras marks affine transformations as not compilable because TensorFlow's are not. On JAX they are plain
        # array code, and one layer so marked would make the whole training step run uncompiled.
        layer.supports_jit = layer.supports_jit or keras.backend.backend() == "jax"
    if brightness:
        made.append(
            keras_layers.RandomBrightness(brightness, value_range, seed=seeds[3], dtype="float32", name="brightness")
        )
    if contrast:
        # For a single number Keras draws factors from 1 to 1 + contrast; for a pair, from 1 - contrast to 1 + contrast.
        pair = (contrast, contrast)
        made.append(keras_layers.RandomContrast(pair, value_range, seed=seeds[4], dtype="float32", name="contrast"))
    if erase:
        made.append(
            keras_layers.RandomErasing(
                (erase, erase),  # for a single number Keras would draw the probability itself, from 0 to that number
                ERASED_AREA,
                fill_value=sum(value_range) / 2,
                value_range=value_range,
                seed=seeds[5],
                dtype="float32",
                name="erase",
            )
        )
    return made


@keras.saving.register_keras_serializable("posterity")
class Mix(keras.layers.Layer):
    """In training, mixes each row of a batch with its partner (mixup, Zhang et al. 2018); otherwise does nothing.

    Called with ``x`` float (batch, ...), ``partner`` int (batch,) and ``share`` float (batch,) as `draw_mixup` makes
    them, it returns x · share + x[partner] · (1 - share), in float32 whatever the precision policy. `mix_rows` does
    the same to the targets. ``partner`` numbers the rows of the whole batch. The layer therefore does not work on a
    batch that a strategy of TensorFlow has divided. It works on JAX with several processes: each sees the whole batch.
    """

    def __init__(self, **options: str) -> None:
        super().__init__(**{"dtype": "float32", **options})

    def call(
        self,
        x: keras.KerasTensor,
        partner: keras.KerasTensor,
        share: keras.KerasTensor,
        training: bool = False,
    ) -> keras.KerasTensor:
        if not training:
            return x
        share = ops.reshape(share, (-1,) + (1,) * (len(x.shape) - 1))
        return x * share + ops.take(x, partner, axis=0) * (1 - share)


def draw_mixup(
    generator: np.random.Generator, batch: int, alpha: float
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Draw the partner of each of ``batch`` rows, and the share of each row in the mixture.

    Parameters
    ----------
    generator : numpy.random.Generator
        Source of the random numbers.
    batch : int
        Number of rows.
    alpha : float
        > 0. Shares s are drawn from Beta(alpha, alpha), and the larger one of s and 1 - s is taken, so that the
        partner always has the smaller part. With a small alpha rows are hardly mixed; with 1 all shares are equally
        likely.

    Returns
    -------
    partner : array of int32, shape (batch,)
        A permutation of the rows; a row may be its own partner.
    share : array of float32, shape (batch,)
        The share of the row itself in the mixture, in [0.5, 1].
    """
    partner = generator.permutation(batch).astype(np.int32)
    share = generator.beta(alpha, alpha, batch)
    return partner, np.maximum(share, 1 - share).astype(np.float32)


def mix_rows(
    rows: npt.NDArray[np.float32], partner: npt.NDArray[np.int32], share: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Mix targets or vectors, float32 (batch, n), as `Mix` mixes the images. NaN stays NaN, whatever its share."""
    return rows * share[:, None] + rows[partner] * (1 - share[:, None])


def drop(generator: np.random.Generator, vectors: npt.NDArray[np.float32], rate: float) -> npt.NDArray[np.float32]:
    """Set about this share of the values to 0, and divide the others by 1 - ``rate``, in place (dropout).

    Srivastava et al. 2014, scaled in training so that a prediction needs no scale. Values are dropped independently of
    each other, each with the probability ``rate``, rounded to a multiple of 2 ** -16.

    Parameters
    ----------
    generator : numpy.random.Generator
        Source of the random numbers; nothing is drawn for a rate of 0.
    vectors : array of float32, shape (batch, length)
        It is changed.
    rate : float
        In [0, 1).
    """
    if rate:
        # 16 random bits for a value take half the time of a float.
        kept = generator.integers(1 << 16, size=vectors.shape, dtype=np.uint16) >= round(rate * (1 << 16))
        np.multiply(vectors, kept, out=vectors)
        vectors /= np.float32(1 - rate)
    return vectors
