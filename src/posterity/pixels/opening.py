"""Opening image files: only regular files, only of formats that are allowed, only within the limits."""

import contextlib
import io
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from posterity.pixels import formats, jpeg
from posterity.pixels.spec import Limits

# Pillow's own guard has one fixed limit (and only warns below twice of it); `max_pixels` takes its place here.
Image.MAX_IMAGE_PIXELS = None
# Pillow refuses a whole PNG file for a text of more than 1 MB beside the pixels. All texts of a file together may have
# 64 MB, as before (https://github.com/python-pillow/Pillow/issues/2445).
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY

# What Pillow's plugins raise on damaged files (found by fuzzing them). Only calls into Pillow stand under it.
DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, RuntimeError, struct.error,
    zlib.error,
)  # fmt: skip

READ_AT_ONCE = 2**26  # bytes; what is larger may be a video, of which the first bytes are enough

_KINDS_OF_FILE = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class ImageProblem(Exception):  # noqa: N818 - a fact about a file, which a policy may tolerate
    """A file cannot be used as an image.

    Attributes
    ----------
    kind : str
        ``"missing_image"``, ``"unreadable_image"`` or ``"oversized_image"``, as in params.yaml's ``data.on_problem``.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind

    def __reduce__(self) -> tuple[type["ImageProblem"], tuple[str, str]]:
        return type(self), (self.kind, str(self))  # pickle would pass the text alone


def kind_of_file(mode: int) -> str:
    """What a file is by its ``st_mode`` if it is no regular one, such as "a folder"; "" if it is."""
    return next((what for is_kind, what in _KINDS_OF_FILE if is_kind(mode)), "")


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file for reading. Anything else is refused at once: to read a named pipe could wait for ever.

    Raises
    ------
    ImageProblem
        If it does not exist, is not a regular file or may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:  # ValueError: a name with a 0 byte
        raise _problem(error, path) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise ImageProblem("unreadable_image", f"is {kind_of_file(mode) or 'a special file'}, not an image file")
    return os.fdopen(descriptor, "rb")


def read(path: str | Path) -> bytes:
    """The content of a regular file; raises `ImageProblem` as `open_regular` does."""
    with open_regular(path) as file:
        return _all_of(file, path)


def read_usual(path: str | Path) -> bytes | None:
    """The content of a regular file of usual size, None for a larger one; raises `ImageProblem` as `open_regular`."""
    with open_regular(path) as file:
        return _all_of(file, path) if os.fstat(file.fileno()).st_size <= READ_AT_ONCE else None


@contextlib.contextmanager
def open_image(
    source: str | Path | bytes, limits: Limits, *, read_at_once: bool = False
) -> Iterator[ImageFile.ImageFile]:
    """Open an image file, given by its path or its content, without decoding its pixels.

    Parameters
    ----------
    source : str, Path or bytes
        A path or a content.
    limits : Limits
        What is refused.
    read_at_once : bool
        Read a file of usual size with one call: faster if all of it is needed.

    Raises
    ------
    ImageProblem
        If it is missing, empty, no image of an allowed format, or over a limit that its header tells.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else open_regular(source) as opened:
        file: BinaryIO = opened
        if read_at_once and not isinstance(source, bytes) and os.fstat(file.fileno()).st_size <= READ_AT_ONCE:
            file = io.BytesIO(_all_of(file, source))
        image = _identified(file, limits)
        check_size(image.size, limits)
        yield image


def _all_of(file: BinaryIO, path: str | Path) -> bytes:
    try:
        return file.read()
    except OSError as error:
        raise _problem(error, path) from None


def check_scans(image: ImageFile.ImageFile, content: bytes, limits: Limits) -> None:
    """Raise `ImageProblem` if a JPEG file, given with its content, has more scans than allowed."""
    if isinstance(image, JpegImageFile) and (scans := jpeg.count_scans(content)) > limits.max_scans:
        raise ImageProblem("oversized_image", f"has {scans:,} scans, over image.max_scans = {limits.max_scans:,}")


def _identified(file: BinaryIO, limits: Limits) -> ImageFile.ImageFile:
    try:
        return Image.open(file, formats=formats.pillow_names(limits.formats))
    except UnidentifiedImageError as error:
        file.seek(0)
        start = file.read(formats.SNIFFED)
        detail = f"is {_other(file, start, limits)}" if start else "is empty (0 bytes)"
        raise ImageProblem("unreadable_image", detail) from error
    except DAMAGED as error:
        raise ImageProblem("unreadable_image", f"{error}") from error


def _other(file: BinaryIO, start: bytes, limits: Limits) -> str:
    """What a file is that is of no allowed format."""
    others = tuple(key for key in formats.PILLOW_NAMES if key not in limits.formats)
    with contextlib.suppress(*DAMAGED):
        key = formats.key_of(Image.open(file, formats=formats.pillow_names(others)).format)
        return (
            f"a {key.upper()} image, but image.formats allows {', '.join(limits.formats)} only: add {key} there or "
            "convert the file"
        )
    return formats.named(start, limits.formats)


def check_size(size: tuple[int, int], limits: Limits) -> None:
    """Refuse an image with too many pixels, given its width and height.

    Raises
    ------
    ImageProblem
        If it is over a limit.
    """
    width, height = size
    if width * height > limits.max_pixels:
        product = f"{width} x {height} = {width * height:,} pixels"
        raise ImageProblem("oversized_image", f"{product}, over image.max_pixels = {limits.max_pixels:,}")
    if max(width, height) > limits.max_side:
        raise ImageProblem("oversized_image", f"{width} x {height} pixels, over image.max_side = {limits.max_side:,}")


def _problem(error: Exception, path: str | Path) -> ImageProblem:
    """What to tell of a file that cannot be opened or read."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        with contextlib.suppress(OSError, ValueError):
            target = os.fsencode(Path(path).readlink()).decode(errors="backslashreplace")
            return ImageProblem("missing_image", f"no such file: it is a link to {target}, which does not exist")
        return ImageProblem("missing_image", "no such file")
    return ImageProblem("unreadable_image", f"{error}")
