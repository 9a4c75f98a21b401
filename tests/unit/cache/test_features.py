import numpy as np
import pytest

from posterity.cache import features
from posterity.cache.features import FeatureCache


@pytest.fixture
def seen(tmp_path):
    """7 rows of length 3 in two views, as float32, and the cache that holds them."""
    vectors = np.random.default_rng(0).normal(5, 2, (7, 2, 3)).astype(np.float32)
    vectors[..., 2] = 0.1  # a feature that never changes
    with features.FeatureWriter(tmp_path, 7, 3) as writer:
        writer.append(vectors[:4])
        writer.append(vectors[4:].astype(np.float64))
    features.write_meta(tmp_path, ["A", "b.keras"], num_rows=7, length=3)
    return vectors, FeatureCache(tmp_path)


def test_what_is_written_is_read(seen, tmp_path):
    vectors, cache = seen
    assert (cache.backbones, cache.length) == (["A", "b.keras"], 3)
    assert cache.backbone_path == tmp_path / "backbone.keras"
    rows = np.array([6, 0, 0, 3])
    np.testing.assert_array_equal(cache.vectors(rows), vectors[rows, 0])
    np.testing.assert_array_equal(cache.vectors(rows, True), vectors[rows, 1])
    np.testing.assert_array_equal(cache.vectors(rows, [True, False, True, False]), vectors[rows, [1, 0, 1, 0]])
    copy = cache.vectors(rows)
    assert copy.dtype == np.float32
    copy[:] = 0  # the file is not written to
    np.testing.assert_array_equal(cache.vectors(rows), vectors[rows, 0])


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_moments_are_those_of_both_views_of_the_given_rows(seen, chunk):
    vectors, cache = seen
    rows = np.array([5, 1, 2])
    mean, variance = cache.moments(rows, chunk=chunk)
    used = vectors[rows].reshape(6, 3).astype(np.float64)
    np.testing.assert_allclose(mean, used.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(variance, used.var(axis=0), rtol=1e-9, atol=1e-15)
    assert (variance >= 0).all()


def test_the_file_is_a_plain_npy_file(seen, tmp_path):
    vectors, _ = seen
    np.save(tmp_path / "plain.npy", vectors)
    assert (tmp_path / "features.npy").read_bytes() == (tmp_path / "plain.npy").read_bytes()


def test_missing_rows_are_noticed(tmp_path):
    with (
        pytest.raises(ValueError, match="3 of 4 rows were written"),
        features.FeatureWriter(tmp_path, 4, 2) as writer,
    ):
        writer.append(np.zeros((3, 2, 2), np.float32))


def test_without_a_backbone_there_is_only_meta_json(tmp_path):
    features.write_meta(tmp_path, [], num_rows=0, length=0)
    cache = FeatureCache(tmp_path)
    assert (cache.backbones, cache.length) == ([], 0)
    assert [path.name for path in tmp_path.iterdir()] == ["meta.json"]
