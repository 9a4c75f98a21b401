"""What dvc.lock says of a file; the md5 of `hello` and a line break is b1946ac92492d2347c6235b4d2611184."""

import os
from pathlib import Path

import pytest
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta
from dvc_data.hashfile.tree import Tree

from posterity import recorded
from posterity.errors import UserError

HELLO, MD5, OTHER = b"hello\n", "b1946ac92492d2347c6235b4d2611184", "d41d8cd98f00b204e9800998ecf8427e"


def lock(*outs, stage="split", more=""):
    entries = "".join(f"    - path: {path}\n      hash: {kind}\n      md5: {md5}\n" for path, kind, md5 in outs)
    Path("dvc.lock").write_text(f"schema: '2.0'\nstages:\n  {stage}:\n    cmd: x\n    outs:\n{entries}{more}")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_bytes_that_are_recorded_pass():
    lock(("data/split.csv", "md5", MD5))
    for path in ("data/split.csv", "./data/../data/split.csv", Path.cwd() / "data/split.csv"):
        recorded.check(path, HELLO)
        with pytest.raises(UserError, match=f"md5 {MD5} in dvc.lock"):
            recorded.check(path, b"")


def test_the_message():
    lock(("data/split.csv", "md5", MD5))
    with pytest.raises(UserError) as error:
        recorded.check("data/split.csv", b"")
    assert str(error.value) == (
        f"data/split.csv: expected the bytes that stage split made (md5 {MD5} in dvc.lock). Got others (md5 {OTHER}). "
        "Delete it and run `dvc checkout data/split.csv`, or `dvc repro --force --single-item split` if that does not "
        "bring it back. If you changed it on purpose, run `dvc commit --force split` instead."
    )


def test_an_open_file_is_read_to_its_end(tmp_path):
    Path("m.keras").write_bytes(HELLO)
    for md5, is_right in ((MD5, True), (OTHER, False)):
        lock(("m.keras", "md5", md5))
        with Path("m.keras").open("rb") as stream:
            if is_right:
                recorded.check_stream("m.keras", stream)
            else:
                with pytest.raises(UserError, match="Got others"):
                    recorded.check_stream("m.keras", stream)


def test_a_folder_has_the_md5_that_dvc_gives_it():
    tree = Tree()
    for name, md5 in (("b.npy", OTHER), ("a.csv", MD5)):
        tree.add((name,), Meta(), HashInfo("md5", md5))
    tree.digest()
    assert tree.hash_info is not None
    lock(("data/rows", "md5", tree.hash_info.value), stage="preprocess")
    recorded.check_folder("data/rows", {"b.npy": b"", "a.csv": HELLO})
    for wrong in ({"b.npy": HELLO, "a.csv": b""}, {"a.csv": HELLO}):
        with pytest.raises(UserError, match=r"data/rows: expected the bytes that stage preprocess made"):
            recorded.check_folder("data/rows", wrong)


@pytest.mark.parametrize(
    "outs",
    [
        (),
        (("data/other.csv", "md5", OTHER),),
        (("data/split.csv", "md5-dos2unix", OTHER),),
        (("data/split.csv", "md5", OTHER[:20]),),  # dvc.lock is being written
    ],
    ids=["no outputs", "another path", "the md5 of DVC 2", "half an md5"],
)
def test_what_is_not_recorded_is_not_checked(outs):
    if outs:
        lock(*outs)
    recorded.check("data/split.csv", HELLO)


def test_without_dvc_lock_nothing_is_checked():
    recorded.check("data/split.csv", HELLO)
    assert recorded.of("data/split.csv") is None


def test_a_dependency_is_no_output():
    Path("dvc.lock").write_text(
        f"stages:\n  train:\n    deps:\n    - path: data/split.csv\n      hash: md5\n      md5: {OTHER}\n"
    )
    recorded.check("data/split.csv", HELLO)


def test_a_stage_under_its_old_name_does_not_make_the_new_one_wrong():
    old = f"  divide:\n    outs:\n    - path: data/split.csv\n      hash: md5\n      md5: {OTHER}\n"
    lock(("data/split.csv", "md5", MD5), more=old)
    recorded.check("data/split.csv", HELLO)
    recorded.check("data/split.csv", b"")
    with pytest.raises(UserError, match=f"md5 {MD5} or {OTHER} in dvc.lock"):
        recorded.check("data/split.csv", b"x")


def test_a_dvc_lock_that_has_changed_is_read_again():
    lock(("data/split.csv", "md5", MD5))
    recorded.check("data/split.csv", HELLO)
    lock(("data/split.csv", "md5", OTHER), ("data/x", "md5", OTHER))
    with pytest.raises(UserError, match="Got others"):
        recorded.check("data/split.csv", HELLO)


@pytest.mark.parametrize("text", ["a: [", "[]", "", "stages: 3", "\x00"])
def test_a_damaged_dvc_lock(text, monkeypatch):
    monkeypatch.setattr(recorded, "_PAUSE_S", 0)
    Path("dvc.lock").write_text(text)
    with pytest.raises(UserError, match=r"dvc\.lock: expected what DVC wrote.*Get it back by `git checkout dvc\.lock`"):
        recorded.check("data/split.csv", HELLO)


def test_a_dvc_lock_that_another_run_is_writing(monkeypatch):
    Path("dvc.lock").write_text("")
    monkeypatch.setattr(recorded.time, "sleep", lambda _: lock(("data/split.csv", "md5", MD5)))
    recorded.check("data/split.csv", HELLO)
    assert os.listdir() == ["dvc.lock"]  # noqa: PTH208
