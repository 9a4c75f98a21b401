"""Draw docs/resizing.png: a zone plate of 1400 x 1400 as a JPEG, shrunk to 300 x 300 in three ways.

    python docs/draw_resizing.py

The rings get finer outwards, up to the limit of the large image. Where they are too fine for the small one it should be
grey; rings that appear elsewhere are aliasing.
"""

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from posterity.pixels.decode import decode  # noqa: E402
from posterity.pixels.spec import ImageSpec  # noqa: E402

LARGE, SMALL, MARGIN, CAPTION = 1400, 300, 8, 20


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "zone-plate.jpg"
        Image.fromarray(zone_plate(LARGE)).save(path, quality=95)
        with Image.open(path) as image:
            full = image.convert("RGB")
        panels = {
            "posterity, area": decode(path, ImageSpec(SMALL, SMALL)),
            "Pillow, bilinear (antialiased)": np.asarray(full.resize((SMALL, SMALL), Image.Resampling.BILINEAR)),
            "OpenCV, INTER_LINEAR (not antialiased)": cv2.resize(np.asarray(full), (SMALL, SMALL)),
        }
    page = Image.new("RGB", (len(panels) * (SMALL + MARGIN) + MARGIN, SMALL + CAPTION + MARGIN), "white")
    for k, (caption, pixels) in enumerate(panels.items()):
        left = MARGIN + k * (SMALL + MARGIN)
        ImageDraw.Draw(page).text((left, 4), caption, "black")
        page.paste(Image.fromarray(np.asarray(pixels, np.uint8)), (left, CAPTION))
    page.convert("L").save(ROOT / "docs" / "resizing.png", optimize=True)


def zone_plate(side: int) -> np.ndarray:
    """Grey levels ``128 + 127 cos(pi r^2 / side)``: half a period per pixel at the middle of each edge."""
    place = np.arange(side) - (side - 1) / 2
    plate: np.ndarray = np.rint(128 + 127 * np.cos(np.pi * np.add.outer(place**2, place**2) / side)).astype(np.uint8)
    return plate


if __name__ == "__main__":
    main()
