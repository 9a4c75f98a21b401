"""Rows of ``.npy`` files, read one by one into memory of one's own.

Not mapped into memory: mapped pages count as memory of the process, which would grow with the file, and each 4 KiB of a
row is a page fault of its own (batches of 32 random posters, all in the page cache: 1.2 times the CPU time).
"""

import math
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from posterity.errors import UserError

# NumPy reads a header by `ast.literal_eval`, which is not safe in several threads before Python 3.11.8
# (github.com/python/cpython/issues/106905).
_HEADER_LOCK = threading.Lock()
MAX_BUFFERS = 1024  # of one call of preadv on Linux


class NpyRows:
    """An ``.npy`` file opened for reading rows. Several threads may read at the same time.

    Parameters
    ----------
    path : Path
        A file as `numpy.save` writes it, of an array in C order.
    row_shape : tuple of int
        Shape of a row. The array counts as one of shape (num_rows, *row_shape), its first axes taken together.

    Attributes
    ----------
    num_rows : int
        Number of rows.
    dtype : numpy.dtype
        Type of the values.

    Raises
    ------
    UserError
        If the array does not consist of such rows, or the file is no ``.npy`` file or shorter than its header says.
    """

    def __init__(self, path: Path, row_shape: tuple[int, ...]) -> None:
        self._fd = -1  # for __del__, if what follows fails
        self.path = path
        self.row_shape = row_shape
        with path.open("rb") as file, _HEADER_LOCK:
            try:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, is_fortran, self.dtype = read(file)
            except ValueError as error:
                raise UserError(f"{path}: expected an .npy file. Got none: {error}. Delete it and run again.") from None
            self._start = file.tell()
            size = os.fstat(file.fileno()).st_size
        if is_fortran or shape[-len(row_shape) :] != row_shape:
            raise UserError(f"{path}: expected rows of shape {row_shape}. Got an array {shape}. Run `dvc repro`.")
        self.num_rows = math.prod(shape[: -len(row_shape)])
        self._row_bytes = math.prod(row_shape) * self.dtype.itemsize
        if size < self._start + self.num_rows * self._row_bytes:
            raise UserError(
                f"{path}: expected {self.num_rows} rows. Got a file cut short at {size:,} bytes. Delete it and run "
                "`dvc checkout`, or `dvc repro` if that does not bring it back."
            )
        self._fd = os.open(path, os.O_RDONLY)

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
            got = os.preadv(self._fd, views, position)
            if got == 0:
                raise UserError(f"{self.path}: the file has become shorter while it was read. Run `dvc repro` again.")
            position += got
            while views and got >= len(views[0]):
                got -= len(views.pop(0))
            if got:
                views[0] = views[0][got:]
