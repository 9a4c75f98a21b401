"""A picture with its labels and scores beside it, as one image file."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from posterity.text import printable

if TYPE_CHECKING:
    from PIL import Image

UInt8Array = npt.NDArray[np.uint8]
HEIGHT = 480  # a picture of half of that and less is enlarged by a whole number, so that its pixels show
WIDTH = 460  # of the column beside it
MARGIN, LINE, FONT_SIZE, TITLE_SIZE = 20, 26, 16, 20
NAME_WIDTH, BAR_WIDTH = 190, 150
NOTE_LENGTH = 64  # characters of a line of notes
INK, FAINT, TRUE, OTHER, BACK = (32, 33, 36), (95, 99, 104), (24, 128, 56), (154, 160, 166), (255, 255, 255)


@dataclass(frozen=True)
class LabelState:
    """What is known of one label of an image.

    Attributes
    ----------
    name : str
        The label.
    truth : {"present", "absent", "unknown", ""}
        What the table says; "" if the image is in no table.
    probability : float in [0, 1], or None
        Of the model, calibrated; None if there is none.
    threshold : float or None
        Probability from which the label is decided.
    decided : bool or None
        Whether it is; None if nothing is decided.
    """

    name: str
    truth: str
    probability: float | None = None
    threshold: float | None = None
    decided: bool | None = None


def draw(pixels: UInt8Array, title: str, states: Sequence[LabelState], notes: Sequence[str]) -> "Image.Image":
    """Draw a picture with its labels beside it.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        RGB.
    title : str
        Text above the labels.
    states : sequence of LabelState
        One line each, from the top: a filled circle for labels that the table has, a bar for the probability with a
        line at the threshold.
    notes : sequence of str
        Lines below.
    """
    from PIL import Image

    factor = max(1, HEIGHT // pixels.shape[0])
    shown = np.repeat(np.repeat(pixels, factor, axis=0), factor, axis=1)
    notes = [line for note in notes for line in textwrap.wrap(printable(note), NOTE_LENGTH)]
    height = max(len(shown), (2 + len(states) + len(notes)) * LINE) + 2 * MARGIN
    canvas = np.full((height, shown.shape[1] + 3 * MARGIN + WIDTH, 3), BACK, np.uint8)
    canvas[MARGIN : MARGIN + len(shown), MARGIN : MARGIN + shown.shape[1]] = shown
    left, top = shown.shape[1] + 2 * MARGIN, MARGIN
    _write(canvas, title, left, top + TITLE_SIZE, INK, TITLE_SIZE, WIDTH)
    top += 2 * LINE
    for state in states:
        _draw_label(canvas, state, left, top)
        top += LINE
    for note in notes:
        _write(canvas, note, left, top + FONT_SIZE, FAINT, FONT_SIZE - 2, WIDTH)
        top += LINE
    return Image.fromarray(canvas)


def _draw_label(canvas: UInt8Array, state: LabelState, left: int, top: int) -> None:
    import cv2

    colour = TRUE if state.truth == "present" else OTHER
    centre = (left + 7, top + LINE // 2 - 3)
    if state.truth == "present":
        cv2.circle(canvas, centre, 6, colour, cv2.FILLED, cv2.LINE_AA)
    elif state.truth == "unknown":
        _write(canvas, "?", left + 3, top + FONT_SIZE, FAINT, FONT_SIZE, 20)
    else:
        cv2.circle(canvas, centre, 5, colour, 1, cv2.LINE_AA)
    _write(canvas, state.name, left + 22, top + FONT_SIZE, INK, FONT_SIZE, NAME_WIDTH)
    if state.probability is None:
        return
    start = left + 22 + NAME_WIDTH + 8
    end = start + round(BAR_WIDTH * state.probability)
    cv2.rectangle(canvas, (start, top + 3), (start + BAR_WIDTH, top + 17), (232, 234, 237), cv2.FILLED)
    if end > start:
        cv2.rectangle(canvas, (start, top + 3), (end, top + 17), colour, cv2.FILLED)
    if state.threshold is not None and state.threshold <= 1:
        place = start + round(BAR_WIDTH * state.threshold)
        cv2.line(canvas, (place, top), (place, top + 20), INK, 2)
    mark = " decided" if state.decided else ""
    _write(canvas, f"{state.probability:.2f}{mark}", start + BAR_WIDTH + 8, top + FONT_SIZE, INK, FONT_SIZE - 2, 90)


def _write(
    canvas: UInt8Array, text: str, left: int, bottom: int, colour: tuple[int, int, int], size: int, width: int
) -> None:
    """Write ``text`` with its base line at ``bottom``; what is wider than ``width`` ends in dots."""
    import cv2

    # The fonts of OpenCV 5 have most scripts; that of Pillow has no letters beyond ASCII.
    face, line = cv2.FontFace("sans"), printable(text)

    def too_wide(line: str) -> bool:
        box = cv2.getTextSize((canvas.shape[1], canvas.shape[0]), line, (0, 0), face, size)
        return bool(box[2] > width)

    if too_wide(line):
        while line and too_wide(f"{line}..."):
            line = line[:-1]
        line = f"{line}..."
    cv2.putText(canvas, line, (left, bottom), colour, face, size)
