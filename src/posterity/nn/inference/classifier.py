"""Predict files with a saved model: the one route from a path to probabilities."""

import contextlib
import functools
import os
from collections.abc import Generator, Iterable, Iterator, Sequence

import numpy as np
from tqdm import tqdm

from posterity import model_card
from posterity.errors import UserError
from posterity.nn import keras_file
from posterity.nn.inference import engines
from posterity.nn.inference.engines import BatchFunction, Engine, FloatArray
from posterity.pixels.decode import ImageArray, ImageProblem, decode_all
from posterity.predictions import Prediction
from posterity.workers.threads import Mapper, chunks

# An export of EfficientNet-Lite0 takes 2 to 7 s. ONNX Runtime makes up for that within 100 to 2,000 images: it computes
# this network in 0.3 to 1 times the time of Keras, depending on the CPU.
EXPORT_FROM = 256
BATCH_SIZE = 64


class Classifier:
    """A trained model that takes file names.

    Parameters
    ----------
    path : path-like
        A model that `posterity.nn.keras_file.save` wrote.
    engine : {"auto", "keras", "onnxruntime"}
        What runs the network, see `inference.engines.batch_function`. With ``auto`` it is Keras for fewer than
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
        self._card = model_card.read(path)
        self._model = keras_file.load(path)
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
            for path, scores in zip(paths, score_images(compute, shown), strict=True):
                if isinstance(scores, ImageProblem):
                    yield Prediction(path, None, None, str(scores))
                else:
                    # A sigmoid of ONNX Runtime can be 1.0000001.
                    probabilities, decided = self._decisions.apply(scores.clip(0, 1)[None])
                    yield Prediction(path, probabilities[0], decided[0])

    def _compute(self, name: Engine, images: ImageArray) -> FloatArray:
        """Scores of ``images``. The first ones that an engine gets are those on which it is compared with Keras."""
        if name not in self._functions:
            self._functions[name] = engines.batch_function(
                self._model, name, images[: engines.BATCH_SIZE], cpu_threads=self._cpu_threads
            )
        return self._functions[name](images)


def score_images(
    compute: BatchFunction, images: Iterable[ImageArray | ImageProblem], batch_size: int = BATCH_SIZE
) -> Iterator[FloatArray | ImageProblem]:
    """Probabilities, float32 (num_labels,), for a stream of decoded images; problems pass through in their place.

    Parameters
    ----------
    compute : callable
        uint8 images (n, height, width, 3) to float32 (n, num_labels), see `posterity.nn.inference.engines`.
    images : iterable
        uint8 arrays (height, width, 3), or the problem that stands in for an image. While ``compute`` is at work, its
        threads, if it has any, make the next ones: `posterity.pixels.decode.decode_all` is 64 ahead on two cores.
    batch_size : int
        Items taken at once; no more are held here.
    """
    for items in chunks(images, batch_size):
        decoded = [item for item in items if not isinstance(item, ImageProblem)]
        scores = iter(compute(np.stack(decoded)) if decoded else ())
        for item in items:
            yield item if isinstance(item, ImageProblem) else next(scores)
