"""Vectors of images: what the last layer before the labels sees."""

import keras
import numpy as np
import numpy.typing as npt

from posterity.pixels.decode import ImageArray

FloatArray = npt.NDArray[np.float32]


def embed(model: keras.Model, images: ImageArray) -> FloatArray:
    """Compute what the last layer of ``model`` sees of each image.

    Returns
    -------
    array of float32, shape (n, d)
    """
    return np.asarray(model.predict(images, batch_size=16, verbose=0), dtype=np.float32)
