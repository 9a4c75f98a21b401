"""Images per second of several functions, measured in turns, so that another load of the machine slows all of them."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from posterity.pixels.decode import ImageArray

BATCH = 64  # images a call


def images_per_second(
    functions: Mapping[str, Callable[[ImageArray], Any]], images: ImageArray, seconds: float
) -> dict[str, float]:
    """Run each function on batches for about ``seconds``, in turns, and return the median of its images per second.

    Parameters
    ----------
    functions : mapping
        Name to function of uint8 images (n, height, width, 3).
    images : ndarray of uint8, shape (n, height, width, 3)
        They are repeated as needed.
    seconds : float
        For each function, after one call that warms it up.
    """
    batch = images[np.arange(BATCH) % len(images)]
    for function in functions.values():
        function(batch)
    times: dict[str, list[float]] = {name: [] for name in functions}
    while any(sum(spent) < seconds for spent in times.values()):
        for name, function in functions.items():
            if sum(times[name]) < seconds:
                started = time.perf_counter()
                function(batch)
                times[name].append(time.perf_counter() - started)
    return {name: BATCH / float(np.median(spent)) for name, spent in times.items()}
