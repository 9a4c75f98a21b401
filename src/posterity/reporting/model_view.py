"""What the model looks at, and which images it finds alike: the parts of the report that run the network."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from tqdm import tqdm

from posterity.cache.tensors import TensorCache
from posterity.nn.inference import embeddings, saliency
from posterity.pixels import overlay
from posterity.pixels.decode import ImageProblem, decode_all
from posterity.reporting.doubts import unlisted_files
from posterity.reporting.label_figures import LabelFigures
from posterity.reporting.pictures import UInt8Array, smaller
from posterity.reporting.results import Results
from posterity.reporting.seen import ImageMap, Seen, Unlabelled
from posterity.reporting.selection import Picks

MOST_EXPLAINED = 30  # labels with maps of what speaks for them: those with the most rows
LONGER_SIDE = 192  # of these pictures, in pixels
MOST_POINTS = 1000  # of the map of images
MOST_UNLABELLED = 256  # images without a row that are scored: more would take longer than the rest of the page
BATCH_SIZE = 32


def look(
    model: keras.Model,
    cache: TensorCache,
    results: Results,
    labels: Sequence[LabelFigures],
    picked: Mapping[int, Picks],
    *,
    folder: Path,
    seed: int,
) -> Seen:
    """Run the network for all parts of the report that need it.

    Parameters
    ----------
    model, cache : keras.Model, TensorCache
        The finished model and the images it knows.
    results, labels, picked
        The run, its labels, and the rows of each label that are worth a look.
    folder : Path
        Where the image files lie.
    seed : int
        Of the rows that are on the map, if there are many.
    """
    return Seen(
        saliency.method_of(model),
        explanations(model, cache, results, labels, picked),
        map_of_images(model, cache, results.sides.validation, seed=seed),
        score_unlabelled(model, cache, unlisted_files(results, folder)),
    )


def explanations(
    model: keras.Model,
    cache: TensorCache,
    results: Results,
    labels: Sequence[LabelFigures],
    picked: Mapping[int, Picks],
) -> list[dict[str, Any]]:
    """For each label its best hit and its worst mistake, with a map of what speaks for the label; see `Seen`."""
    frequent = sorted(labels, key=lambda label: -label.support)[:MOST_EXPLAINED]
    wanted = [
        (label, kind, place)
        for label in sorted(frequent, key=lambda label: label.column)
        for kind, place in _telling(picked[label.column])
    ]
    if not wanted:
        return []
    images = cache.images(results.sides.validation[[place for _, _, place in wanted]])
    maps = saliency.explain(model, images, [label.column for label, _, _ in wanted])
    return [
        {
            "label": label.name,
            "kind": kind,
            "id": results.cached.index["id"].iloc[results.sides.validation[place]],
            "score": f"{results.scored.scores[place, label.column]:.2f}",
            "image": smaller(image, LONGER_SIDE),
            "overlay": smaller(overlay.overlay(image, found), LONGER_SIDE),
        }
        for (label, kind, place), image, found in zip(wanted, images, maps, strict=True)
    ]


def _telling(picks: Picks) -> list[tuple[str, int]]:
    hit = [("hit", place) for place in picks.hits[:1]]
    wrong = [("false positive", place) for place in picks.false_positives[:1]]
    missed = [("false negative", place) for place in picks.false_negatives[:1]]
    return hit + (wrong or missed)


def map_of_images(model: keras.Model, cache: TensorCache, rows: npt.NDArray[np.int64], *, seed: int) -> ImageMap:
    """Place images so that those that the network finds alike lie close together.

    Parameters
    ----------
    model : keras.Model
        The finished model.
    cache : TensorCache
        Its images.
    rows : ndarray of int64
        Cached rows; `MOST_POINTS` of them are drawn if there are more.
    seed : int
        Of that draw.

    Returns
    -------
    ImageMap
        By the two first principal components of what the last layer but one sees, scaled to [0, 1]; the sign of each is
        that which makes the largest score positive.
    """
    places = np.arange(len(rows))
    if len(rows) > MOST_POINTS:
        places = np.sort(np.random.default_rng(seed).choice(len(rows), MOST_POINTS, replace=False))
    parts = [
        embeddings.embed(model, cache.images(rows[places[start : start + BATCH_SIZE]]))
        for start in _batches(len(places), "map of images")
    ]
    vectors = np.concatenate(parts).astype(np.float64)
    pca = PCA(n_components=min(2, *vectors.shape), svd_solver="full").fit(vectors)
    points = pca.transform(vectors)
    points *= np.sign(points[np.abs(points).argmax(axis=0), np.arange(points.shape[1])])
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    span = np.ptp(points, axis=0)
    shares = np.nan_to_num(np.pad(pca.explained_variance_ratio_, (0, 2 - len(pca.components_))))
    return ImageMap(places, (points - points.min(axis=0)) / np.where(span > 0, span, 1), shares.tolist())


def score_unlabelled(model: keras.Model, cache: TensorCache, files: Sequence[Path]) -> Unlabelled:
    """Score images that no row names: the first `MOST_UNLABELLED` of them."""
    tried = files[:MOST_UNLABELLED]
    names: list[str] = []
    images: list[UInt8Array] = []
    for path, image in zip(tried, decode_all(tried, cache.spec), strict=True):
        if not isinstance(image, ImageProblem):
            names.append(path.name)
            images.append(image)
    if not images:
        return Unlabelled([], np.empty((0, 1, 1, 3), np.uint8), np.empty((0, 1)), len(files), len(tried))
    stacked = np.stack(images)
    starts = _batches(len(stacked), "images without a row")
    parts = [np.asarray(model.predict_on_batch(stacked[start : start + BATCH_SIZE])) for start in starts]
    scores = np.concatenate(parts).astype(np.float64)
    return Unlabelled(names, stacked, scores, len(files), len(tried) - len(names))


def _batches(number: int, what: str) -> Iterator[int]:
    """Where each batch of so many images begins; a bar shows how far it is."""
    return iter(tqdm(range(0, number, BATCH_SIZE), what, unit="batch", mininterval=1, delay=2))
