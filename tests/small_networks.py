"""One small network of every kind that the project saves, with random weights, and images for it."""

import functools
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from posterity.nn import keras_file
from posterity.nn.networks import assemble, backbones, extractor, scratch
from posterity.nn.networks.head import build_head

FREQUENCIES = [0.5, 0.2, 0.1]


def images_for(model: keras.Model, number: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (number, *model.input_shape[1:]), dtype=np.uint8)


def from_scratch(name: str, seed: int = 1) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return scratch.build(name, height=80, width=78, label_frequencies=FREQUENCIES).model


def head(backbone: keras.Model, hidden_units: int = 0, seed: int = 0) -> keras.Model:
    """A head whose last layer is not all zeros, as a fresh one's is."""
    length = backbone.output_shape[1]
    made = build_head(np.zeros(length), np.ones(length), FREQUENCIES, hidden_units=hidden_units, dropout=0.5)
    last = made.get_layer("probabilities")
    last.kernel.assign(np.random.default_rng(seed).normal(0, 0.5, last.kernel.shape))
    return made


def convnet(folder: Path, channels: int) -> str:
    """Save a network for images of any size, with gates, a shortcut and a Sequential model in it; return its name."""
    keras.utils.set_random_seed(channels)
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(channels, 3, strides=2, padding="same", activation="relu")(layers.Rescaling(1 / 255)(image))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)  # squeeze-and-excitation
    x = layers.Multiply()([x, layers.Conv2D(channels, 1, activation="sigmoid")(gate)])
    x = keras.Sequential([layers.ZeroPadding2D(1), layers.DepthwiseConv2D(3), layers.BatchNormalization()])(x)
    y = layers.Conv2D(2 * channels, 3, strides=2, padding="same", activation="relu")(x)
    y = layers.Add()([y, layers.Conv2D(2 * channels, 1)(layers.AveragePooling2D(2, padding="same")(x))])
    keras.Model(image, y).save(folder / f"convnet{channels}.keras")
    return f"convnet{channels}.keras"


def backbone(entries: list[str], folder: Path, size: tuple[int, int], pyramid_levels: int = 1) -> keras.Model:
    height, width = size
    load = functools.partial(
        backbones.load, folder=folder, weights=None, height=height, width=width, pyramid_levels=pyramid_levels
    )
    loaded = [load(entry, name=f"backbone{number}") for number, entry in enumerate(entries)]
    return extractor.feature_model(loaded)


def on_preset(folder: Path, family: str, size: tuple[int, int]) -> keras.Model:
    import tiny_presets

    tiny_presets.save(folder / family, family)
    seen = backbone([family], folder, size)
    return assemble.with_head(seen, head(seen))


def everything(folder: Path) -> keras.Model:
    """Two backbones of two levels each, three heads and both views."""
    seen = backbone([convnet(folder, 4), convnet(folder, 6)], folder, (32, 24), pyramid_levels=2)
    heads = assemble.average([head(seen, 5, seed) for seed in range(3)], name="head")
    return assemble.with_head(seen, heads, both_views=True)


def one_backbone(folder: Path) -> keras.Model:
    seen = backbone([convnet(folder, 6)], folder, (32, 24))
    return assemble.with_head(seen, head(seen))


MAKERS: dict[str, Callable[[Path], keras.Model]] = {
    "tutorial_cnn": lambda folder: from_scratch("tutorial_cnn"),
    "compact_cnn": lambda folder: from_scratch("compact_cnn"),
    "mean": lambda folder: assemble.average([from_scratch("compact_cnn", seed) for seed in (1, 2)], name="mean"),
    "backbone": one_backbone,
    "everything": everything,
    "resnet": functools.partial(on_preset, family="resnet", size=(48, 48)),
    "dinov2": functools.partial(on_preset, family="dinov2", size=(16, 16)),
    "siglip": functools.partial(on_preset, family="siglip", size=(16, 16)),
    "swin": functools.partial(on_preset, family="swin", size=(16, 16)),
    "vit": functools.partial(on_preset, family="vit", size=(16, 12)),
}
TRANSFORMERS = ("dinov2", "siglip", "swin", "vit")


def saved_and_loaded(kind: str, folder: Path) -> keras.Model:
    """A network of a kind, a key of `MAKERS`, as it comes out of a file."""
    keras_file.save(MAKERS[kind](folder), folder / "model.keras")
    return keras_file.load(folder / "model.keras")
