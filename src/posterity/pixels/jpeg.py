"""JPEG files to pixels by libjpeg-turbo, without the copies that Pillow makes between its own layout and an array."""

import re

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

EXIF_ORIENTATION = 0x0112
ROTATED_BY_90 = range(5, 9)
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
END_IS_MISSING = "Premature end of JPEG file"
# Warnings of libjpeg after which it has made up some of the pixels (grey, or a repetition). Its others are about bytes
# that no pixel needs, such as zeros before the end marker.
MADE_UP = (
    "premature end of data segment", "bad Huffman code", "bad arithmetic code", "instead of RST",
    "Inconsistent progression sequence",
)  # fmt: skip
# Frames whose scans hold all components unless they say otherwise: baseline and extended sequential, Huffman coded.
SEQUENTIAL = (0xC0, 0xC1)
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in entropy-coded data: no stuffing, restart or filling


class MadeUpError(Exception):
    """The data of a JPEG file are damaged, or end early: some of its pixels would be made up."""


def is_plain(image: Image.Image) -> bool:
    """Whether `decode_upright` takes ``image``: an RGB or grey JPEG (simplejpeg cannot turn CMYK into RGB)."""
    return isinstance(image, JpegImageFile) and image.mode in {"RGB", "L"}


def shrink_factor(image: Image.Image, width: int, height: int) -> int:
    """By how much a JPEG decoder may shrink: 1, 2, 4 or 8, so that twice the target is left for the filter.

    Parameters
    ----------
    image : PIL.Image.Image
        Opened, not decoded.
    width, height : int
        Target in pixels, as displayed (after EXIF rotation).
    """
    if image.getexif().get(EXIF_ORIENTATION) in ROTATED_BY_90:
        width, height = height, width
    room = min(image.width // (2 * width), image.height // (2 * height))
    return max(factor for factor in (1, 2, 4, 8) if factor <= max(room, 1))


def decode_upright(image: ImageFile.ImageFile, content: bytes, shrink: int) -> npt.NDArray[np.uint8]:
    """The pixels that Pillow's ``draft``, ``load`` and ``exif_transpose`` would give: both use the accurate DCT.

    Parameters
    ----------
    image : PIL.ImageFile.ImageFile
        One that `is_plain`, opened, not decoded.
    content : bytes
        All of its file.
    shrink : int
        1, 2, 4 or 8.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        RGB, 0 to 255, with the EXIF rotation applied; each side divided by ``shrink`` and rounded up.

    Raises
    ------
    MadeUpError
        If data are missing or damaged. That only the end marker is missing is no damage.
    ValueError
        If this decoder cannot read the file; Pillow may.
    Exception
        Whatever Pillow raises on damaged EXIF data.
    """
    orientation = image.getexif().get(EXIF_ORIENTATION)
    # The decoder takes its smallest scale that leaves these sizes: exactly ``shrink``. 0 means full size.
    min_width, min_height = (-(-side // shrink) if shrink > 1 else 0 for side in image.size)
    return _upright(_decode(content, min_height, min_width), orientation)


def whole(content: bytes) -> bytes:
    """``content``, with the end marker if a file that `decode_upright` does not read lacks it and nothing else.

    Raises
    ------
    MadeUpError
        As `decode_upright`.
    """
    for candidate in (content, content + END_OF_IMAGE):
        try:
            # The pixels are not wanted: as few as can be. Cyan, magenta, yellow and black cannot become RGB here.
            simplejpeg.decode_jpeg(candidate, colorspace="CMYK", min_height=1, min_width=1)
        except ValueError as error:
            if END_IS_MISSING in str(error):
                continue
            _raise_if_made_up(error)
        return candidate  # sound, or for Pillow to judge
    return content


def count_scans(content: bytes) -> int:
    """Number of scans of the first picture in a JPEG file, found by its markers without decoding anything.

    A file of the usual kind, sequential with all components in one scan, counts as 1 after a look at its header.
    """
    place, scans, in_frame, is_sequential = 2, 0, 0, False
    while 0 <= place < len(content) - 9:
        marker = content[place + 1]
        if content[place] != 0xFF or marker == END_OF_IMAGE[1]:
            break
        if marker == 0xFF:  # filling
            place += 1
            continue
        length = int.from_bytes(content[place + 2 : place + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # the frame
            is_sequential, in_frame = marker in SEQUENTIAL, content[place + 9]
        place += 2 + length
        if marker == START_OF_SCAN[1]:
            scans += 1
            if is_sequential and content[place - length + 2] == in_frame:
                break
            found = _NEXT_MARKER.search(content, place)
            place = found.start() if found else -1
    return scans


def _decode(content: bytes, min_height: int, min_width: int) -> npt.NDArray[np.uint8]:
    def decode(content: bytes, *, strict: bool) -> npt.NDArray[np.uint8]:
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
            content, min_height=min_height, min_width=min_width, strict=strict
        )
        return pixels

    try:
        return decode(content, strict=True)
    except ValueError as error:
        if END_IS_MISSING not in str(error):
            _raise_if_made_up(error)
            raise
    content += END_OF_IMAGE
    try:
        return decode(content, strict=True)
    except ValueError as error:
        _raise_if_made_up(error)
        return decode(content, strict=False)


def _raise_if_made_up(error: ValueError) -> None:
    if any(warning in str(error) for warning in MADE_UP):
        raise MadeUpError(str(error)) from None


def _upright(pixels: npt.NDArray[np.uint8], orientation: int | None) -> npt.NDArray[np.uint8]:
    """Undo the EXIF orientation: 1 to 8, all else counts as 1 (https://exiftool.org/TagNames/EXIF.html)."""
    if orientation in {3, 4, 6, 7}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 7, 8}:
        pixels = pixels[:, ::-1]
    if orientation in ROTATED_BY_90:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels)  # OpenCV takes no negative strides
