"""From what a file stores to RGB, and what is odd about the result though the file is sound."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from posterity.pixels.opening import ImageProblem

FULL_RANGE = 65_535
LOWEST_LEVELS = 4_096  # an image with no higher level uses a sixteenth of the range: it comes out nearly black
ROWS_AT_A_TIME = 32


class Remark(NamedTuple):
    """Something odd about a sound image: a kind of ``data.on_problem``, and a detail."""

    kind: str
    detail: str


def to_rgb(image: Image.Image, grey_range: int | None) -> Image.Image:
    """Convert a decoded image of any mode to RGB without the surprises of a bare ``convert("RGB")``.

    Transparent pixels are laid over white. 16- and 32-bit grey from 0 to ``grey_range`` (None = 65,535) is spread over
    0 to 255; what lies outside is cut off.

    Raises
    ------
    ImageProblem
        If the range of the pixels is not defined.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if is_deep_grey(image):
        # Pillow clips 16-bit grey at 255 when converting, which turns most images white.
        return Image.fromarray(_scaled(np.asarray(image), grey_range or FULL_RANGE)).convert("RGB")
    if image.mode == "F":
        raise ImageProblem("unreadable_image", "holds floating-point pixels, whose range is not defined")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def is_deep_grey(image: Image.Image) -> bool:
    """Whether it has one channel of 16 or 32 bits, as whole numbers."""
    return image.mode.startswith("I")


def levels_remark(image: Image.Image, grey_range: int | None) -> Remark | None:
    """Remark that 16- or 32-bit grey does not fit ``grey_range``, or fills only the lowest 4,096 levels of all."""
    values = np.asarray(image)  # not getextrema: it refuses 16 bits in the other byte order
    lowest, highest = int(values.min()), int(values.max())
    top = grey_range or FULL_RANGE
    if lowest < 0 or highest > top:
        return Remark(
            "grey_levels",
            f"grey levels from {lowest:,} to {highest:,}, of which those outside 0 to {top:,} are cut off; "
            "image.grey_range sets the highest",
        )
    if grey_range is None and 0 < highest < LOWEST_LEVELS:
        likely = max(255, 2 ** highest.bit_length() - 1)
        return Remark(
            "grey_levels",
            f"grey levels up to {highest:,} of {FULL_RANGE:,} only, so that it is nearly black; "
            f"image.grey_range: {likely} would spread them",
        )
    return None


def colour_remark(pixels: npt.NDArray[np.uint8]) -> Remark | None:
    """Remark that an image, (height, width, 3), has one colour only."""
    height, width, _ = pixels.shape
    colour = pixels[0, 0]
    if pixels[height // 2, width // 2].tobytes() != colour.tobytes():
        return None  # this settles it for nearly every image, in a microsecond
    rows = range(0, height, ROWS_AT_A_TIME)
    if all((pixels[row : row + ROWS_AT_A_TIME] == colour).all() for row in rows):
        return Remark("constant_image", f"comes out as one colour, {tuple(colour.tolist())}")
    return None


def _scaled(values: npt.NDArray[np.integer], top: int) -> npt.NDArray[np.uint8]:
    """``floor(256 * value / (top + 1))`` of the values cut off at 0 and ``top``, for a few rows at a time."""
    scaled = np.empty(values.shape, np.uint8)
    for row in range(0, len(values), ROWS_AT_A_TIME):
        some = values[row : row + ROWS_AT_A_TIME].astype(np.int64).clip(0, top)
        scaled[row : row + ROWS_AT_A_TIME] = some * 256 // (top + 1)
    return scaled
