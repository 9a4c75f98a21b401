"""How much a label loses where an image is covered: for networks of any kind.

Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks".
"""

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt

from posterity.pixels.decode import ImageArray

FloatArray = npt.NDArray[np.float32]
CELLS = 8  # along each side; a patch covers 2 x 2 of them, and there are 7 x 7 patches
GREY = 127
BATCH_SIZE = 16
LEAST = 1e-7  # probabilities nearer to 0 or 1 are float32's rounding


def drops(model: keras.Model, images: ImageArray, labels: Sequence[int]) -> FloatArray:
    """Cover images, patch by patch, and see by how much the log-odds of a label drop.

    A grey patch of a quarter of the height and the width moves by half its size: 49 patches, 50 images to score for
    each image. What a place gets is the mean drop of the up to four patches that cover it, blended from the middle of
    one cell to that of the next.

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
        Positive where the label loses.
    """
    height, width = images.shape[1:3]
    rows, columns = (np.linspace(0, side, CELLS + 1).round().astype(int) for side in (height, width))
    maps = np.zeros((len(images), height, width), np.float32)
    log_odds = None
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        if log_odds is None or not np.array_equal(image, images[number - 1]):
            log_odds = _log_odds(model, _covered(image, rows, columns))
        lost = (log_odds[0, label] - log_odds[1:, label]).reshape(CELLS - 1, CELLS - 1)
        maps[number] = _blended(_of_cells(lost), height, width)
    return maps


def _covered(image: ImageArray, rows: npt.NDArray[np.int_], columns: npt.NDArray[np.int_]) -> ImageArray:
    """The image itself, then with each patch: uint8 (50, height, width, 3)."""
    covered = np.repeat(image[None], 1 + (CELLS - 1) ** 2, axis=0)
    for number in range(1, len(covered)):
        row, column = divmod(number - 1, CELLS - 1)
        covered[number, rows[row] : rows[row + 2], columns[column] : columns[column + 2]] = GREY
    return covered


def _log_odds(model: keras.Model, images: ImageArray) -> FloatArray:
    parts = [
        np.asarray(model.predict_on_batch(images[start : start + BATCH_SIZE]), dtype=np.float64)
        for start in range(0, len(images), BATCH_SIZE)
    ]
    probabilities = np.concatenate(parts).clip(LEAST, 1 - LEAST)
    return (np.log(probabilities) - np.log1p(-probabilities)).astype(np.float32)


def _of_cells(lost: FloatArray) -> FloatArray:
    """The mean drop of the patches that cover each cell: (7, 7) to (8, 8)."""
    total, count = np.zeros((2, CELLS, CELLS), np.float32)
    for down in (0, 1):
        for right in (0, 1):
            part = slice(down, down + CELLS - 1), slice(right, right + CELLS - 1)
            total[part] += lost
            count[part] += 1
    return total / count


def _blended(cells: FloatArray, height: int, width: int) -> FloatArray:
    import cv2

    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
