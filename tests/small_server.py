"""A server with a stand-in for the model, in this process, and images to send."""

import contextlib
import io
import threading
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from PIL import Image

from posterity.pixels.spec import ImageSpec

LABELS = ("Red", "Green & <b>bold</b>", "Blue")
THRESHOLDS = (0.5, 0.2, 0.9)


class Means:
    """Answers with the means of red, green and blue; each label is decided on from its threshold on.

    ``gate`` can hold back the network, and ``batches`` lists how many images it got at once.
    """

    label_names = LABELS
    thresholds = THRESHOLDS
    exactly_one = False
    spec = ImageSpec(8, 4, resampling="nearest", max_pixels=10_000)
    batch_size = 4
    digest = "0123456789abcdef" * 4
    can_explain = True

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()
        self.batches: list[int] = []
        self.fails = False

    def score(self, images: np.ndarray) -> Any:
        self.started.set()
        self.batches.append(len(images))
        assert self.gate.wait(20)
        if self.fails:
            raise RuntimeError("a bug")
        means = images.mean((1, 2)) / 255
        return means, means >= THRESHOLDS

    def explain(self, image: np.ndarray, label: int) -> np.ndarray:
        return np.full_like(image, 100 * label)


def png(colour: tuple[int, int, int] = (255, 102, 0), size: tuple[int, int] = (4, 8), kind: str = "PNG") -> bytes:
    """An image file of one colour; of the default the model says 1, 0.4, 0."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


@contextlib.contextmanager
def running(model: Any, *, names: Collection[str] = (), **limits: Any) -> Iterator[str]:
    """Serve ``model`` at a free port; yield the address, without a slash at its end."""
    from posterity.serving import app, server
    from posterity.serving.limits import Limits

    given, ready = Limits(**limits), threading.Event()
    taken = server.bind("127.0.0.1", 0)
    guarded, service = app.create(model, given, names=names)
    served = server.Server(guarded, given, ready=ready.set)
    thread = threading.Thread(target=served.run, args=([taken],))
    thread.start()
    try:
        assert ready.wait(10)
        yield server.address_of(taken).rstrip("/")
    finally:
        served.should_exit = True
        thread.join(20)
        service.close()
    assert not thread.is_alive()
