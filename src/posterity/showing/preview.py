"""A small picture in the terminal, of half blocks: two pixels per character."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

MOST_COLUMNS, MOST_LINES = 48, 32


def can_show(console: "Console") -> bool:
    """Whether the console is a terminal that shows any colour."""
    return console.is_terminal and not console.no_color and console.color_system == "truecolor"


def preview(pixels: npt.NDArray[np.uint8], columns: int) -> "Text":
    """A picture as lines of upper half blocks, whose two colours are two pixels, one above the other.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        RGB.
    columns : int, at least 1
        Most columns to use.
    """
    from PIL import Image
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    height, width = pixels.shape[:2]
    scale = min(min(columns, MOST_COLUMNS) / width, 2 * MOST_LINES / height, 1.0)
    size = (max(1, round(width * scale)), max(2, 2 * round(height * scale / 2)))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    picture = Text()
    for upper, lower in zip(small[::2].tolist(), small[1::2].tolist(), strict=True):
        for above, below in zip(upper, lower, strict=True):
            picture.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        picture.append("\n")
    return picture
