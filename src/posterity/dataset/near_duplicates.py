"""Rows whose pictures look alike though their files differ: resized, recompressed or lightly cropped copies.

Perceptual hashes say which pairs are worth a look, thumbnails decide (`posterity.pixels.likeness`). A picture without
texture in at least 3 of 16 blocks, such as a blank page, is like no other. Colour is not compared.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity.cache.tensors import TensorCache
from posterity.dataset import caching
from posterity.dataset.issues import Issue
from posterity.pixels.likeness import similarities
from posterity.pixels.perceptual_hash import UInt8Array, perceptual_hashes, thumbnail
from posterity.splitting.groups import connected
from posterity.splitting.near_duplicates import close_pairs
from posterity.workers.threads import chunks, ordered_map

IntArray = npt.NDArray[np.int64]

# Measured on 300 posters, altered in 19 ways, among 7,254: copies are up to 8 bits apart, and their similarity is at
# least 0.91; that of different posters so close is at most 0.32, that of simple drawings 0.89.
MAX_DISTANCE = 8
NEIGHBOURS = 8  # pairs that a row may bring; copies are among the nearest
ROWS_PER_TASK = 32  # 12 MB of images of 400 x 300 in each thread
MAX_LOOKS = 50  # into which a chain of pictures is taken apart
MODEL_SLACK = 0.1  # two crops of one picture are less like each other than like the picture


@dataclass(frozen=True)
class Looks:
    """Groups of pictures that look alike.

    Attributes
    ----------
    look : ndarray of int64, shape (num_pictures,)
        Group of every picture, 0, 1, ... in order of first appearance; -1 for those that look like no other.
    model : ndarray of int64, shape (num_pictures,)
        The picture of the group that all its others look like; -1 likewise.
    similarity : ndarray of float32, shape (num_pictures,)
        Similarity to that picture; 0 likewise.
    """

    look: IntArray
    model: IntArray
    similarity: npt.NDArray[np.float32]


def add_looks(
    table: pd.DataFrame, folder: Path, issues: Iterable[Issue], *, min_similarity: float | None, threads: int | None
) -> tuple[pd.DataFrame, list[Issue]]:
    """Add column ``look`` to a manifest, and list the rows that look like another.

    Parameters
    ----------
    table : DataFrame
        A manifest, see `posterity.dataset.manifest.COLUMNS`.
    folder : Path
        The tensor cache that `caching.cache_images` made of it.
    issues : iterable of Issue
        What is known so far, ``cache_images`` included: the first row of a group without another problem counts as the
        original.
    min_similarity : float or None
        From which on two pictures look alike, 0.5 to 1; None for not to look.
    threads : int or None
        Threads that read and reduce images; None for one per core.

    Returns
    -------
    table : DataFrame
        With the same text in ``look`` for rows that look alike and "" for those that are like no other. Where there are
        only such, it is ``table`` itself, without the column.
    issues : list of Issue
        ``near_duplicate`` for every row of a group but the original's and those that have its id or its very bytes, for
        these are listed already.
    """
    if min_similarity is None:
        return table, []
    cached = caching.decoded(table, issues)
    flawed = {issue.line for issue in issues}
    lines = cached["line"].tolist()
    order = sorted(range(len(lines)), key=lambda row: (lines[row] in flawed, row))
    # Files with the same bytes are one picture, and the first of them without a problem stands for it.
    picture = pd.factorize(cached["sha256"])[0]
    rows = np.empty(picture.max(initial=-1) + 1, np.int64)
    rows[picture[order[::-1]]] = order[::-1]
    looks = find_looks(_thumbnails(TensorCache(folder, verify=False), rows, threads), min_similarity)
    if not (looks.look >= 0).any():
        return table, []
    ids = cached["id"].tolist()
    found = _listed(looks, picture, lines, ids, flawed)
    texts = {line: str(look) for line, look in zip(lines, looks.look[picture].tolist(), strict=True) if look >= 0}
    return table.assign(look=[texts.get(line, "") for line in table["line"]]), found


def find_looks(thumbnails: UInt8Array, min_similarity: float) -> Looks:
    """Group the pictures that look alike.

    Every picture of a group looks like one of them, its model, at ``min_similarity`` less 0.1. What is connected only
    by a longer chain of look-alikes is not one group, for among things as simple as handwritten digits such a chain
    leads far.

    Parameters
    ----------
    thumbnails : ndarray of uint8, shape (num_pictures, 64, 64)
        As `posterity.pixels.perceptual_hash.thumbnail` makes them.
    min_similarity : float
        From which on two pictures look alike, 0.5 to 1.

    Examples
    --------
    >>> pictures = np.random.default_rng(0).integers(0, 200, (3, 64, 64)).astype(np.uint8)
    >>> pictures[2] = pictures[0] + 10  # a lighter copy
    >>> find_looks(pictures, 0.9).look.tolist()
    [0, -1, 0]
    """
    pairs = close_pairs(perceptual_hashes(thumbnails), max_distance=MAX_DISTANCE, neighbours=NEIGHBOURS)
    alike = pairs[similarities(thumbnails[pairs[:, 0]], thumbnails[pairs[:, 1]]) >= min_similarity]
    number = len(thumbnails)
    links = np.bincount(alike.ravel(), minlength=number)
    chain = connected(number, alike.tolist())
    model, similarity = np.full(number, -1), np.zeros(number, np.float32)
    left = np.flatnonzero(links)
    for _ in range(MAX_LOOKS):  # what is left then stays alone
        if not left.size:
            break
        # Of every chain, the picture with the most links of those that are left, and all that look like it.
        left = left[np.lexsort((left, -links[left], chain[left]))]
        _, starts, chain_of = np.unique(chain[left], return_index=True, return_inverse=True)
        models = left[starts][chain_of]
        value = similarities(thumbnails[models], thumbnails[left])
        is_alike = (value >= min_similarity - MODEL_SLACK) | (models == left)
        model[left[is_alike]], similarity[left[is_alike]] = models[is_alike], value[is_alike]
        left = left[~is_alike]
    sizes = np.bincount(model[model >= 0], minlength=number)
    model[sizes[model] < 2] = -1
    is_grouped = model >= 0
    look = np.full(number, -1)
    look[is_grouped] = pd.factorize(model[is_grouped])[0]
    return Looks(look, model, np.where(is_grouped, similarity, np.float32(0)))


def _thumbnails(cache: TensorCache, rows: IntArray, threads: int | None) -> UInt8Array:
    def reduce(some: list[int]) -> list[UInt8Array]:
        return [thumbnail(image) for image in cache.images(some)]

    made = ordered_map(reduce, chunks(rows.tolist(), ROWS_PER_TASK), threads)
    return np.array([one for some in made for one in some])


def _listed(looks: Looks, picture: IntArray, lines: list[int], ids: list[str], flawed: set[int | None]) -> list[Issue]:
    """The issues of rows, of which ``picture`` has the number of the picture, ``lines`` the line and ``ids`` the id."""
    rows_of = pd.Series(range(len(lines))).groupby(picture).agg(list)
    found = []
    for look in range(int(looks.look.max()) + 1):
        group = np.flatnonzero(looks.look == look).tolist()
        rows = sorted((row for member in group for row in rows_of[member]), key=lambda row: (lines[row] in flawed, row))
        original = picture[rows[0]]
        model = int(looks.model[group[0]])
        model_row = min(rows_of[model], key=lambda row: (lines[row] in flawed, row))
        for row in rows:
            if picture[row] == original or ids[row] == ids[rows[0]]:
                continue  # the very bytes or the id of the original: listed already
            # Only the similarities to the model are known.
            other, compared = (rows[0], original) if picture[row] == model else (model_row, picture[row])
            place = f"{ids[other]!r} in line {lines[other]}"
            detail = f"looks like {place} (similarity {looks.similarity[compared]:.2f})"
            found.append(Issue("near_duplicate", lines[row], ids[row], detail))
    return found
