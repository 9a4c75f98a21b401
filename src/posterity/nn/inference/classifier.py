"""Predict the labels of images with a saved model."""

import contextlib
import functools
import operator
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from posterity import model_card, model_decisions
from posterity.nn import device
from posterity.pixels import inputs
from posterity.pixels.decode import ImageArray, ImageProblem
from posterity.pixels.inputs import ImageInput
from posterity.pixels.spec import ImageSpec
from posterity.predictions import Prediction
from posterity.workers.threads import Mapper, chunks, threads

if TYPE_CHECKING:  # these import Keras, which takes seconds: not before the model file has been checked
    import keras

    from posterity.nn.inference.engines import BatchFunction, Engine, Precision

FloatArray = npt.NDArray[np.float32]
FILES_PER_TASK = 8  # decoded by one worker in a row
# An export of EfficientNet-Lite0 takes 2 to 7 s. ONNX Runtime makes up for that within 100 to 2,000 images: it computes
# this network in 0.3 to 1 times the time of Keras, depending on the CPU.
EXPORT_FROM = 256
BATCH_SIZE = 64


class Classifier:
    """A trained model that predicts the labels of images.

    It needs the model file alone: label names, the preparation of images, calibration and thresholds are inside. Images
    of all formats that Pillow reads are accepted, in any size; each is decoded, resized and scored exactly as in
    training and evaluation.

    Parameters
    ----------
    path : path-like
        The model file, ``models/model.keras``, which stage `evaluate` writes. While that stage runs there is none:
        then ``served.keras`` beside it is used, and a line on stderr says so. Or what `posterity export` made, see
        `posterity.nn.inference.exported`: its runtime then takes the place of Keras.
    engine : {"auto", "keras", "onnxruntime", "openvino"}
        The library that runs the network, see `posterity.nn.inference.engines.batch_function`. With ``auto``, Keras
        runs it for fewer than `EXPORT_FROM` images and where their number is not known beforehand: a generator is not
        read ahead to count it. The libraries round differently: probabilities differ by about 1e-5.
    precision : {"float32", "bfloat16", "int8"}
        Of the arithmetic. The lower ones are for many images on a CPU that has them in hardware. int8 takes some 20 s
        to start. Probabilities differ from those in float32 by some thousandths.
    cpu_threads : int, optional
        Number of threads of ONNX Runtime; None for one per core.

    Attributes
    ----------
    label_names : tuple of str
        Names of the labels, in the order of the probabilities.
    exactly_one : bool
        Whether the model decides on exactly one label of each image.

    Raises
    ------
    UserError
        If the file is missing, is not a model of this pipeline, or has no thresholds yet. But for the weights, all of
        this is found out within a second, before TensorFlow loads.

    See Also
    --------
    posterity.predictions.Prediction : What is returned for each image.

    Examples
    --------
    ::

        from posterity import Classifier

        classifier = Classifier("models/model.keras")
        for prediction in classifier.predict("posters/"):
            print(prediction.path, prediction.error or prediction.labels, prediction.scores)

        (prediction,) = classifier.predict("poster.jpg")  # one image gives one prediction, too
        if not prediction.error:
            print(prediction.scores["Comedy"])
    """

    def __new__(cls, path: str | os.PathLike[str], **settings: object) -> "Classifier":
        """Make one for an exported model if ``path`` is such a model."""
        from posterity.nn.inference import runtimes

        if cls is Classifier and runtimes.find(path) is not None:
            from posterity.nn.inference.exported import ExportedClassifier

            cls = ExportedClassifier
        return super().__new__(cls)

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        engine: "Engine" = "auto",
        precision: "Precision" = "float32",
        cpu_threads: int | None = None,
    ) -> None:
        self._engine = engine
        self._precision = precision
        self._cpu_threads = cpu_threads
        self._functions: dict[str, BatchFunction] = {}
        with model_card.opened(path, or_served=True) as model:  # once: card and network are of the same model
            self._card = model.card
            self.label_names = self._card.label_names
            self._decisions = model_decisions.of_card(model.path, model.card)
            self.exactly_one = self._decisions.exactly_one
            device.load_backend()  # keeps back the lines that TensorFlow logs while it loads

            from posterity.nn.inference import network

            self._model = network.load(model)

    def predict(
        self,
        images: ImageInput | Iterable[ImageInput],
        *,
        show_progress: bool = False,
        mapper: Mapper | None = None,
        num_images: int | None = None,
    ) -> Generator[Prediction, None, None]:
        """Predict images, one after the other, as the result is iterated over.

        Files are decoded by threads while the network computes. About 200 images of the network's size are held in
        memory at a time on two cores, and as many items of a generator are taken ahead, however many there are. PIL
        images and arrays are fitted to the network at once, by one thread, so that their memory may be used again: with
        paths or bytes it is faster. A large JPEG file is scaled down by its decoder; opened by Pillow it is not, and
        its scores may differ a little. Closing the generator ends the threads.

        Parameters
        ----------
        images
            One image or any iterable of images, endless ones included. An image is a path, the bytes of an image file,
            a file opened for reading bytes (which is read from its start and left open), a PIL image, or an array of
            uint8 with shape (height, width), (height, width, 1), (height, width, 3) or (height, width, 4), with red,
            green and blue in this order. A folder stands for the images in it and below it.
        show_progress : bool
            Show a progress bar and the engine on stderr. Otherwise only warnings are shown.
        mapper : Mapper, optional
            Decodes the images; by default, threads of this machine. See `posterity.workers.threads`.
        num_images : int, optional
            Number of all images, if these are only some of them, or if a generator yields them: it decides between the
            engines, so that all images are scored by the same one.

        Yields
        ------
        Prediction
            One for each image, in their order. One that cannot be read has a prediction without scores that says why;
            it stops nothing.

        Raises
        ------
        TypeError
            If something is no image, with what would be one: by this call if ``images`` or an item of a list or tuple
            is none; as soon as it is reached if an item of another iterable is none.
        """
        inputs.check(images)
        return self._predict(inputs.expanded(images), show_progress, mapper, num_images)

    @property
    def card(self) -> model_card.ModelCard:
        """What the model file says of itself."""
        return self._card

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Probability from which on each label is decided on, unless it is decided on exactly one."""
        return self._decisions.thresholds

    @property
    def network(self) -> "keras.Model | None":
        """The network as Keras runs it; None for an exported model, which another runtime has."""
        return self._model

    def score(self, images: ImageArray) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Score images that are decoded: uint8 of the size that `card` says, shape (n, height, width, 3).

        The engine is the one for many images, whatever n is.

        Returns
        -------
        probabilities : ndarray of float64, shape (n, num_labels)
            Calibrated if the model is.
        decided : ndarray of bool, shape (n, num_labels)
            The labels that the model decides on.
        """
        return self._decisions.apply(self._compute(self._engine, images, announce=True).clip(0, 1))

    def _predict(
        self, images: Iterable[ImageInput], show_progress: bool, mapper: Mapper | None, num_images: int | None
    ) -> Generator[Prediction, None, None]:
        total = operator.length_hint(images) or None  # of a generator it is not known
        may_differ = self._engine == "auto" and self._precision == "float32"
        few = may_differ and (num_images or total or 1) < EXPORT_FROM
        compute = functools.partial(self._compute, "keras" if few else self._engine, announce=show_progress)
        names: deque[str] = deque()

        def named() -> Iterator[inputs.Source]:
            for source in inputs.sources(images, self._card.image):
                names.append(source.name)
                yield source

        decoded = decode_all(named(), self._card.image, mapper or threads())
        with (
            contextlib.closing(decoded),  # a traceback would keep it alive, and the process waits for its threads
            tqdm(decoded, "predict", total, unit=" images", mininterval=1, delay=2, disable=not show_progress) as shown,
        ):
            for scores in score_images(compute, shown):
                name = names.popleft()
                if isinstance(scores, ImageProblem):
                    yield Prediction(name, self.label_names, error=str(scores))
                else:
                    yield Prediction(name, self.label_names, *self._concluded(scores))

    def _compute(self, name: "Engine", images: ImageArray, *, announce: bool) -> FloatArray:
        """Score ``images``. An engine is compared with Keras on the first images that it is given."""
        if name not in self._functions:
            from posterity.nn.inference import engines, fixed_batches

            self._functions[name] = engines.batch_function(
                self._model,
                name,
                images[: fixed_batches.BATCH_SIZE],
                at=self._precision,
                cpu_threads=self._cpu_threads,
                announce=announce,
            )
        return self._functions[name](images)

    def _concluded(self, scores: FloatArray) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.bool_]]:
        """Probabilities and decided labels of one image, both (num_labels,)."""
        # A sigmoid of ONNX Runtime can be 1.0000001.
        probabilities, decided = self._decisions.apply(scores.clip(0, 1)[None])
        return probabilities[0], decided[0]


def decode_all(
    sources: Iterable[inputs.Source], spec: ImageSpec, mapper: Mapper
) -> Generator[ImageArray | ImageProblem, None, None]:
    """Decode images by ``mapper``, in their order; only a few are held at a time."""
    some = mapper(functools.partial(inputs.decode_some, spec=spec), chunks(sources, FILES_PER_TASK))
    return (result for results in some for result in results)


def score_images(
    compute: "BatchFunction", images: Iterable[ImageArray | ImageProblem], batch_size: int = BATCH_SIZE
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
