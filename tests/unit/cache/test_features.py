import json
import re

import numpy as np
import pytest

from posterity.cache import features, sealed
from posterity.cache.features import FeatureCache
from posterity.errors import UserError


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


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ((["A"], 1, 7), r"by ['A'] of 7 images. Got ['A', 'b.keras'] of 7."),
        ((["A", "b.keras"], 1, 8), r"of 8 images. Got ['A', 'b.keras'] of 7."),
        (
            (["A", "b.keras"], 3, 7),
            r"by ['A', 'b.keras'] at 3 pyramid levels of 7 images. Got ['A', 'b.keras'] at 1 pyramid level of 7.",
        ),
    ],
)
def test_other_features_than_those_that_are_wanted_are_refused(seen, tmp_path, wanted, got):
    _, cache = seen
    cache.check(["A", "b.keras"], 1, 7)
    with pytest.raises(UserError) as refused:
        cache.check(*wanted)
    assert str(refused.value).startswith(f"{tmp_path}: expected features ")
    assert str(refused.value).endswith(f"{got} Run `dvc repro features`.")


@pytest.mark.parametrize("most_bytes", [None, 7 * 2 * 3 * 4 - 1, 7 * 2 * 3 * 4], ids=["read", "too large", "held"])
def test_what_is_written_is_read(seen, tmp_path, most_bytes):
    vectors, cache = seen
    if most_bytes is not None:
        cache.hold(most_bytes)
        (tmp_path / features.FEATURES).write_bytes(b"")  # as long as it is open, the file is there, and empty
        if most_bytes < vectors.nbytes:
            with pytest.raises(UserError, match="the file has become shorter"):
                cache.vectors([0])
            return
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
    if chunk == 100:
        cache.hold(1000)
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


@pytest.mark.parametrize("name", ["features.npy", "backbone.keras", "meta.json"])
def test_a_flipped_bit_is_seen_when_the_cache_is_opened(tmp_path, name):
    with features.FeatureWriter(tmp_path, 2, 3) as writer:
        writer.append(np.ones((2, 2, 3), np.float32))
        (tmp_path / "backbone.keras").write_bytes(b"network")
        features.write_meta(tmp_path, ["A"], num_rows=2, length=3)  # as stage features does, inside the block
    FeatureCache(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[-3] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}: expected .*`dvc repro --force --single-item features`"):
        FeatureCache(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"backbones": "A"}, 'a list of backbones. Got str "A".'),
        ({"length": 10**12}, r"expected rows of shape (1000000000000,). Got an array (2, 2, 3)."),
        ({"num_rows": 3}, "expected 3 images in 2 views. Got 4 rows."),
        ({"num_rows": None}, "a whole number of at least 0 for 'num_rows'. Got NoneType null."),
        ({"sha256": {}}, "the digest of features.npy. Got dict {}."),
    ],
)
def test_a_meta_json_that_does_not_fit(tmp_path, changed, message):
    with features.FeatureWriter(tmp_path, 2, 3) as writer:
        writer.append(np.ones((2, 2, 3), np.float32))
    features.write_meta(tmp_path, ["A"], num_rows=2, length=3)
    meta = json.loads((tmp_path / "meta.json").read_text()) | changed
    meta.pop("digest")
    sealed.write_meta(tmp_path, meta, meta.pop("sha256"))
    with pytest.raises(UserError, match=re.escape(message)):
        FeatureCache(tmp_path)


def test_without_a_backbone_there_is_only_meta_json(tmp_path):
    features.write_meta(tmp_path, [], num_rows=0, length=0)
    cache = FeatureCache(tmp_path)
    assert (cache.backbones, cache.length) == ([], 0)
    assert [path.name for path in tmp_path.iterdir()] == ["meta.json"]
