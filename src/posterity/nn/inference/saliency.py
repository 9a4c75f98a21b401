"""What a network looks at: how much each place of an image speaks for a label."""

from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np
import numpy.typing as npt

from posterity.nn.inference import occlusion
from posterity.pixels.decode import ImageArray

FloatArray = npt.NDArray[np.float32]
Method = Literal["Grad-CAM", "occlusion"]


def method_of(model: keras.Model) -> Method:
    """How `explain` explains ``model``."""
    return "occlusion"


def explain(model: keras.Model, images: ImageArray, labels: Sequence[int]) -> FloatArray:
    """Compute how much each place of image i speaks for label ``labels[i]``.

    Returns
    -------
    array of float32, shape (n, height, width)
        From 0 to 1.
    """
    return scaled(occlusion.drops(model, images, labels))


def scaled(maps: FloatArray) -> FloatArray:
    """Leave out what speaks against the label, and scale each map to a maximum of 1; one of zeros stays."""
    positive = np.maximum(maps, 0)
    highest = positive.max(axis=(1, 2), keepdims=True, initial=0)
    return np.divide(positive, highest, out=np.zeros_like(positive), where=highest > 0)
