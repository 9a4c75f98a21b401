"""The tensor cache: decoded images as uint8 shards on disk, read one row at a time.

A cache is a folder, written by `posterity.cache.tensor_writer`; what else is known of its rows is in
`posterity.cache.rows`::

    images-00000.npy ...   uint8 (rows_per_shard, height, width, 3); the last shard may be shorter
    meta.json              image spec, number of rows, rows per shard, digests (`posterity.cache.sealed`)
"""

import functools
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from posterity import reading
from posterity.cache import sealed
from posterity.cache.npy_rows import NpyRows
from posterity.cache.sealed import META
from posterity.pixels.spec import ImageSpec

UInt8Array = npt.NDArray[np.uint8]
STAGE = "preprocess"  # which makes the folder
HOLDS = (META, "images-*.npy")  # all files of the folder
MAX_OPEN_SHARDS = 256  # a process may often have no more than 1,024 files open


class TensorCache:
    """A cache folder opened for reading; images stay on disk until `images` asks for them.

    Parameters
    ----------
    folder : path
        The folder.
    verify : bool
        Compare the digest of each shard when it is first read. Only who has just written them may do without.

    Attributes
    ----------
    spec : ImageSpec
        How the images were made.
    rows_per_shard : int
        Row r is in shard r // rows_per_shard.
    sha256 : dict of str to str
        Digest of every shard by the name of its file.

    Raises
    ------
    UserError
        If meta.json is missing or damaged; `images` raises it for a shard.
    """

    def __init__(self, folder: str | os.PathLike[str], *, verify: bool = True) -> None:
        self.folder = Path(folder)
        path = self.folder / META
        meta = sealed.read_meta(self.folder, STAGE)
        try:
            self.spec = ImageSpec.from_content(meta.get("image"))
        except (TypeError, ValueError) as error:
            raise reading.damaged(path, "an image spec", reading.one_line(error), STAGE) from None
        self.rows_per_shard = sealed.number(meta, "rows_per_shard", path, STAGE, least=1)
        self._num_rows = sealed.number(meta, "num_rows", path, STAGE)
        self.sha256: dict[str, str] = meta["sha256"]
        num_shards = -(-self._num_rows // self.rows_per_shard)
        if len(self.sha256) != num_shards or set(self.sha256) != set(map(shard_name, range(num_shards))):
            raise reading.damaged(path, f"the digests of {num_shards:,} shards", reading.shown(self.sha256), STAGE)
        self._unverified = set(range(num_shards)) if verify else set()
        # Threads that read a shard keep it open while it falls out of this cache.
        self._shard = functools.lru_cache(MAX_OPEN_SHARDS)(self._open)

    def __len__(self) -> int:
        return self._num_rows

    def images(self, rows: npt.ArrayLike) -> UInt8Array:
        """Read the images of ``rows`` (integers in [0, num_rows), any order) to an array (n, height, width, 3)."""
        wanted = np.asarray(rows, dtype=np.int64)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"rows must lie in [0, {len(self)}), got {wanted.min()} to {wanted.max()}")
        if wanted.size:
            self._shard(int(wanted[0] // self.rows_per_shard))  # its rows have this size, so there is memory for some
        batch = np.empty((len(wanted), self.spec.height, self.spec.width, 3), np.uint8)
        shards = wanted // self.rows_per_shard
        for shard in np.unique(shards):
            places = np.flatnonzero(shards == shard)
            self._shard(int(shard)).read_to(wanted[places] % self.rows_per_shard, batch, places)
        return batch

    def _open(self, shard: int) -> NpyRows:
        name = shard_name(shard)
        rows = NpyRows(
            self.folder / name,
            (self.spec.height, self.spec.width, 3),
            np.uint8,
            sha256=self.sha256[name] if shard in self._unverified else None,
            stage=STAGE,
        )
        expected = min(self.rows_per_shard, len(self) - shard * self.rows_per_shard)
        if rows.num_rows != expected:
            raise reading.damaged(self.folder / name, f"{expected} rows", f"{rows.num_rows}", STAGE)
        self._unverified.discard(shard)
        return rows


def shard_name(shard: int) -> str:
    """File name of the shard with number ``shard`` (from 0)."""
    return f"images-{shard:05d}.npy"
