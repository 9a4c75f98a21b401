"""Pictures to compare: soft blobs of colour, which have structure at every scale and in every part."""

import numpy as np
import numpy.typing as npt

from posterity.pixels.resize import resize_by_area


def blobs(seed: int, side: int) -> npt.NDArray[np.uint8]:
    """A picture, uint8 (side, side, 3): random colours of 4 x 4, 8 x 8 and 16 x 16 squares, grown and added."""
    generator = np.random.default_rng(seed)
    layers = [
        resize_by_area(generator.integers(0, 80, (squares, squares, 3)).astype(np.uint8), side, side)
        for squares in (4, 8, 16)
    ]
    return np.sum(layers, axis=0).astype(np.uint8)
