"""What the network computes for the report, as plain arrays: `posterity.reporting.model_view` makes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from posterity.evaluation.scored_rows import FloatArray


@dataclass(frozen=True, eq=False)
class Unlabelled:
    """Images that no row names, scored by the model.

    Attributes
    ----------
    names : list of str
        Their files.
    images : ndarray of uint8, shape (n, height, width, 3)
        As the network gets them.
    scores : ndarray of float in [0, 1], shape (n, num_labels)
        What it says.
    found, unreadable : int
        How many there are in all, and how many of those that were tried cannot be read.
    """

    names: list[str]
    images: npt.NDArray[np.uint8]
    scores: FloatArray
    found: int
    unreadable: int


@dataclass(frozen=True, eq=False)
class ImageMap:
    """Where images lie so that those that the network finds alike are close together.

    Attributes
    ----------
    places : ndarray of int64, shape (n,)
        Which of the validation rows are on the map, ascending.
    points : ndarray of float64 in [0, 1], shape (n, 2)
        Where they are.
    explained : sequence of float
        Share of the variance of each of the two directions.
    """

    places: npt.NDArray[np.int64]
    points: FloatArray
    explained: Sequence[float]


@dataclass(frozen=True, eq=False)
class Seen:
    """All that the network computes for the report.

    Attributes
    ----------
    method : str
        How it was found out what the network looks at.
    explanations : list of dict
        ``label``, ``kind`` (hit, false positive or false negative), ``id``, ``score``, ``image`` and ``overlay``: uint8
        arrays of one size.
    image_map : ImageMap
        The map of the validation images.
    unlabelled : Unlabelled
        Images without a row.
    """

    method: str
    explanations: list[dict[str, Any]]
    image_map: ImageMap
    unlabelled: Unlabelled
