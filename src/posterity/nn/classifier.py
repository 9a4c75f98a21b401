"""Predict files with a saved model: the one route from a path to probabilities."""

import os
from collections.abc import Iterator, Sequence

from tqdm import tqdm

from posterity.errors import UserError
from posterity.images import ImageProblem, decode_all
from posterity.nn import predict, store
from posterity.predictions import Prediction


class Classifier:
    """A trained model that takes file names.

    Parameters
    ----------
    path : path-like
        A model that `posterity.nn.store.save` wrote.

    Attributes
    ----------
    label_names : tuple of str
        Names of the scores, in order.

    Raises
    ------
    UserError
        If there is no such model.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._model, self._card = store.load(path)
        self.label_names = self._card.label_names
        if self._card.decisions is None:
            raise UserError(f"{path}: expected a model with thresholds, which evaluate adds. Run `dvc repro evaluate`.")
        self._decisions = self._card.decisions

    def predict(self, paths: Sequence[str], *, show_progress: bool = False) -> Iterator[Prediction]:
        """Predict image files, in their order; what is wrong with a file stands in its `Prediction`."""
        decoded = decode_all(paths, self._card.image)
        if show_progress:
            decoded = iter(tqdm(decoded, "predict", len(paths), unit=" images", mininterval=1, delay=2))
        for path, scores in zip(paths, predict.predict_images(self._model, decoded), strict=True):
            if isinstance(scores, ImageProblem):
                yield Prediction(path, None, None, str(scores))
            else:
                probabilities, decided = self._decisions.apply(scores[None])
                yield Prediction(path, probabilities[0], decided[0])
