"""Predict the labels of image files with a saved model."""

import contextlib
import functools
import os
from collections.abc import Generator, Iterable, Iterator, Sequence

import numpy as np
from tqdm import tqdm

from posterity import model_card
from posterity.errors import UserError
from posterity.evaluation.decisions import Decisions
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
    """A trained model that predicts the labels of image files.

    It needs the model file alone: label names, the preparation of images, calibration and thresholds are inside. Files
    of all formats that Pillow reads are accepted, in any size; each is decoded, resized and scored exactly as in
    training and evaluation.

    Parameters
    ----------
    path : path-like
        The model file, ``models/model.keras``, which stage `evaluate` writes.
    engine : {"auto", "keras", "onnxruntime"}
        The library that runs the network, see `posterity.nn.inference.engines.batch_function`. With ``auto``, Keras
        runs it for fewer than `EXPORT_FROM` images. The libraries round differently: probabilities differ by about
        1e-5.
    cpu_threads : int, optional
        Number of threads of ONNX Runtime; None for one per core.

    Attributes
    ----------
    label_names : tuple of str
        Names of the labels, in the order of the probabilities.

    Raises
    ------
    UserError
        If the file is missing, is not a model of this pipeline, or has no thresholds yet.

    See Also
    --------
    posterity.predictions.Prediction : What is returned for each file.

    Examples
    --------
    ::

        from pathlib import Path
        from posterity import Classifier

        classifier = Classifier("models/model.keras")
        for prediction in classifier.predict(sorted(Path("posters").glob("*.jpg"))):
            if prediction.error:
                print(prediction.path, "could not be read:", prediction.error)
            else:
                labels = [name for name, decided in zip(classifier.label_names, prediction.decided) if decided]
                print(prediction.path, labels, prediction.scores.round(2))
    """

    def __init__(
        self, path: str | os.PathLike[str], *, engine: Engine = "auto", cpu_threads: int | None = None
    ) -> None:
        self._card = model_card.read(path)
        self._model = keras_file.load(path)
        self.label_names = self._card.label_names
        if self._card.decisions is None:
            raise UserError(
                f"{path}: expected a model with thresholds, which stage evaluate adds. Run `dvc repro evaluate`."
            )
        self._decisions = Decisions.from_content(self._card.decisions)
        self._engine = engine
        self._cpu_threads = cpu_threads
        self._functions: dict[Engine, BatchFunction] = {}

    def predict(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        show_progress: bool = False,
        mapper: Mapper | None = None,
        num_images: int | None = None,
    ) -> Generator[Prediction, None, None]:
        """Predict image files, one after the other.

        Files are decoded while the network computes. About 200 images are held in memory at a time on two cores,
        however many paths there are. Closing the generator ends the threads that decode.

        Parameters
        ----------
        paths : sequence of path-like
            Image files. (`posterity.predictions.find_images` expands folders and patterns.)
        show_progress : bool
            Show a progress bar on stderr.
        mapper : Mapper, optional
            Decodes the files; by default, threads of this machine. See `posterity.workers.threads`.
        num_images : int, optional
            Number of all images, if ``paths`` are only some of them: it decides between the engines, so that all
            images are scored by the same one.

        Yields
        ------
        Prediction
            One for each path, in their order. A file that cannot be read has a prediction without scores that says
            why; it stops nothing.

        Raises
        ------
        TypeError
            If ``paths`` is one path instead of a sequence.
        """
        if isinstance(paths, str | os.PathLike):
            raise TypeError(f"paths must be a sequence of paths. Got one path, {paths!r}")
        few = self._engine == "auto" and (num_images or len(paths)) < EXPORT_FROM
        compute = functools.partial(self._compute, "keras" if few else self._engine)
        images = decode_all((os.fspath(path) for path in paths), self._card.image, mapper)
        with (
            contextlib.closing(images),  # a traceback would keep it alive, and the process waits for its threads
            tqdm(
                images, "predict", len(paths), unit=" images", mininterval=1, delay=2, disable=not show_progress
            ) as shown,
        ):
            for path, scores in zip(paths, score_images(compute, shown), strict=True):
                name = os.fspath(path)
                if isinstance(scores, ImageProblem):
                    yield Prediction(name, None, None, str(scores))
                else:
                    # A sigmoid of ONNX Runtime can be 1.0000001.
                    probabilities, decided = self._decisions.apply(scores.clip(0, 1)[None])
                    yield Prediction(name, probabilities[0], decided[0])

    def _compute(self, name: Engine, images: ImageArray) -> FloatArray:
        """Score ``images``. An engine is compared with Keras on the first images that it is given."""
        if name not in self._functions:
            self._functions[name] = engines.batch_function(
                self._model, name, images[: engines.BATCH_SIZE], cpu_threads=self._cpu_threads
            )
        return self._functions[name](images)


def score_images(
    compute: BatchFunction, images: Iterable[ImageArray | ImageProblem], batch_size: int = BATCH_SIZE
) -> Iterator[FloatArray | ImageProblem]:
    """Score a stream of decoded images: probabilities, float32 (num_labels,), for each; a problem is passed on.

    Parameters
    ----------
    compute : callable
        Takes uint8 images (n, height, width, 3) and returns float32 (n, num_labels), see
        `posterity.nn.inference.engines`.
    images : iterable
        uint8 arrays (height, width, 3), or a problem in the place of an image that cannot be read. If the iterable
        has threads, they make the next images while ``compute`` is at work: `posterity.pixels.decode.decode_all`
        reads 64 images ahead on two cores.
    batch_size : int
        Number of items taken at a time; no more are held here.
    """
    for items in chunks(images, batch_size):
        decoded = [item for item in items if not isinstance(item, ImageProblem)]
        scores = iter(compute(np.stack(decoded)) if decoded else ())
        for item in items:
            yield item if isinstance(item, ImageProblem) else next(scores)
