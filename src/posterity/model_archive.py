"""The zip archive of a ``.keras`` file, checked before anything in it is used: it may be damaged or meant to do harm.

Nothing is read into memory that the directory of the archive does not announce, and the directory may announce no more
than the file can hold: a few kilobytes that unpack to gigabytes are refused unseen. Then every member is read once
and compared with its checksum, so that a flipped bit or a file that is cut short is found here, and not by Keras.
"""

import io
import stat
import struct
import zipfile
import zlib
from typing import Any

MOST_MEMBERS = 1000
LARGEST_DIRECTORY = 1 << 20
SMALL = 1 << 24  # 16 MiB: most of every member but weights and assets; a JSON text of that size takes 500 MB as objects
LARGE = ("model.weights.h5", "assets/")
MOST_EXPANSION = 10  # weights hardly shrink; Keras itself does not compress
# What `zipfile` raises for a file that is cut short, changed, encrypted or no archive at all.
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError, ValueError, OverflowError, NotImplementedError,
    struct.error, AttributeError, IndexError,
)  # fmt: skip


class ArchiveError(Exception):
    """The file is no archive, a damaged one, or one that asks for too much; the text says which."""


def opened(stream: io.BufferedReader, *, stored: bool) -> zipfile.ZipFile:
    """Open the archive in ``stream`` and check it.

    Parameters
    ----------
    stream : file
        Opened for reading bytes; it stays open with the archive.
    stored : bool
        Whether no member may be compressed, as in all models of this project. Others may be compressed a little.

    Raises
    ------
    ArchiveError
        If anything is wrong with it.
    """
    size = stream.seek(0, io.SEEK_END)
    try:
        bounded = _Bounded(stream, LARGEST_DIRECTORY)
        archive = zipfile.ZipFile(bounded)
        bounded.most = None
        _check_directory(archive, size, stored)
        if (damaged := archive.testzip()) is not None:
            raise ArchiveError(f"the content of {damaged[:100]!r} has another checksum than the archive says")
    except _DAMAGED as error:
        text = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise ArchiveError(f"no zip archive, or a damaged one ({text})") from None
    return archive


def _check_directory(archive: zipfile.ZipFile, size: int, stored: bool) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(names) > MOST_MEMBERS or len(set(names)) < len(names):
        raise ArchiveError(f"{len(names):,} members, of which {len(set(names)):,} have names of their own")
    for member in members:
        name = member.filename
        is_large = name.startswith(LARGE)
        if name.startswith("/") or "\\" in name or ".." in name.split("/") or stat.S_ISLNK(member.external_attr >> 16):
            raise ArchiveError(f"a member that leads out of the archive: {name[:100]!r}")
        if member.flag_bits & 1:
            raise ArchiveError(f"an encrypted member: {name[:100]!r}")
        if stored and (member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size):
            raise ArchiveError(f"{name[:100]!r} compressed, which posterity never does")
        if not is_large and member.file_size > SMALL:
            raise ArchiveError(f"{name[:100]!r} with {member.file_size:,} bytes, of which {SMALL:,} are allowed")
    total = sum(member.file_size for member in members)
    most = size if stored else MOST_EXPANSION * size
    if total > most:
        raise ArchiveError(f"members of {total:,} bytes in a file of {size:,}")


class _Bounded:
    """A file of which no more than ``most`` bytes are read at once: `zipfile` reads the directory in one piece."""

    def __init__(self, stream: io.BufferedReader, most: int | None) -> None:
        self._stream = stream
        self.most = most

    def read(self, size: int = -1) -> bytes:
        if self.most is not None and size > self.most:
            raise ArchiveError(f"a directory of {size:,} bytes, of which {self.most:,} are allowed")
        return self._stream.read(size)

    def __getattr__(self, name: str) -> Any:  # seek, tell, seekable
        return getattr(self._stream, name)
