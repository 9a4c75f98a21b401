"""One worker that runs the network on what waits, so that requests that come together are computed together."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from posterity.pixels.decode import ImageArray
from posterity.pixels.spec import ImageSpec
from posterity.serving.refusal import come_again
from posterity.serving.telemetry import Telemetry

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


class Model(Protocol):
    """What a server needs of a model; `posterity.serving.loaded.LoadedModel` has it.

    Attributes
    ----------
    label_names : tuple of str
        Names of the labels.
    thresholds : tuple of float
        Of each label, on probabilities.
    exactly_one : bool
        Whether the likeliest label is decided on, whatever the thresholds are.
    spec : ImageSpec
        How an image file becomes an array.
    batch_size : int
        Images that the network takes at once without more work than for one.
    digest : str
        sha256 of the model file.
    can_explain : bool
        Whether `explain` can be called.
    """

    @property
    def label_names(self) -> tuple[str, ...]: ...
    @property
    def thresholds(self) -> tuple[float, ...]: ...
    @property
    def exactly_one(self) -> bool: ...
    @property
    def spec(self) -> ImageSpec: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def digest(self) -> str: ...
    @property
    def can_explain(self) -> bool: ...

    def score(self, images: ImageArray) -> tuple[FloatArray, BoolArray]:
        """Probabilities and decisions, both (n, num_labels), of uint8 images (n, height, width, 3)."""

    def explain(self, image: ImageArray, label: int) -> ImageArray:
        """A uint8 image (height, width, 3) with what speaks for the label marked on it."""


class Scored(NamedTuple):
    """What the model says of one image: two arrays of shape (num_labels,)."""

    probabilities: FloatArray
    decided: BoolArray


class _Job(NamedTuple):
    image: ImageArray
    label: int | None  # to be explained; None = to be scored
    future: "Future[Scored] | Future[ImageArray]"


class Batcher:
    """Runs a model in a thread of its own, on batches of what waits.

    A batch begins as soon as the last one is done; it is never held back for images that might come.

    Parameters
    ----------
    model : Model
        What scores and explains.
    capacity : int
        Images that may be under way at a time.
    telemetry : Telemetry
        Counts batches, and how many images are under way.
    """

    def __init__(self, model: Model, *, capacity: int, telemetry: Telemetry) -> None:
        self._model, self._capacity, self._telemetry = model, capacity, telemetry
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._reserved = 0
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def check_room(self) -> None:
        """Raise the `Refusal` of `reserved` if not even one image can be taken."""
        if self._reserved >= self._capacity:
            raise self._full()

    @contextlib.contextmanager
    def reserved(self, number: int) -> Iterator[None]:
        """Hold places for ``number`` images until they are answered.

        Raises
        ------
        Refusal
            If there is no room for them: 503, to come again in a second.
        """
        with self._changed:
            if self._reserved + number > self._capacity:
                raise self._full()
            self._reserved += number
        self._telemetry.queue.inc(number)
        try:
            yield
        finally:
            with self._changed:
                self._reserved -= number
            self._telemetry.queue.dec(number)

    def score(self, images: Sequence[ImageArray]) -> "list[Future[Scored]]":
        """Queue images of the model's size; they come into the same batch if there is room in it."""
        futures: list[Future[Scored]] = [Future() for _ in images]
        self._put([_Job(image, None, future) for image, future in zip(images, futures, strict=True)])
        return futures

    def explain(self, image: ImageArray, label: int) -> "Future[ImageArray]":
        """Queue an image of the model's size to be explained for the label with this number."""
        future: Future[ImageArray] = Future()
        self._put([_Job(image, label, future)])
        return future

    def close(self) -> None:
        """Do what waits, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _full(self) -> Exception:
        return come_again("busy", f"{self._capacity} images are under way, which is the limit. Send this one again.")

    def _put(self, jobs: Sequence[_Job]) -> None:
        with self._changed:
            if self._closed:
                raise come_again("stopping", "The server is about to stop.")
            self._jobs.extend(jobs)
            self._changed.notify()

    def _run(self) -> None:
        while batch := self._next_batch():
            # A request whose time is up, or whose client is gone, has cancelled its future.
            batch = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if not batch:
                continue
            started = time.perf_counter()
            try:
                results = self._computed(batch)
            except Exception as error:  # a bug or the end of the memory: its requests are told, the next ones may do
                for job in batch:
                    job.future.set_exception(error)
                continue
            for job, result in zip(batch, results, strict=True):
                job.future.set_result(result)  # type: ignore[arg-type]
            if batch[0].label is None:
                self._telemetry.batches.observe(len(batch))
                self._telemetry.inference_seconds.observe(time.perf_counter() - started)

    def _next_batch(self) -> list[_Job]:
        """The jobs at the front that can be done at once; none once the thread is to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            batch: list[_Job] = []
            while self._jobs and len(batch) < self._model.batch_size:
                if batch and (batch[0].label is not None or self._jobs[0].label is not None):
                    break
                batch.append(self._jobs.popleft())
            return batch

    def _computed(self, batch: Sequence[_Job]) -> "Sequence[Scored | ImageArray]":
        image, label, _ = batch[0]
        if label is not None:
            return [self._model.explain(image, label)]
        probabilities, decided = self._model.score(np.stack([job.image for job in batch]))
        return [Scored(*one) for one in zip(probabilities, decided, strict=True)]
