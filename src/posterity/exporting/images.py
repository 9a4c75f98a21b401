"""The images on which an export is compared with Keras: of the validation side, of the user, or drawn."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from posterity import predictions, reading, recorded
from posterity.cache import rows as cached_rows
from posterity.cache.tensors import TensorCache
from posterity.errors import UserError
from posterity.model_card import ModelCard
from posterity.pixels import decode
from posterity.pixels.decode import ImageArray, ImageProblem
from posterity.splitting import split_file
from posterity.text import printable
from posterity.verifying.lock_file import LockFile

MOST_COMPARED = 256  # images for the comparison in float32; a lower precision is judged on all of the validation side


@dataclass(frozen=True)
class Examples:
    """Images, and what is known of them.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, height, width, 3)
    targets : ndarray of uint8, shape (n, num_labels), or None
        Labels of the validation side; None for other images.
    source : str
        Where they come from, for people.
    """

    images: ImageArray
    targets: npt.NDArray[np.uint8] | None
    source: str


def of_run(data: Path, card: ModelCard, most: int | None) -> Examples | str:
    """Images of the validation side in ``data``, spread evenly if there are more than ``most``; or why there are none.

    Raises
    ------
    UserError
        If the files are damaged.
    """
    folders = {name: data / name for name in ("rows", "tensors", "split.csv")}
    if absent := [str(path) for path in folders.values() if not path.exists()]:
        return f"{absent[0]} does not exist"
    rows = cached_rows.read(folders["rows"])
    if tuple(rows.label_names) != card.label_names:
        return f"{folders['rows']} has other labels than the model"
    tensors = TensorCache(folders["tensors"])
    if tensors.spec != card.image or len(tensors) != len(rows):
        return f"{folders['tensors']} has other images than the model takes"
    validation = split_file.read(folders["split.csv"], rows.index).validation
    if not len(validation):
        return f"{folders['split.csv']} has no validation side"
    if most is not None and len(validation) > most:
        validation = validation[np.linspace(0, len(validation) - 1, most).round().astype(int)]
    source = f"{len(validation):,} images of the validation side"
    return Examples(tensors.images(validation), rows.targets[validation], source)


def of_files(paths: Sequence[str], card: ModelCard) -> Examples:
    """Images in files and folders, at most `MOST_COMPARED`.

    Raises
    ------
    UserError
        If one cannot be read.
    """
    found = predictions.find_images(paths)[:MOST_COMPARED]
    images = []
    for name, result in zip(found, decode.decode_all(found, card.image), strict=True):
        if isinstance(result, ImageProblem):
            raise UserError(f"--images {printable(name)}: {printable(result)}. Name images that can be read.")
        images.append(result)
    return Examples(np.stack(images), None, f"{len(images):,} images of --images")


def drawn(card: ModelCard) -> Examples:
    """Images that posterity draws, for a model that comes alone."""
    from posterity.nn.inference import quantize

    images = quantize.calibration_images(card.image.height, card.image.width)
    return Examples(images, None, f"{len(images):,} drawn images")


def data_digest(data: Path, model: Path) -> tuple[str | None, str]:
    """The sha256 of ``data/manifest.csv`` if ``model`` was trained on it, by dvc.lock; otherwise None and why not."""
    manifest, lock_path = data / "manifest.csv", Path(recorded.LOCK)
    if recorded.of(model) is None or recorded.of(manifest) is None or not manifest.is_file():
        return None, f"{recorded.LOCK} does not say on which data {printable(model)} was trained"
    lock = LockFile(lock_path.read_text(encoding="utf-8"), recorded.LOCK)
    paths: dict[str, Any] = {"manifest": manifest.as_posix(), "rows": (data / "rows").as_posix()}
    trained = [path for path in lock.outs("train") if path.endswith(".keras")]
    same = (
        lock.deps("preprocess").get(paths["manifest"]) == lock.outs("validate").get(paths["manifest"])
        and lock.deps("train").get(paths["rows"]) == lock.outs("preprocess").get(paths["rows"])
        and all(lock.deps("evaluate").get(path) == lock.outs("train")[path] for path in trained)
    )
    if not same or _is_other(model) or _is_other(manifest):
        return None, f"{manifest} is not what {printable(model)} was trained on. `dvc repro` brings them together"
    return hashlib.sha256(reading.raw_bytes(manifest)).hexdigest(), ""


def _is_other(path: Path) -> bool:
    """Whether a file has other bytes than dvc.lock says."""
    try:
        recorded.check(path, reading.raw_bytes(path))
    except UserError:
        return True
    return False
