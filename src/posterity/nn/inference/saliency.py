"""What a network looks at: how much each place of an image speaks for a label."""

from collections.abc import Sequence
from typing import Literal
from weakref import WeakKeyDictionary

import keras
import numpy as np
import numpy.typing as npt

from posterity.nn.inference import grad_cam, occlusion
from posterity.pixels.decode import ImageArray

FloatArray = npt.NDArray[np.float32]
Method = Literal["Grad-CAM", "occlusion"]
_made: WeakKeyDictionary[keras.Model, grad_cam.GradCam] = WeakKeyDictionary()


def method_of(model: keras.Model) -> Method:
    """Name the method by which `explain` explains a model.

    It is Grad-CAM (for pooled maps its variant HiResCAM, see `posterity.nn.inference.grad_cam`) for every network whose
    labels are computed from feature maps: all of this project but transformers. These have tokens instead of maps, and
    are explained by occlusion, as is every network with another backend of Keras than TensorFlow and JAX.
    """
    return "Grad-CAM" if model in _made or grad_cam.is_for(model) else "occlusion"


def explain(model: keras.Model, images: ImageArray, labels: Sequence[int]) -> FloatArray:
    """Compute how much each place of image i speaks for label ``labels[i]``.

    What is explained are the log-odds of the label, before the sigmoid: the slope of a probability near 1 is near 0. Of
    a mean of networks it is the mean of their log-odds, so that each has an equal say.

    Parameters
    ----------
    model : keras.Model
        uint8 images (batch, height, width, 3) in, probabilities (batch, num_labels) out, as saved by this project.
    images : array of uint8, shape (n, height, width, 3)
        RGB, of the size of the network.
    labels : sequence of int, of length n
        Position of one label for each image. To explain several labels of an image, give it several times, one after
        the other.

    Returns
    -------
    array of float32, shape (n, height, width)
        From 0 to 1. Each map is scaled to a maximum of 1, so that two maps can be compared in where they look and not
        in how much; a map is all zeros if nothing in the image speaks for the label.

    Raises
    ------
    ValueError
        If the images are not of the size of the network or not uint8, if there is not one label for each, or if a label
        is none of the network's.

    See Also
    --------
    method_of : By which method. One call computes 16 images at a time, whatever n is; by occlusion each image takes 50.
    """
    _check(model, images, labels)
    if method_of(model) == "occlusion":
        return scaled(occlusion.drops(model, images, labels))
    if model not in _made:
        _made[model] = grad_cam.GradCam(model)
    return scaled(_made[model](images, labels))


def _check(model: keras.Model, images: ImageArray, labels: Sequence[int]) -> None:
    height, width = model.input_shape[1:3]
    if images.dtype != np.uint8 or images.shape[1:] != (height, width, 3):
        raise ValueError(f"images must be uint8 (n, {height}, {width}, 3). Got {images.dtype} {images.shape}")
    if len(labels) != len(images):
        raise ValueError(f"labels must name one label for each of {len(images)} images. Got {len(labels)}")
    number = model.output_shape[-1]
    if wrong := [label for label in labels if not 0 <= label < number]:
        raise ValueError(f"labels must be from 0 to {number - 1}. Got {wrong[0]}")


def scaled(maps: FloatArray) -> FloatArray:
    """Leave out what speaks against the label, and scale each map to a maximum of 1; one of zeros stays."""
    positive = np.maximum(maps, 0)
    highest = positive.max(axis=(1, 2), keepdims=True, initial=0)
    return np.divide(positive, highest, out=np.zeros_like(positive), where=highest > 0)
