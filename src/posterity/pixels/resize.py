"""Fit pixels into a fixed size: by area, the fast filter of OpenCV, or by one of Pillow's filters."""

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from posterity.choices import Fit

Pixels = npt.NDArray[np.uint8]

cv2.setNumThreads(1)  # whole images are spread over threads or machines; more threads inside one would only compete


def fit_by_area(pixels: Pixels, width: int, height: int, fit: Fit) -> Pixels:
    """Fit by `resize_by_area`. The geometry is that of ``ImageOps.pad`` and ``ImageOps.fit``, in whole pixels.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (any height, any width, 3)
        Both sides at least 1.
    width, height : int
        Size of the result.
    fit : str
        ``stretch`` ignores the aspect ratio, ``pad`` adds black bars, ``crop`` cuts the overhang off both sides.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        ``pixels`` itself if it has that size.
    """
    if fit == "pad":
        inner = _inside(pixels.shape[1], pixels.shape[0], width, height)
        return _centred(resize_by_area(pixels, *inner), width, height)
    if fit == "crop":
        # Cut first: a strip of 10,000 x 1 pixels, widened to cover the target, would need gigabytes.
        pixels = _cut(pixels, *_inside(width, height, pixels.shape[1], pixels.shape[0]))
    return resize_by_area(pixels, width, height)


def resize_by_area(pixels: Pixels, width: int, height: int) -> Pixels:
    """Average over the area of each new pixel where a side shrinks, interpolate linearly where it grows.

    Shrinking comes first, as a step of its own: OpenCV's ``INTER_AREA`` averages only if no side grows.
    Shrinking is right to half a grey level; a value half-way between two is rounded to the even one by Intel's kernels
    (alike on all x86 CPUs with AVX2), in some cases up without them (ARM). Growing is the same everywhere.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (any height, any width, 3)
        Both sides at least 1.
    width, height : int
        Size of the result.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        ``pixels`` itself if it has that size.
    """
    size = (pixels.shape[1], pixels.shape[0])
    shrunk = (min(width, size[0]), min(height, size[1]))
    if shrunk != size:
        # Consent to the rounding named above: without it, Intel's kernels are not used, and this is 5 times as slow.
        # OpenCV keeps it per thread, hence here; where there are no such kernels, it changes nothing.
        cv2.ipp.setUseIPP_NotExact(True)
        pixels = np.asarray(cv2.resize(pixels, shrunk, interpolation=cv2.INTER_AREA), np.uint8)
    if shrunk != (width, height):
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR_EXACT), np.uint8)
    return pixels


def fit_by_pillow(image: Image.Image, width: int, height: int, fit: Fit, resampling: str) -> Pixels:
    """As `fit_by_area`, by a filter of Pillow (in lower case); all but ``nearest`` antialias, widening as they shrink.

    ``crop`` is ``ImageOps.fit``, which cuts at fractions of a pixel.
    """
    method = Image.Resampling[resampling.upper()]
    if fit == "pad":
        # Not ImageOps.pad: it fails on strips whose short side rounds to 0.
        inner = _inside(image.width, image.height, width, height)
        return _centred(np.asarray(image.resize(inner, method)), width, height)
    if fit == "crop":
        return np.asarray(ImageOps.fit(image, (width, height), method=method))
    return np.asarray(image.resize((width, height), method))


def _inside(width: int, height: int, max_width: int, max_height: int) -> tuple[int, int]:
    """The largest (width, height) of this aspect ratio within ``max_width`` x ``max_height``, at least 1 each."""
    if width / height > max_width / max_height:
        return max_width, max(1, round(height / width * max_width))  # the order of operations is ImageOps.contain's
    return max(1, round(width / height * max_height)), max_height


def _cut(pixels: Pixels, width: int, height: int) -> Pixels:
    left, top = (pixels.shape[1] - width) // 2, (pixels.shape[0] - height) // 2
    return pixels[top : top + height, left : left + width]


def _centred(pixels: Pixels, width: int, height: int) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    framed = np.zeros((height, width, 3), np.uint8)
    left, top = round((width - pixels.shape[1]) / 2), round((height - pixels.shape[0]) / 2)
    framed[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return framed
