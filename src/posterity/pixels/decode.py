"""Image files to uint8 arrays. No other module decodes an image, so training and prediction see the same pixels."""

import functools
import hashlib
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from posterity.errors import UserError
from posterity.pixels import jpeg
from posterity.pixels.colours import Remark, colour_remark, is_deep_grey, levels_remark, to_rgb
from posterity.pixels.opening import DAMAGED, ImageProblem, check_scans, check_size, open_image, open_regular, read
from posterity.pixels.resize import fit_by_area, fit_by_pillow
from posterity.pixels.spec import ImageSpec, Limits
from posterity.workers.threads import Mapper, chunks, threads

__all__ = [
    "DecodedImage", "ImageArray", "ImageProblem", "Remark", "decode", "decode_all", "decode_all_with_remarks",
    "decode_image", "digest", "fit_array", "read_header",
]  # fmt: skip

ImageArray = npt.NDArray[np.uint8]

FILES_PER_TASK = 8  # decoded by one worker in a row


class DecodedImage(NamedTuple):
    """Pixels, uint8 (height, width, 3), and what is odd about them."""

    pixels: ImageArray
    remarks: tuple[Remark, ...]


def read_header(source: str | Path | bytes, limits: Limits) -> tuple[int, int]:
    """Width and height in pixels as displayed (after EXIF rotation), without decoding the pixels.

    Raises
    ------
    ImageProblem
        If the file is missing, empty, no image of an allowed format, or over a limit.
    """
    with open_image(source, limits) as image:
        if image.info.get("progressive"):
            check_scans(image, _content(image), limits)
        return _displayed_size(image)


def decode(source: str | Path | bytes, spec: ImageSpec) -> ImageArray:
    """Decode the first frame of an image file, given by its path or its content, and fit it to ``spec``.

    Transparent pixels are laid over white, as a viewer shows them; 16-bit grey is scaled to 8 bits; EXIF rotation is
    applied. A JPEG of 4 or more times the target's size is scaled down by its decoder, to no less than twice the target
    (but for ``nearest``). Apart from that, equal pixels give equal results, whatever the format and the thread.

    Returns
    -------
    ndarray of uint8, shape (spec.height, spec.width, 3)
        RGB, 0 to 255.

    Raises
    ------
    ImageProblem
        If the file is missing, damaged (truncated files included), of an undefined range or a format that is not
        allowed, or oversized.
    """
    return _decode(source, spec).pixels


def _decode(source: str | Path | bytes, spec: ImageSpec) -> DecodedImage:
    with open_image(source, spec.limits, read_at_once=True) as image:
        content = b""
        if isinstance(image, JpegImageFile):
            content = source if isinstance(source, bytes) else _content(image)
            check_scans(image, content, spec.limits)
        upright, levels = _upright(image, content, spec)
    fitted = _fitted(upright, spec)
    colour = colour_remark(fitted if spec.fit != "pad" else np.asarray(upright))  # without the bars
    return DecodedImage(fitted, tuple(filter(None, (colour, levels))) if colour or levels else ())


def decode_image(image: Image.Image, spec: ImageSpec) -> ImageArray:
    """Fit an image of Pillow, which is loaded by it, to ``spec``, as `decode` does with a file of the same pixels.

    Returns
    -------
    ndarray of uint8, shape (spec.height, spec.width, 3)
        RGB, 0 to 255.

    Raises
    ------
    ImageProblem
        If its file is damaged, or if it is of an undefined range, or oversized.
    """
    check_size(image.size, spec.limits)
    try:
        upright, _ = _by_pillow(image, 1, spec)  # it turns a copy
    except (AssertionError, AttributeError):
        # Pillow asserts that there is a file. One that is not read before the end of its `with` has none.
        raise ImageProblem("unreadable_image", "its file was closed before its pixels were read") from None
    except DAMAGED as error:
        raise ImageProblem("unreadable_image", f"cannot be decoded: {error}") from error
    return _fitted(upright, spec)


def fit_array(pixels: ImageArray, spec: ImageSpec) -> ImageArray:
    """Fit pixels in RGB, uint8 (any height, any width, 3), to ``spec``, as `decode` does with a file of them.

    Returns
    -------
    ndarray of uint8, shape (spec.height, spec.width, 3)
        It shares no memory with ``pixels``.

    Raises
    ------
    ImageProblem
        If they are too many.
    """
    check_size((pixels.shape[1], pixels.shape[0]), spec.limits)
    fitted = _fitted(np.ascontiguousarray(pixels), spec)  # OpenCV takes no mirrored view
    return fitted.copy() if np.may_share_memory(fitted, pixels) else fitted


def _fitted(upright: ImageArray | Image.Image, spec: ImageSpec) -> ImageArray:
    """An upright RGB picture at the size of ``spec``; each filter takes what its library works on."""
    if spec.resampling == "area":
        return fit_by_area(np.asarray(upright), spec.width, spec.height, spec.fit)
    image = upright if isinstance(upright, Image.Image) else Image.fromarray(upright)
    return fit_by_pillow(image, spec.width, spec.height, spec.fit, spec.resampling)


def decode_all(
    paths: Iterable[str | Path],
    spec: ImageSpec,
    mapper: Mapper | None = None,
    *,
    digests: Iterable[str] | None = None,
) -> Generator[ImageArray | ImageProblem, None, None]:
    """Decode ``paths`` by ``mapper``, by default in threads of this machine.

    Yields, in their order, an array (height, width, 3) or what is wrong with the file. Only a few images are held at
    a time, however many paths there are. Threads are enough: decoding and resizing release the interpreter lock.

    Raises
    ------
    UserError
        If the sha256 of a file is not the one that ``digests`` gives for it.
    """
    decoded = decode_all_with_remarks(paths, spec, mapper, digests=digests)
    return (found if isinstance(found, ImageProblem) else found.pixels for found in decoded)


def decode_all_with_remarks(
    paths: Iterable[str | Path],
    spec: ImageSpec,
    mapper: Mapper | None = None,
    *,
    digests: Iterable[str] | None = None,
) -> Generator[DecodedImage | ImageProblem, None, None]:
    """`decode_all`, with the remarks about each image beside its pixels."""
    files = zip(paths, digests, strict=True) if digests is not None else ((path, None) for path in paths)
    decoded = (mapper or threads())(functools.partial(_decode_some, spec=spec), chunks(files, FILES_PER_TASK))
    return (result for some in decoded for result in some)


def _decode_some(files: Sequence[tuple[str | Path, str | None]], spec: ImageSpec) -> list[DecodedImage | ImageProblem]:
    results: list[DecodedImage | ImageProblem] = []
    for path, expected in files:
        try:
            # Read once: what is decoded has the digest that is compared, even if the file changes meanwhile.
            content = path if expected is None else read(path)
            if isinstance(content, bytes) and hashlib.sha256(content).hexdigest() != expected:
                # Kept for reuse under the old digest, its pixels would come back for the old file.
                raise UserError(f"{path}: has changed since stage validate read it. Run `dvc repro` again.")
            results.append(_decode(content, spec))
        except ImageProblem as problem:
            results.append(ImageProblem(problem.kind, str(problem)))  # the raised one would keep its stack alive
    return results


def digest(path: str | Path) -> tuple[str, int]:
    """sha256 of a file, in hexadecimal digits, and its size in bytes."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


def _content(image: ImageFile.ImageFile) -> bytes:
    file = image.fp
    assert file is not None  # open until the pixels are loaded
    file.seek(0)
    try:
        return file.read()
    except OSError as error:
        raise ImageProblem("unreadable_image", f"cannot be read: {error.strerror}") from None


def _displayed_size(image: Image.Image) -> tuple[int, int]:
    try:
        orientation = image.getexif().get(jpeg.EXIF_ORIENTATION)
    except DAMAGED:
        orientation = None  # decode() meets the same damage and reports it
    return (image.height, image.width) if orientation in jpeg.ROTATED_BY_90 else (image.width, image.height)


def _upright(
    image: ImageFile.ImageFile, content: bytes, spec: ImageSpec
) -> tuple[ImageArray | Image.Image, Remark | None]:
    """Decode to upright RGB: an array by the fast decoder, an image by Pillow. ``content`` is that of a JPEG file."""
    try:
        nearest = spec.resampling == "nearest"
        shrink = 1 if nearest else jpeg.shrink_factor(image, spec.width, spec.height)
        if jpeg.is_plain(image):
            try:
                return jpeg.decode_upright(image, content, shrink), None
            except DAMAGED:
                pass  # what only Pillow reads
        elif content and (whole := jpeg.whole(content)) is not content:
            with open_image(whole, spec.limits) as mended:
                return _by_pillow(mended, shrink, spec)
        return _by_pillow(image, shrink, spec)
    except jpeg.MadeUpError as error:
        detail = f"cannot be decoded: image file is truncated or damaged ({error})"
        raise ImageProblem("unreadable_image", detail) from None
    except DAMAGED as error:
        raise ImageProblem("unreadable_image", f"cannot be decoded: {error}") from error


def _by_pillow(image: Image.Image, shrink: int, spec: ImageSpec) -> tuple[Image.Image, Remark | None]:
    if shrink > 1:
        image.draft(None, (image.width // shrink, image.height // shrink))  # does nothing to other formats
    image.load()
    upright = ImageOps.exif_transpose(image)
    remark = levels_remark(upright, spec.grey_range) if is_deep_grey(upright) else None
    return to_rgb(upright, spec.grey_range), remark
