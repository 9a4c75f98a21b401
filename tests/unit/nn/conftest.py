import numpy as np
import pandas as pd
import pytest

from posterity.cache.tensor_writer import CacheWriter
from posterity.cache.tensors import TensorCache
from posterity.pixels.decode import ImageSpec

SIZE = 64


@pytest.fixture
def cache(tmp_path):
    """80 images of 64 x 64 with 3 labels; label 0 = the image is bright, label 1 = it is red, label 2 = always."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, (80, 3)).astype(np.uint8)
    targets[:, 2] = 1
    images = generator.integers(0, 60, (80, SIZE, SIZE, 3)) + 120 * targets[:, 0, None, None, None]
    images[..., 0] += 60 * targets[:, 1, None, None]
    writer = CacheWriter(tmp_path / "tensors", ImageSpec(SIZE, SIZE), rows_per_shard=32)
    for image in images.astype(np.uint8):
        writer.append(image)
    index = pd.DataFrame({"row": np.arange(2, 82), "id": [f"i{k}" for k in range(80)], "sha256": "0"})
    writer.close(targets, index, ["bright", "red", "always"])
    return TensorCache(tmp_path / "tensors")
