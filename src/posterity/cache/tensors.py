"""The tensor cache: decoded images as uint8 shards on disk, read one row at a time.

A cache is a folder, written by `posterity.cache.tensor_writer`; what else is known of its rows is in
`posterity.cache.rows`::

    images-00000.npy ...   uint8 (rows_per_shard, height, width, 3); the last shard may be shorter
    meta.json              image spec, number of rows, rows per shard
"""

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from posterity import files
from posterity.cache.npy_rows import NpyRows
from posterity.pixels.spec import ImageSpec

UInt8Array = npt.NDArray[np.uint8]
META = "meta.json"
HOLDS = (META, "images-*.npy")  # all files of the folder
MAX_OPEN_SHARDS = 256  # a process may often have no more than 1,024 files open


class TensorCache:
    """A cache folder opened for reading; images stay on disk until `images` asks for them.

    Attributes
    ----------
    spec : ImageSpec
        How the images were made.
    rows_per_shard : int
        Row r is in shard r // rows_per_shard.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        meta: dict[str, Any] = files.read_json(self.folder / META)
        self.spec = ImageSpec.from_content(meta["image"])
        self.rows_per_shard: int = meta["rows_per_shard"]
        self._num_rows: int = meta["num_rows"]
        # Threads that read a shard keep it open while it falls out of this cache.
        self._shard = functools.lru_cache(MAX_OPEN_SHARDS)(self._open)

    def __len__(self) -> int:
        return self._num_rows

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
