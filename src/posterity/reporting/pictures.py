"""Small pictures of images: for a page they are text, for a folder they are files."""

import base64
import io
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from posterity.cache.tensors import TensorCache

UInt8Array = npt.NDArray[np.uint8]
LONGER_SIDE = 128  # of a thumbnail, in pixels: legible, and about 3 kB
QUALITY = 62  # of WebP, of 100


class Thumbnails:
    """Thumbnails of cached rows, each made once.

    Parameters
    ----------
    cache : TensorCache
        The images as the network gets them.
    longer_side : int
        Of a thumbnail, in pixels.
    """

    def __init__(self, cache: TensorCache, longer_side: int = LONGER_SIDE) -> None:
        self._cache = cache
        self._longer_side = longer_side
        self._uris: dict[int, str] = {}
        spec = cache.spec
        self.width, self.height = fitted_size(spec.width, spec.height, longer_side)

    def uri(self, row: int) -> str:
        """The thumbnail of a row as a data URI."""
        if row not in self._uris:
            (image,) = self._cache.images([row])
            self._uris[row] = data_uri(smaller(image, self._longer_side))
        return self._uris[row]


def fitted_size(width: int, height: int, longer_side: int) -> tuple[int, int]:
    """Width and height of a picture of this size whose longer side is ``longer_side``; never larger than it is.

    >>> fitted_size(300, 400, 128), fitted_size(20, 10, 128)
    ((96, 128), (20, 10))
    """
    scale = min(1.0, longer_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def smaller(image: UInt8Array, longer_side: int) -> UInt8Array:
    """Reduce an image (height, width, 3) so that its longer side is ``longer_side``; one that is smaller stays."""
    height, width = image.shape[:2]
    size = fitted_size(width, height, longer_side)
    return image if size == (width, height) else np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def data_uri(image: UInt8Array) -> str:
    """An image (height, width, 3) as a data URI of WebP."""
    return "data:image/webp;base64," + base64.b64encode(webp(image)).decode("ascii")


def webp(image: UInt8Array) -> bytes:
    """Encode an image (height, width, 3); the same pixels give the same bytes."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "WEBP", quality=QUALITY, method=4)
    return stream.getvalue()


def sheet(images: Sequence[UInt8Array], columns: int) -> UInt8Array:
    """Put images of one size (height, width, 3) side by side, row after row; what is left over is black."""
    height, width = images[0].shape[:2]
    lines = -(-len(images) // columns)
    whole = np.zeros((lines * height, columns * width, 3), np.uint8)
    for number, image in enumerate(images):
        top, left = number // columns * height, number % columns * width
        whole[top : top + height, left : left + width] = image
    return whole
