"""A tensor cache of 80 images of 64 x 64 with three labels that can be seen in the images."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from posterity.cache.tensor_writer import CacheWriter
from posterity.cache.tensors import TensorCache
from posterity.pixels.spec import ImageSpec

SIZE = 64
NUM_IMAGES = 80


def draw() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Targets (80, 3) and images (80, 64, 64, 3). Label 0: the image is bright; label 1: it is red; label 2: always."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, (NUM_IMAGES, 3)).astype(np.uint8)
    targets[:, 2] = 1
    images = generator.integers(0, 60, (NUM_IMAGES, SIZE, SIZE, 3)) + 120 * targets[:, 0, None, None, None]
    images[..., 0] += 60 * targets[:, 1, None, None]
    return targets, images.astype(np.uint8)


TARGETS = draw()[0]


def write(folder: Path) -> TensorCache:
    writer = CacheWriter(folder, ImageSpec(SIZE, SIZE), rows_per_shard=32)
    for image in draw()[1]:
        writer.append(image)
    writer.close()
    return TensorCache(folder)
