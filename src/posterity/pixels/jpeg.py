"""JPEG files to pixels by libjpeg-turbo, without the copies that Pillow makes between its own layout and an array."""

from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

EXIF_ORIENTATION = 0x0112
ROTATED_BY_90 = range(5, 9)


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


def decode_upright(image: ImageFile.ImageFile, shrink: int) -> npt.NDArray[np.uint8]:
    """The pixels that Pillow's ``draft``, ``load`` and ``exif_transpose`` would give: both use the accurate DCT.

    Parameters
    ----------
    image : PIL.ImageFile.ImageFile
        One that `is_plain`, opened, not decoded.
    shrink : int
        1, 2, 4 or 8.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        RGB, 0 to 255, with the EXIF rotation applied; each side divided by ``shrink`` and rounded up.

    Raises
    ------
    ValueError
        If the data are damaged in any way, even one that Pillow forgives.
    Exception
        Whatever Pillow raises on damaged EXIF data.
    """
    orientation = image.getexif().get(EXIF_ORIENTATION)
    file = cast(BinaryIO, image.fp)  # open until the pixels are loaded
    file.seek(0)
    # The decoder takes its smallest scale that leaves these sizes: exactly ``shrink``. 0 means full size.
    min_width, min_height = (-(-side // shrink) if shrink > 1 else 0 for side in image.size)
    return _upright(simplejpeg.decode_jpeg(file.read(), min_height=min_height, min_width=min_width), orientation)


def _upright(pixels: npt.NDArray[np.uint8], orientation: int | None) -> npt.NDArray[np.uint8]:
    """Undo the EXIF orientation: 1 to 8, all else counts as 1 (https://exiftool.org/TagNames/EXIF.html)."""
    if orientation in {3, 4, 6, 7}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 7, 8}:
        pixels = pixels[:, ::-1]
    if orientation in ROTATED_BY_90:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels)  # OpenCV takes no negative strides
