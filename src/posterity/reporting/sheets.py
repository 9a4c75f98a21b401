"""Pictures for `dvc plots show` and `diff`: what the report shows, as PNG files that can be laid side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from posterity import files
from posterity.cache.tensors import TensorCache
from posterity.reporting.gallery import contact_rows
from posterity.reporting.label_figures import LabelFigures
from posterity.reporting.pictures import UInt8Array, smaller
from posterity.reporting.results import Results
from posterity.reporting.selection import Picks
from posterity.targets import is_present
from posterity.text import printable

TILE = 96  # longer side of an image, in pixels
LINE = 13  # height of a line of text
COLUMNS = 12
GALLERY_LABELS = 12  # lines of the gallery: the labels with the most rows
MAP_COLUMNS = 4


def write_all(
    folder: Path,
    results: Results,
    cache: TensorCache,
    labels: Sequence[LabelFigures],
    picked: Mapping[int, Picks],
    explanations: Sequence[Mapping[str, Any]],
) -> None:
    """Write contact_sheet.png, gallery.png and saliency.png into a folder; the parameters are those of the others."""
    save(folder / "contact_sheet.png", contact_sheet(results, cache, contact_rows(results)))
    save(folder / "gallery.png", gallery(results, cache, labels, picked))
    save(folder / "saliency.png", saliency(explanations))


def contact_sheet(results: Results, cache: TensorCache, rows: Sequence[int]) -> Image.Image:
    """Images with their labels below."""
    names = results.label_names
    tiles = []
    for row in rows:
        present = np.flatnonzero(is_present(results.cached.targets[row]))
        tiles.append(captioned(smaller(cache.images([row])[0], TILE), [names[column] for column in present[:2]]))
    return _grid(tiles, COLUMNS)


def gallery(
    results: Results, cache: TensorCache, labels: Sequence[LabelFigures], picked: Mapping[int, Picks]
) -> Image.Image:
    """A line for each label: three best hits, three worst false positives, three worst false negatives."""
    tiles = []
    empty = np.full_like(smaller(cache.images([0])[0], TILE), 255)
    for label in sorted(labels, key=lambda label: -label.support)[:GALLERY_LABELS]:
        found = picked[label.column]
        for kind, places in (
            ("hit", found.hits),
            ("false pos.", found.false_positives),
            ("false neg.", found.false_negatives),
        ):
            for number in range(3):
                if number >= len(places):
                    tiles.append(captioned(empty, []))
                    continue
                row = int(results.sides.validation[places[number]])
                score = f"{results.scored.scores[places[number], label.column]:.2f}"
                tiles.append(captioned(smaller(cache.images([row])[0], TILE), [label.name, f"{kind} {score}"]))
    return _grid(tiles, 9)


def saliency(explanations: Sequence[Mapping[str, Any]]) -> Image.Image:
    """Image and map of what speaks for a label, side by side."""
    tiles = []
    for item in explanations:
        pair = np.concatenate([smaller(item["image"], TILE), smaller(item["overlay"], TILE)], axis=1)
        tiles.append(captioned(pair, [item["label"], f"{item['kind']} {item['score']}"]))
    return _grid(tiles, MAP_COLUMNS) if tiles else Image.new("RGB", (TILE, TILE), "white")


def save(path: Path, picture: Image.Image) -> None:
    """Write a PNG file; the same picture gives the same bytes."""
    with files.replacing(path) as temporary:
        picture.save(temporary, "PNG", optimize=False)


def captioned(image: UInt8Array, lines: Sequence[str]) -> Image.Image:
    """Put two lines of text, cut to the width of the image, below it."""
    height, width = image.shape[:2]
    tile = Image.new("RGB", (width + 4, height + 2 * LINE + 6), "white")
    tile.paste(Image.fromarray(image), (2, 2))
    draw = ImageDraw.Draw(tile)
    font = ImageFont.load_default(size=10)
    for number, text in enumerate(lines[:2]):
        shown = printable(text)
        while shown and draw.textlength(shown, font=font) > width:
            shown = shown[:-1]
        draw.text((2, height + 3 + number * LINE), shown, fill="black", font=font)
    return tile


def _grid(tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    width, height = tiles[0].size
    whole = Image.new("RGB", (min(columns, len(tiles)) * width, -(-len(tiles) // columns) * height), "white")
    for number, tile in enumerate(tiles):
        whole.paste(tile, (number % columns * width, number // columns * height))
    return whole
