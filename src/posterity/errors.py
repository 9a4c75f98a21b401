"""The one exception for mistakes the user can fix, and the words for what the system refuses."""

import errno
import os
import re

_SPACE = "Free some space there, or use another disk, and run the same command again: what was there is unchanged."
_RIGHTS = "Change its owner or its rights (`ls -l` shows them), or name another path."
_NAME = "Move it out of the way, or name another path."
# What the system refuses: what it means, and what to do. What is not here, such as a file that is not there, may be a
# mistake in the code, and keeps its traceback.
_CAUSES = {
    errno.ENOSPC: ("the disk is full", _SPACE),
    errno.EDQUOT: ("the quota of this user on the disk is used up", _SPACE),
    errno.EFBIG: ("the file is larger than this disk or `ulimit -f` allows", "Use another disk, or raise the limit."),
    errno.EROFS: ("the disk is mounted read-only", "Mount it for writing, or name a path on another disk."),
    errno.EACCES: ("permission denied", _RIGHTS),
    errno.EPERM: ("permission denied", _RIGHTS),
    errno.EIO: (
        "the disk cannot be read or written (input/output error)",
        "Look at `dmesg`, and restore the file from another place.",
    ),
    errno.ESTALE: ("the network drive has lost the file", "Run the same command again, or mount the drive anew."),
    errno.EMFILE: ("too many files are open in this process", "Raise the limit: `ulimit -n 4096`, then run again."),
    errno.ENFILE: ("too many files are open on this machine", "End other programs, then run again."),
    errno.ENOMEM: ("the memory is used up", "End other programs, or use a machine with more memory."),
    errno.ENOTDIR: ("a part of the path is a file where a folder is expected", _NAME),
    errno.EISDIR: ("a folder where a file is expected", _NAME),
    errno.EEXIST: ("a file or a dead link where a folder is expected", _NAME),
    errno.ENOTEMPTY: ("a folder that is not empty where a file or nothing is expected", _NAME),
    errno.ENAMETOOLONG: ("the name is too long for this file system", "Give a shorter one."),
    errno.ENXIO: ("a socket or a device where a file is expected", _NAME),
    errno.ELOOP: ("links that lead in a circle", "Remove one of them."),
    errno.EBUSY: ("it is in use by another program or mounted", "End that program, then run again."),
}

from posterity.text import printable_lines


class UserError(Exception):
    """Something outside the code is wrong: a parameter, a path, a cell of a table.

    It is shown without a traceback, so its text has to be enough: the place, what was expected there, what was
    found, and what to do. Anything else that is raised is a bug and keeps its traceback.

    Parameters
    ----------
    message : str
        Whole sentences, for instance
        ``"params.yaml: train.epochs must be an integer >= 1. Got '20'. Remove the quotes."``. What a terminal obeys
        is escaped, except line feeds. So the text of data that may hold one is quoted by ``!r`` or passes through
        `posterity.text.printable`.
    """

    def __init__(self, message: object) -> None:
        super().__init__(printable_lines(message))


class RefusedError(UserError):
    """The system does not let something be read or written, with the words of `explained`.

    Attributes
    ----------
    errno : int
        The number of the system's error.
    strerror : str
        What the system calls it.
    filename : str
        The file or folder.
    """

    def __init__(self, message: str, number: int, filename: str | os.PathLike[str]) -> None:
        super().__init__(message)
        self.errno = number
        self.strerror = os.strerror(number)
        self.filename = os.fspath(filename)


def explained(
    error: BaseException, place: str | os.PathLike[str] | None = None, verb: str = "read or written"
) -> str | None:
    """Say what an error of the system means and what to do about it: place, what was got, fix.

    Parameters
    ----------
    error : exception
        An OSError, or what a library made of one: NumPy raises an OSError without a number for a write that is cut
        short, and h5py names the number in its text.
    place : path, optional
        The file or folder, for an error that names none (such as one of `write`).
    verb : str
        What cannot be done with it: ``read``, ``written``.

    Returns
    -------
    str or None
        Whole sentences, or None for what may be a mistake in the code.

    Examples
    --------
    >>> explained(OSError(errno.ENOSPC, "No space left on device"), "data/rows")  # doctest: +ELLIPSIS
    'data/rows: cannot be written: the disk is full. Free some space there, or use another disk, and run ...'
    >>> explained(FileNotFoundError(errno.ENOENT, "No such file or directory")) is None
    True
    """
    number = errno_of(error)
    if number not in _CAUSES:
        return None
    named = getattr(error, "filename", None)  # for an open file it can be its number
    where = named if isinstance(named, str | bytes | os.PathLike) else place
    shown = "a file" if where is None else os.fsdecode(where)
    cause, fix = _CAUSES[number]
    only_written = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
    return f"{shown}: cannot be {'written' if only_written else verb}: {cause}. {fix}"


def errno_of(error: BaseException) -> int | None:
    """The number of the system's error in an OSError or in what a library made of one, or None."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, RefusedError):
        return error.errno
    text = str(error)
    if isinstance(error, OSError) and re.fullmatch(r"\d+ requested and \d+ written", text):
        return errno.ENOSPC  # numpy.ndarray.tofile
    if isinstance(error, OSError | RuntimeError) and (found := re.search(r"\berrno = (\d+)", text)):
        return int(found[1])  # h5py
    return None
