"""Files that are opened to be read: regular ones only, since a named pipe would be waited for without an end."""

import io
import os
import stat

from posterity.errors import UserError


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file for reading bytes.

    Raises
    ------
    UserError
        If it is a named pipe or a device.
    OSError
        If the system refuses.
    """
    stream = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - Path.open takes no opener
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise UserError(f"{os.fspath(path)}: expected a file. Got a named pipe or a device. Correct the path.")
    return stream


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # to open a named pipe waits for somebody who writes
