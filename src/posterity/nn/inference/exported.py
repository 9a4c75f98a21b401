"""Predict with an exported model: the same as `Classifier` does with the model of posterity, by another runtime."""

import os
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from posterity import model_decisions
from posterity.errors import UserError
from posterity.nn.inference import runtimes
from posterity.nn.inference.classifier import Classifier
from posterity.pixels.decode import ImageArray

if TYPE_CHECKING:
    from posterity.nn.inference.engines import Engine, Precision


FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


class ExportedClassifier(Classifier):
    """A `Classifier` whose model is an exported file; ``Classifier("exports/onnx")`` makes one.

    Images are decoded and resized as in training. Scores are calibrated and decided by the exported graph itself.

    Parameters
    ----------
    path : path-like
        ``model.onnx``, ``model.xml`` of OpenVINO, ``model.tflite``, the folder of a SavedModel, or the folder of one of
        these exports.
    engine, precision : str
        Must be left out: an exported model has its runtime and its precision.
    cpu_threads : int, optional
        Number of threads of the runtime; None for one per core.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        engine: "Engine" = "auto",
        precision: "Precision" = "float32",
        cpu_threads: int | None = None,
    ) -> None:
        for name, value, default in (("engine", engine, "auto"), ("precision", precision, "float32")):
            if value != default:
                raise UserError(
                    f"{path}: an exported model has its own {name}. Expected {default}. Got {name} {value}. Leave it "
                    "out, or export the model in another format or precision with `posterity export`."
                )
        self._engine, self._precision = engine, precision
        self._exported = runtimes.opened(path, cpu_threads=cpu_threads)
        self._card = self._exported.card.card
        self.label_names = self._card.label_names
        self._decisions = model_decisions.of_card(path, self._card)
        self.exactly_one = self._decisions.exactly_one

    @property
    def network(self) -> None:
        """An exported model has no network of Keras."""
        return

    def score(self, images: ImageArray) -> tuple[npt.NDArray[np.float64], BoolArray]:
        """As `Classifier.score`; probabilities and decisions are those of the exported graph."""
        probabilities, decided = self._exported.run(images)
        return probabilities.astype(np.float64).clip(0, 1), decided > 0

    def _compute(self, name: "Engine", images: ImageArray, *, announce: bool) -> FloatArray:
        """Probabilities and decisions beside each other, float32 (n, 2 * num_labels), for `_concluded`."""
        return np.concatenate(self._exported.run(images), axis=1, dtype=np.float32)

    def _concluded(self, scores: FloatArray) -> tuple[FloatArray, BoolArray]:
        probabilities, decided = np.split(scores, 2)
        return probabilities.astype(np.float64).clip(0, 1), decided > 0  # float64, as the decisions of a Keras model
