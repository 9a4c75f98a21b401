import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posterity.cache import run_notes
from posterity.cache.reuse import EarlierBuild, hold, keep
from posterity.cache.reuse_folder import MARKER
from posterity.pixels import colours, decode, formats, jpeg, opening, resize
from small_project import environment
from unit.cache.tiny_builds import SPEC, Builds, contents_of


def link_to_copies(builds):
    """Make the shards links to equal files elsewhere."""
    for shard in builds.tensors.glob("*.npy"):
        copy = builds.root / "dvc" / f"{shard.name}-{len(list(builds.root.glob('dvc/*')))}"
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(shard, copy)
        shard.unlink()
        os.link(copy, shard)


def cut_short(path):
    os.truncate(path, 50)


def flip_last_byte(path):
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))


def flip_last_byte_unseen(path):
    """As a disk does it: size, time and inode stay."""
    before = path.stat()
    flip_last_byte(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


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
    assert builds.inodes_kept() == builds.inodes()
    builds.build(range(2))
    assert len(builds.inodes_kept()) == 1


def test_new_shards_have_no_second_link_until_dvc_has_stored_them(builds):
    builds.preprocess(range(10))
    assert not builds.inodes_kept()
    hold(builds.kept, builds.tensors)
    before = builds.inodes()
    builds.preprocess(range(11))
    assert builds.inodes()[:2] == before[:2]
    assert [path.stat().st_nlink for path in builds.tensors.glob("images-*")] == [1] * 3


def test_shards_that_all_stay_are_linked_at_once(builds):
    """DVC sees the same tensors as before and runs no other stage, in which they could be linked."""
    builds.build(range(10))
    before = builds.inodes()
    builds.preprocess(range(10))
    assert builds.inodes() == builds.inodes_kept() == before


def test_shards_of_another_version_are_not_held(builds):
    """A user may check out other tensors before the ones of the note are linked."""
    builds.preprocess(range(10))
    shutil.copytree(builds.tensors, builds.root / "ten")
    builds.preprocess([0, 1, 2, 3, 4])
    first = builds.inodes()[0]
    shutil.rmtree(builds.tensors)
    shutil.move(builds.root / "ten", builds.tensors)
    assert hold(builds.kept, builds.tensors) == ""
    assert [path.name for path in sorted((builds.kept / "tensors").glob("*.npy"))] == ["images-00000.npy"]
    assert builds.inodes_kept() != [first]  # it has the same bytes
    note = f"these files of {builds.kept}/tensors are missing or have changed since they were kept, and are not used"
    assert builds.build([0, 1, 2, 3, 4]) == f"{note}: images-00001.npy"
    assert builds.decoded == 1


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
    monkeypatch.setattr(cv2, "__version__", "0")
    assert builds.build(range(3)) == f"{builds.kept}/tensors/note.json is from before a change of cv2"
    assert builds.decoded == 3


def test_a_changed_shard_is_decoded_again(builds):
    builds.build(range(10))
    for change in (cut_short, flip_last_byte, flip_last_byte_unseen, Path.unlink):
        change(builds.kept / "tensors/images-00001.npy")
        assert builds.build(range(10)) == (
            f"these files of {builds.kept}/tensors are missing or have changed since they were kept, and are not used: "
            "images-00001.npy"
        )
        assert builds.decoded == 4
        assert contents_of(builds.tensors) == builds.from_scratch(range(10))
    assert builds.build(range(10)) == ""
    assert builds.decoded == 0


def test_an_edit_in_place_of_the_tensors_is_not_taken_over(builds):
    builds.build(range(10))
    flip_last_byte_unseen(builds.tensors / "images-00000.npy")  # the same file as the kept one
    builds.build(range(11))
    assert builds.decoded == 4 + 1
    assert contents_of(builds.tensors) == builds.from_scratch(range(11))


def test_what_changes_between_the_check_and_the_next_run_is_not_taken_for_right(builds):
    builds.build(range(10))
    earlier = EarlierBuild(builds.kept, SPEC)
    shutil.rmtree(builds.tensors)
    index, _ = builds.write(range(10), builds.tensors, earlier, SPEC)
    flip_last_byte_unseen(builds.tensors / "images-00000.npy")
    assert keep(builds.kept, builds.tensors, SPEC, index["sha256"].tolist(), builds.rows_per_shard) == ""
    builds.build(range(10))
    assert builds.decoded == 4
    assert contents_of(builds.tensors) == builds.from_scratch(range(10))


def test_a_folder_without_hard_links_keeps_nothing(builds, monkeypatch):
    builds.build(range(3))

    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    reason = f"{builds.kept} cannot hold hard links to the files of {builds.tensors}: Invalid cross-device link"
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse)
        assert keep(builds.kept, builds.tensors, SPEC, ["0"] * 3, 4) == reason
        assert [path.name for path in builds.kept.iterdir()] == [MARKER]
        builds.preprocess(range(3))
        assert hold(builds.kept, builds.tensors) == reason
        assert [path.name for path in builds.kept.iterdir()] == [MARKER]
    builds.build(range(3))
    monkeypatch.setattr(os, "link", refuse)
    earlier = EarlierBuild(builds.kept, SPEC)
    builds.write(range(3), builds.root / "copied", earlier, SPEC)  # read instead of linked
    assert contents_of(builds.root / "copied") == contents_of(builds.tensors)


def test_shards_that_dvc_swapped_for_its_own_are_shared_again(builds):
    builds.build(range(10))
    link_to_copies(builds)
    assert builds.inodes_kept() != builds.inodes()
    hold(builds.kept, builds.tensors)
    own = builds.inodes()
    assert builds.inodes_kept() == own
    builds.build(range(10))
    assert builds.decoded == 0
    assert contents_of(builds.tensors) == builds.from_scratch(range(10))
    assert builds.inodes() == own


def test_links_into_the_cache_of_dvc_are_followed(builds):
    builds.preprocess(range(10))
    for shard in builds.tensors.glob("*.npy"):
        target = builds.root / f"dvc-{shard.name}"
        shard.rename(target)
        shard.symlink_to(target)
    hold(builds.kept, builds.tensors)
    assert not any(path.is_symlink() for path in (builds.kept / "tensors").iterdir())
    builds.build(range(10))
    assert builds.decoded == 0


def test_to_hold_needs_no_earlier_build_and_no_tensors(builds):
    assert hold(builds.kept, builds.tensors) == ""
    assert not builds.kept.exists()
    builds.build(range(10))
    shutil.rmtree(builds.tensors)
    assert hold(builds.kept, builds.tensors) == ""
    builds.build(range(10))
    assert builds.decoded == 0


def delete(builds):
    shutil.rmtree(builds.kept)


def truncate_a_shard(builds):
    shards = sorted((builds.kept / "tensors").glob("*.npy"))
    if shards:
        with shards[-1].open("r+b") as file:
            file.truncate(20)


def flip_a_bit(builds):
    for shard in sorted((builds.kept / "tensors").glob("*.npy"))[:1]:
        flip_last_byte_unseen(shard)


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
    """As DVC does with cache.type hardlink where its cache has the bytes of a shard already."""
    link_to_copies(builds)
    hold(builds.kept, builds.tensors)


def hold_nothing(builds):
    """As after a run that was killed before features."""
    for shard in (builds.kept / "tensors").glob("*.npy"):
        shard.unlink()


ACCIDENTS = [
    delete, truncate_a_shard, flip_a_bit, delete_a_shard, spoil_the_note, garbage_for_a_note, use_other_parameters,
    swap_for_copies, hold_nothing,
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


@pytest.mark.parametrize("module", [colours, decode, formats, jpeg, opening, resize, run_notes])
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
    # Of these, choices and spec hold names and numbers, which the note has as parameters, and text words messages.
    others = {"errors", "pixels", "workers", "workers.threads", "choices", "pixels.image_names", "pixels.spec", "text"}
    found = set(run.stdout.split()) - {f"posterity.{name}" for name in others}
    assert found == {module.__name__ for module in (colours, decode, formats, jpeg, opening, resize)}
