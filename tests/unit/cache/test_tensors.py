import gc
import hashlib
import json
import os
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posterity.cache import npy_rows, sealed, tensors
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


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_shard_that_cannot_be_written_stops_the_writer_and_nothing_is_written_after_it(
    tmp_path, monkeypatch, failing
):
    whole, written = npy_rows.save, []

    def save(path, array):
        if path.name == tensors.shard_name(failing):
            raise OSError(28, "No space left on device")
        written.append(path.name)
        return whole(path, array)

    monkeypatch.setattr(npy_rows, "save", save)
    image = np.zeros((3, 2, 3), np.uint8)

    def write():
        with CacheWriter(tmp_path / "cache", SPEC, 4) as writer:
            for _ in range(9):
                writer.append(image)

    with pytest.raises(OSError, match="No space left"):
        write()
    assert written == [tensors.shard_name(number) for number in range(failing)]
    assert not (tmp_path / "cache" / "meta.json").exists()


def test_a_shard_keeps_its_images_while_it_is_written_and_the_next_one_is_filled(tmp_path, monkeypatch):
    whole, may_write = npy_rows.save, threading.Event()

    def save(path, array):
        assert may_write.wait(10)
        return whole(path, array)

    monkeypatch.setattr(npy_rows, "save", save)
    with CacheWriter(tmp_path / "cache", SPEC, 4) as writer:
        for number in range(7):
            writer.append(np.full((3, 2, 3), number, np.uint8))
        may_write.set()
        for number in range(7, 11):
            writer.append(np.full((3, 2, 3), number, np.uint8))
    assert TensorCache(tmp_path / "cache").images(np.arange(11))[:, 0, 0, 0].tolist() == list(range(11))


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
    with pytest.raises(UserError, match=r"images-00001\.npy: expected the bytes that stage preprocess made \(sha256 "):
        cache.images([0, 5])


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_flipped_bit_is_one_message(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cache(Path("cache"), 6, 4)
    right = json.loads(Path("cache/meta.json").read_text())["sha256"]["images-00000.npy"]
    flip(Path("cache/images-00000.npy"), -1)
    wrong = hashlib.sha256(Path("cache/images-00000.npy").read_bytes()).hexdigest()
    with pytest.raises(UserError) as error:
        TensorCache("cache").images([0])
    assert str(error.value) == (
        f"cache/images-00000.npy: expected the bytes that stage preprocess made (sha256 {right} in meta.json beside "
        f"it). Got others (sha256 {wrong}). Delete it and run `dvc checkout cache/images-00000.npy`, or "
        "`dvc repro --force --single-item preprocess` if that does not bring it back."
    )
    TensorCache("cache").images([5])  # another shard is not read
    TensorCache("cache", verify=False).images([0])


def test_a_shard_is_verified_once_in_a_process(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "MAX_OPEN_SHARDS", 1)
    write_cache(tmp_path / "cache", 6, 2)
    checked = []
    monkeypatch.setattr(sealed, "check", lambda path, *_: checked.append(path.name))
    cache = TensorCache(tmp_path / "cache")
    for _ in range(3):
        cache.images([0, 5, 1])
    assert checked == ["images-00000.npy", "images-00002.npy"]


def test_meta_json_has_the_digest_of_every_shard_and_of_itself(tmp_path):
    write_cache(tmp_path / "cache", 6, 4)
    meta = json.loads((tmp_path / "cache/meta.json").read_text())
    digest = meta.pop("digest")
    assert meta["sha256"] == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "cache").glob("images-*")
    }
    assert len(meta["sha256"]) == 2
    assert digest == hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def resealed(folder, **changed):
    """Write meta.json with other values and the digest that belongs to them, as an attacker would."""
    meta = json.loads((folder / "meta.json").read_text()) | changed
    meta.pop("digest")
    sealed.write_meta(folder, meta, meta.pop("sha256"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"image": {"height": 10**9, "width": 2}},
            "an image spec. Got height: expected a whole number from 1 to 8,192",
        ),
        ({"image": {"height": "3"}}, "an image spec. Got height: expected a whole number from 1 to 8,192. Got '3'."),
        ({"image": []}, "an image spec. Got a list instead of the fields of an image."),
        ({"image": {"fit": "shrink"}}, "an image spec. Got fit: expected one of stretch, pad, crop."),
        ({"image": {"formats": []}}, "an image spec. Got formats: expected some of jpeg, "),
        ({"image": {"depth": 3}}, "an image spec. Got the unknown field 'depth'."),
        ({"rows_per_shard": 0}, "a whole number of at least 1 for 'rows_per_shard'. Got int 0."),
        ({"num_rows": -1}, "a whole number of at least 0 for 'num_rows'. Got int -1."),
        ({"num_rows": True}, "a whole number of at least 0 for 'num_rows'. Got bool true."),
        ({"num_rows": 10**15}, "the digests of 250,000,000,000,000 shards. Got dict {"),
        ({"sha256": {"images-00000.npy": "x", "images-00001.npy": "y"}}, "a sha256 for every file. Got dict {"),
        ({"sha256": []}, "a sha256 for every file. Got list []."),
    ],
)
def test_what_a_meta_json_must_not_ask_for(tmp_path, monkeypatch, changed, message):
    monkeypatch.chdir(tmp_path)
    write_cache(Path("cache"), 6, 4)
    meta = json.loads(Path("cache/meta.json").read_text()) | changed
    meta.pop("digest")
    digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()
    Path("cache/meta.json").write_text(json.dumps(meta | {"digest": digest}))
    with pytest.raises(UserError) as error:
        TensorCache("cache")
    assert str(error.value).startswith(f"cache/meta.json: expected {message}")
    assert "`dvc repro --force --single-item preprocess`" in str(error.value)


def test_a_meta_json_that_asks_for_more_than_the_shards_have_gets_no_memory(tmp_path):
    write_cache(tmp_path / "cache", 6, 4)
    resealed(tmp_path / "cache", image={"height": 8192, "width": 8192})
    tracemalloc.start()
    with pytest.raises(UserError, match=r"expected rows of shape \(8192, 8192, 3\). Got an array \(4, 3, 2, 3\)"):
        TensorCache(tmp_path / "cache").images([0, 1, 2])
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", "{", '{"digest": 3}', "\x00", '{"digest": "x"}'])
def test_a_damaged_meta_json(tmp_path, text):
    write_cache(tmp_path / "cache", 1, 4)
    (tmp_path / "cache/meta.json").write_text(text)
    with pytest.raises(UserError, match=r"meta\.json: expected "):
        TensorCache(tmp_path / "cache")


def test_every_flipped_bit_of_meta_json_is_seen(tmp_path):
    write_cache(tmp_path / "cache", 6, 4)
    path = tmp_path / "cache/meta.json"
    whole, unseen = path.read_bytes(), 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        try:
            TensorCache(tmp_path / "cache")
            unseen += 1
        except UserError:
            pass
    # In the space between its values a flip makes "!" of " ", which is no JSON, and VT of LF, which is none either.
    assert unseen == 0


def test_a_meta_json_of_a_version_without_digests(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cache(Path("cache"), 1, 4)
    meta = json.loads(Path("cache/meta.json").read_text())
    Path("cache/meta.json").write_text(json.dumps({key: meta[key] for key in ("image", "num_rows", "rows_per_shard")}))
    with pytest.raises(UserError) as error:
        TensorCache("cache")
    assert str(error.value) == (
        "cache/meta.json: expected the digests of the files beside it, as this version of posterity writes them. Got "
        "none. Run `dvc repro preprocess`."
    )


def test_a_shard_is_written_as_numpy_does(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(4, 1, 2, 3)
    np.save(tmp_path / "plain.npy", array)
    digest = npy_rows.save(tmp_path / "own.npy", array)
    assert (tmp_path / "own.npy").read_bytes() == (tmp_path / "plain.npy").read_bytes()
    assert digest == hashlib.sha256((tmp_path / "plain.npy").read_bytes()).hexdigest()


def test_a_shard_that_is_missing_or_of_another_length(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cache(Path("cache"), 6, 4)
    cache = TensorCache("cache")
    Path("cache/images-00000.npy").unlink()
    with pytest.raises(UserError, match=r"^cache/images-00000\.npy does not exist\. An earlier stage makes it"):
        cache.images([0])
    digest = npy_rows.save(Path("cache/images-00000.npy"), np.zeros((3, 3, 2, 3), np.uint8))
    sums = cache.sha256 | {"images-00000.npy": digest}
    resealed(Path("cache"), sha256=sums)
    with pytest.raises(UserError, match=r"images-00000\.npy: expected 4 rows. Got 3\. Delete it"):
        TensorCache("cache").images([0])
