"""What a program may hand over as an image: a path, the bytes of a file, an open file, a PIL image or an array."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from posterity.pixels import decode
from posterity.pixels.decode import ImageArray, ImageProblem
from posterity.pixels.image_names import is_image_path
from posterity.pixels.opening import DAMAGED
from posterity.pixels.spec import ImageSpec

ImageInput = str | os.PathLike[str] | bytes | BinaryIO | Image.Image | np.ndarray[Any, Any]
ACCEPTED = (
    "a path, a folder, the bytes of an image file, a file opened for reading bytes, a PIL image, or an array of uint8 "
    "with shape (height, width), (height, width, 1), (height, width, 3) or (height, width, 4)"
)
_CHANNELS = (1, 3, 4)


class Source(NamedTuple):
    """One image to decode: a name to show, and a path, the content of a file, a picture or a problem."""

    name: str
    content: str | bytes | Image.Image | ImageProblem


def sources(images: ImageInput | Iterable[ImageInput]) -> Iterator[Source]:
    """Turn what was handed over into single images, one after the other as they are asked for.

    Parameters
    ----------
    images
        One image or any iterable of images, in the forms that `ACCEPTED` lists. A folder stands for the images in it
        and below it, by name.

    Yields
    ------
    Source
        An image without a file name is called ``image 1``, ``image 2``, ... by its place.

    Raises
    ------
    TypeError
        If something else was handed over; what was before it is yielded first.
    """
    items: Iterable[Any] = [images] if _is_one(images) else images  # type: ignore[assignment]
    try:
        iterator = iter(items)
    except TypeError:
        raise _wrong(images) from None
    for number, item in enumerate(iterator, 1):
        if isinstance(item, str | os.PathLike):
            yield from _of_path(os.fspath(item))
        else:
            yield _of_object(item, f"image {number}")


def images_in(folder: str) -> list[str]:
    """Paths of the images in a folder and below it, by name; hidden ones and the companions of macOS are none.

    A dead link or a device that is called like an image is listed: it is an image that cannot be read.
    """
    root = Path(folder)
    paths = []
    for parent, _, names in os.walk(root):
        paths += [Path(parent, name) for name in names]
    return [str(path) for path in sorted(paths) if is_image_path(str(path.relative_to(root)))]


def decode_some(some: Sequence[Source], spec: ImageSpec) -> list[ImageArray | ImageProblem]:
    """Decode images: an array uint8 (height, width, 3) for each, or what is wrong with it."""
    results: list[ImageArray | ImageProblem] = []
    for _, content in some:
        try:
            results.append(_decode(content, spec))
        except ImageProblem as problem:
            results.append(ImageProblem(problem.kind, str(problem)))  # the raised one would keep its stack alive
    return results


def _decode(content: str | bytes | Image.Image | ImageProblem, spec: ImageSpec) -> ImageArray:
    if isinstance(content, ImageProblem):
        raise content
    if isinstance(content, Image.Image):
        return decode.decode_image(content, spec)
    return decode.decode(content, spec)


def _is_one(images: object) -> bool:
    one = (str, bytes, bytearray, memoryview, os.PathLike, Image.Image, np.ndarray)
    return isinstance(images, one) or hasattr(images, "read")


def _of_path(path: str) -> Iterator[Source]:
    if not os.path.isdir(path):  # noqa: PTH112 - Path raises where a folder may not be entered
        yield Source(path, path)
        return
    found = images_in(path)
    yield from (Source(name, name) for name in found)
    if not found:
        yield Source(path, ImageProblem("unreadable_image", "is a folder without images"))


def _of_object(item: object, name: str) -> Source:
    if isinstance(item, bytes | bytearray | memoryview):
        return Source(name, bytes(item))
    if isinstance(item, Image.Image):
        try:
            # A copy: threads decode it later, and meanwhile the caller may change the image, or hand it over again.
            return Source(getattr(item, "filename", "") or name, item.copy())
        except DAMAGED as error:
            return Source(name, ImageProblem("unreadable_image", f"cannot be decoded: {error}"))
    if isinstance(item, np.ndarray):
        return Source(name, _picture(item))
    if hasattr(item, "read"):
        content = item.read()
        if not isinstance(content, bytes):
            raise TypeError(f"expected a file opened for reading bytes (mode 'rb'). Got one that reads {type(content)}")
        file_name = getattr(item, "name", name)
        return Source(file_name if isinstance(file_name, str) else name, content)
    raise _wrong(item)


def _picture(array: np.ndarray[Any, Any]) -> Image.Image:
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS)
    if array.dtype != np.uint8 or not is_picture or 0 in array.shape:
        raise TypeError(
            f"expected an array of uint8, 0 to 255, with shape (height, width), (height, width, 1), (height, width, 3) "
            f"or (height, width, 4). Got {array.dtype} with shape {array.shape}. Several images go into a list"
        )
    # A copy: Pillow may share the memory, and the caller may use it for the next frame.
    return Image.fromarray((array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array).copy())


def _wrong(item: object) -> TypeError:
    return TypeError(f"expected {ACCEPTED}; or an iterable of these. Got {type(item).__name__}: {item!r:.80}")
