"""Scores of a trained model for cached rows or for new images, a batch at a time."""

import sys
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import numpy.typing as npt

from posterity.images import ImageArray, ImageProblem
from posterity.nn.batches import Batches
from posterity.nn.engine import BatchFunction
from posterity.parallel import chunks

FloatArray = npt.NDArray[np.float32]

BATCH_SIZE = 64


def predict_batches(model: keras.Model, batches: Batches) -> FloatArray:
    """Probabilities, float32 (n, num_labels), for the rows of ``batches`` in their order."""
    scores: FloatArray = model.predict(batches, verbose=1 if sys.stdout.isatty() else 0)
    return scores


def predict_images(
    compute: BatchFunction, images: Iterable[ImageArray | ImageProblem], batch_size: int = BATCH_SIZE
) -> Iterator[FloatArray | ImageProblem]:
    """Probabilities, float32 (num_labels,), for a stream of decoded images; problems pass through in their place.

    Parameters
    ----------
    compute : callable
        uint8 images (n, height, width, 3) to float32 (n, num_labels), see `posterity.nn.engine.batch_function`.
    images : iterable
        uint8 arrays (height, width, 3), or the problem that stands in for an image. While ``compute`` is at work, its
        threads, if it has any, make the next ones: `posterity.images.decode_all` is 64 ahead on two cores.
    batch_size : int
        Items taken at once; no more are held here.
    """
    for items in chunks(images, batch_size):
        decoded = [item for item in items if not isinstance(item, ImageProblem)]
        scores = iter(compute(np.stack(decoded)) if decoded else ())
        for item in items:
            yield item if isinstance(item, ImageProblem) else next(scores)
