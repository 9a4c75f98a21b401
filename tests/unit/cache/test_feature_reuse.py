import collections
import errno
import hashlib
import os
import time

import numpy as np
import pytest

from posterity.cache import feature_reuse, features
from posterity.cache.feature_reuse import (
    EarlierFeatures,
    computing_new,
    digests_ahead,
    keep,
    network_key,
    pixel_digests,
)
from posterity.cache.features import FeatureWriter, write_meta
from posterity.cache.tensor_writer import CacheWriter
from posterity.cache.tensors import TensorCache
from posterity.errors import UserError
from posterity.pixels.spec import ImageSpec

LENGTH = 3


def vectors_of(digests):
    """Features that tell which digest they belong to, and which view they are."""
    values = [int(digest, 16) for digest in digests]
    return np.array([[[value] * LENGTH, [value + 0.5] * LENGTH] for value in values], np.float32)


def write(folder, digests):
    folder.mkdir(parents=True)
    with FeatureWriter(folder, len(digests), LENGTH) as writer:
        writer.append(vectors_of(digests))
    write_meta(folder, ["x"], num_rows=len(digests), length=LENGTH)
    return folder


class Shards:
    """Of a `TensorCache` what `keep` asks for."""

    def __init__(self, *sha256, rows_per_shard):
        self.sha256 = {f"images-{number:05d}.npy": one for number, one in enumerate(sha256)}
        self.rows_per_shard = rows_per_shard


@pytest.fixture
def kept(tmp_path):
    """A folder that holds the features of a, b and c."""
    features = write(tmp_path / "features", "abc")
    assert keep(tmp_path / "reuse", features, "key", "abc", Shards("ab", "c", rows_per_shard=2)) == ""
    return tmp_path / "reuse"


class Computer:
    """Computes batches of rows whose digests are known, and remembers the batches."""

    def __init__(self, digests):
        self.digests = digests
        self.batches = []

    def __call__(self, batches):
        for rows in batches:
            self.batches.append(list(rows))
            yield vectors_of([self.digests[row] for row in rows])


def test_what_is_kept_is_found_by_the_pixels(kept):
    earlier = EarlierFeatures(kept, "key", LENGTH)
    assert earlier.reason == ""
    assert ["a" in earlier, "d" in earlier] == [True, False]
    assert (earlier.read(["c", "a", "c"]) == vectors_of("cac")).all()


def test_in_an_empty_folder_nothing_is_known(tmp_path):
    earlier = EarlierFeatures(tmp_path, "key", LENGTH)
    assert "a" not in earlier
    assert earlier.reason == f"{tmp_path / 'features/note.json'} does not exist"


def test_features_of_another_network_are_not_used(kept):
    earlier = EarlierFeatures(kept, "other", LENGTH)
    assert "a" not in earlier
    assert earlier.reason == "what is kept was made by another network, or under other circumstances"


@pytest.mark.parametrize("damage", ["flipped", "missing", "a folder", "a named pipe"])
def test_damaged_features_are_not_used(kept, damage):
    path = kept / "features/features.npy"
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage == "flipped":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "a folder":
        path.mkdir()
    elif damage == "a named pipe":
        os.mkfifo(path)
    earlier = EarlierFeatures(kept, "key", LENGTH)
    assert "a" not in earlier
    assert earlier.reason == f"{path} has changed since it was kept"


def test_features_on_a_disk_that_fails_are_not_used(kept):
    path = kept / "features/features.npy"
    path.unlink()
    path.symlink_to("/proc/self/mem")  # Linux cannot read its first byte, for root neither
    earlier = EarlierFeatures(kept, "key", LENGTH)
    assert "a" not in earlier
    assert earlier.reason == f"{path} cannot be read: Input/output error"


def test_features_that_may_not_be_opened_are_not_used(kept, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(feature_reuse.sealed, "sha256_of", refuse)  # root may open everything
    earlier = EarlierFeatures(kept, "key", LENGTH)
    assert "a" not in earlier
    assert earlier.reason == f"{kept / 'features/features.npy'} cannot be read: Permission denied"


def test_features_that_vanish_after_they_were_compared_are_not_used(kept, monkeypatch):
    path, sha256_of = kept / "features/features.npy", feature_reuse.sealed.sha256_of

    def last_look(path):
        digest = sha256_of(path)
        path.unlink()
        return digest

    monkeypatch.setattr(feature_reuse.sealed, "sha256_of", last_look)
    earlier = EarlierFeatures(kept, "key", LENGTH)
    assert "a" not in earlier
    assert earlier.reason.startswith(f"{path} cannot be read: {path}")
    assert not earlier.reason.endswith(".")


def test_a_damaged_note_is_not_used(kept):
    path = kept / "features/note.json"
    path.write_bytes(path.read_bytes()[:-1])
    assert EarlierFeatures(kept, "key", LENGTH).reason == f"{path} is damaged"


def test_kept_features_survive_the_deletion_of_the_output(kept, tmp_path):
    for path in (tmp_path / "features").iterdir():
        path.unlink()
    assert (EarlierFeatures(kept, "key", LENGTH).read("b") == vectors_of("b")).all()


def test_the_next_features_take_the_place_of_the_last(kept, tmp_path):
    assert keep(kept, write(tmp_path / "new", "cd"), "new key", "cd", Shards("cd", rows_per_shard=2)) == ""
    earlier = EarlierFeatures(kept, "new key", LENGTH)
    assert ["a" in earlier, "c" in earlier, "d" in earlier] == [False, True, True]
    assert sorted(path.name for path in (kept / "features").iterdir()) == ["features.npy", "note.json"]


def test_without_hard_links_nothing_is_kept_and_nothing_old_is_left(kept, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    reason = keep(kept, write(tmp_path / "new", "d"), "key", "d", Shards("d", rows_per_shard=2))
    link = f"{tmp_path / 'new/features.npy'}: Invalid cross-device link"
    assert reason == f"{kept} cannot hold a hard link to {link}"
    assert not (kept / "features").exists()


@pytest.mark.parametrize("digests", ["defd", "abc", "adbecf", "dabc", "abcd", "a", ""])
def test_known_and_new_rows_come_in_order_with_the_same_bytes(kept, monkeypatch, digests):
    monkeypatch.setattr(feature_reuse, "BATCH_SIZE", 2)
    computer = Computer(digests)
    batches = [range(start, min(start + 2, len(digests))) for start in range(0, len(digests), 2)]
    compute = computing_new(computer, EarlierFeatures(kept, "key", LENGTH), digests)
    parts = [np.empty((0, 2, LENGTH), np.float32), *compute(batches)]
    assert np.concatenate(parts).tobytes() == vectors_of(digests).tobytes()
    new = [row for row, digest in enumerate(digests) if digest not in "abc"]
    assert computer.batches == [new[start : start + 2] for start in range(0, len(new), 2)]


def test_what_is_ready_is_not_held_back(kept, monkeypatch):
    monkeypatch.setattr(feature_reuse, "BATCH_SIZE", 1)
    computer = Computer("aabdcde")
    found = computing_new(computer, EarlierFeatures(kept, "key", LENGTH), computer.digests)([range(7)])
    assert len(next(found)) == 5  # up to the next new one
    assert computer.batches == [[3]]


def write_tensors(folder, images, rows_per_shard):
    writer = CacheWriter(folder, ImageSpec(*images.shape[1:3]), rows_per_shard)
    for image in images:
        writer.append(image)
    writer.close()
    return TensorCache(folder)


def test_every_image_has_the_digest_of_its_pixels(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (70, 3, 2, 3), dtype=np.uint8)
    images[69] = images[0]
    expected = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    cache = write_tensors(tmp_path / "tensors", images, 40)
    assert pixel_digests(cache) == expected
    assert expected[69] == expected[0] != expected[1]
    with digests_ahead(cache, tmp_path) as look_up:
        assert look_up() == expected


@pytest.mark.parametrize("rows_per_shard", [4, 3])
def test_only_shards_that_the_last_run_did_not_see_are_read(tmp_path, rows_per_shard):
    """Of the shards 0-3, 4-7, 8-10 the middle one is another now, and one is new: what is looked up is the same."""
    images = np.random.default_rng(0).integers(0, 256, (13, 3, 2, 3), dtype=np.uint8)
    first = write_tensors(tmp_path / "first", images[:11], 4)
    keep(tmp_path / "reuse", write(tmp_path / "features", "a" * 11), "key", pixel_digests(first), first)
    images[5] = 0
    second = write_tensors(tmp_path / "second", images, rows_per_shard)
    asked, read = [], second.images

    def remembered(rows):
        asked.extend(rows)
        return read(rows)

    second.images = remembered
    with digests_ahead(second, tmp_path / "reuse") as look_up:
        assert look_up() == [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    assert sorted(asked) == (list(range(4, 13)) if rows_per_shard == 4 else list(range(13)))


def test_a_note_that_is_damaged_has_no_digests(kept, tmp_path):
    images = np.zeros((2, 3, 2, 3), np.uint8)
    cache = write_tensors(tmp_path / "tensors", images, 2)
    keep(kept, write(tmp_path / "new", "ab"), "key", ["wrong", "wrong"], cache)
    with digests_ahead(cache, kept) as look_up:
        assert look_up() == ["wrong", "wrong"]
    path = kept / "features/note.json"
    path.write_bytes(path.read_bytes().replace(b"wrong", b"worse"))
    with digests_ahead(cache, kept) as look_up:
        assert look_up() == pixel_digests(cache)


class Endless:
    """As many images as would keep the thread busy for ever."""

    rows_per_shard = 10**6

    def __init__(self):
        self.asked = []
        self.sha256 = collections.defaultdict(str)

    def __len__(self):
        return 10**12

    def images(self, rows):
        self.asked.append(len(rows))
        return np.zeros((len(rows), 1), np.uint8)


def test_the_digests_are_given_up_with_the_work_that_would_have_asked_for_them(tmp_path):
    images = Endless()

    def work():
        with digests_ahead(images, tmp_path):
            while not images.asked:
                time.sleep(0.001)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    done = len(images.asked)
    time.sleep(0.05)
    assert len(images.asked) == done


def test_what_is_wrong_with_an_image_is_raised_where_the_digests_are_asked_for(tmp_path):
    class Damaged(Endless):
        def images(self, rows):
            raise UserError("images-00000.npy: damaged")

    with digests_ahead(Damaged(), tmp_path) as look_up, pytest.raises(UserError, match="damaged"):
        look_up()


def test_the_key_depends_on_settings_network_and_code(tmp_path):
    for name in ("network", "code", "other"):
        (tmp_path / name).write_text(name)
    network, code, other = (tmp_path / name for name in ("network", "code", "other"))
    keys = [
        network_key("s", network, [str(code)]),
        network_key("t", network, [str(code)]),
        network_key("s", other, [str(code)]),
        network_key("s", network, [str(other)]),
    ]
    assert len(set(keys)) == 4
    assert keys[0] == network_key("s", network, [str(code)])


def test_it_depends_on_the_surroundings(tmp_path, monkeypatch):
    (tmp_path / "network").touch()
    before = network_key("s", tmp_path / "network", [])
    monkeypatch.setattr(feature_reuse.environment, "environment", lambda: {"cpu": "another"})
    assert network_key("s", tmp_path / "network", []) != before


def test_names_of_the_reuse_folder_are_those_of_the_feature_cache():
    assert features.FEATURES in feature_reuse.HOLDS
