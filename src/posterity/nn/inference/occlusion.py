"""How much a label loses where an image is covered: for networks of any kind.

Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks".
"""

from collections.abc import Sequence

import cv2
import keras
import numpy as np
import numpy.typing as npt

from posterity.pixels.decode import ImageArray

FloatArray = npt.NDArray[np.float32]
CELLS = 6  # along each side
NUM_PATCHES = (CELLS + 1) ** 2  # each covers 2 x 2 cells, or fewer where it hangs over the edge
GREY = 127
BATCH_SIZE = 16
LEAST = 1e-7  # probabilities nearer to 0 or 1 are float32's rounding


def drops(model: keras.Model, images: ImageArray, labels: Sequence[int]) -> FloatArray:
    """Cover images, patch by patch, and see by how much the log-odds of a label drop.

    A grey patch of a third of the height and the width moves by half its size, from where it hangs over the edge: there
    are 49, so that 50 images are scored for each image. What a cell of a sixth gets is the mean drop of the four
    patches that cover it, and between the middles of the cells the values go over into each other.

    Parameters
    ----------
    model : keras.Model
        uint8 images (batch, height, width, 3) in, probabilities (batch, num_labels) out.
    images : array of uint8, shape (n, height, width, 3)
        Equal ones that follow each other are scored once.
    labels : sequence of int, of length n
        Position of a label of each image.

    Returns
    -------
    array of float32, shape (n, height, width)
        Above 0 where the label loses.
    """
    height, width = images.shape[1:3]
    maps = np.zeros((len(images), height, width), np.float32)
    log_odds = np.zeros((0, 0))
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        if number == 0 or not np.array_equal(image, images[number - 1]):
            log_odds = _log_odds(model, _covered(image))
        lost = (log_odds[0, label] - log_odds[1:, label]).reshape(CELLS + 1, CELLS + 1)
        cells = (lost[1:, 1:] + lost[1:, :-1] + lost[:-1, 1:] + lost[:-1, :-1]) / 4
        maps[number] = cv2.resize(cells.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return maps


def _covered(image: ImageArray) -> ImageArray:
    """The image itself, then with each patch: uint8 (50, height, width, 3)."""
    tops, lefts = (np.linspace(0, side, CELLS + 1).round().astype(int) for side in image.shape[:2])
    covered = np.repeat(image[None], 1 + NUM_PATCHES, axis=0)
    for number, changed in enumerate(covered[1:]):
        # Of cells, patch k covers numbers k - 1 and k, as far as there are such.
        row, column = divmod(number, CELLS + 1)
        down = slice(tops[max(row - 1, 0)], tops[min(row + 1, CELLS)])
        right = slice(lefts[max(column - 1, 0)], lefts[min(column + 1, CELLS)])
        changed[down, right] = GREY
    return covered


def _log_odds(model: keras.Model, images: ImageArray) -> npt.NDArray[np.float64]:
    parts = [
        np.asarray(model.predict_on_batch(images[start : start + BATCH_SIZE]), dtype=np.float64)
        for start in range(0, len(images), BATCH_SIZE)
    ]
    probabilities = np.concatenate(parts).clip(LEAST, 1 - LEAST)
    return np.log(probabilities) - np.log1p(-probabilities)
