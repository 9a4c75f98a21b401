"""The tensor cache: decoded images as uint8 shards on disk, read a row at a time.

A cache is a folder, written by `posterity.cache.tensor_writer`::

    images-00000.npy ...   uint8 (rows_per_shard, height, width, 3); the last shard may be shorter
    targets.npy            uint8 (num_rows, num_labels), multi-hot
    index.csv              row, id, sha256 of every cached row, in order
    meta.json              image spec, label names, number of rows, rows per shard
"""

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from posterity import files
from posterity.cache.npy_rows import NpyRows
from posterity.pixels.decode import ImageSpec

UInt8Array = npt.NDArray[np.uint8]
INDEX_COLUMNS = ["row", "id", "sha256"]
MAX_OPEN_SHARDS = 256  # a process may often have no more than 1,024 files open


class TensorCache:
    """A cache folder opened for reading; images stay on disk until `images` asks for them.

    Attributes
    ----------
    spec : ImageSpec
        How the images were made.
    label_names : list of str
        Vocabulary, in the order of the target columns.
    targets : ndarray of uint8, shape (num_rows, num_labels)
        Multi-hot labels.
    index : DataFrame
        ``row``, ``id`` and ``sha256`` of every cached row.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        meta: dict[str, Any] = files.read_json(self.folder / "meta.json")
        self.spec = ImageSpec(**meta["image"])
        self.label_names: list[str] = meta["labels"]
        self.rows_per_shard: int = meta["rows_per_shard"]
        self.targets: UInt8Array = np.load(self.folder / "targets.npy")
        self.index = files.read_csv(self.folder / "index.csv", row="int64")
        # Threads that read a shard keep it open while it falls out of this cache.
        self._shard = functools.lru_cache(MAX_OPEN_SHARDS)(self._open)

    def __len__(self) -> int:
        return len(self.targets)

    def images(self, rows: npt.ArrayLike) -> UInt8Array:
        """Read the images of ``rows`` (integers in [0, num_rows), any order) to an array (n, height, width, 3)."""
        wanted = np.asarray(rows, dtype=np.int64)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"rows must lie in [0, {len(self)}), got {wanted.min()} to {wanted.max()}")
        batch = np.empty((len(wanted), self.spec.height, self.spec.width, 3), np.uint8)
        shards = wanted // self.rows_per_shard
        for shard in np.unique(shards):
            places = np.flatnonzero(shards == shard)
            self._shard(int(shard)).read_to(wanted[places] % self.rows_per_shard, batch, places)
        return batch

    def _open(self, shard: int) -> NpyRows:
        return NpyRows(self.folder / shard_name(shard), (self.spec.height, self.spec.width, 3))


def shard_name(shard: int) -> str:
    """File name of the shard with number ``shard`` (from 0)."""
    return f"images-{shard:05d}.npy"
