import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posterity.images import ImageSpec
from posterity.tensor_writer import CacheWriter
from posterity.tensors import TensorCache

SPEC = ImageSpec(height=3, width=2)


def write_cache(folder, num_rows, rows_per_shard):
    images = np.random.default_rng(0).integers(0, 256, (num_rows, 3, 2, 3), dtype=np.uint8)
    targets = np.arange(2 * num_rows).reshape(num_rows, 2) % 2
    index = pd.DataFrame({"row": range(2, num_rows + 2), "id": [f"id{k}" for k in range(num_rows)], "sha256": "0"})
    writer = CacheWriter(folder, SPEC, rows_per_shard)
    for image in images:
        writer.append(image)
    writer.close(targets.astype(np.uint8), index, ["N/A", "b"])
    return images, targets, index


@pytest.mark.parametrize(("num_rows", "shards"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_what_is_written_is_read(tmp_path, num_rows, shards):
    images, targets, index = write_cache(tmp_path / "cache", num_rows, 4)
    cache = TensorCache(tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("images-*.npy"))) == shards
    assert len(cache) == num_rows
    assert cache.spec == SPEC
    assert cache.label_names == ["N/A", "b"]
    np.testing.assert_array_equal(cache.images(np.arange(num_rows)), images)
    np.testing.assert_array_equal(cache.targets, targets)
    pd.testing.assert_frame_equal(cache.index, index, check_dtype=False)


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.integers(0, 10), max_size=20))
def test_rows_come_in_the_order_asked_for(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("cache") / "cache"
    images, _, _ = write_cache(folder, 11, 4)
    np.testing.assert_array_equal(TensorCache(folder).images(rows), images[rows])


@pytest.mark.parametrize("rows", [[-1], [3], [0, 3]])
def test_rows_outside_the_cache_are_refused(tmp_path, rows):
    write_cache(tmp_path / "cache", 3, 4)
    with pytest.raises(IndexError, match=r"rows must lie in \[0, 3\)"):
        TensorCache(tmp_path / "cache").images(rows)


def test_the_shards_are_mapped_not_loaded(tmp_path):
    write_cache(tmp_path / "cache", 3, 4)
    cache = TensorCache(tmp_path / "cache")
    assert isinstance(cache._shard(0), np.memmap)


def test_counts_that_do_not_match_are_refused(tmp_path):
    writer = CacheWriter(tmp_path / "cache", SPEC, 4)
    with pytest.raises(ValueError, match="0 images, 1 targets"):
        writer.close(np.zeros((1, 2), np.uint8), pd.DataFrame({"row": [2], "id": ["a"], "sha256": ["0"]}), ["a", "b"])
