"""The tensor cache: decoded images as uint8 shards on disk, memory-mapped when read.

A cache is a folder::

    images-00000.npy ...   uint8 (rows_per_shard, height, width, 3); the last shard may be shorter
    targets.npy            uint8 (num_rows, num_labels), multi-hot
    index.csv              row, id, sha256 of every cached row, in order
    meta.json              image spec, label names, number of rows, rows per shard
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity import files
from posterity.images import ImageArray, ImageProblem, ImageSpec, decode

UInt8Array = npt.NDArray[np.uint8]
INDEX_COLUMNS = ["row", "id", "sha256"]

T = TypeVar("T")
R = TypeVar("R")


def decode_all(
    paths: Iterable[str | Path], spec: ImageSpec, workers: int | None = None
) -> Iterator[ImageArray | ImageProblem]:
    """Decode ``paths`` in threads; yield, in their order, an array (height, width, 3) or what is wrong with the file.

    At most four images a worker are held at a time, however many paths there are. Threads are enough: Pillow
    releases the interpreter lock while it decodes and resizes.
    """

    def decode_or_problem(path: str | Path) -> ImageArray | ImageProblem:
        try:
            return decode(path, spec)
        except ImageProblem as problem:
            return problem

    return ordered_map(decode_or_problem, paths, workers)


def ordered_map(function: Callable[[T], R], items: Iterable[T], workers: int | None = None) -> Iterator[R]:
    """``map`` in threads, in order, at most four items a worker under way (`Executor.map` would queue all)."""
    workers = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[R]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= 4 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


class CacheWriter:
    """Append decoded images to a cache folder, one shard in memory at a time.

    Parameters
    ----------
    folder : Path
        A folder that is created; write to a temporary one and rename it (`posterity.files.replacing`).
    spec : ImageSpec
        Shape of the images, kept in meta.json.
    rows_per_shard : int
        Shard length; the memory needed is ``rows_per_shard * height * width * 3`` bytes.
    max_rows : int, optional
        No more rows than this will come; a shard that is never filled then takes no memory for the rest.
    """

    def __init__(self, folder: Path, spec: ImageSpec, rows_per_shard: int, max_rows: int | None = None) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.spec = spec
        self.num_rows = 0
        self._rows_per_shard = rows_per_shard
        rows = rows_per_shard if max_rows is None else min(rows_per_shard, max_rows)
        self._buffer = np.empty((rows, spec.height, spec.width, 3), np.uint8)

    def append(self, image: ImageArray) -> None:
        """Add one image, uint8 (height, width, 3), as the next row."""
        self._buffer[self.num_rows % self._rows_per_shard] = image
        self.num_rows += 1
        if self.num_rows % self._rows_per_shard == 0:
            self._write_shard(self._rows_per_shard)

    def close(self, targets: UInt8Array, index: pd.DataFrame, label_names: Sequence[str]) -> None:
        """Write the last shard, the targets (num_rows, num_labels), the index (`INDEX_COLUMNS`) and meta.json."""
        if not len(targets) == len(index) == self.num_rows:
            raise ValueError(f"{self.num_rows} images, {len(targets)} targets and {len(index)} index rows do not match")
        if self.num_rows % self._rows_per_shard:
            self._write_shard(self.num_rows % self._rows_per_shard)
        np.save(self.folder / "targets.npy", targets.astype(np.uint8))
        files.write_csv(self.folder / "index.csv", index[INDEX_COLUMNS])
        meta = {"image": asdict(self.spec), "labels": list(label_names), "num_rows": self.num_rows}
        files.write_json(self.folder / "meta.json", meta | {"rows_per_shard": self._rows_per_shard})

    def _write_shard(self, num_rows: int) -> None:
        shard = (self.num_rows - 1) // self._rows_per_shard
        np.save(self.folder / shard_name(shard), self._buffer[:num_rows])


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
