"""What a program may hand over as an image: a path, the bytes of a file, an open file, a PIL image or an array."""

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from posterity.pixels import decode
from posterity.pixels.decode import ImageArray, ImageProblem
from posterity.pixels.image_names import is_hidden, is_image_path
from posterity.pixels.spec import ImageSpec

ImageInput = str | os.PathLike[str] | bytes | BinaryIO | Image.Image | np.ndarray[Any, Any]
_SHAPES = "shape (height, width), (height, width, 1), (height, width, 3) or (height, width, 4)"
ACCEPTED = (
    "a path, a folder, the bytes of an image file, a file opened for reading bytes, a PIL image, or an array of uint8 "
    f"with {_SHAPES}"
)
_CHANNELS = (1, 3, 4)


class Source(NamedTuple):
    """One image: a name to show, and the path or the content of a file to decode, decoded pixels, or a problem."""

    name: str
    content: str | bytes | ImageArray | ImageProblem


def check(images: object) -> None:
    """Check the types of what was handed over as images as far as that is possible without reading anything.

    Raises
    ------
    TypeError
        If it, or an item of a list or tuple, is none of the forms that `ACCEPTED` lists.
    """
    if _is_one(images):
        _check_one(images)
    elif isinstance(images, list | tuple):
        for number, item in enumerate(images, 1):
            _check_one(item, number)
    elif isinstance(images, type | Mapping) or not (hasattr(images, "__iter__") or hasattr(images, "__getitem__")):
        raise _wrong(images)


def expanded(images: ImageInput | Iterable[ImageInput]) -> Iterable[ImageInput]:
    """Put the images of a folder in its place, so that they can be counted; an iterable but a list stays as it is.

    A folder without images stays, too: it is an image that cannot be read.
    """
    if not isinstance(images, list | tuple) and not _is_one(images):
        return images  # type: ignore[return-value]
    items: Iterable[Any] = [images] if _is_one(images) else images  # type: ignore[assignment]
    found: list[ImageInput] = []
    for item in items:
        if isinstance(item, str | os.PathLike) and os.path.isdir(item):  # noqa: PTH112 - see _of_path
            found += images_in(os.fsdecode(item)) or [item]
        else:
            found.append(item)
    return found


def sources(images: ImageInput | Iterable[ImageInput], spec: ImageSpec) -> Iterator[Source]:
    """Turn what was handed over into single images, one after the other as they are asked for.

    Files are left to `decode_some`, which threads may call. A picture in memory is fitted to ``spec`` here and now: it
    may have the size of a camera's, and its owner may close it or draw into it as soon as the next one is asked for.

    Parameters
    ----------
    images
        One image or any iterable of images, in the forms that `ACCEPTED` lists. A folder stands for the images in it
        and below it, by name.
    spec : ImageSpec
        How an image becomes an array.

    Yields
    ------
    Source
        An image without a file name is called ``image 1``, ``image 2``, ... by its place among all images.

    Raises
    ------
    TypeError
        If something else was handed over. What comes before it is yielded, unless a list or a tuple shows it at once.
    """
    check(images)
    number = 0
    for item in [images] if _is_one(images) else images:  # type: ignore[union-attr]
        _check_one(item, number + 1)
        if isinstance(item, str | os.PathLike):
            for source in _of_path(os.fsdecode(item)):
                number += 1
                yield source
        else:
            number += 1
            yield _of_object(item, f"image {number}", spec)


def images_in(folder: str) -> list[str]:
    """Paths of the images in a folder and below it, by name; hidden ones and the companions of macOS are none.

    What is called like an image but is none, such as a dead link, a device or a folder without images, is listed, and
    so is a folder that may not be entered: there is something that cannot be read. Links to folders are not followed.
    """
    root = Path(folder)
    files: list[Path] = []
    folders: list[Path] = []

    def may_not_be_entered(error: OSError) -> None:
        files.append(Path(error.filename))

    for parent, names_of_folders, names in os.walk(root, onerror=may_not_be_entered):
        names_of_folders[:] = [name for name in names_of_folders if not is_hidden(name)]
        folders += [Path(parent, name) for name in names_of_folders if is_image_path(name)]
        files += [Path(parent, name) for name in names if is_image_path(name)]
    files += [path for path in folders if not any(file.is_relative_to(path) for file in files)]
    return [str(path) for path in sorted(files)]


def decode_some(some: Sequence[Source], spec: ImageSpec) -> list[ImageArray | ImageProblem]:
    """Decode images: an array uint8 (height, width, 3) for each, or what is wrong with it."""
    return [_decoded(content, spec) if isinstance(content, str | bytes) else content for _, content in some]


def _decoded(content: str | bytes | Image.Image | ImageArray, spec: ImageSpec) -> ImageArray | ImageProblem:
    try:
        if isinstance(content, str | bytes):
            return decode.decode(content, spec)
        if isinstance(content, np.ndarray) and content.shape[2:] == (3,):
            return decode.fit_array(content, spec)
        if isinstance(content, np.ndarray):
            content = Image.fromarray(content[..., 0] if content.shape[2:] == (1,) else content)
        return decode.decode_image(content, spec)
    except ImageProblem as problem:
        return ImageProblem(problem.kind, str(problem))  # the raised one would keep its stack alive


def _is_one(images: object) -> bool:
    if isinstance(images, np.ndarray):
        return images.dtype.kind not in "OUS"  # such an array holds paths, not pixels
    one = (str, bytes, bytearray, memoryview, os.PathLike, Image.Image)
    return isinstance(images, one) or hasattr(images, "read")


def _of_path(path: str) -> Iterator[Source]:
    if not os.path.isdir(path):  # noqa: PTH112 - Path raises where a folder may not be entered
        yield Source(path, path)
        return
    found = images_in(path)
    yield from (Source(name, name) for name in found)
    if not found:
        yield Source(path, ImageProblem("unreadable_image", "is a folder without images"))


def _of_object(item: Any, name: str, spec: ImageSpec) -> Source:
    if isinstance(item, bytes | bytearray | memoryview):
        return Source(name, bytes(item))
    if isinstance(item, Image.Image):
        return Source(getattr(item, "filename", "") or name, _decoded(item, spec))
    if isinstance(item, np.ndarray):
        return Source(name, _decoded(item, spec))
    file_name = getattr(item, "name", name)
    return Source(file_name if isinstance(file_name, str) else name, _content(item))


def _content(file: Any) -> bytes | ImageProblem:
    """All that is in an open file, wherever it stands: who has just written an image into it stands at its end."""
    try:
        if hasattr(file, "seekable") and file.seekable():
            file.seek(0)
        content = file.read()
    except Exception as error:  # a file may come from anywhere: an archive, a server
        return ImageProblem("unreadable_image", f"cannot be read: {str(error) or type(error).__name__}")
    if not isinstance(content, bytes):
        raise _wrong_file(type(content))
    return content


def _check_one(item: object, number: int | None = None) -> None:
    """Raise `TypeError` if ``item``, the one with this number, is no image."""
    if isinstance(item, np.ndarray):
        is_picture = item.ndim == 2 or (item.ndim == 3 and item.shape[2] in _CHANNELS)
        if item.dtype != np.uint8 or not is_picture or 0 in item.shape:
            got = f"{item.dtype} with shape {item.shape}{_place(number)}"
            raise TypeError(
                f"expected an array of uint8, 0 to 255, with {_SHAPES}. Got {got}. Several images go into a list"
            )
    elif isinstance(item, io.TextIOBase):
        raise _wrong_file(str)
    elif isinstance(item, type) or not _is_one(item):
        raise _wrong(item, number)


def _wrong_file(got: type) -> TypeError:
    return TypeError(f"expected a file opened for reading bytes (mode 'rb'). Got one that reads {got.__name__}")


def _wrong(item: object, number: int | None = None) -> TypeError:
    got = f"{type(item).__name__}{_place(number)}: {item!r:.80}"
    return TypeError(f"expected {ACCEPTED}; or an iterable of these. Got {got}")


def _place(number: int | None) -> str:
    return "" if number is None else f" as image {number}"
