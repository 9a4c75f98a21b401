"""Files in and out: whole or not at all, and the same bytes for the same content."""

import contextlib
import csv
import fcntl
import fnmatch
import io
import itertools
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import pandas as pd

from posterity import errors
from posterity.errors import UserError
from posterity.reading import missing as missing  # what is read and what is written, under one name
from posterity.reading import read_array as read_array
from posterity.reading import read_csv as read_csv
from posterity.reading import read_json as read_json
from posterity.text import inert_in_script, printable

if TYPE_CHECKING:
    import _csv

DECIMALS = 6
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip archive can hold
PRIVATE = ".posterity"  # how the names of our temporary folders end: .NAME.XXXXXXXX.posterity
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # what file managers leave behind; nobody misses it
MOST_NAMED = 3  # entries of a folder that an error message names


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` for the caller to make a file at; rename it over ``path`` on success.

    If the block raises, what it wrote is removed and whatever stood at ``path`` before is untouched.

    Raises
    ------
    UserError
        If ``path`` is a folder, before the work begins; or if the system does not let it be written.
    """
    target = Path(path)
    with _explained(target):
        _check_no_folder(target)
        with _private_folder(target) as folder:
            temporary = folder / target.name
            yield temporary
            temporary.replace(target)


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike[str], holds: Sequence[str]) -> Iterator[Path]:
    """Yield a temporary path for the caller to make a folder at; let it take the place of ``path`` on success.

    An older folder at ``path`` is deleted only if it holds nothing but what the caller makes. A link to a folder is
    followed.

    Parameters
    ----------
    path : path
        The folder to write.
    holds : sequence of str
        Names of all files that the caller makes in it, in the patterns of `foreign_entries`.

    Raises
    ------
    UserError
        If ``path`` is a file or a folder that holds anything else, before the work begins; or if the system does not
        let it be written. Nothing is changed then.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp()) / "arrays"
    >>> with replacing_folder(folder, holds=["*.npy"]) as temporary:
    ...     temporary.mkdir()
    ...     np.save(temporary / "zeros.npy", np.zeros(3))
    >>> [path.name for path in folder.iterdir()]
    ['zeros.npy']
    """
    with _explained(Path(path)):
        target = Path(path).resolve()
        check_replaceable(path, holds)
        with _private_folder(target) as folder:
            temporary = folder / target.name
            yield temporary
            check_replaceable(path, holds)  # something may have been put there while the caller worked
            if target.is_dir():
                # A rename cannot put one directory over another: move the old one out of the way first.
                target.replace(folder / "replaced")
            temporary.replace(target)


@contextlib.contextmanager
def _explained(target: Path) -> Iterator[None]:
    """Word what the system refuses at ``target`` or in a temporary folder beside it; other errors pass as they are."""
    try:
        yield
    except (OSError, RuntimeError, errors.RefusedError) as error:  # the last one of a file in a folder under way
        # A write does not name its file; what names another one, such as an image that is read, is not about this one.
        named = getattr(error, "filename", None)
        if isinstance(named, str | bytes) and not _is_about(Path(os.fsdecode(named)), target):
            raise
        number = errors.errno_of(error)
        if number is None or (text := errors.explained(OSError(number, ""), target, "written")) is None:
            raise
        raise errors.RefusedError(text, number, target) from None


def _is_about(named: Path, target: Path) -> bool:
    """Whether ``named`` is ``target``, a folder above it, or a temporary folder beside it or what is in that."""
    named = Path(os.path.realpath(named.parent), named.name)
    own = Path(os.path.realpath(target.parent), target.name)
    if os.path.islink(target):  # noqa: PTH114 - the method raises where a folder may not be entered
        own = Path(os.path.realpath(target))
    if named == own or named in own.parents:
        return True
    inside = named.parts[len(own.parent.parts) :]
    return own.parent in named.parents and inside[0].startswith(f".{own.name}.")


def sweep(folder: str | os.PathLike[str]) -> list[str]:
    """Delete the temporary folders in ``folder`` that killed runs have left behind; return their names.

    A folder is deleted only if it has the name that `replacing` gives and no living process holds it: its maker keeps
    it locked, and the system ends the lock with the process. Where folders cannot be locked, as on some network file
    systems, nothing is deleted.
    """
    swept = []
    for path in sorted(Path(folder).glob(f".*{PRIVATE}")):
        lock = _locked(path)
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)
            swept.append(path.name)
    return swept


@contextlib.contextmanager
def _private_folder(target: Path) -> Iterator[Path]:
    """A new folder beside ``target`` that no parallel run can hold; it is deleted in the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent)
    folder, lock = _make_private(target)
    try:
        yield folder
    finally:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        except KeyboardInterrupt:  # a signal while it is deleted; it raises once
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if lock is not None:
            os.close(lock)


def _make_private(target: Path) -> tuple[Path, int | None]:
    """Make the folder and lock it; None if folders cannot be locked here."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=PRIVATE, dir=target.parent))
        # Before it is locked, another process may take it for a leftover: that one holds the lock until it is deleted.
        lock = _locked(folder, wait=True)
        if folder.is_dir():
            return folder, lock
        if lock is not None:
            os.close(lock)


def _locked(folder: Path, *, wait: bool = False) -> int | None:
    """A descriptor of ``folder`` that holds its lock, or None if another process holds it or it cannot be locked."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def check_writable(*paths: str | os.PathLike[str]) -> None:
    """Raise the error of `replacing` for any of ``paths``, for a script that has work to do before it comes to that."""
    for target in map(Path, paths):
        with _explained(target):
            _check_no_folder(target)
            with _private_folder(target) as folder:
                (folder / target.name).touch()


def _check_no_folder(target: Path) -> None:
    if target.is_dir():
        raise UserError(f"{target} is a folder; expected the path of a file to write. Name a file in it.")


def check_replaceable(path: str | os.PathLike[str], holds: Sequence[str]) -> None:
    """Raise the error of `replacing_folder`, for a script that has work to do before it comes to that."""
    target = Path(path)
    if target.is_dir():
        if foreign := named(foreign_entries(target, holds)):
            raise UserError(
                f"{path} would be replaced as a whole; expected a new folder, an empty one, or one with nothing but "
                f"{', '.join(holds)}. Got a folder that also holds {foreign}. Nothing was changed: name another "
                "folder, or move what is yours out of this one."
            )
    elif target.exists():
        raise UserError(f"{path} is a file; expected the path of a folder to write. Name another path.")


def foreign_entries(folder: str | os.PathLike[str], holds: Sequence[str]) -> Iterator[str]:
    """What a folder holds beside the files that ``holds`` names, as paths inside it.

    Parameters
    ----------
    folder : path
        An existing folder.
    holds : sequence of str
        Paths inside the folder, with ``/``, in which ``*`` stands for any characters of a name: ``images-*.npy`` or
        ``images/*.jpg``. The folders of these paths belong to them; links to folders and other folders do not.
    """
    patterns = [tuple(pattern.split("/")) for pattern in holds]
    for parent, folders, names in os.walk(folder):
        inside = Path(parent).relative_to(folder).parts
        for name in sorted(names):
            if name not in LITTER and not any(_matches((*inside, name), pattern) for pattern in patterns):
                yield "/".join((*inside, name))
        for name in sorted(folders):
            parts = (*inside, name)
            is_ours = any(len(pattern) > len(parts) and _matches(parts, pattern[: len(parts)]) for pattern in patterns)
            if not is_ours or (Path(parent) / name).is_symlink():
                folders.remove(name)  # os.walk does not go into it then
                yield "/".join(parts)


def named(entries: Iterator[str]) -> str:
    """The first few of ``entries`` for an error message, or "" if there are none."""
    first = list(itertools.islice(entries, MOST_NAMED + 1))
    return ", ".join(map(printable, first[:MOST_NAMED])) + (", ..." if len(first) > MOST_NAMED else "")


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    return len(parts) == len(pattern) and all(map(fnmatch.fnmatchcase, parts, pattern))


def rounded(value: Any) -> Any:
    """Round every float in nested dicts, lists and tuples to `DECIMALS` digits; turn NumPy scalars into Python's."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return round(value, DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0
    return value


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file of UTF-8 text whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write ``content`` as sorted, indented JSON with floats of `DECIMALS` digits.

    Raises
    ------
    ValueError
        If a float is not finite: a metrics file must be readable by every JSON parser.
    """
    text = json.dumps(rounded(content), allow_nan=False, sort_keys=True, indent=2, ensure_ascii=False)
    write_text(path, text + "\n")


def write_csv(path: str | os.PathLike[str], table: pd.DataFrame) -> None:
    """Write ``table`` without its index as UTF-8, with Unix line ends and floats of `DECIMALS` digits.

    Raises
    ------
    ValueError
        If a float column holds an infinity.
    """
    for name in table.columns:
        if pd.api.types.is_float_dtype(table[name]) and np.isinf(table[name].to_numpy()).any():
            raise ValueError(f"column {name!r} of {path} holds an infinity")
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        table.to_csv(_UnixLines(stream), index=False, lineterminator="\r\n", float_format=f"%.{DECIMALS}f")


def csv_writer(stream: TextIO) -> "_csv.Writer":
    r"""A writer of CSV with Unix line ends, which puts cells with a line end of any system in quotes.

    With ``lineterminator="\n"``, Python before 3.13 leaves a carriage return without quotes, and readers end the row
    there.

    Examples
    --------
    >>> from io import StringIO
    >>> stream = StringIO()
    >>> _ = csv_writer(stream).writerow(["a\rb", "c"])
    >>> stream.getvalue()
    '"a\rb",c\n'
    """
    return csv.writer(_UnixLines(stream), lineterminator="\r\n")


class _UnixLines(io.TextIOBase):
    """The stream that a CSV writer fills: it writes a row at a time, with the line end of Windows."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str, /) -> int:
        return self._stream.write(row.removesuffix("\r\n") + "\n")


def write_plot(path: str | os.PathLike[str], table: pd.DataFrame) -> None:
    """`write_csv` for a table that DVC draws: its texts end no script element of the page, see `inert_in_script`."""
    texts = table.select_dtypes(exclude="number").columns
    write_csv(path, table.assign(**{name: table[name].map(inert_in_script) for name in texts}))


def write_archive(path: str | os.PathLike[str], members: dict[str, bytes]) -> None:
    """Write a zip archive, byte for byte the same for the same members: by name, and without the time."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(members):
            target.writestr(zipfile.ZipInfo(name, EPOCH), members[name])
