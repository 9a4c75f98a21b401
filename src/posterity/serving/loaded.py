"""A model file, loaded and warm, as a server needs it."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from posterity.errors import UserError
from posterity.model_card import SERVED
from posterity.pixels.decode import ImageArray
from posterity.pixels.spec import ImageSpec
from posterity.regular_file import open_regular
from posterity.serving.batching import BoolArray, FloatArray

if TYPE_CHECKING:
    from posterity.nn.inference.engines import Engine, Precision

BATCH_SIZE = 16  # images that wait are run together, but no more than these, so that the first one need not wait long


class LoadedModel:
    """The model of a file, which has scored images once: the first call of a network takes seconds.

    Parameters
    ----------
    path : path-like
        The model file, see `posterity.nn.inference.classifier.Classifier`.
    engine, precision : str
        What runs the network, and how; ``auto`` is the engine for many images.
    threads : int, optional
        Of ONNX Runtime and OpenVINO; None for one per core.

    Raises
    ------
    UserError
        If the file is missing or no model, if it is replaced while it is read, or if the engine cannot run it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        engine: "Engine" = "auto",
        precision: "Precision" = "float32",
        threads: int | None = None,
    ) -> None:
        from posterity.nn.inference.classifier import Classifier

        before = _digest(Path(path))
        self._classifier: Classifier = Classifier(path, engine=engine, precision=precision, cpu_threads=threads)
        self.digest = _digest(Path(path))
        if self.digest != before:
            raise UserError(f"{path}: was replaced while it was read. Start again once the run that writes it is done.")
        self._card = self._classifier.card

        self.batch_size = BATCH_SIZE
        self.score(_examples(self.spec, self.batch_size))
        if self.can_explain:
            self.explain(_examples(self.spec, 1)[0], 0)

    @property
    def label_names(self) -> tuple[str, ...]:
        return self._classifier.label_names

    @property
    def thresholds(self) -> tuple[float, ...]:
        return self._classifier.thresholds

    @property
    def exactly_one(self) -> bool:
        return self._classifier.exactly_one

    @property
    def spec(self) -> ImageSpec:
        return self._card.image

    @property
    def can_explain(self) -> bool:
        return self._classifier.network is not None

    def score(self, images: ImageArray) -> tuple[FloatArray, BoolArray]:
        return self._classifier.score(images)

    def explain(self, image: ImageArray, label: int) -> ImageArray:
        from posterity.nn.inference.saliency import explain
        from posterity.pixels.overlay import overlay

        network = self._classifier.network
        if network is None:
            raise ValueError("an exported model cannot be explained: ask `can_explain` first")
        (found,) = explain(network, image[None], [label])
        return overlay(image, found)


def _digest(path: Path) -> str:
    """sha256 of the file that `Classifier` reads; "" if there is none, which it says better.

    That of a folder is made of those of its files, as ``sha256sum *`` lists them, and of their names.
    """
    for place in (path, path.with_name(SERVED)):
        try:
            if place.is_dir():
                lines = [
                    f"{_of_file(file)}  {file.relative_to(place)}\n"
                    for file in sorted(place.rglob("*"))
                    if file.is_file()
                ]
                return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()
            return _of_file(place)
        except (OSError, ValueError):
            continue
    return ""


def _of_file(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _examples(spec: ImageSpec, number: int) -> ImageArray:
    """Soft clouds of colour, uint8 (number, height, width, 3): an engine is compared with Keras on them."""
    import cv2

    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (number, 9, 7, 3), dtype=np.uint8)
    return np.stack([cv2.resize(one, (spec.width, spec.height), interpolation=cv2.INTER_CUBIC) for one in coarse])
