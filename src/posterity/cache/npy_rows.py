"""Rows of ``.npy`` files, read one by one into memory of one's own.

Not mapped into memory: mapped pages count as memory of the process, which would grow with the file, and each 4 KiB of a
row is a page fault of its own (batches of 32 random posters, all in the page cache: 1.2 times the CPU time).
"""

import hashlib
import io
import math
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from posterity import errors, reading
from posterity.cache import sealed
from posterity.errors import UserError

# NumPy reads a header by `ast.literal_eval`, which is not safe in several threads before Python 3.11.8
# (github.com/python/cpython/issues/106905).
_HEADER_LOCK = threading.Lock()
MAX_BUFFERS = 1024  # of one call of preadv on Linux


def save(path: Path, array: npt.NDArray[Any]) -> str:
    """Write ``array``, in C order, as `numpy.save` does, and return the sha256 of the file: it is not read again."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    digest = hashlib.sha256(header.getvalue())
    digest.update(array.data)
    with path.open("wb") as stream:
        stream.write(header.getvalue())
        stream.write(array.data)
    return digest.hexdigest()


class NpyRows:
    """An ``.npy`` file opened for reading rows. Several threads may read at the same time.

    Parameters
    ----------
    path : Path
        A file as `numpy.save` writes it, of an array in C order.
    row_shape : tuple of int
        Shape of a row. The array counts as one of shape (num_rows, *row_shape), its first axes taken together.
    dtype : dtype, optional
        Type of the values; None for any.
    sha256 : str, optional
        Digest of the file, to be compared before anything else; None if that has been done in this process.
    stage : str
        The stage that makes the file, for messages.

    Attributes
    ----------
    num_rows : int
        Number of rows.
    dtype : numpy.dtype
        Type of the values.

    Raises
    ------
    UserError
        If the file is missing or has another digest, if the array does not consist of such rows, or if the file is no
        ``.npy`` file or shorter than its header says.
    """

    def __init__(
        self,
        path: Path,
        row_shape: tuple[int, ...],
        dtype: npt.DTypeLike | None = None,
        *,
        sha256: str | None = None,
        stage: str = "preprocess",
    ) -> None:
        self._fd = -1  # for __del__, if what follows fails
        self.path = path
        self.row_shape = row_shape
        try:
            self._fd = os.open(path, os.O_RDONLY)
            with open(self._fd, "rb", closefd=False) as file:
                size = os.fstat(self._fd).st_size
                if sha256 is not None:
                    sealed.check(path, file, sha256, stage)
                    file.seek(0)
                shape, is_fortran, self.dtype = self._header(file, stage)
                self._start = file.tell()
        except FileNotFoundError:
            raise reading.missing(path) from None
        except OSError as error:
            raise self._unreadable(error) from None
        wanted = self.dtype if dtype is None else np.dtype(dtype)
        if self.dtype != wanted or wanted.hasobject:  # the bytes would fit, and mean something else
            expected = "numbers" if wanted.hasobject else f"values of type {wanted}"
            raise reading.damaged(path, expected, str(self.dtype), stage)
        if is_fortran or shape[-len(row_shape) :] != row_shape:
            raise reading.damaged(path, f"rows of shape {row_shape}", f"an array {shape}", stage)
        self.num_rows = math.prod(shape[: -len(row_shape)])
        self._row_bytes = math.prod(row_shape) * self.dtype.itemsize
        if size < self._start + self.num_rows * self._row_bytes:
            raise reading.damaged(path, f"{self.num_rows} rows", f"a file cut short at {size:,} bytes", stage)

    def _header(self, file: io.BufferedReader, stage: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        with _HEADER_LOCK:
            try:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, is_fortran, dtype = read(file)
            except reading.BAD_HEADER as error:
                raise reading.damaged(self.path, "an .npy file", f"none: {reading.one_line(error)}", stage) from None
        return shape, is_fortran, dtype

    def _unreadable(self, error: OSError) -> Exception:
        text = errors.explained(error, self.path, "read")
        return error if text is None else UserError(text)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def read(self, rows: npt.ArrayLike) -> npt.NDArray[Any]:
        """Read ``rows`` (integers in [0, num_rows), any order) to an array (n, *row_shape)."""
        wanted = np.asarray(rows, dtype=np.int64)
        result = np.empty((len(wanted), *self.row_shape), self.dtype)
        self.read_to(wanted, result, np.arange(len(wanted)))
        return result

    def read_to(self, rows: npt.NDArray[np.int64], out: npt.NDArray[Any], places: npt.NDArray[np.int64]) -> None:
        """Read ``rows`` (n,) to ``out[places]``, ``out`` being (any, *row_shape) in C order and ``places`` (n,)."""
        if rows.size and not 0 <= rows.min() <= rows.max() < self.num_rows:
            raise IndexError(f"{self.path}: rows must lie in [0, {self.num_rows}), got {rows.min()} to {rows.max()}")
        if out.dtype != self.dtype:  # the bytes would fit, and mean something else
            raise UserError(f"{self.path}: expected values of type {out.dtype}. Got {self.dtype}. Run `dvc repro`.")
        order = np.argsort(rows, kind="stable")
        rows, places = rows[order], places[order]
        # Rows that follow each other on the disk are one read.
        for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
            for start in range(0, len(run), MAX_BUFFERS):
                part = run[start : start + MAX_BUFFERS]
                self._read_run(int(rows[part[0]]), [out[place] for place in places[part].tolist()])

    def _read_run(self, first: int, buffers: list[npt.NDArray[Any]]) -> None:
        views = [buffer.data.cast("B") for buffer in buffers]
        position = self._start + first * self._row_bytes
        while views:
            try:
                got = os.preadv(self._fd, views, position)
            except OSError as error:  # it names no file
                raise self._unreadable(error) from None
            if got == 0:
                raise UserError(f"{self.path}: the file has become shorter while it was read. Run `dvc repro` again.")
            position += got
            while views and got >= len(views[0]):
                got -= len(views.pop(0))
            if got:
                views[0] = views[0][got:]
