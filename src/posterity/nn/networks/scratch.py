"""The networks by name: raw uint8 RGB in, one probability a label out, so that a saved model needs no helper."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from posterity.errors import UserError
from posterity.nn.networks.augment import Mix

COMPACT_STEM = 16
COMPACT_STAGES = (32, 64, 128, 192)


@dataclass(frozen=True)
class Network:
    """A model in two forms that share their weights.

    Attributes
    ----------
    model : keras.Model
        Inputs in, probabilities float32 (batch, num_labels) out: what is saved and what predicts.
    training : keras.Model
        The same with augmentation and mixup before the layers that have weights: what is fitted. Both act in training
        only. With mixup its inputs are ``{"input", "partner", "share"}``, as `training.batches.Batches` serves.
    half_size : keras.Model, optional
        What ``training`` is, on images shrunk to half the size before augmentation: a third of the time a step.
    """

    model: keras.Model
    training: keras.Model
    half_size: keras.Model | None = None


@dataclass(frozen=True)
class Blueprint:
    """A network from scratch: layers without weights that prepare the image, then what is trained.

    Attributes
    ----------
    prepare : function
        Makes the layers that turn uint8 images into floats, in order.
    value_range : tuple of float
        The smallest and the largest value they put out.
    body : function
        Adds the rest: prepared images and the training frequencies of the labels to probabilities.
    smallest_side : int
        Least height and width of an image, in pixels.
    any_size : bool
        Whether the weights of the body fit images of every size.
    """

    prepare: Callable[[], list[keras.layers.Layer]]
    value_range: tuple[float, float]
    body: Callable[[keras.KerasTensor, npt.NDArray[np.float64]], keras.KerasTensor]
    smallest_side: int
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
        Image size in pixels.
    label_frequencies : array of float, shape (num_labels,)
        Share of training rows that carry each label, each in (0, 1); networks may start from it.
    augmentation : function
        Given the range of values, makes the layers that change training images.
    mixup : bool
        Whether training mixes images.
    half_size : bool
        Whether to make ``half_size`` as well; only for a blueprint of ``any_size``.
    ema : float, optional
        Momentum of the average of the weights, if training keeps one. The statistics of batch normalisation then look
        back as far: those of the last few steps do not fit averaged weights (posters: 0.002 higher in loss).

    Returns
    -------
    Network
        Its model takes uint8 (batch, height, width, 3), 0 to 255.

    Raises
    ------
    UserError
        If the image is so small that a layer would have nothing left to look at.
    """
    blueprint = BLUEPRINTS[name]
    smallest = blueprint.smallest_side
    for key, side in (("height", height), ("width", width)):
        if side < smallest:
            raise UserError(f"params.yaml: image.{key} must be at least {smallest} for {name}. Got {side}. Raise it.")
    images = keras.Input((height, width, 3), dtype="uint8", name="image")
    prepare = blueprint.prepare()
    prepared = keras.Input(_chain(prepare, images).shape[1:], name="prepared")
    frequencies = np.asarray(label_frequencies, dtype=np.float64)
    body = keras.Model(prepared, blueprint.body(prepared, frequencies), name="body")
    for layer in body.layers:
        if ema is not None and isinstance(layer, layers.BatchNormalization):
            layer.momentum = max(ema, layer.momentum)
    augment = augmentation(blueprint.value_range)
    made = network(images, prepare, body, name=name, augment=augment, mixup=mixup)
    if not half_size:
        return made
    if not blueprint.any_size:
        raise ValueError(f"the weights of {name} fit images of one size only")
    shrunk = [*prepare, layers.AveragePooling2D(2, name="half_size")]
    smaller = keras.Input(_chain(shrunk, images).shape[1:], name="prepared")
    # The same layers, and so the same weights, called on a smaller image.
    body = keras.models.clone_model(body, input_tensors=smaller, clone_function=lambda layer: layer)
    return replace(made, half_size=network(images, shrunk, body, name=name, augment=augment, mixup=mixup).training)


def network(
    inputs: keras.KerasTensor,
    prepare: Sequence[keras.layers.Layer],
    body: keras.Model,
    *,
    name: str,
    augment: Sequence[keras.layers.Layer] = (),
    mixup: bool = False,
) -> Network:
    """Join ``prepare``, in training also ``augment`` and mixup, and ``body``, which holds the weights."""
    model = keras.Model(inputs, body(_chain(prepare, inputs)), name=name)
    if not augment and not mixup:
        return Network(model, model)
    raw = keras.Input(inputs.shape[1:], dtype=inputs.dtype, name="input")
    changed = _chain([*prepare, *augment], raw)
    if not mixup:
        return Network(model, keras.Model(raw, body(changed), name="training"))
    partner, share = keras.Input((), dtype="int32", name="partner"), keras.Input((), name="share")
    mixed = Mix(name="mix")(changed, partner, share)
    return Network(model, keras.Model({"input": raw, "partner": partner, "share": share}, body(mixed), name="training"))


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

    The image is averaged to half size and met by a 5 x 5 stem of stride 2, so the costly layers see a quarter of the
    resolution. Four residual stages of stride 2 follow (He et al. 2016), then average and maximum pooling side by
    side. Starting from the label frequencies spares the first epochs, which otherwise go into learning them.
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
        smallest_side=76,  # its four 5 x 5 convolutions do not pad
        any_size=False,
    ),
    "compact_cnn": Blueprint(
        prepare=lambda: [
            layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale"),
            layers.AveragePooling2D(2, name="half"),
        ],
        value_range=(-1.0, 1.0),
        body=compact_cnn,
        smallest_side=8,
        any_size=True,
    ),
}


def multiply_adds(model: keras.Model) -> int:
    """Multiply-adds of one image's forward pass in the convolution and dense layers of ``model``."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += multiply_adds(layer)
        elif isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.SeparableConv2D | layers.Dense):
            # A separable convolution has two kernels; a dense layer on a feature map is a 1 x 1 convolution.
            kernels = [weight.shape for weight in layer.weights if weight.name.endswith("kernel")]
            total += math.prod(layer.output.shape[1:-1]) * sum(math.prod(shape) for shape in kernels)
    return total


def summary(model: keras.Model) -> str:
    """The layers of ``model`` as text: Keras' table and a line with the multiply-adds."""
    lines: list[str] = []
    model.summary(line_length=110, expand_nested=True, print_fn=lines.append)
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


def probabilities(num_labels: int, start: npt.NDArray[np.float64] | None) -> layers.Dense:
    """The last layer: a sigmoid a label, with a bias that answers ``start`` (each in (0, 1)) to a zero vector."""
    bias = "zeros" if start is None else keras.initializers.Constant(np.log(start / (1 - start)).tolist())
    # float32 whatever the precision policy: a float16 sigmoid saturates at 1e-7's neighbourhood.
    return layers.Dense(num_labels, activation="sigmoid", bias_initializer=bias, dtype="float32", name="probabilities")


def _chain(steps: Sequence[keras.layers.Layer], x: keras.KerasTensor) -> keras.KerasTensor:
    for step in steps:
        x = step(x)
    return x
