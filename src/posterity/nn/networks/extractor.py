"""The network that computes features: pretrained backbones side by side, and one vector of what they see."""

from collections.abc import Sequence

import keras
from keras import layers


def feature_model(backbones: Sequence[keras.Model]) -> keras.Model:
    """Put backbones side by side and concatenate their outputs to one vector; of a map, take each channel's mean.

    Taking each channel's maximum as well did not help (posters, EfficientNet-Lite0: validation loss 0.1983 with it and
    0.1973 without).

    Parameters
    ----------
    backbones : sequence of keras.Model
        Each takes uint8 images (batch, height, width, 3) and returns a feature map (batch, h, w, channels) or a vector
        (batch, channels).

    Returns
    -------
    keras.Model
        Takes images uint8 (batch, height, width, 3), returns float32 (batch, length).
    """
    images = keras.Input(backbones[0].input_shape[1:], dtype="uint8", name="image")
    vectors = []
    for number, backbone in enumerate(backbones, start=1):
        seen = backbone(images)
        if len(seen.shape) == 2:
            vectors.append(seen)
            continue
        vectors.append(layers.GlobalAveragePooling2D(dtype="float32", name=f"average{number}")(seen))
    joined = vectors[0] if len(vectors) == 1 else layers.Concatenate(dtype="float32", name="features")(vectors)
    return keras.Model(images, joined, name="backbone")
