"""Writing the tensor cache, whose files `posterity.cache.tensors` describes."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from posterity.cache import npy_rows, sealed
from posterity.cache.reuse import EarlierBuild
from posterity.cache.tensors import shard_name
from posterity.pixels.decode import ImageArray
from posterity.pixels.spec import ImageSpec


class CacheWriter:
    """Append decoded images to a cache folder, at most two shards in memory at a time.

    One is written by a thread while the next one is filled: to copy and hash the bytes takes half as long as decoding.
    Use it as a context manager, or call `close`.

    Parameters
    ----------
    folder : Path
        A folder that is created; write to a temporary one and rename it (`posterity.files.replacing_folder`).
    spec : ImageSpec
        Shape of the images, kept in meta.json.
    rows_per_shard : int
        Shard length; the memory needed is ``rows_per_shard * height * width * 3`` bytes, and twice as much if there are
        several shards.
    max_rows : int, optional
        No more rows than this will come; a shard that is never filled then takes no memory for the rest.
    earlier : EarlierBuild, optional
        Where `append_known` finds its images.
    """

    def __init__(
        self,
        folder: Path,
        spec: ImageSpec,
        rows_per_shard: int,
        max_rows: int | None = None,
        earlier: EarlierBuild | None = None,
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.spec = spec
        self.num_rows = 0
        self._earlier = earlier
        self._sha256: dict[str, str] = {}
        self._known: dict[int, str] = {}  # rows of the shard under way that are not in the buffer yet
        self._rows_per_shard = rows_per_shard
        rows = rows_per_shard if max_rows is None else min(rows_per_shard, max_rows)
        self._buffer = np.empty((rows, spec.height, spec.width, 3), np.uint8)
        self._other: ImageArray | None = None  # the buffer that is written, or that has been
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shards")
        self._writing: tuple[str, Future[str]] | None = None

    def __enter__(self) -> "CacheWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self._thread.shutdown()  # nobody writes to the folder any more: it may be removed

    def append(self, image: ImageArray) -> None:
        """Add one image, uint8 (height, width, 3), as the next row."""
        self._buffer[self.num_rows % self._rows_per_shard] = image
        self._count_row()

    def append_known(self, digest: str) -> None:
        """Add the image that the earlier build has of the file with this sha256 as the next row."""
        self._known[self.num_rows % self._rows_per_shard] = digest
        self._count_row()

    def close(self) -> None:
        """Write the last shard and meta.json. What kept a shard from being written is raised here or before."""
        try:
            if self.num_rows % self._rows_per_shard:
                self._write_shard(self.num_rows % self._rows_per_shard)
            self._wait()
        finally:
            self._thread.shutdown()
        meta = {"image": self.spec.to_content(), "num_rows": self.num_rows, "rows_per_shard": self._rows_per_shard}
        sealed.write_meta(self.folder, meta, dict(sorted(self._sha256.items())))

    def _count_row(self) -> None:
        self.num_rows += 1
        if self.num_rows % self._rows_per_shard == 0:
            self._write_shard(self._rows_per_shard)

    def _write_shard(self, num_rows: int) -> None:
        path = self.folder / shard_name((self.num_rows - 1) // self._rows_per_shard)
        known, self._known = self._known, {}
        if self._earlier is not None:
            if len(known) == num_rows and (sha256 := self._earlier.link_shard(list(known.values()), path)):
                self._sha256[path.name] = sha256
                return
            self._earlier.copy(known, self._buffer)
        self._wait()
        # Always a new file: a shard may share its inode with DVC's cache.
        self._writing = path.name, self._thread.submit(npy_rows.save, path, self._buffer[:num_rows])
        if self._other is None:
            self._other = np.empty_like(self._buffer)
        self._buffer, self._other = self._other, self._buffer

    def _wait(self) -> None:
        """Wait for the shard that is being written."""
        if self._writing is not None:
            name, writing = self._writing
            self._writing = None
            self._sha256[name] = writing.result()
