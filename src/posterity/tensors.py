"""The tensor cache: decoded images as uint8 shards on disk, memory-mapped when read.

A cache is a folder, written by `posterity.tensor_writer`::

    images-00000.npy ...   uint8 (rows_per_shard, height, width, 3); the last shard may be shorter
    targets.npy            uint8 (num_rows, num_labels), multi-hot
    index.csv              row, id, sha256 of every cached row, in order
    meta.json              image spec, label names, number of rows, rows per shard
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from posterity import files
from posterity.images import ImageSpec

UInt8Array = npt.NDArray[np.uint8]
INDEX_COLUMNS = ["row", "id", "sha256"]


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
        self._shards: dict[int, UInt8Array] = {}

    def __len__(self) -> int:
        return len(self.targets)

    def images(self, rows: npt.ArrayLike) -> UInt8Array:
        """Copy the images of ``rows`` (integers in [0, num_rows), any order) to an array (n, height, width, 3)."""
        wanted = np.asarray(rows, dtype=np.int64)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"rows must lie in [0, {len(self)}), got {wanted.min()} to {wanted.max()}")
        batch = np.empty((len(wanted), self.spec.height, self.spec.width, 3), np.uint8)
        shards = wanted // self.rows_per_shard
        for shard in np.unique(shards):
            here = shards == shard
            batch[here] = self._shard(int(shard))[wanted[here] % self.rows_per_shard]
        return batch

    def _shard(self, shard: int) -> UInt8Array:
        if shard not in self._shards:
            self._shards[shard] = np.load(self.folder / shard_name(shard), mmap_mode="r")
        return self._shards[shard]


def shard_name(shard: int) -> str:
    """File name of the shard with number ``shard`` (from 0)."""
    return f"images-{shard:05d}.npy"
