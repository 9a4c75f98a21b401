"""What the system refuses: one message with the place, the cause and the fix, and nothing lost."""

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from posterity import errors, files, script
from posterity.errors import RefusedError

NOBODY = 65534
SPACE = "Free some space there, or use another disk, and run the same command again: what was there is unchanged."
RIGHTS = "Change its owner or its rights (`ls -l` shows them), or name another path."


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, f"here: cannot be written: the disk is full. {SPACE}"),
        (errno.EDQUOT, f"here: cannot be written: the quota of this user on the disk is used up. {SPACE}"),
        (
            errno.EROFS,
            "here: cannot be written: the disk is mounted read-only. Mount it for writing, or name a path on another "
            "disk.",
        ),
        (errno.EACCES, f"here: cannot be read or written: permission denied. {RIGHTS}"),
        (errno.EPERM, f"here: cannot be read or written: permission denied. {RIGHTS}"),
        (
            errno.EIO,
            "here: cannot be read or written: the disk cannot be read or written (input/output error). Look at "
            "`dmesg`, and restore the file from another place.",
        ),
        (
            errno.EMFILE,
            "here: cannot be read or written: too many files are open in this process. Raise the limit: "
            "`ulimit -n 4096`, then run again.",
        ),
        (
            errno.ENAMETOOLONG,
            "here: cannot be read or written: the name is too long for this file system. Give a shorter one.",
        ),
    ],
)
def test_place_cause_and_fix(number, message):
    assert errors.explained(OSError(number, os.strerror(number), "here")) == message
    assert errors.explained(OSError(number, os.strerror(number)), "here") == message


@pytest.mark.parametrize(
    "error",
    [
        OSError("4194304 requested and 1044480 written"),  # numpy.ndarray.tofile
        OSError(
            "Can't write data (file write failed: time = 0, errno = 28, error message = 'No space left on device')"
        ),
        RuntimeError("Can't decrement id ref count (unable to extend file, errno = 28, error message = 'No space')"),
    ],
    ids=["numpy", "h5py", "h5py closes"],
)
def test_a_full_disk_that_a_library_words_in_its_own_way(error):
    assert errors.explained(error, "x") == f"x: cannot be written: the disk is full. {SPACE}"


@pytest.mark.parametrize(
    "bug", [FileNotFoundError(errno.ENOENT, "No such file"), OSError("odd"), RuntimeError("bug"), ValueError("28")]
)
def test_what_may_be_a_mistake_in_the_code_is_not_explained(bug):
    assert errors.explained(bug, "x") is None


def test_what_reaches_the_end_of_a_script_is_one_message(capsys):
    def main():
        Path("/dev/full").write_text("x")

    def vanished():
        Path("/nowhere/at/all").read_text()

    with pytest.raises(SystemExit) as stopped:
        script.run(main)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"error: a file: cannot be written: the disk is full. {SPACE}\n"
    with pytest.raises(FileNotFoundError):
        script.run(vanished)


def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/scores.npy").write_text("old")

    def work():
        with files.replacing("data/scores.npy") as temporary:
            temporary.symlink_to("/dev/full")
            with temporary.open("wb") as stream:
                np.save(stream, np.zeros(100_000))

    with pytest.raises(RefusedError) as refused:
        work()
    assert str(refused.value) == f"data/scores.npy: cannot be written: the disk is full. {SPACE}"
    assert Path("data/scores.npy").read_text() == "old"
    assert [path.name for path in Path("data").iterdir()] == ["scores.npy"]


def test_a_file_in_a_folder_under_way_is_about_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def work():
        with files.replacing_folder("data/tensors", ["*"]) as temporary:
            temporary.mkdir()
            with files.replacing(temporary / "meta.json") as inner:
                inner.symlink_to("/dev/full")
                inner.write_text("x")

    with pytest.raises(RefusedError) as refused:
        work()
    assert str(refused.value) == f"data/tensors: cannot be written: the disk is full. {SPACE}"
    assert list(Path("data").iterdir()) == []


def test_an_error_about_another_file_passes_as_it_is(tmp_path):
    def work():
        with files.replacing(tmp_path / "out.txt"):
            (tmp_path / "out.txt.d").mkdir()
            (tmp_path / "out.txt.d").read_text()

    with pytest.raises(IsADirectoryError):
        work()


@pytest.mark.parametrize("write", ["file", "folder"])
def test_a_file_in_the_place_of_a_folder_above_and_a_name_too_long(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    Path("data").write_text("mine")

    def work(path):
        with files.replacing(path) if write == "file" else files.replacing_folder(path, ["*"]):
            pytest.fail("the work began")

    for path in ("data/x", "data/deep/x"):
        with pytest.raises(
            RefusedError, match=rf"^{path}: cannot be written: a .*file.* where a folder is expected\. "
        ):
            work(path)
    with pytest.raises(RefusedError, match="cannot be written: the name is too long"):
        work("x" * 300)
    assert Path("data").read_text() == "mine"


@pytest.fixture
def as_nobody(monkeypatch):
    """A folder of root's that others may read, and no rights of root: they ignore all others.

    After ``monkeypatch``, and so undone before it: the folder to go back to may be closed to everybody but root.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        is_root = os.geteuid() == 0

        def drop():
            if is_root:
                os.seteuid(NOBODY)

        yield Path(folder), drop
        if is_root:
            os.seteuid(0)


@pytest.mark.parametrize("path", ["data/a.json", "closed/a.json", "data/new/a.json"])
def test_a_folder_that_may_not_be_written(as_nobody, monkeypatch, capsys, path):
    folder, drop = as_nobody
    monkeypatch.chdir(folder)
    for name, mode in (("data", 0o555), ("closed", 0o000)):
        Path(name).mkdir()
        (Path(name) / "a.json").write_text("old")
        Path(name).chmod(mode)
    drop()
    with pytest.raises(SystemExit) as stopped:
        script.run(lambda: files.write_json(path, {}))
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"error: {path}: cannot be written: permission denied. {RIGHTS}\n"
