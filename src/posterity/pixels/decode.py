"""Image files to uint8 arrays. No other module decodes an image, so training and prediction see the same pixels."""

import functools
import hashlib
import io
import struct
import zlib
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.BlpImagePlugin import BLPFormatError

from posterity.errors import UserError
from posterity.pixels import jpeg
from posterity.pixels.resize import fit_by_area, fit_by_pillow
from posterity.pixels.spec import ImageSpec
from posterity.workers.threads import Mapper, chunks, threads

ImageArray = npt.NDArray[np.uint8]

# Pillow's own guard has one fixed limit (and only warns below twice of it); `max_pixels` takes its place here.
Image.MAX_IMAGE_PIXELS = None

# What Pillow's plugins raise on damaged files (found by fuzzing them). Only calls into Pillow stand under it.
DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, RuntimeError, BLPFormatError,
    struct.error, zlib.error,
)  # fmt: skip

FILES_PER_TASK = 8  # decoded by one worker in a row


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


def read_header(path: str | Path, max_pixels: int) -> tuple[int, int]:
    """Width and height in pixels as displayed (after EXIF rotation), without decoding the pixels.

    Raises
    ------
    ImageProblem
        If the file is missing, empty, not an image or larger than ``max_pixels``.
    """
    with _open(path, max_pixels) as image:
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
        If the file is missing, damaged (truncated files included), of an undefined range, or oversized.
    """
    with _open(source, spec.max_pixels) as image:
        if spec.resampling != "area":
            return fit_by_pillow(_decoded(image, spec), spec.width, spec.height, spec.fit, spec.resampling)
        pixels = _decoded_fast(image, spec)
        if pixels is None:
            pixels = np.asarray(_decoded(image, spec))
    return fit_by_area(pixels, spec.width, spec.height, spec.fit)


def decode_image(image: Image.Image, spec: ImageSpec) -> ImageArray:
    """Fit an image of Pillow, which stays as it is, to ``spec``, as `decode` does with a file of the same pixels.

    Returns
    -------
    ndarray of uint8, shape (spec.height, spec.width, 3)
        RGB, 0 to 255.

    Raises
    ------
    ImageProblem
        If its file is damaged, or if it is of an undefined range, or oversized.
    """
    _check_size(image, spec.max_pixels)
    try:
        own = image.copy()  # loading and rotating would change the caller's
    except DAMAGED as error:
        raise ImageProblem("unreadable_image", f"cannot be decoded: {error}") from error
    upright = _decoded(own, spec)
    if spec.resampling != "area":
        return fit_by_pillow(upright, spec.width, spec.height, spec.fit, spec.resampling)
    return fit_by_area(np.asarray(upright), spec.width, spec.height, spec.fit)


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
    files = zip(paths, digests, strict=True) if digests is not None else ((path, None) for path in paths)
    decoded = (mapper or threads())(functools.partial(_decode_some, spec=spec), chunks(files, FILES_PER_TASK))
    return (result for some in decoded for result in some)


def _decode_some(files: Sequence[tuple[str | Path, str | None]], spec: ImageSpec) -> list[ImageArray | ImageProblem]:
    results: list[ImageArray | ImageProblem] = []
    for path, expected in files:
        try:
            # Read once: what is decoded has the digest that is compared, even if the file changes meanwhile.
            content = path if expected is None else _read(path)
            if isinstance(content, bytes) and hashlib.sha256(content).hexdigest() != expected:
                # Kept for reuse under the old digest, its pixels would come back for the old file.
                raise UserError(f"{path}: has changed since stage validate read it. Run `dvc repro` again.")
            results.append(decode(content, spec))
        except ImageProblem as problem:
            results.append(ImageProblem(problem.kind, str(problem)))  # the raised one would keep its stack alive
    return results


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _problem(error) from None


def _problem(error: Exception) -> ImageProblem:
    """What to tell of a file that cannot be opened, read or understood."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ImageProblem("missing_image", "no such file")
    folder = isinstance(error, IsADirectoryError)
    return ImageProblem("unreadable_image", "is a folder, not an image file" if folder else f"{error}")


def digest(path: str | Path) -> tuple[str, int]:
    """sha256 of a file, in hexadecimal digits, and its size in bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


def is_image_name(name: str | Path) -> bool:
    """Whether the suffix of ``name`` belongs to an image format that Pillow reads."""
    return Path(name).suffix.lower() in _suffixes()


@functools.cache
def _suffixes() -> frozenset[str]:
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN)


def _open(source: str | Path | bytes, max_pixels: int) -> ImageFile.ImageFile:
    try:
        image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    except UnidentifiedImageError as error:
        empty = not (source if isinstance(source, bytes) else Path(source).stat().st_size)
        detail = "is empty (0 bytes)" if empty else "is not an image that Pillow can read"
        raise ImageProblem("unreadable_image", detail) from error
    except DAMAGED as error:
        raise _problem(error) from error
    try:
        _check_size(image, max_pixels)
    except ImageProblem:
        image.close()
        raise
    return image


def _check_size(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        size = f"{image.width} x {image.height} = {image.width * image.height:,} pixels"
        raise ImageProblem("oversized_image", f"{size}, over image.max_pixels = {max_pixels:,}")


def _displayed_size(image: Image.Image) -> tuple[int, int]:
    try:
        orientation = image.getexif().get(jpeg.EXIF_ORIENTATION)
    except DAMAGED:
        orientation = None  # decode() meets the same damage and reports it
    return (image.height, image.width) if orientation in jpeg.ROTATED_BY_90 else (image.width, image.height)


def _decoded_fast(image: ImageFile.ImageFile, spec: ImageSpec) -> ImageArray | None:
    """The pixels that `_decoded` would give, in less time; None if it has to decide: not a plain JPEG, or damaged."""
    if not jpeg.is_plain(image):
        return None
    try:
        return jpeg.decode_upright(image, jpeg.shrink_factor(image, spec.width, spec.height))
    except DAMAGED:
        return None


def _decoded(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """Decode by Pillow to upright RGB."""
    try:
        shrink = 1 if spec.resampling == "nearest" else jpeg.shrink_factor(image, spec.width, spec.height)
        if shrink > 1:
            image.draft(None, (image.width // shrink, image.height // shrink))  # does nothing to other formats
        image.load()
        upright = ImageOps.exif_transpose(image)
    except DAMAGED as error:
        raise ImageProblem("unreadable_image", f"cannot be decoded: {error}") from error
    return _rgb(upright)


def _rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB without the surprises of a bare ``convert("RGB")``."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        # Pillow clips 16-bit grey at 255 when converting, which turns most images white.
        values = np.asarray(image, dtype=np.int64).clip(0, 65_535)
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ImageProblem("unreadable_image", "holds floating-point pixels, whose range is not defined")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
