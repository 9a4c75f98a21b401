"""What lies in the folder of images: files, links, and what is neither though it has an image's name."""

import errno
import os
import posixpath
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from posterity.errors import UserError
from posterity.pixels.opening import kind_of_file
from posterity.text import printable

# A file in DVC's cache: with cache.type symlink, DVC itself puts links to such files into a folder that it tracks.
_IN_DVC_CACHE = re.compile(r"/[0-9a-f]{2}/[0-9a-f]{30}$")

SHOWN = 3  # places in a message


@dataclass(frozen=True)
class FolderListing:
    """What lies below a folder: paths relative to it, with ``/``.

    Attributes
    ----------
    files : list of str
        Regular files and links to them, sorted: the order on disk differs from machine to machine.
    folders : list of str
        Sorted.
    links : frozenset of str
        Symbolic links, to files or folders. What lies behind a linked folder is not listed.
    odd : dict of str to str
        What is neither a file nor a folder, and files whose name is not UTF-8: path to what it is.
    """

    files: list[str]
    folders: list[str]
    links: frozenset[str]
    odd: dict[str, str]


def list_folder(folder: Path) -> FolderListing:
    """List all that is below ``folder``; nothing is opened.

    Raises
    ------
    UserError
        If it is no folder, or has nothing in it but hidden files.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(
            f"{printable(folder)} {what}. Expected the folder of the images. Set data.images in params.yaml."
        )
    if all(entry.name.startswith(".") for entry in folder.iterdir()):
        raise UserError(f"{printable(folder)} is empty. Expected the image files. Set data.images in params.yaml.")
    return _walk(folder)


def _walk(folder: Path) -> FolderListing:
    files: list[str] = []
    folders: list[str] = []
    links: set[str] = set()
    odd: dict[str, str] = {}
    waiting = [(os.fspath(folder), "")]
    while waiting:
        place, prefix = waiting.pop()
        try:
            entries = list(os.scandir(place))
        except OSError as error:
            odd[prefix.rstrip("/")] = f"a folder that cannot be read: {error.strerror}"
            continue
        for entry in entries:
            path = prefix + entry.name
            if entry.is_symlink():
                links.add(path)
            if not path.isascii() and utf8_text(path) != path:
                odd[path] = "its name is not UTF-8"
            kind = _kind(entry)
            if kind == "file":
                files.append(path)
            elif kind == "folder":
                folders.append(path)
                if path not in links:
                    waiting.append((entry.path, path + "/"))
            else:
                odd[path] = _what(entry)
    return FolderListing(sorted(files), sorted(folders), frozenset(links), odd)


def stops_dvc(folder: Path) -> str:
    """What in ``folder`` DVC cannot hash, as whole sentences; "" if it can hash all.

    DVC hashes the folder before the first stage runs, so no stage can tell. Tried with DVC 3.67: a dead link, a socket
    and a name that is not UTF-8 end in an error, whether or not a row of the table names them; at a named pipe DVC
    waits for ever.
    """
    odd = _walk(folder).odd
    if not odd:
        return ""
    shown = "; ".join(f"{utf8_text(path)!r} ({printable(what)})" for path, what in sorted(odd.items())[:SHOWN])
    more = f" and {len(odd) - SHOWN:,} more" if len(odd) > SHOWN else ""
    return (
        f"data.images must hold files and folders that DVC can hash, or `dvc repro` stops before the first stage, or "
        f"waits for ever. Got in {folder}: {shown}{more}. Remove, rename or move them."
    )


def outside_links(folder: Path, links: frozenset[str], paths: Iterable[str]) -> dict[str, str]:
    """Those of ``paths``, relative to ``folder``, that links lead out of it: path to where.

    Links that DVC made (cache.type symlink) do not count: what they lead to is tracked.
    """
    found: dict[str, str] = {}
    if not links:
        return found
    root = os.path.realpath(folder)
    for path in paths:
        if path in links or any(parent in links for parent in _parents(path)):
            real = os.path.realpath(os.path.join(root, path))  # noqa: PTH118 - as the listing, without Path
            if os.path.commonpath([root, real]) != root and not _IN_DVC_CACHE.search(real):
                found[path] = utf8_text(real)
    return found


def utf8_text(name: str) -> str:
    r"""``name``, with ``\udcff`` and the like for bytes that are no valid UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()


def _parents(path: str) -> Iterable[str]:
    while path := posixpath.dirname(path):
        yield path


def _kind(entry: "os.DirEntry[str]") -> str:
    try:
        return "file" if entry.is_file() else "folder" if entry.is_dir() else ""
    except OSError:  # a link to itself
        return ""


def _what(entry: "os.DirEntry[str]") -> str:
    try:
        mode = entry.stat().st_mode  # of what a link leads to
    except OSError as error:
        if not entry.is_symlink():
            return f"cannot be read: {error.strerror}"
        target = utf8_text(os.readlink(entry.path))  # noqa: PTH115
        lost = "does not exist" if error.errno == errno.ENOENT else f"cannot be followed: {error.strerror}"
        return f"a link to {target}, which {lost}"
    return kind_of_file(mode) or f"a special file ({stat.filemode(mode)})"
