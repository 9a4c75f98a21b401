import numpy as np

from posterity.cache.tensor_writer import CacheWriter
from posterity.cache.tensors import TensorCache
from posterity.nn.inference.features import in_both_views
from posterity.pixels.spec import ImageSpec


def test_every_image_is_seen_as_it_is_and_mirrored(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (11, 4, 3, 3), dtype=np.uint8)
    with CacheWriter(tmp_path / "tensors", ImageSpec(height=4, width=3), rows_per_shard=5) as writer:
        for image in images:
            writer.append(image)
    calls = []

    def compute(some):
        calls.append(len(some))
        return some.reshape(len(some), -1).astype(np.float32)

    batches = [[3, 0, 10], [7], [1, 2]]
    found = list(in_both_views(batches, TensorCache(tmp_path / "tensors"), compute))
    assert calls == [6, 2, 4]  # both views of a batch together
    for rows, vectors in zip(batches, found, strict=True):
        assert vectors.dtype == np.float32
        np.testing.assert_array_equal(vectors[:, 0], images[rows].reshape(len(rows), -1))
        np.testing.assert_array_equal(vectors[:, 1], images[rows][:, :, ::-1].reshape(len(rows), -1))
