"""The feature cache: what frozen backbones see in every image and in its mirror image.

A cache is a folder::

    meta.json        names of the backbones and their pyramid levels, number of rows, length of a vector, digests
                     (`posterity.cache.sealed`); no backbones = nothing else is there
    features.npy     float32 (num_rows, 2, length): the image and its mirror image
    backbone.keras   the network that computed them, raw image in, vector out
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from posterity import reading
from posterity.cache import sealed
from posterity.cache.npy_rows import NpyRows
from posterity.cache.sealed import META
from posterity.errors import UserError

FloatArray = npt.NDArray[np.float32]
Moments = npt.NDArray[np.float64]
BACKBONE = "backbone.keras"
FEATURES = "features.npy"
STAGE = "features"  # which makes the folder
HOLDS = (META, FEATURES, BACKBONE)  # all files of the folder
VIEWS = 2  # as it is, and mirrored


def write_meta(folder: Path, backbones: Sequence[str], num_rows: int, length: int, *, pyramid_levels: int = 1) -> None:
    """Write meta.json into ``folder``, whose other files are complete."""
    content = {
        "backbones": list(backbones),
        "pyramid_levels": pyramid_levels,
        "num_rows": num_rows,
        "length": length,
    }
    there = [name for name in HOLDS if name != META and (folder / name).exists()]
    sealed.write_meta(folder, content, {name: sealed.sha256_of(folder / name) for name in there})


class FeatureWriter:
    """Append features to a new features.npy in ``folder``, float32 (num_rows, 2, length); use it inside ``with``.

    Nothing is held in memory: pages of a mapped file that are written would count as memory of the process.
    """

    def __init__(self, folder: Path, num_rows: int, length: int) -> None:
        self._shape = (num_rows, VIEWS, length)
        self._file = (folder / FEATURES).open("wb")
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self._file, header | {"shape": self._shape})
        self._num_written = 0

    def append(self, vectors: FloatArray) -> None:
        """Add the features of the next images, float32 (n, 2, length): of the images and of their mirror images."""
        self._file.write(np.ascontiguousarray(vectors, dtype=np.float32).data)
        self._num_written += len(vectors)
        if self._num_written >= self._shape[0]:
            self._file.flush()  # for `write_meta`

    def __enter__(self) -> "FeatureWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._file.close()
        if kind is None and self._num_written != self._shape[0]:
            raise ValueError(f"{self._num_written} of {self._shape[0]} rows were written")


class FeatureCache:
    """A feature cache opened for reading.

    Attributes
    ----------
    backbones : list of str
        What computed the features; empty if the model has no backbone.
    pyramid_levels : int
        Number of resolutions that were taken from each of them.
    backbone_path : Path
        The network, as a file.
    num_rows, length : int
        Number of images and length of a vector.

    Raises
    ------
    UserError
        If a file is missing or damaged.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        path = Path(folder)
        meta = sealed.read_meta(path, STAGE)
        self.backbones: list[str] = meta.get("backbones", [])
        if not isinstance(self.backbones, list) or not all(isinstance(name, str) for name in self.backbones):
            raise reading.damaged(path / META, "a list of backbones", reading.shown(self.backbones), STAGE)
        self.pyramid_levels = sealed.number(meta, "pyramid_levels", path / META, STAGE)
        self.num_rows = sealed.number(meta, "num_rows", path / META, STAGE)
        self.length = sealed.number(meta, "length", path / META, STAGE)
        self.folder = path
        self.backbone_path = path / BACKBONE
        if not self.backbones:
            return
        sums: dict[str, str] = meta["sha256"]
        if BACKBONE in sums:
            with reading.opened(self.backbone_path) as stream:
                sealed.check(self.backbone_path, stream, sums[BACKBONE], STAGE)
        if FEATURES not in sums:
            raise reading.damaged(path / META, f"the digest of {FEATURES}", reading.shown(sums), STAGE)
        self._rows = NpyRows(path / FEATURES, (self.length,), np.float32, sha256=sums[FEATURES], stage=STAGE)
        if self._rows.num_rows != VIEWS * self.num_rows:
            expected = f"{self.num_rows} images in {VIEWS} views"
            raise reading.damaged(path / FEATURES, expected, f"{self._rows.num_rows} rows", STAGE)
        self._held: FloatArray | None = None

    def check(self, backbones: Sequence[str], pyramid_levels: int, num_rows: int) -> None:
        """Make sure that these are features by ``backbones``, at so many levels, of so many images.

        DVC keeps them up to date. Without it (`dvc repro -s train`), old ones could be used unnoticed.

        Raises
        ------
        UserError
            If they are not.
        """
        wanted = (list(backbones), pyramid_levels, num_rows)
        found = (self.backbones, self.pyramid_levels, self.num_rows)
        if wanted != found:
            # Both of them name the levels only where one of them has several.
            names = [
                f"{name} at {_levels(levels)}" if max(wanted[1], found[1]) > 1 else f"{name}"
                for name, levels, _ in (wanted, found)
            ]
            raise UserError(
                f"{self.folder}: expected features by {names[0]} of {wanted[2]:,} images. "
                f"Got {names[1]} of {found[2]:,}. Run `dvc repro features`."
            )

    def hold(self, most_bytes: int) -> None:
        """Keep all features in memory from now on if they take at most ``most_bytes``: rows are then found sooner."""
        if self._held is None and VIEWS * self.num_rows * self.length * np.dtype(np.float32).itemsize <= most_bytes:
            self._held = self._rows.read(np.arange(VIEWS * self.num_rows))

    def vectors(self, rows: npt.ArrayLike, mirrored: npt.ArrayLike = False) -> FloatArray:
        """Copy features to an array float32 (n, length).

        Parameters
        ----------
        rows : array of int, shape (n,)
            Rows in the numbering of the tensor cache.
        mirrored : array of bool, shape (n,), or bool
            Which of them to take from the mirror image.
        """
        return self._read(VIEWS * np.asarray(rows) + np.asarray(mirrored, dtype=np.int64))

    def moments(self, rows: npt.ArrayLike, chunk: int = 1024) -> tuple[Moments, Moments]:
        """Mean and variance of every feature over ``rows`` and both views: float64 (length,) each."""
        rows = np.asarray(rows)
        total, squares = np.zeros(self.length), np.zeros(self.length)
        for start in range(0, len(rows), chunk):
            here = VIEWS * rows[start : start + chunk, None] + np.arange(VIEWS)
            part = self._read(here.reshape(-1)).astype(np.float64)
            total += part.sum(axis=0)
            squares += (part**2).sum(axis=0)
        mean = total / (VIEWS * len(rows))
        return mean, np.maximum(squares / (VIEWS * len(rows)) - mean**2, 0)

    def _read(self, rows: npt.NDArray[np.int64]) -> FloatArray:
        """Copy rows of the file, of which every image has `VIEWS`."""
        return self._rows.read(rows) if self._held is None else self._held[rows]


def _levels(number: int) -> str:
    return f"{number} pyramid level{'s' if number > 1 else ''}"
