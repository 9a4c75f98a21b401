"""The feature cache: what frozen backbones see in every image and in its mirror image, memory-mapped when read.

A cache is a folder::

    meta.json        names of the backbones, number of rows, length of a vector; no backbones = nothing else is there
    features.npy     float32 (num_rows, 2, length): the image and its mirror image
    backbone.keras   the network that computed them, raw image in, vector out
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from posterity import files

FloatArray = npt.NDArray[np.float32]
Moments = npt.NDArray[np.float64]
BACKBONE = "backbone.keras"
FEATURES = "features.npy"
META = "meta.json"
VIEWS = 2  # as it is, and mirrored


def write_meta(folder: Path, backbones: Sequence[str], num_rows: int, length: int) -> None:
    """Write meta.json into ``folder``."""
    files.write_json(folder / META, {"backbones": list(backbones), "num_rows": num_rows, "length": length})


def create(folder: Path, num_rows: int, length: int) -> npt.NDArray[Any]:
    """A new features.npy in ``folder``, float32 (num_rows, 2, length), as an array that writes to the disk."""
    shape = (num_rows, VIEWS, length)
    array: npt.NDArray[Any] = np.lib.format.open_memmap(folder / FEATURES, "w+", dtype=np.float32, shape=shape)
    return array


class FeatureCache:
    """A feature cache opened for reading.

    Attributes
    ----------
    backbones : list of str
        What computed the features; empty if the model has no backbone.
    backbone_path : Path
        The network, as a file.
    num_rows, length : int
        Number of images and length of a vector.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        meta = files.read_json(Path(folder) / META)
        self.backbones: list[str] = meta["backbones"]
        self.num_rows: int = meta["num_rows"]
        self.length: int = meta["length"]
        self.backbone_path = Path(folder) / BACKBONE
        if self.backbones:
            self._features = np.load(Path(folder) / FEATURES, mmap_mode="r")

    def vectors(self, rows: npt.ArrayLike, mirrored: npt.ArrayLike = False) -> FloatArray:
        """Copy features to an array float32 (n, length).

        Parameters
        ----------
        rows : array of int, shape (n,)
            Rows in the numbering of the tensor cache.
        mirrored : array of bool, shape (n,), or bool
            Which of them to take from the mirror image.
        """
        rows = np.asarray(rows)
        view = np.broadcast_to(np.asarray(mirrored, dtype=np.int64), rows.shape)
        return np.asarray(self._features[rows, view])

    def moments(self, rows: npt.ArrayLike, chunk: int = 4096) -> tuple[Moments, Moments]:
        """Mean and variance of every feature over ``rows`` and both views: float64 (length,) each."""
        rows = np.asarray(rows)
        total, squares = np.zeros(self.length), np.zeros(self.length)
        for start in range(0, len(rows), chunk):
            part = self._features[rows[start : start + chunk]].astype(np.float64)
            total += part.sum(axis=(0, 1))
            squares += (part**2).sum(axis=(0, 1))
        mean = total / (VIEWS * len(rows))
        return mean, np.maximum(squares / (VIEWS * len(rows)) - mean**2, 0)
