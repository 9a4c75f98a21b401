"""Predict files with a saved model: the one route from a path to probabilities."""

import contextlib
import functools
import os
from collections.abc import Generator, Sequence

from tqdm import tqdm

from posterity.errors import UserError
from posterity.images import ImageArray, ImageProblem, decode_all
from posterity.nn import engine, predict, store
from posterity.nn.engine import BatchFunction, Engine, FloatArray
from posterity.parallel import Mapper
from posterity.predictions import Prediction

# An export of EfficientNet-Lite0 takes 2 to 7 s. ONNX Runtime makes up for that within 100 to 2,000 images: it computes
# this network in 0.3 to 1 times the time of Keras, depending on the CPU.
EXPORT_FROM = 256


class Classifier:
    """A trained model that takes file names.

    Parameters
    ----------
    path : path-like
        A model that `posterity.nn.store.save` wrote.
    engine : {"auto", "keras", "onnxruntime"}
        What runs the network, see `posterity.nn.engine.batch_function`. With ``auto`` it is Keras for fewer than
        `EXPORT_FROM` images. Engines round differently: probabilities differ by 1e-5 or so.
    cpu_threads : int, optional
        Threads of ONNX Runtime; None for one per core.

    Attributes
    ----------
    label_names : tuple of str
        Names of the scores, in order.

    Raises
    ------
    UserError
        If there is no such model.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, engine: Engine = "auto", cpu_threads: int | None = None
    ) -> None:
        self._model, self._card = store.load(path)
        self.label_names = self._card.label_names
        if self._card.decisions is None:
            raise UserError(f"{path}: expected a model with thresholds, which evaluate adds. Run `dvc repro evaluate`.")
        self._decisions = self._card.decisions
        self._engine = engine
        self._cpu_threads = cpu_threads
        self._functions: dict[Engine, BatchFunction] = {}

    def predict(
        self,
        paths: Sequence[str],
        *,
        show_progress: bool = False,
        mapper: Mapper | None = None,
        num_images: int | None = None,
    ) -> Generator[Prediction, None, None]:
        """Predict image files, in their order; what is wrong with a file stands in its `Prediction`.

        Files are decoded by ``mapper``, by default in threads of this machine, while the network computes. Some 200
        images are held at a time on two cores, however many paths there are. Closing the generator ends its threads.
        If ``paths`` are only some of ``num_images``, the engine is that for all of them.
        """
        few = self._engine == "auto" and (num_images or len(paths)) < EXPORT_FROM
        compute = functools.partial(self._compute, "keras" if few else self._engine)
        images = decode_all(paths, self._card.image, mapper)
        with (
            contextlib.closing(images),  # a traceback would keep it alive, and the process waits for its threads
            tqdm(
                images, "predict", len(paths), unit=" images", mininterval=1, delay=2, disable=not show_progress
            ) as shown,
        ):
            for path, scores in zip(paths, predict.predict_images(compute, shown), strict=True):
                if isinstance(scores, ImageProblem):
                    yield Prediction(path, None, None, str(scores))
                else:
                    # A sigmoid of ONNX Runtime can be 1.0000001.
                    probabilities, decided = self._decisions.apply(scores.clip(0, 1)[None])
                    yield Prediction(path, probabilities[0], decided[0])

    def _compute(self, name: Engine, images: ImageArray) -> FloatArray:
        """Scores of ``images``. The first ones that an engine gets are those on which it is compared with Keras."""
        if name not in self._functions:
            self._functions[name] = engine.batch_function(
                self._model, name, images[: engine.BATCH_SIZE], cpu_threads=self._cpu_threads
            )
        return self._functions[name](images)
