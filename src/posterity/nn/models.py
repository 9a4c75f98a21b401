"""The networks by name: raw uint8 RGB in, one probability a label out, so that a saved model needs no helper."""

import math
from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from posterity.errors import UserError

COMPACT_STEM = 16
COMPACT_STAGES = (32, 64, 128, 192)


def build(name: str, *, height: int, width: int, label_frequencies: npt.ArrayLike) -> keras.Model:
    """Build the network called ``name``, not compiled, with fresh weights.

    Parameters
    ----------
    name : str
        A key of `BUILDERS`.
    height, width : int
        Image size in pixels.
    label_frequencies : array of float, shape (num_labels,)
        Share of training rows that carry each label, each in (0, 1); networks may start from it.

    Returns
    -------
    keras.Model
        Input uint8 (batch, height, width, 3), 0 to 255; output float32 (batch, num_labels), probabilities.

    Raises
    ------
    UserError
        If the image is so small that a layer would have nothing left to look at.
    """
    images = keras.Input((height, width, 3), dtype="uint8", name="image")
    smallest = SMALLEST_SIDE[name]
    for key, side in (("height", height), ("width", width)):
        if side < smallest:
            raise UserError(f"params.yaml: image.{key} must be at least {smallest} for {name}. Got {side}. Raise it.")
    probabilities = BUILDERS[name](images, np.asarray(label_frequencies, dtype=np.float64))
    return keras.Model(images, probabilities, name=name)


def tutorial_cnn(images: keras.KerasTensor, label_frequencies: npt.NDArray[np.float64]) -> keras.KerasTensor:
    """Add the network of "Build your First Multi-Label Image Classification Model in Python", layer by layer.

    At 400 x 300 and 25 labels it has 2,758,265 parameters. It starts from Keras' defaults, not from the frequencies.
    """
    x = layers.Rescaling(1 / 255, name="rescale")(images)
    for block, filters in enumerate((16, 32, 64, 64), start=1):
        x = layers.Conv2D(filters, 5, activation="relu", name=f"block{block}_conv")(x)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
        x = layers.Dropout(0.25, name=f"block{block}_dropout")(x)
    x = layers.Flatten(name="flatten")(x)
    for index, units in enumerate((128, 64), start=1):
        x = layers.Dense(units, activation="relu", name=f"dense{index}")(x)
        x = layers.Dropout(0.5, name=f"dense{index}_dropout")(x)
    return _probabilities(len(label_frequencies), None)(x)


def compact_cnn(images: keras.KerasTensor, label_frequencies: npt.NDArray[np.float64]) -> keras.KerasTensor:
    """Add a small residual network: 0.9 M parameters, an eighth of the multiply-adds of `tutorial_cnn`.

    The image is averaged to half size and met by a 5 x 5 stem of stride 2, so the costly layers see a quarter of the
    resolution. Four residual stages of stride 2 follow (He et al. 2016), then average and maximum pooling side by
    side. Starting from the label frequencies spares the first epochs, which otherwise go into learning them.
    """
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(images)
    x = layers.AveragePooling2D(2, name="half")(x)
    x = layers.Conv2D(COMPACT_STEM, 5, strides=2, padding="same", use_bias=False, name="stem_conv")(x)
    x = _norm("stem_norm")(x)
    x = layers.ReLU(name="stem_relu")(x)
    for stage, filters in enumerate(COMPACT_STAGES, start=1):
        x = _residual(x, filters, f"stage{stage}")
    pooled = [layers.GlobalAveragePooling2D(name="average")(x), layers.GlobalMaxPooling2D(name="maximum")(x)]
    x = layers.Concatenate(name="pooled")(pooled)
    x = layers.Dropout(0.3, name="dropout")(x)
    return _probabilities(len(label_frequencies), np.log(label_frequencies / (1 - label_frequencies)))(x)


BUILDERS: dict[str, Callable[..., keras.KerasTensor]] = {"tutorial_cnn": tutorial_cnn, "compact_cnn": compact_cnn}
SMALLEST_SIDE = {"tutorial_cnn": 76, "compact_cnn": 8}  # its four 5 x 5 convolutions do not pad


def multiply_adds(model: keras.Model) -> int:
    """Multiply-adds of one image's forward pass in the convolution and dense layers of ``model``."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            _, rows, columns, _ = layer.output.shape
            total += rows * columns * math.prod(layer.kernel.shape)
        elif isinstance(layer, layers.Dense):
            total += math.prod(layer.kernel.shape)
    return total


def summary(model: keras.Model) -> str:
    """The layers of ``model`` as text: Keras' table and a line with the multiply-adds."""
    lines: list[str] = []
    model.summary(line_length=110, print_fn=lines.append)
    return "\n".join([*lines, f" Multiply-adds an image: {multiply_adds(model):,}", ""])


def _residual(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Two 3 x 3 convolutions with a stride of 2, around them a shortcut that averages before it projects."""
    shortcut = layers.AveragePooling2D(2, padding="same", name=f"{name}_shortcut_pool")(x)
    shortcut = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_shortcut_conv")(shortcut)
    shortcut = _norm(f"{name}_shortcut_norm")(shortcut)
    x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"{name}_conv1")(x)
    x = _norm(f"{name}_norm1")(x)
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv2")(x)
    x = _norm(f"{name}_norm2")(x)
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu2")(x)


def _norm(name: str) -> layers.BatchNormalization:
    # Keras' 0.99 needs hundreds of steps before the statistics used for prediction have caught up with training; an
    # epoch of a thousand images has 16.
    return layers.BatchNormalization(momentum=0.9, name=name)


def _probabilities(num_labels: int, bias: npt.NDArray[np.float64] | None) -> layers.Dense:
    initializer = "zeros" if bias is None else keras.initializers.Constant(bias.tolist())
    # float32 whatever the precision policy: a float16 sigmoid saturates at 1e-7's neighbourhood.
    return layers.Dense(
        num_labels, activation="sigmoid", bias_initializer=initializer, dtype="float32", name="probabilities"
    )
