"""Scores of a trained model for cached rows or for new images, a batch at a time."""

import sys
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import numpy.typing as npt

from posterity.images import ImageArray, ImageProblem
from posterity.nn.batches import Batches

FloatArray = npt.NDArray[np.float32]

BATCH_SIZE = 64


def predict_batches(model: keras.Model, batches: Batches) -> FloatArray:
    """Probabilities, float32 (n, num_labels), for the rows of ``batches`` in their order."""
    scores: FloatArray = model.predict(batches, verbose=1 if sys.stdout.isatty() else 0)
    return scores


def predict_images(
    model: keras.Model, images: Iterable[ImageArray | ImageProblem], batch_size: int = BATCH_SIZE
) -> Iterator[FloatArray | ImageProblem]:
    """Probabilities, float32 (num_labels,), for a stream of decoded images; problems pass through in their place.

    Parameters
    ----------
    model : keras.Model
        uint8 images in, probabilities out.
    images : iterable
        uint8 arrays (height, width, 3), or the problem that stands in for an image.
    batch_size : int
        Images given to the network at once. All batches are filled up to this size, so that the network is compiled
        once and an image's scores do not depend on how many others are asked for.
    """
    waiting: list[ImageArray | ImageProblem] = []
    for image in images:
        waiting.append(image)
        if sum(not isinstance(item, ImageProblem) for item in waiting) == batch_size:
            yield from _predict_waiting(model, waiting, batch_size)
            waiting = []
    yield from _predict_waiting(model, waiting, batch_size)


def _predict_waiting(
    model: keras.Model, waiting: list[ImageArray | ImageProblem], batch_size: int
) -> Iterator[FloatArray | ImageProblem]:
    decoded = [item for item in waiting if not isinstance(item, ImageProblem)]
    scores: Iterator[FloatArray] = iter(())
    if decoded:
        batch = np.zeros((batch_size, *decoded[0].shape), np.uint8)
        batch[: len(decoded)] = decoded
        scores = iter(model.predict_on_batch(batch))
    for item in waiting:
        yield item if isinstance(item, ImageProblem) else next(scores)
