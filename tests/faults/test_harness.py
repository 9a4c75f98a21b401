"""The fault harness itself: it sees what it is there to see."""

import random
import signal
import stat
import sys

import pytest

from faults import bench, determinism, disk, flips, hostile, kills, runner, signals
from faults.bench import Bench
from faults.outcomes import Table, Trial
from faults.runner import Ended

RIGHT = Trial("kill", "split", "at 1")
WRONG = Trial("kill", "split", "at 2", ["differs: data/split.csv"])
TRACED = Trial("flip", "train", "byte 3", has_traceback=True)
HELPED = Trial("flip", "train", "byte 4", is_manual=True)

# A stage that changes seven things: a folder, a file in it that is written, renamed, linked, removed and so on.
SCRIPT = """
import os, pathlib, shutil
os.mkdir("folder")
pathlib.Path("folder/a").write_text("x" * 1000)
os.replace("folder/a", "folder/b")
os.link("folder/b", "c")
os.remove("c")
open("folder/b").read()
open("folder/b", "ab").close()
shutil.rmtree("folder")
"""
CHANGES = 9  # rmtree is one of its own, and removes a file and a folder


@pytest.fixture(params=["forked", "started"])
def way(request, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    if request.param == "started":
        yield runner.Starting()
    else:
        with runner.Forking(("json",)) as server:
            yield server


def test_the_table_counts():
    table = Table([RIGHT, WRONG, TRACED, HELPED])
    assert table.as_text().splitlines()[2:] == [
        "| kill | split | 2 | 1 | 1 | 0 | 0 |",
        "| flip | train | 2 | 1 | 1 | 1 | 1 |",
        "| all |  | 4 | 2 | 2 | 1 | 1 |",
    ]
    assert table.wrong().splitlines() == [
        "kill, split: at 2: differs: data/split.csv",
        "flip, train: byte 3: traceback",
        "flip, train: byte 4: traceback",
    ]
    assert [Table(trials).is_clean for trials in ([RIGHT], [RIGHT, WRONG], [TRACED], [HELPED], [])] == [
        True, False, False, False, False,
    ]  # fmt: skip
    assert [Table(trials).is_right for trials in ([RIGHT, HELPED], [HELPED, WRONG], [TRACED], [])] == [
        True, False, False, False,
    ]  # fmt: skip


def test_every_change_is_counted_and_can_be_the_last_one(way, tmp_path):
    ended = way.run(tmp_path, str(tmp_path / "script.py"), count_to=str(tmp_path / "changes"))
    assert ended.code == 0, ended.stderr
    assert (tmp_path / "changes").read_text() == str(CHANGES)
    for kill_at, is_there in (1, []), (2, ["folder"]), (3, ["folder", "folder/a"]), (4, ["folder", "folder/b"]):
        ended = way.run(tmp_path, str(tmp_path / "script.py"), kill_at=kill_at)
        assert ended.code == -signal.SIGKILL
        names = ("folder", "folder/a", "folder/b")
        assert [name for name in names if (tmp_path / name).exists()] == is_there
        bench.remove(tmp_path / "folder")
    assert way.run(tmp_path, str(tmp_path / "script.py"), kill_at=CHANGES + 1).code == 0


def test_a_kill_in_the_middle_of_a_write(way, tmp_path):
    ended = way.run(tmp_path, str(tmp_path / "script.py"), largest_file=300, deadly=True)
    assert ended.code == -signal.SIGXFSZ
    assert (tmp_path / "folder/a").read_text() == "x" * 300


def test_a_write_that_is_refused(way, tmp_path):
    ended = way.run(tmp_path, str(tmp_path / "script.py"), largest_file=300)
    assert (ended.code, ended.has_traceback) == (1, True)
    assert "File too large" in ended.stderr


def test_root_has_to_respect_permissions(way, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o555)
    (tmp_path / "script.py").write_text("open('closed/file', 'w')")
    assert "PermissionError" in way.run(tmp_path, str(tmp_path / "script.py"), no_privileges=True).stderr


def test_what_waits_for_ever_is_stopped(way, tmp_path):
    (tmp_path / "script.py").write_text("import time; time.sleep(1000)")
    ended = way.run(tmp_path, str(tmp_path / "script.py"), limit_s=1)
    assert (ended.code, ended.timed_out) == (-signal.SIGKILL, True)


def test_what_wants_all_memory_does_not_get_it(way, tmp_path):
    (tmp_path / "script.py").write_text("bytes(2 << 30)")
    assert "MemoryError" in way.run(tmp_path, str(tmp_path / "script.py"), most_memory_mb=1000).stderr


def test_the_end_of_a_script_is_that_of_python(way, tmp_path):
    for text, code, stderr in (
        ("import sys; sys.exit(7)", 7, ""),
        ("import sys; sys.exit('no')", 1, "no\n"),
        ("", 0, ""),
    ):
        (tmp_path / "script.py").write_text(text)
        ended = way.run(tmp_path, str(tmp_path / "script.py"))
        assert (ended.code, ended.stderr) == (code, stderr)
    (tmp_path / "script.py").write_text("print('out', flush=True); raise ValueError('bug')")
    ended = way.run(tmp_path, str(tmp_path / "script.py"))
    assert (ended.code, ended.stdout, ended.has_traceback) == (1, "out\n", True)
    assert ended.last_line == "ValueError: bug"


def test_differences_and_leftovers_are_seen(tmp_path):
    (tmp_path / "data/.rows.abc.posterity").mkdir(parents=True)
    (tmp_path / "data/.reuse").mkdir()
    (tmp_path / "data/.resume/train").mkdir(parents=True)
    (tmp_path / "data/a").write_text("1")
    right = bench.snapshot(tmp_path)
    assert bench.differences(right, bench.snapshot(tmp_path)) == []
    (tmp_path / "data/a").write_text("2")
    (tmp_path / "data/.b").write_text("")
    assert bench.differences(right, bench.snapshot(tmp_path)) == ["differs: data/a", "too much: data/.b"]
    assert bench.leftovers(tmp_path) == ["left: data/.rows.abc.posterity, data/.resume"]
    assert bench.leftovers(tmp_path, may_go_on=True) == ["left: data/.rows.abc.posterity"]
    (tmp_path / "data/a").unlink()
    assert bench.differences(right, bench.snapshot(tmp_path))[0] == "missing: data/a"


@pytest.mark.parametrize(
    ("ended", "problems"),
    [
        (Ended(2, "", "error: data/a: damaged. Run `dvc repro`.\n"), 0),
        (Ended(2, "", "error: it is damaged.\n"), 1),  # names nothing
        (Ended(2, "", "error: data/a\nerror: data/a\n"), 1),
        (Ended(0, "", ""), 3),
        (Ended(1, "", "Traceback (most recent call last):\nKeyError: 'a'\n"), 1),  # the traceback itself counts, too
        (Ended(-9, "", "", timed_out=True), 3),
    ],
)
def test_a_refusal_is_one_message_with_a_name(ended, problems):
    assert len(bench.refusal(ended, "data/a")) == problems


def test_a_file_may_be_called_by_the_folder_that_a_stage_makes():
    assert bench.names_of("data/rows/index.csv") == ["data/rows/index.csv", "data/rows"]
    assert bench.names_of("data/split.csv") == ["data/split.csv"]
    assert bench.names_of("params.yaml") == ["params.yaml"]


def test_a_signal_before_the_script_is_no_trial():
    assert signals.is_too_early(Ended(-signal.SIGTERM, "", ""))
    assert signals.is_too_early(
        Ended(-2, "", "Traceback (most recent call last):\n  File site.py\nKeyboardInterrupt\n")
    )
    in_script = f"Traceback (most recent call last):\n  File {runner.script_of('split')}\nKeyboardInterrupt\n"
    assert not signals.is_too_early(Ended(-2, "", in_script))
    assert not signals.is_too_early(Ended(130, "", "interrupted\n"))


def test_a_flip_changes_one_bit_and_can_keep_the_time(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    before = path.stat()
    flips.flip(path, 1, 0, keep_time=True)
    assert path.read_bytes() == b"acc"  # 0x62 -> 0x63
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_points_are_spread():
    assert kills.points(3, None) == [1, 2, 3]
    assert kills.points(3, 5) == [1, 2, 3]
    assert kills.points(9, 3) == [1, 5, 9]
    assert kills.points(9, 1) == [1]


LOCK = """\
schema: '2.0'
stages:
  sample:
    cmd: python src/sample.py --size 8
    deps:
    - path: src/sample.py
      hash: md5
      md5: 07c65a0e3d1b
      size: 1234
    params:
      params.yaml:
        seed: 42
        dataset:
          fraction: 0.25
          is_new: true
          names: [a, b]
    outs:
    - path: data/sample/
      hash: md5
      md5: 12e4f6.dir
      nfiles: 40
  split:
    cmd: python src/split.py
"""


def test_every_cut_of_a_lock_is_seen_as_one():
    right = kills.stages_of(LOCK)
    cuts = [kills.stages_of(LOCK[:length]) for length in range(len(LOCK) + 1)]
    assert all(kills.is_cut_from(cut, right) for cut in cuts)
    assert cuts[-1] == right
    assert {} in cuts  # the file is empty, has no stages, or is no YAML
    (out,) = kills.stages_of(LOCK[: LOCK.index("e4f6")])["sample"]["outs"]
    assert out["md5"] == 12  # YAML reads a number


@pytest.mark.parametrize("lock", ["", "null", "schema: '2.0'", "stages:", "stages: sam", "- a", "a: ["])
def test_a_lock_without_entries_has_none(lock):
    assert kills.stages_of(lock) == {}


@pytest.mark.parametrize(
    ("now", "right", "expected"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"b": 1}, {"a": 1}, False),
        ({"a": {"b": None}}, {"a": {"b": 1, "c": 2}}, True),
        ([], [1, 2], True),
        ([1, 2], [1, 25, 3], True),
        ([2], [1, 2], False),
        ([1, 2], [15, 2], False),  # only the last one may be cut
        ([1, 2, 3], [1, 2], False),
        ("data/sp", "data/split.csv", True),
        ("split", "data/split.csv", False),
        (12, 1234, True),
        (34, 1234, False),
        (0.2, 0.25, True),
        ("tru", True, True),
        (False, True, False),
        ("pa", {"path": "a"}, True),  # the colon is missing
        ({"path": "a"}, "pa", False),
        ([1], {"path": "a"}, False),
    ],
)
def test_only_the_end_may_be_missing(now, right, expected):
    assert kills.is_cut_from(now, right) == expected


def test_files_that_dvc_leaves_are_not_compared():
    ours = {
        "data/.tmp": "1",
        "data/split.csv": "2",
        "data/.abcdefghijklmnopqrstu.tmp": "3",  # one letter less than DVC's 22
        "data/abcdefghijklmnopqrstuv.tmp": "4",
        "data/.abcdefghijklmnopqrstuv.tmp/a": "5",
    }
    assert kills.without_temporary(ours | {"data/.Ab-_efghijklmnopqrst01.tmp": "6"}) == ours


class _Case(kills.DvcCase):
    """A case in a folder with a Git repository, without the project: ``words`` are what `posterity` says."""

    def __init__(self, workbench, words):
        self.workbench, self.target, self.lock = workbench, "split", LOCK
        workbench.project.mkdir()
        (workbench.project / "dvc.lock").write_text(LOCK)
        for command in (["git", "init", "-q"], ["git", "add", "-A"], ["git", "commit", "-qm", "finished"]):
            assert workbench.command(command).code == 0
        workbench.posterity = lambda *_: Ended(0, *words)


@pytest.mark.parametrize(
    ("words", "is_helped", "is_restored"),
    [
        (("", "error: dvc.lock ... `cp dvc.lock a && git checkout HEAD -- dvc.lock` brings back ..."), True, True),
        ((".dvc/tmp/rwlock: removed. It held no lock", ""), True, False),
        (("params.yaml: no mistake found.", ""), False, False),
    ],
)
def test_a_repair_does_what_is_advised(tmp_path, words, is_helped, is_restored):
    with Bench(tmp_path) as workbench:
        case = _Case(workbench, words)
        lock = workbench.project / "dvc.lock"
        lock.write_text(LOCK[: LOCK.index("- path: data")])
        assert not case.has_lost_entries_only()  # that of the target is lost, too
        assert case.repair() == is_helped
        assert (lock.read_text() == LOCK) == is_restored


def test_entries_of_other_stages_may_be_lost(tmp_path):
    with Bench(tmp_path) as workbench:
        case = _Case(workbench, ("", ""))
        lock = workbench.project / "dvc.lock"
        split = LOCK[LOCK.index("  split:") :]
        for text, expected in (
            (f"schema: '2.0'\nstages:\n{split}", True),
            (LOCK.replace("      nfiles: 40\n", ""), True),
            (LOCK.replace("nfiles: 40", "nfiles: 41"), False),
            (LOCK.replace("split.py", "spl"), False),
            ("", False),
            ("stages: [", False),
        ):
            lock.write_text(text)
            assert case.has_lost_entries_only() == expected, text


def test_special_files_are_what_they_are_called(tmp_path):
    kinds = {"a named pipe": stat.S_ISFIFO, "a socket": stat.S_ISSOCK, "a folder": stat.S_ISDIR}
    for name, is_kind in kinds.items():
        hostile.SPECIAL_FILES[name](tmp_path / "file")
        assert is_kind((tmp_path / "file").lstat().st_mode)
        bench.remove(tmp_path / "file")


def test_differences_of_numbers_have_a_size(tmp_path):
    for name, text in (("a.csv", "x,y\nn,1.5\n"), ("b.csv", "x,y\nn,1.25\n"), ("c.csv", "x,y\nm,1.5\n")):
        (tmp_path / name).write_text(text)
    assert determinism.largest_difference(tmp_path / "a.csv", tmp_path / "b.csv") == 0.25
    assert determinism.largest_difference(tmp_path / "a.csv", tmp_path / "c.csv") == float("inf")


class _Deaf(Bench):
    """A bench whose stage `split` ends well whatever happens, and leaves what it finds."""

    def run(self, stage, *arguments, **fault):
        command = [sys.executable, "-c", "open('data/.split.csv.x.posterity', 'w')"]
        return (
            runner.run(command, self.project, self.environment()) if stage == "split" else super().run(stage, **fault)
        )


def test_a_stage_that_accepts_everything_is_found(tmp_path):
    # Without its outputs, since this stage makes none: neither a flip nor a kill nor a refused write ends right.
    for folder in ("finished-scratch/data/rows", "older-scratch"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "finished-scratch/data/rows/index.csv").write_text("line,id\n1,a\n")
    (tmp_path / "finished-scratch/data/split.csv").write_text("train\n")
    with _Deaf(tmp_path) as workbench:
        flip = flips.in_input(workbench, "scratch", "split", "data/rows/index.csv", 3, 1)
        assert flip.problems[0] == "accepted in silence: missing: data/split.csv"
        (kill,) = kills.in_writes(workbench, "scratch", "split", 1, random.Random(0))
        assert "missing: data/split.csv" in kill.problems
        assert "left: data/.split.csv.x.posterity" in kill.problems
        (full,) = disk.writes_refused(workbench, "scratch", "split", 1, random.Random(0))
        assert "missing: data/split.csv" in full.problems
