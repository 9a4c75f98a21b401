"""Reading what an earlier stage made: whole, unchanged since, and of the form that it should have.

Nothing is taken on trust. A file may be damaged, cut short, written by hand or by another version: each is one message
that names the file, what was expected, what was got, and how to get it back. No more memory is asked for than the
file has bytes, whatever its header says.
"""

import contextlib
import io
import json
import math
import os
import tokenize
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity import errors, recorded
from posterity.errors import UserError
from posterity.regular_file import open_regular

# What NumPy raises for the header of an .npy file that is damaged: it reads it as a Python literal.
BAD_HEADER = (ValueError, TypeError, SyntaxError, KeyError, EOFError, RecursionError, MemoryError, tokenize.TokenError)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Read a file whole.

    Raises
    ------
    UserError
        If it is missing, cannot be read, or is not what dvc.lock says of it (`posterity.recorded`).
    """
    content = raw_bytes(path)
    recorded.check(path, content)
    return content


def raw_bytes(path: str | os.PathLike[str]) -> bytes:
    """Read a file whole, whatever dvc.lock says of it."""
    with opened(path) as stream:
        return stream.read()


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[io.BufferedReader]:
    """Open a file for reading bytes; what the system refuses, then and in the block, is a `UserError`."""
    try:
        with open_regular(path) as stream:
            yield stream
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        if (text := errors.explained(error, path, "read")) is None:
            raise
        raise UserError(text) from None


def read_json(path: str | os.PathLike[str], stage: str = "") -> Any:
    """Read a JSON file that an earlier stage made.

    Raises
    ------
    UserError
        As `read_bytes`, or if it is not JSON; the message names the ``stage`` to run again.
    """
    return parsed_json(read_bytes(path), path, stage)


def read_array(
    path: str | os.PathLike[str], stage: str = "", dtype: npt.DTypeLike | None = None, ndim: int | None = None
) -> npt.NDArray[Any]:
    """Read an ``.npy`` file that an earlier stage made.

    Parameters
    ----------
    path : path
        The file.
    stage : str
        The stage that made it, for messages.
    dtype, ndim
        Type of the values and number of axes; None for any.

    Raises
    ------
    UserError
        As `read_bytes`, or if it is no such array; the message names the stage to run again.
    """
    return parsed_array(read_bytes(path), path, stage, dtype, ndim)


def read_csv(
    path: str | os.PathLike[str], stage: str = "", columns: Sequence[str] = (), /, **dtypes: str
) -> pd.DataFrame:
    """Read a CSV file that an earlier stage made.

    Every column is text unless ``dtypes`` names it; an empty cell is the empty string and ``N/A`` stays ``N/A``.

    Parameters
    ----------
    path : path
        The file.
    stage : str
        The stage that made it, for messages.
    columns : sequence of str
        Columns that it must have; it may have others.
    **dtypes : str
        Type of columns that are no text, such as ``line="int64"``.

    Raises
    ------
    UserError
        As `read_bytes`, if it is no such table, or if a cell is not of the type of its column.
    """
    return parsed_csv(read_bytes(path), path, stage, columns, **dtypes)


def parsed_json(content: bytes, path: str | os.PathLike[str], stage: str = "") -> Any:
    """The value of a JSON text in UTF-8; `read_json` without the reading."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant}, which is no JSON")

    try:
        return json.loads(content.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise damaged(path, "JSON in UTF-8", str(error), stage) from None


def parsed_array(
    content: bytes,
    path: str | os.PathLike[str],
    stage: str = "",
    dtype: npt.DTypeLike | None = None,
    ndim: int | None = None,
) -> npt.NDArray[Any]:
    """The array of an ``.npy`` file; `read_array` without the reading."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, found = read(stream)
    except BAD_HEADER as error:
        raise damaged(path, "an .npy file", f"none: {one_line(error)}", stage) from None
    wanted = found if dtype is None else np.dtype(dtype)
    if found.hasobject or found != wanted or (ndim is not None and len(shape) != ndim):
        axes = "" if ndim is None else f" with {ndim} axes"
        raise damaged(path, f"an array of {wanted}{axes}", f"one of {found} and shape {shape}", stage)
    size, there = math.prod(shape) * found.itemsize, len(content) - stream.tell()
    if min(shape, default=0) < 0 or size != there:
        raise damaged(path, f"{size:,} bytes of values, for an array {shape} of {found}", f"{there:,}", stage)
    values = np.frombuffer(content, found, offset=stream.tell())
    return values.reshape(shape, order="F" if is_fortran else "C").copy()


def parsed_csv(
    content: bytes, path: str | os.PathLike[str], stage: str = "", columns: Sequence[str] = (), **dtypes: str
) -> pd.DataFrame:
    """The table of a CSV text in UTF-8; `read_csv` without the reading."""
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, OverflowError) as error:  # pandas' ParserError and EmptyDataError are ValueErrors
        raise damaged(path, "a CSV table in UTF-8", one_line(error), stage) from None
    if absent := [name for name in columns if name not in table.columns]:
        raise damaged(path, f"a column {absent[0]!r}", f"the columns {list(map(str, table.columns))}", stage)
    for name, dtype in dtypes.items():
        if name in table.columns:
            try:
                table = table.astype({name: dtype})
            except (ValueError, OverflowError, TypeError) as error:
                raise damaged(path, f"{dtype} in every cell of column {name!r}", one_line(error), stage) from None
    return table


def as_names(content: Any, path: str | os.PathLike[str], stage: str = "") -> list[str]:
    """Check that ``content``, read from ``path``, is a list of different texts, such as the names of the labels."""
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise damaged(path, "a JSON list of names", shown(content), stage)
    if len(set(content)) < len(content):
        raise damaged(path, "names that differ", shown(content), stage)
    return content


def shown(content: Any) -> str:
    """JSON content for a message: its type and its beginning, in one line."""
    text = json.dumps(content, ensure_ascii=True)
    return f"{type(content).__name__} {text[:100]}{'...' if len(text) > 100 else ''}"


def damaged(path: str | os.PathLike[str], expected: str, got: str, stage: str = "") -> UserError:
    """The error for a file that an earlier stage made and that is not as it makes it."""
    return UserError(f"{os.fspath(path)}: expected {expected}. Got {got}. {recorded.fix(path, stage)}")


def missing(path: str | os.PathLike[str]) -> UserError:
    """The error for a file that an earlier stage should have made."""
    return UserError(f"{path} does not exist. An earlier stage makes it: run `dvc repro`.")


def one_line(error: BaseException) -> str:
    """The text of an error in one line without a full stop at its end, at most 200 characters of it."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200].rstrip(".")
