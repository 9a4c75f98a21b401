import gc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posterity.cache import tensors
from posterity.cache.tensor_writer import CacheWriter
from posterity.cache.tensors import TensorCache
from posterity.errors import UserError
from posterity.pixels.spec import ImageSpec
from posterity.workers import threads

SPEC = ImageSpec(height=3, width=2)


def write_cache(folder, num_rows, rows_per_shard):
    images = np.random.default_rng(0).integers(0, 256, (num_rows, 3, 2, 3), dtype=np.uint8)
    writer = CacheWriter(folder, SPEC, rows_per_shard)
    for image in images:
        writer.append(image)
    writer.close()
    return images


@pytest.mark.parametrize(("num_rows", "shards"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_what_is_written_is_read(tmp_path, num_rows, shards):
    images = write_cache(tmp_path / "cache", num_rows, 4)
    cache = TensorCache(tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("images-*.npy"))) == shards
    assert len(cache) == num_rows
    assert cache.spec == SPEC
    np.testing.assert_array_equal(cache.images(np.arange(num_rows)), images)
    assert cache.rows_per_shard == 4


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.integers(0, 10), max_size=20))
def test_rows_come_in_the_order_asked_for(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("cache") / "cache"
    images = write_cache(folder, 11, 4)
    np.testing.assert_array_equal(TensorCache(folder).images(rows), images[rows])


@pytest.mark.parametrize("rows", [[-1], [3], [0, 3]])
def test_rows_outside_the_cache_are_refused(tmp_path, rows):
    write_cache(tmp_path / "cache", 3, 4)
    with pytest.raises(IndexError, match=r"rows must lie in \[0, 3\)"):
        TensorCache(tmp_path / "cache").images(rows)


def test_few_files_are_open_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "MAX_OPEN_SHARDS", 2)
    images = write_cache(tmp_path / "cache", 12, 2)
    cache = TensorCache(tmp_path / "cache")
    gc.collect()  # caches of other tests close their files when they are collected
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(2):
        np.testing.assert_array_equal(cache.images(np.arange(12)), images)
        assert len(list(Path("/proc/self/fd").iterdir())) == before + 2


def test_threads_read_at_the_same_time(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "MAX_OPEN_SHARDS", 1)
    images = write_cache(tmp_path / "cache", 12, 2)
    cache = TensorCache(tmp_path / "cache")
    orders = [np.random.default_rng(seed).permutation(12) for seed in range(200)]
    for order, batch in zip(orders, threads.ordered_map(cache.images, orders, 8), strict=True):
        np.testing.assert_array_equal(batch, images[order])


def test_a_damaged_shard_is_named(tmp_path):
    write_cache(tmp_path / "cache", 6, 4)
    shard = tmp_path / "cache" / "images-00001.npy"
    shard.write_bytes(shard.read_bytes()[:-3])
    cache = TensorCache(tmp_path / "cache")
    cache.images([0, 3])
    with pytest.raises(UserError, match="images-00001.npy: expected 2 rows. Got a file cut short"):
        cache.images([0, 5])
