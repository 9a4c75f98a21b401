"""The networks that are trained from scratch, by name.

Each takes raw uint8 RGB images and returns one probability per label, so that a saved model needs no other code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from posterity.choices import SMALLEST_SIDE
from posterity.nn.networks.assemble import Network, chain, network
from posterity.nn.networks.fused_norm import with_fused_norms
from posterity.nn.networks.head import probabilities

COMPACT_STEM = 16
COMPACT_STAGES = (32, 64, 128, 192)


@dataclass(frozen=True)
class Blueprint:
    """A network from scratch: layers without weights that prepare the image, then what is trained.

    Attributes
    ----------
    prepare : function
        Makes the layers that turn uint8 images into floats, in order.
    value_range : tuple of float
        The smallest and the largest value that these layers return.
    body : function
        Adds the other layers: from prepared images, and the training frequencies of the labels, to probabilities.
    any_size : bool
        Whether the weights of the body fit images of every size.
    """

    prepare: Callable[[], list[keras.layers.Layer]]
    value_range: tuple[float, float]
    body: Callable[[keras.KerasTensor, npt.NDArray[np.float64]], keras.KerasTensor]
    any_size: bool


def build(
    name: str,
    *,
    height: int,
    width: int,
    label_frequencies: npt.ArrayLike,
    augmentation: Callable[[tuple[float, float]], Sequence[keras.layers.Layer]] = lambda value_range: (),
    mixup: bool = False,
    half_size: bool = False,
    ema: float | None = None,
) -> Network:
    """Build the network called ``name``, not compiled, with fresh weights.

    Parameters
    ----------
    name : str
        A key of `BLUEPRINTS`.
    height, width : int
        Image size in pixels, each at least `posterity.choices.SMALLEST_SIDE`.
    label_frequencies : array of float, shape (num_labels,)
        Share of training rows that carry each label, each in (0, 1); networks may start from it.
    augmentation : function
        Makes the layers that change training images; it is given the range of values.
    mixup : bool
        Whether training mixes images.
    half_size : bool
        Whether to make the form ``half_size`` as well; only for a blueprint of ``any_size``.
    ema : float, optional
        Momentum of the average of the weights, if training keeps one. The statistics of batch normalisation then look
        back equally far: those of the last few steps do not fit averaged weights (posters: the loss is 0.002 higher).

    Returns
    -------
    Network
        Its model takes uint8 (batch, height, width, 3), 0 to 255.

    Raises
    ------
    ValueError
        If the image is too small for the network, or if ``half_size`` is asked of a network for one size only.
    """
    blueprint = BLUEPRINTS[name]
    if min(height, width) < SMALLEST_SIDE[name]:
        raise ValueError(f"height and width must be at least {SMALLEST_SIDE[name]} for {name}. Got {height} x {width}")
    images = keras.Input((height, width, 3), dtype="uint8", name="image")
    prepare = blueprint.prepare()
    prepared = keras.Input(chain(prepare, images).shape[1:], name="prepared")
    frequencies = np.asarray(label_frequencies, dtype=np.float64)
    body = keras.Model(prepared, blueprint.body(prepared, frequencies), name="body")
    for layer in body.layers:
        if ema is not None and isinstance(layer, layers.BatchNormalization):
            layer.momentum = max(ema, layer.momentum)
    augment = augmentation(blueprint.value_range)
    trained = with_fused_norms(body)
    made = network(images, prepare, body, name=name, trained_body=trained, augment=augment, mixup=mixup)
    if not half_size:
        return made
    if not blueprint.any_size:
        raise ValueError(f"the weights of {name} fit images of one size only")
    shrunk = [*prepare, layers.AveragePooling2D(2, name="half_size")]
    smaller = keras.Input(chain(shrunk, images).shape[1:], name="prepared")
    # The same layers, and so the same weights, called on a smaller image.
    body = keras.models.clone_model(trained, input_tensors=smaller, clone_function=lambda layer: layer)
    return replace(made, half_size=network(images, shrunk, body, name=name, augment=augment, mixup=mixup).training)


def tutorial_cnn(x: keras.KerasTensor, label_frequencies: npt.NDArray[np.float64]) -> keras.KerasTensor:
    """Add the network of "Build your First Multi-Label Image Classification Model in Python", layer by layer.

    At 400 x 300 and 25 labels it has 2,758,265 parameters. It starts from Keras' defaults, not from the frequencies.
    """
    for block, filters in enumerate((16, 32, 64, 64), start=1):
        x = layers.Conv2D(filters, 5, activation="relu", name=f"block{block}_conv")(x)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
        x = layers.Dropout(0.25, name=f"block{block}_dropout")(x)
    x = layers.Flatten(name="flatten")(x)
    for index, units in enumerate((128, 64), start=1):
        x = layers.Dense(units, activation="relu", name=f"dense{index}")(x)
        x = layers.Dropout(0.5, name=f"dense{index}_dropout")(x)
    return probabilities(len(label_frequencies), None)(x)


def compact_cnn(x: keras.KerasTensor, label_frequencies: npt.NDArray[np.float64]) -> keras.KerasTensor:
    """Add a small residual network: 0.9 M parameters, an eighth of the multiply-adds of `tutorial_cnn`.

    The image is averaged to half its size, and the first convolution, 5 x 5, has a stride of 2, so that the costly
    layers work at a quarter of the resolution. Four residual stages of stride 2 follow (He et al. 2016), then average
    and maximum pooling side by side. The network starts from the label frequencies; it would otherwise spend its first
    epochs on learning them.
    """
    x = layers.Conv2D(COMPACT_STEM, 5, strides=2, padding="same", use_bias=False, name="stem_conv")(x)
    x = _norm("stem_norm")(x)
    x = layers.ReLU(name="stem_relu")(x)
    for stage, filters in enumerate(COMPACT_STAGES, start=1):
        x = _residual(x, filters, f"stage{stage}")
    pooled = [layers.GlobalAveragePooling2D(name="average")(x), layers.GlobalMaxPooling2D(name="maximum")(x)]
    x = layers.Concatenate(name="pooled")(pooled)
    x = layers.Dropout(0.3, name="dropout")(x)
    return probabilities(len(label_frequencies), label_frequencies)(x)


BLUEPRINTS = {
    "tutorial_cnn": Blueprint(
        prepare=lambda: [layers.Rescaling(1 / 255, name="rescale")],
        value_range=(0.0, 1.0),
        body=tutorial_cnn,
        any_size=False,
    ),
    "compact_cnn": Blueprint(
        prepare=lambda: [
            layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale"),
            layers.AveragePooling2D(2, name="half"),
        ],
        value_range=(-1.0, 1.0),
        body=compact_cnn,
        any_size=True,
    ),
}


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
