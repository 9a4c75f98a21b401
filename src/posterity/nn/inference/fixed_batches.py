"""Batches of one size, for every runtime: kernels for other sizes round differently."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from posterity.pixels.decode import ImageArray

BATCH_SIZE = 16
Outputs = TypeVar("Outputs", bound=tuple[Any, ...])  # arrays


def in_batches(run: Callable[[ImageArray], Outputs]) -> Callable[[ImageArray], Outputs]:
    """Run batches of `BATCH_SIZE` only, filled up with black images.

    Parameters
    ----------
    run : callable
        Takes uint8 images (`BATCH_SIZE`, height, width, 3) and returns arrays with one item for each image.

    Returns
    -------
    callable
        Does the same for any number of images, none included.
    """

    def function(images: ImageArray) -> Outputs:
        parts = []
        for start in range(0, max(1, len(images)), BATCH_SIZE):  # once for no images: it gives the shapes
            part = images[start : start + BATCH_SIZE]
            batch = np.zeros((BATCH_SIZE, *images.shape[1:]), np.uint8)
            batch[: len(part)] = part
            parts.append([output[: len(part)] for output in run(batch)])
        joined: Any = tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))
        return joined

    return function
