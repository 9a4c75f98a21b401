import base64
import io

import numpy as np
from PIL import Image

from posterity.reporting import pictures, sheets


def test_a_data_uri_holds_the_picture():
    image = np.full((40, 30, 3), (200, 30, 60), np.uint8)
    kind, _, content = pictures.data_uri(image).partition(",")
    assert kind == "data:image/webp;base64"
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")).astype(int)
    assert decoded.shape == (40, 30, 3)
    assert np.abs(decoded - image).max() < 12


def test_a_sheet_is_filled_line_by_line():
    images = [np.full((2, 3, 3), value, np.uint8) for value in (10, 20, 30)]
    whole = pictures.sheet(images, columns=2)
    assert whole.shape == (4, 6, 3)
    assert (whole[0, 0, 0], whole[0, 3, 0]) == (10, 20)
    assert whole[2, 0, 0] == 30
    assert (whole[2:, 3:] == 0).all()


def test_a_caption_is_cut_to_the_width_and_shows_no_control_character():
    tile = sheets.captioned(np.zeros((20, 40, 3), np.uint8), ["a very long name of a label" * 3, "\x1b[31m"])
    assert tile.size == (44, 20 + 2 * sheets.LINE + 6)
    drawn = np.asarray(tile)[23:, 42:]  # right of the image nothing is written
    assert (drawn == 255).all()
