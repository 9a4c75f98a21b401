"""Damage of DVC's own files beside what DVC itself says of it, and what the repair leaves."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import zc.lockfile

from posterity import dvc_state
from posterity.errors import UserError

INFO = {"pid": 999_999_999, "cmd": "dvc repro"}
WHOLE = json.dumps({"write": {"/data/a": INFO}, "read": {"/data/b": [INFO]}})
LOCK = """\
schema: '2.0'
stages:
  split:
    cmd: python src/split.py
    deps:
    - path: data/rows
      hash: md5
      md5: 8fc796c208d9074c16c76ecb0445a5ca.dir
      size: 11349
    outs:
    - path: data/split.csv
      hash: md5
      md5: 8e16ecc0acb8b56b8368635d9e9b33b6
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        repo.config["core"]["site_cache_dir"] = str(tmp_path / "site")
    Path(".dvc/config").write_text(f"[core]\n    no_scm = True\n    site_cache_dir = {tmp_path / 'site'}\n")
    return tmp_path


def stops_dvc(content):
    """Whether DVC can use a file of locks with this content."""
    from dvc.exceptions import DvcException
    from dvc.fs import LocalFileSystem
    from dvc.rwlock import rwlock

    dvc_state.RWLOCK.write_bytes(content)
    try:
        with rwlock(".dvc/tmp", LocalFileSystem(), "dvc status", [], [], False):
            return False
    except (DvcException, UnicodeDecodeError):
        return True


def test_a_file_of_locks_is_judged_as_dvc_does_at_every_length(project):
    for length in range(len(WHOLE) + 1):
        content = WHOLE[:length].encode()
        stopped = stops_dvc(content)
        dvc_state.RWLOCK.write_bytes(content)
        assert bool(dvc_state.rwlock_damage(dvc_state.RWLOCK)) == stopped == (length < len(WHOLE)), length


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{}",
        b'{"write": {"/a": []}}',
        b'{"read": {"/a": {}}}',
        b'{"other": {}}',
        b"\xff",
        bytes(40),
        b'{"read": 1}',
    ],
)
def test_a_file_of_locks_of_another_form_is_judged_as_dvc_does(project, content):
    stopped = stops_dvc(content)
    dvc_state.RWLOCK.write_bytes(content)
    assert bool(dvc_state.rwlock_damage(dvc_state.RWLOCK)) == stopped


def test_a_file_of_locks_that_is_cut_short_is_removed(project):
    dvc_state.RWLOCK.write_text(WHOLE[:20])
    (damage,) = dvc_state.find()
    assert (damage.path, damage.can_repair) == (dvc_state.RWLOCK, True)
    assert damage.what.startswith("is cut short or damaged (20 bytes)")
    assert [line.split(":")[0] for line in dvc_state.repair([damage])] == [".dvc/tmp/rwlock"]
    assert not dvc_state.RWLOCK.exists()
    assert dvc_state.find() == []


def test_a_sound_file_of_locks_is_left_alone(project):
    dvc_state.RWLOCK.write_text(WHOLE)
    assert dvc_state.find() == []
    # Somebody mended it between the look and the repair.
    assert list(dvc_state.repair([dvc_state.Damage(dvc_state.RWLOCK, "was cut short", "", can_repair=True)])) == []
    assert dvc_state.RWLOCK.read_text() == WHOLE


@pytest.mark.parametrize("name", ["lock", "rwlock.lock"])
def test_nothing_is_removed_while_dvc_holds_a_lock(project, name):
    dvc_state.RWLOCK.write_text("{")
    held = zc.lockfile.LockFile(f".dvc/tmp/{name}")
    try:
        with pytest.raises(UserError, match=rf"\.dvc/tmp/{name} is held by a DVC process\. Nothing was changed"):
            list(dvc_state.repair(dvc_state.find()))
    finally:
        held.close()
    assert dvc_state.RWLOCK.read_text() == "{"


def test_the_other_kind_of_locks_is_held_as_dvc_holds_it(project):
    Path(".dvc/config").write_text(Path(".dvc/config").read_text() + "    hardlink_lock = true\n")
    dvc_state.RWLOCK.write_text("{")
    assert len(list(dvc_state.repair(dvc_state.find()))) == 1
    assert sorted(path.name for path in Path(".dvc/tmp").iterdir()) == ["btime"]  # such locks leave no file


def test_nothing_is_removed_while_a_dvc_process_works_in_the_folder(project):
    """While the command of a stage runs, DVC holds no lock but the entries of the damaged file."""
    dvc_state.RWLOCK.write_text("{")
    program = project / "dvc"
    program.write_text("import sys; print('started', flush=True); sys.stdin.read()")
    with subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=project
    ) as process:
        assert process.stdout.readline() == "started\n"
        with pytest.raises(UserError, match=rf"A DVC process is at work here \(PID {process.pid}: "):
            list(dvc_state.repair(dvc_state.find()))
        process.stdin.close()
    assert dvc_state.RWLOCK.read_text() == "{"
    assert len(list(dvc_state.repair(dvc_state.find()))) == 1


@pytest.mark.parametrize("content", [b"\x01" * 5000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_damaged_database_is_found_and_removed(project, content):
    from dvc.repo import Repo

    with Repo(".") as repo:
        path = Path(repo.site_cache_dir, "links", "cache.db")
    assert dvc_state.find() == []
    path.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError):
        Repo(".")
    damages = dvc_state.find()
    assert [damage.path for damage in damages] == [path]
    assert len(list(dvc_state.repair(damages))) == 1
    with Repo("."):
        assert dvc_state.find() == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LOCK, ""),
        ("", "is cut short: its key schema is not 2.0"),
        (LOCK[: LOCK.index("    cmd")], "is cut short: a stage has no cmd"),
        (LOCK[: LOCK.index("      md5: 8e16")], "is cut short: an entry has no path or no hash"),
        (f"<<<<<<< HEAD\n{LOCK}", "has conflict markers of a merge"),
        (LOCK.replace("outs:", "outs"), "line 11, column 5 cannot be read as YAML"),
        (LOCK[: LOCK.index("    - path: data/split")], "is cut short or damaged: it has not the form"),
        (LOCK[: LOCK.index("e16ecc0")], "is cut short or damaged: it has not the form"),  # YAML reads a number, 8
    ],
)
def test_damage_of_dvc_lock_is_named(tmp_path, text, expected):
    path = tmp_path / "dvc.lock"
    path.write_text(text)
    found = dvc_state.lock_damage(path)
    assert found.startswith(expected)
    assert bool(found) == bool(expected)


def test_every_cut_that_dvc_refuses_is_damage(project):
    from dvc.dvcfile import Lockfile
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    path, num_refused = Path("dvc.lock"), 0
    with Repo(".") as repo:
        for length in range(len(LOCK) + 1):
            path.write_text(LOCK[:length])
            try:
                Lockfile(repo, "dvc.lock").load()
            except DvcException:
                num_refused += 1
                assert dvc_state.lock_damage(path), LOCK[:length]
    assert 0 < num_refused < len(LOCK)


def test_a_damaged_dvc_lock_comes_back_from_git_by_the_advised_command(project):
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull}
    Path("dvc.lock").write_text(LOCK)
    git = "git -c user.name=T -c user.email=t@example.org"
    prepare = f"git init -q . && git add dvc.lock && {git} commit -qm run"
    subprocess.run(["bash", "-c", prepare], check=True, env=environment)
    Path("dvc.lock").write_text(LOCK[:100])
    (damage,) = dvc_state.find()
    assert not damage.can_repair
    assert list(dvc_state.repair([damage])) == []  # never touched by itself
    subprocess.run(["bash", "-c", damage.fix.split("`")[1]], check=True, env=environment)
    assert Path("dvc.lock").read_text() == LOCK
    assert Path("dvc.lock.damaged").read_text() == LOCK[:100]


def test_a_folder_without_dvc_has_no_damage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dvc_state.find() == []
    assert list(tmp_path.iterdir()) == []
