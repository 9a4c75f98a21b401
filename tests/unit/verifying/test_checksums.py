"""The notes of the reuse folder, by the sums that they carry."""

from pathlib import Path

import numpy as np
import pytest

from posterity.cache import reuse
from posterity.cache.tensor_writer import CacheWriter
from posterity.pixels.spec import ImageSpec
from posterity.verifying.checksums import ChecksumsCheck
from posterity.verifying.hashing import Readings
from unit.verifying.small_outs import flip


@pytest.fixture
def kept(tmp_path):
    """A reuse folder with two shards of one image each."""
    spec = ImageSpec(2, 3)
    writer = CacheWriter(tmp_path / "tensors", spec, rows_per_shard=1)
    for value in (1, 2):
        writer.append(np.full((2, 3, 3), value, np.uint8))
    writer.close()
    assert reuse.keep(tmp_path / "kept", tmp_path / "tensors", spec, ["one", "two"], 1) == ""
    assert reuse.hold(tmp_path / "kept", tmp_path / "tensors") == ""
    return tmp_path / "kept"


def states(folder):
    readings = Readings()
    check = ChecksumsCheck({}, folder, readings)
    readings.read_all()
    return {row.what.removeprefix(f"{folder.as_posix()}/"): row.state for row in check.findings()}


def test_shards_and_note_are_right_as_they_were_kept(kept):
    assert states(kept) == {
        "tensors/note.json": "right",
        "tensors/images-00000.npy": "right",
        "tensors/images-00001.npy": "right",
    }


def test_a_flipped_shard_and_a_missing_one_are_found(kept):
    flip(kept / "tensors/images-00000.npy")
    (kept / "tensors/images-00001.npy").unlink()
    found = states(kept)
    assert found["tensors/images-00000.npy"] == "damaged"
    assert found["tensors/images-00001.npy"] == "missing"


def test_shards_that_no_stage_has_linked_yet_are_not_missed(kept):
    for path in kept.glob("tensors/images-*.npy"):
        path.unlink()
    assert states(kept) == {"tensors/note.json": "right"}


def test_a_flipped_note_is_found_and_not_believed(kept):
    flip(kept / "tensors/note.json")
    assert states(kept) == {"tensors/note.json": "damaged"}


def test_without_a_reuse_folder_there_is_nothing_to_say(tmp_path):
    assert states(tmp_path / "missing") == {}
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "path\nx\n", "path,sha256\nmissing.jpg,00\n"])
def test_a_manifest_that_is_not_right_says_nothing_of_the_images(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    Path("manifest.csv").write_text(text)
    readings = Readings()
    check = ChecksumsCheck({}, None, readings, "manifest.csv")
    readings.read_all()
    assert [(row.what, row.state) for row in check.findings({"manifest.csv"})] == [("the images", "unchecked")]
