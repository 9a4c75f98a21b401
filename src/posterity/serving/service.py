"""From the bytes of images to what the model says of them."""

import asyncio
import dataclasses
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from posterity.pixels.decode import ImageArray, ImageProblem, decode
from posterity.serving import refusal
from posterity.serving.batching import Batcher, Model, Scored
from posterity.serving.limits import Limits
from posterity.serving.refusal import Refusal, come_again
from posterity.serving.telemetry import Telemetry


class Service:
    """Decodes images in threads and hands them to the one worker that runs the network.

    Parameters
    ----------
    model : Model
        What scores and explains.
    limits : Limits
        What is refused.
    telemetry : Telemetry
        Counts images.
    workers : int
        Threads that decode.
    """

    def __init__(self, model: Model, limits: Limits, telemetry: Telemetry, *, workers: int) -> None:
        self.model, self._limits, self._telemetry = model, limits, telemetry
        most = min(model.spec.max_pixels, limits.pixels or model.spec.max_pixels)
        self.spec = dataclasses.replace(model.spec, max_pixels=most)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self._batcher = Batcher(model, capacity=limits.queue, telemetry=telemetry)

    def check_room(self) -> None:
        """Raise a `Refusal` if no image can be taken now: before a body is read for nothing."""
        self._batcher.check_room()

    async def predict(self, contents: Sequence[bytes]) -> list[Scored | Refusal]:
        """Score images given by the bytes of their files: what the model says, or why an image is refused.

        Raises
        ------
        Refusal
            503 if there is no room for them, or if they take too long.
        """
        with self._batcher.reserved(len(contents)):
            try:
                async with asyncio.timeout(self._limits.answer_s):
                    found = await self._scored(contents)
            except TimeoutError:
                raise self._too_slow() from None
        for one in found:
            if isinstance(one, Refusal):
                self._count(one)
        self._telemetry.images.labels("scored").inc(sum(not isinstance(one, Refusal) for one in found))
        return found

    async def explain(self, content: bytes, label: int) -> bytes:
        """The image as the network gets it, with what speaks for a label marked on it, as a PNG file.

        Raises
        ------
        Refusal
            If the image cannot be used; 503 if there is no room for it, or if it takes too long.
        """
        loop = asyncio.get_running_loop()
        with self._batcher.reserved(1):
            try:
                async with asyncio.timeout(self._limits.answer_s):
                    decoded = await loop.run_in_executor(self._pool, self._decode, content)
                    if isinstance(decoded, Refusal):
                        self._count(decoded)
                        raise decoded
                    marked = await asyncio.wrap_future(self._batcher.explain(decoded, label))
                    png = await loop.run_in_executor(self._pool, _as_png, marked)
            except TimeoutError:
                raise self._too_slow() from None
        self._telemetry.images.labels("explained").inc()
        return png

    def close(self) -> None:
        """Finish what is under way, and end the threads."""
        self._pool.shutdown()
        self._batcher.close()

    async def _scored(self, contents: Sequence[bytes]) -> list[Scored | Refusal]:
        loop = asyncio.get_running_loop()
        decoding = [loop.run_in_executor(self._pool, self._decode, content) for content in contents]
        scoring: list[asyncio.Future[Scored] | Refusal] = []
        try:
            # Batch by batch, so that the network is at work while the next images are decoded.
            for start in range(0, len(contents), self.model.batch_size):
                decoded = await asyncio.gather(*decoding[start : start + self.model.batch_size])
                futures = iter(self._batcher.score([image for image in decoded if not isinstance(image, Refusal)]))
                scoring += [
                    image if isinstance(image, Refusal) else asyncio.wrap_future(next(futures)) for image in decoded
                ]
            waiting = [one for one in scoring if not isinstance(one, Refusal)]
            scores = iter(await asyncio.gather(*waiting))
            return [one if isinstance(one, Refusal) else next(scores) for one in scoring]
        finally:  # the time is up, or something has gone wrong: what has not begun is not begun
            for one in (*decoding, *scoring):
                if not isinstance(one, Refusal):
                    one.cancel()

    def _decode(self, content: bytes) -> ImageArray | Refusal:
        try:
            return decode(content, self.spec)
        except ImageProblem as problem:
            return refusal.of_image(problem, content, self.spec.limits)

    def _count(self, refused: Refusal) -> None:
        self._telemetry.images.labels("refused").inc()
        self._telemetry.errors.labels(refused.kind).inc()

    def _too_slow(self) -> Refusal:
        return come_again("too_slow", f"The answer was not ready within {self._limits.answer_s:g} seconds.")


def _as_png(image: ImageArray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
