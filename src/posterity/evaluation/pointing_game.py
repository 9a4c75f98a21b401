"""Whether maps of what a network looks at point at the thing itself.

The pointing game of Zhang et al. 2018, "Top-Down Neural Attention by Excitation Backprop": a map hits if its maximum
lies on the thing.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


def pointing_game(maps: FloatArray, boxes: FloatArray) -> BoolArray:
    """Say of each map whether the middle of its highest pixel lies in a box.

    Parameters
    ----------
    maps : array of float, shape (n, height, width)
        Such as those of `posterity.nn.inference.saliency.explain`. Of several highest pixels the first one counts, row
        by row. A map that is the same everywhere points nowhere: it misses.
    boxes : array of float, shape (n, 4)
        Left, top, right and bottom of a box in each image, as shares of the width and the height, from 0 to 1.

    Returns
    -------
    array of bool, shape (n,)

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> maps = np.array([[[0.0, 0.1], [0.0, 0.9]]])  # highest at the bottom right, in the middle of that quarter
    >>> pointing_game(maps, np.array([[0.5, 0.5, 1.0, 1.0]])).tolist()
    [True]
    >>> pointing_game(maps, np.array([[0.0, 0.0, 1.0, 0.7]])).tolist()
    [False]
    """
    if maps.ndim != 3 or boxes.shape != (len(maps), 4):
        raise ValueError(f"maps must be (n, height, width) and boxes (n, 4). Got {maps.shape} and {boxes.shape}")
    number, height, width = maps.shape
    if not number:
        return np.zeros(0, dtype=bool)
    flat = maps.reshape(number, -1)
    row, column = np.divmod(flat.argmax(axis=1), width)
    points = flat.max(axis=1) > flat.min(axis=1)
    hits: BoolArray = points & _inside((column + 0.5) / width, (row + 0.5) / height, boxes)
    return hits


def centre_hits(boxes: FloatArray) -> BoolArray:
    """Say of each box whether the middle of the image lies in it: what a map that always points there would hit."""
    return _inside(np.full(len(boxes), 0.5), np.full(len(boxes), 0.5), boxes)


def random_rates(boxes: FloatArray) -> npt.NDArray[np.float64]:
    """The area of each box, as a share of the image: how often a place drawn by lot lies in it."""
    left, top, right, bottom = np.asarray(boxes, dtype=np.float64).T
    areas: npt.NDArray[np.float64] = (right - left) * (bottom - top)
    return areas


def _inside(x: FloatArray, y: FloatArray, boxes: FloatArray) -> BoolArray:
    left, top, right, bottom = boxes.T
    inside: BoolArray = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    return inside
