"""The map of images as a drawing with one dot for each image, and one picture that holds all thumbnails."""

from typing import Any

import numpy as np

from posterity.cache.tensors import TensorCache
from posterity.reporting.pictures import data_uri, sheet, smaller
from posterity.reporting.results import Results
from posterity.reporting.seen import ImageMap
from posterity.targets import is_present

WIDTH, HEIGHT, MARGIN = 640, 420, 10  # of the drawing, in pixels
TILE = 56  # longer side of a thumbnail, in pixels
COLUMNS = 25  # thumbnails in a line of the picture


def map_content(results: Results, cache: TensorCache, image_map: ImageMap) -> dict[str, Any]:
    """What the page draws: positions, labels, and where each thumbnail lies.

    Parameters
    ----------
    results, cache
        The run and its images.
    image_map : ImageMap
        Where the images lie.
    """
    rows = results.sides.validation[image_map.places]
    tiles = [smaller(cache.images([row])[0], TILE) for row in rows]
    height, width = tiles[0].shape[:2]
    dots = []
    for number, (row, (x, y)) in enumerate(zip(rows, image_map.points, strict=True)):
        present = np.flatnonzero(is_present(results.cached.targets[row]))
        dots.append(
            {
                "x": round(MARGIN + float(x) * (WIDTH - 2 * MARGIN), 1),
                "y": round(HEIGHT - MARGIN - float(y) * (HEIGHT - 2 * MARGIN), 1),
                "id": results.cached.index["id"].iloc[row],
                "labels": results.labels_of(int(row)),
                "columns": present.tolist(),
                "left": number % COLUMNS * width,
                "top": number // COLUMNS * height,
            }
        )
    return {
        "dots": dots,
        "sprite": data_uri(sheet(tiles, COLUMNS)),
        "width": WIDTH,
        "height": HEIGHT,
        "tile_width": width,
        "tile_height": height,
    }
