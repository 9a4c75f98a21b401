"""The sample data set: synthetic posters with labels, drawn from a seed, in the form of the real one.

A folder with ``images/{Id}.jpg``, ``labels.csv``, ``sample.json`` (count and seed) and a ``README.txt``. Image k
depends on the seed and on k alone, so a larger sample begins with the smaller one.
"""

import io
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from posterity.errors import UserError
from posterity.files import replacing_folder, write_csv, write_json
from posterity.synthetic.scene import Look, Poster, draw_poster

JPEG_QUALITY = 88
README = "README.txt"
DESCRIPTION = "sample.json"
IMAGES_HOLD = (".gitignore", "sample-*.jpg")
TITLE = "Synthetic sample posters"


@dataclass(frozen=True)
class Label:
    """A label, the weight with which it is drawn, and how it shows itself."""

    name: str
    weight: float
    look: Look


# The weights are fitted so that the labels are on 45, 36, 25, 19, 16, 13, 11, 9, 7.5, 6, 4.5 and 3.5 % of the images:
# uneven as in real collections, with some ten images of the rarest among 300.
LABELS = (
    Label("Action", 7.7, Look("bolt", (0.76, 0.16, 88), 30, "dark", "hatching")),
    Label("Adventure", 3.2, Look("waves", (0.7, 0.13, 172), 205, "light", "plain")),
    Label("Animation", 1.7, Look("star", (0.6, 0.19, 295), 320, "light", "halftone")),
    Label("Comedy", 11.8, Look("dots", (0.6, 0.2, 325), 95, "light", "halftone")),
    Label("Crime", 3.8, Look("checks", (0.61, 0.16, 257), 285, "light", "grain")),
    Label("Drama", 15.8, Look("rings", (0.69, 0.17, 57), 255, "dark", "plain")),
    Label("Horror", 2.6, Look("spikes", (0.66, 0.19, 142), 10, "dark", "grain")),
    Label("N/A", 1.0, Look("cross", (0.72, 0.16, 116), 120, "light", "plain")),
    Label("Romance", 4.8, Look("heart", (0.57, 0.21, 26), 5, "light", "plain")),
    Label("Sci-Fi", 2.2, Look("planet", (0.71, 0.12, 212), 300, "dark", "scanlines")),
    Label("Thriller", 5.7, Look("stripes", (0.67, 0.18, 355), 165, "dark", "scanlines")),
    Label("Western", 1.3, Look("sunburst", (0.57, 0.09, 62), 60, "light", "hatching")),
)
NAMES = tuple(label.name for label in LABELS)
LABELS_PER_IMAGE = (0.28, 0.48, 0.24)  # probability of one, two and three labels


def image_id(index: int) -> str:
    """The Id of image ``index`` (0, 1, ...): ``sample-0001``, ``sample-0002``, ..."""
    return f"sample-{index + 1:04d}"


def draw_labels(seed: int, index: int) -> tuple[str, ...]:
    """Draw the labels of image ``index``.

    Parameters
    ----------
    seed, index : int
        Each at least 0.

    Returns
    -------
    tuple of str
        One to three of `NAMES`, in that order.
    """
    return tuple(LABELS[k].name for k in _chosen(seed, index))


def draw_image(seed: int, index: int) -> bytes:
    """Draw image ``index``, which carries the cues of ``draw_labels(seed, index)``.

    Returns
    -------
    bytes
        An RGB JPEG file, 260 to 300 pixels wide and 380 to 460 high. The same bytes for the same arguments, as long
        as NumPy, Pillow and its JPEG library are the same.
    """
    buffer = io.BytesIO()
    _poster(seed, index).image.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def motif_boxes(seed: int, index: int) -> dict[str, tuple[float, float, float, float]]:
    """Say where image ``index`` shows the motifs of its labels.

    Every label of the sample has a motif, and so a place, in about 95 of 100 of its images. Of one label of each image,
    the colour and the lightness of the background and its texture are cues as well; these have no place.

    Returns
    -------
    dict of str to (float, float, float, float)
        By the names of labels of the image: left, top, right and bottom of the box around the motif, as shares of the
        width and the height, from 0 to 1. A label whose motif was left out is missing. The small stray motifs of labels
        that the image does not have are not listed.

    Examples
    --------
    >>> {name: [round(side, 2) for side in box] for name, box in motif_boxes(7, 4).items()}
    {'Drama': [0.11, 0.18, 0.83, 0.7]}
    """
    poster = _poster(seed, index)
    sides = (*poster.image.size, *poster.image.size)
    found = {}
    for k in _chosen(seed, index):
        if (box := poster.boxes.get(LABELS[k].look)) is not None:
            left, top, right, bottom = (place / side for place, side in zip(box, sides, strict=True))
            found[LABELS[k].name] = left, top, right, bottom
    return found


def labels_table(seed: int, count: int) -> pd.DataFrame:
    """Draw the labels of images 0 to ``count`` - 1.

    Returns
    -------
    pandas.DataFrame
        Columns ``Id``, ``Genre`` (a Python list as text, as in ``"['Comedy', 'Drama']"``), then one per name of
        `NAMES` with 0 or 1.
    """
    chosen = [draw_labels(seed, index) for index in range(count)]
    columns: dict[str, list[str] | list[int]] = {
        "Id": [image_id(index) for index in range(count)],
        "Genre": [str(list(names)) for names in chosen],
    }
    for name in NAMES:
        columns[name] = [int(name in names) for names in chosen]
    return pd.DataFrame(columns)


def write_sample(
    folder: str | os.PathLike[str],
    *,
    count: int,
    seed: int,
    workers: int | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> None:
    """Write the sample data set, whole or not at all; a sample that stood there before is replaced.

    Parameters
    ----------
    folder : path
        Gets ``images/{Id}.jpg``, ``labels.csv``, ``sample.json`` and ``README.txt``.
    count : int
        Number of images, at least 1.
    seed : int
        At least 0.
    workers : int, optional
        Threads that draw; one per core by default. Does not change the result.
    progress : callable
        Wraps the indices of the images as they are finished, for instance ``tqdm``.

    Raises
    ------
    UserError
        If ``count``, ``seed`` or ``workers`` is too small, or if ``folder`` holds something that this function did
        not write.
    """
    if count < 1:
        raise UserError(f"count must be an integer >= 1. Got {count}.")
    if seed < 0:
        raise UserError(f"seed must be an integer >= 0. Got {seed}.")
    if workers is not None and workers < 1:
        raise UserError(f"workers must be an integer >= 1. Got {workers}.")
    _refuse_foreign(Path(folder))

    holds = (README, DESCRIPTION, "labels.csv", *(f"images/{name}" for name in IMAGES_HOLD))
    with replacing_folder(folder, holds=holds) as temporary:
        draw_images(temporary / "images", count=count, seed=seed, workers=workers, progress=progress)
        write_csv(temporary / "labels.csv", labels_table(seed, count))
        write_json(temporary / DESCRIPTION, {"count": count, "seed": seed})
        (temporary / README).write_text(_readme(count, seed), encoding="utf-8", newline="\n")


def draw_images(
    folder: Path,
    *,
    count: int,
    seed: int,
    workers: int | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> None:
    """Draw images 0 to ``count`` - 1 into a new ``folder``, with a .gitignore that keeps them out of Git."""
    folder.mkdir(parents=True)
    (folder / ".gitignore").write_text("*.jpg\n", encoding="utf-8", newline="\n")

    def draw(index: int) -> int:
        (folder / f"{image_id(index)}.jpg").write_bytes(draw_image(seed, index))
        return index

    pool = ThreadPoolExecutor(workers or os.cpu_count())
    try:
        for _ in progress(pool.map(draw, range(count))):
            pass
    finally:
        pool.shutdown(cancel_futures=True)  # else an interrupted run first draws all that is left


def _chosen(seed: int, index: int) -> list[int]:
    """Positions in `LABELS`, ascending, of the labels of one image."""
    rng = _generator(seed, index, purpose=0)
    number = 1 + int(np.searchsorted(np.cumsum(LABELS_PER_IMAGE[:-1]), rng.random(), side="right"))
    # Weighted drawing without replacement: the smallest of independent exponential waiting times.
    waits = rng.exponential(size=len(LABELS)) / [label.weight for label in LABELS]
    return sorted(np.argsort(waits)[:number].tolist())


def _poster(seed: int, index: int) -> Poster:
    return draw_poster([LABELS[k].look for k in _chosen(seed, index)], _generator(seed, index, purpose=1))


def _generator(seed: int, index: int, purpose: int) -> np.random.Generator:
    # Labels and picture have a stream each: a change in the drawing leaves the labels as they are.
    return np.random.default_rng(np.random.SeedSequence((seed, index, purpose)))


def _refuse_foreign(folder: Path) -> None:
    """Keep `write_sample` from replacing a folder with a README.txt and a labels.csv of somebody's own."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    note = folder / README
    if not (note.is_file() and note.read_text(encoding="utf-8", errors="replace").startswith(TITLE)):
        raise UserError(
            f"{folder} exists and is not a sample that this script wrote (no {README} that begins with {TITLE!r}). "
            "It would be replaced as a whole. Remove it, or name another folder."
        )


def _readme(count: int, seed: int) -> str:
    return f"""{TITLE}

These {count} images are no real posters. Each was drawn by a program from random numbers, with shapes and colours
that hint at its labels; the label names are borrowed from films and mean nothing more. They are here so that the
pipeline can be run without any download. A score on them says that the code works; it says nothing about how well a
model does on real posters or photographs.

Made with:  python src/sample.py --count {count} --seed {seed}

images/{{Id}}.jpg   RGB, 260 to 300 pixels wide, 380 to 460 high
labels.csv        Id, Genre (a Python list as text), then one column of 0 and 1 per label
"""
