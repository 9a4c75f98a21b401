import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import preprocess
from posterity.cache import run_notes
from posterity.cache.reuse import EarlierBuild, keep, share
from posterity.cache.tensor_writer import CacheWriter
from posterity.pixels import decode, jpeg, resize
from posterity.pixels.decode import ImageSpec
from posterity.workers.threads import threads
from small_project import environment

SPEC = ImageSpec(height=3, width=2)
LABEL = ["a"]


class Builds:
    """Builds of a tensor cache from tiny image files, each with what the one before left."""

    def __init__(self, root, rows_per_shard=4):
        self.root = root
        self.rows_per_shard = rows_per_shard
        self.tensors, self.kept = root / "tensors", root / "kept"
        self.decoded = 0

    def table(self, contents):
        """A manifest of one file a number: equal numbers are equal bytes. Negative ones are no images."""
        rows = []
        for row, content in enumerate(contents):
            path = self.root / f"{content}.png"
            if not path.exists():
                if content < 0:
                    path.write_bytes(b"no image %d" % content)
                else:
                    Image.new("RGB", (4, 5), (content, 7 * content % 256, 100)).save(path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            rows.append({"row": row + 2, "id": f"{row}", "path": str(path), "sha256": digest})
        return pd.DataFrame(rows, columns=["row", "id", "path", "sha256"])

    def write(self, contents, folder, earlier, spec):
        table = self.table(contents)
        writer = CacheWriter(folder, spec, self.rows_per_shard, max(len(table), 1), earlier)
        is_known = table["sha256"].isin(earlier.digests).to_numpy()
        issues = preprocess.fill(writer, table, is_known, threads(2))
        index = table[~table["row"].isin([issue.row for issue in issues])]
        writer.close(np.ones((len(index), 1), np.uint8), index, LABEL)
        return index, int((~is_known).sum())

    def build(self, contents, spec=SPEC):
        """Build as stage preprocess does, after DVC deleted the old tensors; return the reason of `EarlierBuild`."""
        earlier = EarlierBuild(self.kept, spec)
        shutil.rmtree(self.tensors, ignore_errors=True)
        index, self.decoded = self.write(contents, self.tensors, earlier, spec)
        assert keep(self.kept, self.tensors, spec, index["sha256"].tolist(), self.rows_per_shard) == ""
        return earlier.reason

    def from_scratch(self, contents, spec=SPEC):
        folder = self.root / "scratch"
        shutil.rmtree(folder, ignore_errors=True)
        self.write(contents, folder, EarlierBuild(None, spec), spec)
        return contents_of(folder)

    def inodes(self):
        return [path.stat().st_ino for path in sorted(self.tensors.glob("images-*"))]


def contents_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def builds(tmp_path):
    return Builds(tmp_path)


def test_appended_images_alone_are_decoded(builds):
    builds.build(range(10))
    assert builds.decoded == 10
    before = builds.inodes()
    assert builds.build(range(13)) == ""
    assert builds.decoded == 3
    # Of the shards 0-3, 4-7, 8-9, the first two are the very files of before; 8-11 and 12 are new.
    after = builds.inodes()
    assert after[:2] == before[:2]
    assert len(after) == 4
    assert not set(after[2:]) & set(before)
    assert contents_of(builds.tensors) == builds.from_scratch(range(13))


def test_a_replaced_image_alone_is_decoded_and_only_its_shard_is_written(builds):
    builds.build(range(10))
    before = builds.inodes()
    builds.build([0, 1, 2, 3, 99, 5, 6, 7, 8, 9])
    assert builds.decoded == 1
    assert [new == old for new, old in zip(builds.inodes(), before, strict=True)] == [True, False, True]


def test_removed_and_reordered_rows_decode_nothing(builds):
    builds.build(range(10))
    for contents in ([0, 2, 3, 9], [9, 3, 2, 0], [2]):
        builds.build(contents)
        assert builds.decoded == 0
        assert contents_of(builds.tensors) == builds.from_scratch(contents)


def test_a_shard_that_moves_as_a_whole_is_linked(builds):
    builds.build(range(8))
    before = builds.inodes()
    builds.build([4, 5, 6, 7, 0, 1, 2, 3])
    assert builds.inodes() == before[::-1]


def test_another_shard_length_decodes_nothing(builds):
    builds.build(range(10))
    builds.rows_per_shard = 3
    builds.build(range(10))
    assert builds.decoded == 0
    assert contents_of(builds.tensors) == builds.from_scratch(range(10))


def test_nothing_is_stored_twice(builds):
    builds.build(range(10))
    kept = sorted((builds.kept / "tensors").glob("*.npy"))
    assert [path.stat().st_ino for path in kept] == builds.inodes()
    builds.build(range(2))
    assert len(list((builds.kept / "tensors").glob("*.npy"))) == 1


def test_what_is_kept_outlives_the_tensors(builds):
    builds.build(range(5))
    expected = contents_of(builds.tensors)
    shutil.rmtree(builds.tensors)
    builds.build(range(5))
    assert builds.decoded == 0
    assert contents_of(builds.tensors) == expected


def test_files_that_cannot_be_decoded_are_tried_again(builds):
    for _ in range(2):
        builds.build([0, -1, 1, 2, 3, -2, 4])
        assert contents_of(builds.tensors) == builds.from_scratch([0, -1, 1, 2, 3, -2, 4])
    assert builds.decoded == 2


def test_without_an_earlier_build(builds):
    assert EarlierBuild(None, SPEC).reason == ""
    assert builds.build(range(3)) == f"{builds.kept}/tensors/note.json does not exist"


def test_other_parameters_decode_all(builds):
    builds.build(range(3))
    other = replace(SPEC, resampling="nearest")
    assert builds.build(range(3), other) == "what is kept was made with other parameters of section image"
    assert builds.decoded == 3
    assert contents_of(builds.tensors) == builds.from_scratch(range(3), other)


def test_other_libraries_decode_all(builds, monkeypatch):
    builds.build(range(3))
    monkeypatch.setattr(run_notes.cv2, "__version__", "0")
    assert builds.build(range(3)) == f"{builds.kept}/tensors/note.json is from before a change of cv2"
    assert builds.decoded == 3


def test_a_changed_shard_is_decoded_again(builds):
    builds.build(range(10))
    shard = builds.kept / "tensors/images-00001.npy"
    shard.chmod(0o644)
    with shard.open("r+b") as file:
        file.truncate(50)
    assert builds.build(range(10)) == ""
    assert builds.decoded == 4
    assert contents_of(builds.tensors) == builds.from_scratch(range(10))


def test_a_folder_without_hard_links_keeps_nothing(builds, monkeypatch):
    builds.build(range(3))

    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    reason = keep(builds.kept, builds.tensors, SPEC, ["0"] * 3, 4)
    assert reason == (
        f"{builds.kept} cannot hold hard links to the files of {builds.tensors}: Invalid cross-device link"
    )
    assert list(builds.kept.iterdir()) == []
    monkeypatch.undo()
    builds.build(range(3))
    monkeypatch.setattr(os, "link", refuse)
    earlier = EarlierBuild(builds.kept, SPEC)
    builds.write(range(3), builds.root / "copied", earlier, SPEC)  # read instead of linked
    assert contents_of(builds.root / "copied") == contents_of(builds.tensors)


def test_shards_that_dvc_swapped_for_its_own_are_shared_again(builds):
    builds.build(range(10))
    for shard in builds.tensors.glob("images-*"):
        shutil.copy(shard, builds.root / "copy")
        (builds.root / "copy").replace(shard)
    with (builds.tensors / "images-00001.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    own = builds.inodes()
    share(builds.kept, builds.tensors)
    kept = [path.stat().st_ino for path in sorted((builds.kept / "tensors").glob("*.npy"))]
    assert [new == old for new, old in zip(kept, own, strict=True)] == [True, False, True]
    builds.build(range(10))
    assert builds.decoded == 0
    assert contents_of(builds.tensors) == builds.from_scratch(range(10))
    assert builds.inodes() == kept


def test_sharing_needs_no_earlier_build_and_no_tensors(builds):
    share(builds.kept, builds.tensors)
    assert not builds.kept.exists()
    builds.build(range(10))
    shutil.rmtree(builds.tensors)
    share(builds.kept, builds.tensors)
    builds.build(range(10))
    assert builds.decoded == 0


def delete(builds):
    shutil.rmtree(builds.kept)


def truncate_a_shard(builds):
    shards = sorted((builds.kept / "tensors").glob("*.npy"))
    if shards:
        with shards[-1].open("r+b") as file:
            file.truncate(20)


def delete_a_shard(builds):
    for shard in sorted((builds.kept / "tensors").glob("*.npy"))[:1]:
        shard.unlink()


def spoil_the_note(builds):
    note = builds.kept / "tensors/note.json"
    note.write_bytes(note.read_bytes()[:-30])


def garbage_for_a_note(builds):
    (builds.kept / "tensors/note.json").write_bytes(b"\xff\x00")


def use_other_parameters(builds):
    builds.build([0, 1, 2, 3, 4], replace(SPEC, height=5))


def swap_for_copies(builds):
    """As DVC does where its cache has the bytes of a shard already."""
    for shard in builds.tensors.glob("*.npy"):
        shutil.copy(shard, builds.root / "copy")
        (builds.root / "copy").replace(shard)
    share(builds.kept, builds.tensors)


ACCIDENTS = [
    delete, truncate_a_shard, delete_a_shard, spoil_the_note, garbage_for_a_note, use_other_parameters, swap_for_copies,
]  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(
    builds=st.lists(st.lists(st.integers(-2, 12), max_size=14), min_size=2, max_size=5),
    accidents=st.lists(st.sampled_from(ACCIDENTS) | st.none(), min_size=5, max_size=5),
)
def test_the_bytes_are_those_of_a_build_from_scratch(tmp_path_factory, builds, accidents):
    runner = Builds(tmp_path_factory.mktemp("builds"))
    for contents, accident in zip(builds, accidents, strict=False):
        runner.build(contents)
        assert contents_of(runner.tensors) == runner.from_scratch(contents)
        if accident:
            accident(runner)


def edits(contents):
    """Strategy for a list of numbers made from another by adding, replacing, removing and moving some."""

    def apply(steps):
        changed = list(contents)
        for kind, place, value in steps:
            if kind == "add":
                changed.insert(place % (len(changed) + 1), value)
            elif changed:
                removed = changed.pop(place % len(changed))
                if kind == "replace":
                    changed.insert(place % (len(changed) + 1), value)
                elif kind == "move":
                    changed.insert(value % (len(changed) + 1), removed)
        return changed

    step = st.tuples(st.sampled_from(["add", "replace", "remove", "move"]), st.integers(0, 20), st.integers(20, 60))
    return st.lists(step, max_size=6).map(apply)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_only_images_that_are_new_are_decoded(tmp_path_factory, data):
    runner = Builds(tmp_path_factory.mktemp("builds"))
    before = list(range(11))
    runner.build(before)
    for _ in range(3):
        contents = data.draw(edits(before))
        runner.build(contents)
        assert runner.decoded == sum(content not in before for content in contents)
        assert contents_of(runner.tensors) == runner.from_scratch(contents)
        before = contents


@pytest.mark.parametrize("module", [decode, jpeg, resize, run_notes])
def test_an_edit_of_a_module_counts_as_other_code(builds, tmp_path, monkeypatch, module):
    builds.build(range(3))
    (tmp_path / "edited.py").write_bytes(Path(module.__file__).read_bytes() + b"\n# edited")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "edited.py"))
    assert builds.build(range(3)) == f"{builds.kept}/tensors/note.json is from before a change of the code"
    assert builds.decoded == 3


def test_no_other_module_touches_pixels():
    code = (
        "import sys, posterity.pixels.decode; print(*(name for name in sys.modules if name.startswith('posterity.')))"
    )
    run = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    others = {"posterity.errors", "posterity.pixels", "posterity.workers", "posterity.workers.threads"}
    assert set(run.stdout.split()) - others == {
        decode.__name__,
        jpeg.__name__,
        resize.__name__,
    }
