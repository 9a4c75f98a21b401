import contextlib
import json
import signal
import subprocess
import sys

import pytest

from posterity import files, script
from posterity.errors import UserError
from small_project import SRC, environment


def raising(error):
    def main():
        raise error

    return main


def test_a_script_that_ends_well_just_ends(capsys):
    calls = []
    script.run(lambda: calls.append("called"))
    assert calls == ["called"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("params.yaml: no such key. Remove it."), 2, "error: params.yaml: no such key. Remove it.\n"),
        (UserError("two\nlines"), 2, "error: two\nlines\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_what_the_user_can_mend_is_one_message_and_an_exit_code(capsys, error, code, message):
    with pytest.raises(SystemExit) as stopped:
        script.run(raising(error))
    assert stopped.value.code == code
    assert capsys.readouterr() == ("", message)


def test_nothing_searches_modules_for_garbage():
    """Neither while they load nor when Python ends; the garbage of the work itself is found."""
    program = f"""
import atexit, gc, json, sys
sys.path.insert(0, {str(SRC)!r})
from posterity import script
seen = [gc.isenabled()]
atexit.register(lambda: print(json.dumps([*seen, gc.get_freeze_count(), len(gc.get_objects())])))

def main():
    seen.extend([gc.isenabled(), gc.get_freeze_count()])
    seen.append([[] for _ in range(200)])

script.begin()
seen.append(gc.isenabled())
script.run(main)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    before, loading, working, frozen, _, frozen_at_the_end, searched = json.loads(done.stdout)
    assert (before, loading, working) == (True, False, True)
    assert frozen > 1000
    assert frozen_at_the_end >= frozen + 100
    assert searched < 100  # what has been made since


@pytest.mark.parametrize("bug", [ValueError("bug"), KeyError("row"), AssertionError()])
def test_a_bug_keeps_its_traceback(capsys, bug):
    with pytest.raises(type(bug)) as raised:
        script.run(raising(bug))
    assert raised.value is bug
    assert capsys.readouterr().err == ""


# Prints more than a pipe holds, or so little that it is written only in the end.
PRINTING = """
import sys
sys.path.insert(0, {src!r})
from posterity import script

def main():
    print("text\\n" * {number}, end="")
    sys.exit({code})

script.begin()
script.run(main)
"""


@pytest.mark.parametrize("number", [1, 1_000_000])
@pytest.mark.parametrize("code", [None, 1])
def test_a_reader_that_has_seen_enough_is_no_error(number, code):
    command = [sys.executable, "-c", PRINTING.format(src=str(SRC), number=number, code=code)]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        running.stdout.close()
        said = running.stderr.read()
    assert (running.returncode, said) == (141, "")


@pytest.mark.parametrize("code", [0, 1])
def test_stdout_that_is_closed_is_nothing_to_say_a_word_about(code):
    command = [sys.executable, "-c", PRINTING.format(src=str(SRC), number=1, code=code)]
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    ended = subprocess.run(shell, env=environment(), stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (code, "")


@pytest.mark.parametrize("code", [None, 1])
def test_stdout_that_cannot_be_written_is_one_message(code):
    command = [sys.executable, "-c", PRINTING.format(src=str(SRC), number=1, code=code)]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ended = subprocess.run(command, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: stdout: cannot be written: the disk is full. ")
    assert ended.stderr.count("\n") == 1


def test_an_exit_code_of_the_script_itself_passes():
    with pytest.raises(SystemExit) as stopped:
        script.run(raising(SystemExit(1)))
    assert stopped.value.code == 1


# Prints a line when it has come to its work, or to its slow imports, and then waits in it.
WAITING = """
import sys, time
sys.path.insert(0, {src!r})
from posterity import files, script
if {loading}:
    script.begin()
    print("ready", flush=True)
    time.sleep(60)

def main():
    with files.replacing("target.txt") as temporary:
        temporary.write_text("half")
        try:
            print("ready", flush=True)
            time.sleep(60)
        except KeyboardInterrupt as stopped:
            stopped.add_note("Run it again.")
            raise

script.begin()
script.run(main)
"""


@contextlib.contextmanager
def waiting(folder, *, loading=False, **variables):
    code = WAITING.format(src=str(SRC), loading=loading)
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, cwd=folder, env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_the_work_with_its_line_and_leaves_nothing(tmp_path, number, code, word):
    with waiting(tmp_path) as process:
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(number)
        assert process.communicate() == ("", f"{word}\nRun it again.\n")
    assert process.returncode == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_while_modules_are_loading_is_one_line(tmp_path, number, code, word):
    with waiting(tmp_path, loading=True) as process:
        process.send_signal(number)
        assert process.communicate() == ("", f"{word}\n")
    assert process.returncode == code


def test_a_killed_script_leaves_a_folder_that_the_next_one_sweeps_and_a_living_one_keeps_its_own(tmp_path):
    with waiting(tmp_path) as killed:
        killed.kill()
    (left,) = tmp_path.iterdir()
    foreign = tmp_path / ".target.txt.mine"
    foreign.mkdir()
    with waiting(tmp_path) as living:
        (held,) = (path for path in tmp_path.iterdir() if path != foreign)
        assert held != left
        assert files.sweep(tmp_path) == []
        living.kill()
    assert files.sweep(tmp_path) == [held.name]
    assert list(tmp_path.iterdir()) == [foreign]


CALLER = """
import subprocess, sys
sys.exit(subprocess.run({command!r}, shell=True, executable="/bin/sh").returncode)
"""


@pytest.mark.parametrize("through_a_shell", [False, True])
def test_a_stage_ends_when_the_dvc_that_runs_it_is_killed(tmp_path, through_a_shell):
    (tmp_path / "waiting.py").write_text(WAITING.format(src=str(SRC), loading=False))
    # A shell that has something to do afterwards does not become the program, and outlives its own parent.
    command = f"{sys.executable} waiting.py" + ("; true" if through_a_shell else "")
    with subprocess.Popen(
        [sys.executable, "-c", CALLER.format(command=command)],
        cwd=tmp_path,
        env=environment(DVC_STAGE="train"),
        stdout=subprocess.PIPE,
        text=True,
    ) as caller:
        assert caller.stdout.readline() == "ready\n"
        caller.kill()
        # Its end is the end of the pipe, which the stage holds, too. A stage that lived on would hold it for a minute.
        caller.communicate(timeout=30)
    assert [path.name for path in tmp_path.iterdir()] == ["waiting.py"]
