"""Run a script that kills itself with SIGKILL just before its N-th change of a file or folder.

By hand, to repeat one trial of the harness::

    python tests/faults/kill_at.py 17 src/train.py         # killed before the 17th change
    python tests/faults/kill_at.py 0 src/train.py          # not killed; says how many changes there were

A change is what Python reports to `sys.addaudithook`: a file opened for writing, a rename, a removal, a new folder and
so on. Writes to an open file are not among them, and neither is what libraries in C do by themselves: for these,
`start.prepare` has a limit of the size of a file, over which the kernel ends the process in the middle of a write.
"""

import os
import runpy
import signal
import sys
import threading
from pathlib import Path
from typing import Any

CHANGES = {
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.utime",
    "os.chown", "os.mkfifo", "os.mknod", "shutil.move", "shutil.rmtree", "shutil.copyfile", "shutil.copytree",
}  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
DEVICES = ("/dev/", "/proc/")


class Changes:
    """Counts the changes of this process from now on, and kills it at one of them.

    Parameters
    ----------
    kill_at : int
        The process is killed just before this change, counted from 1; 0 = never.
    whole_group : bool
        Kill all processes of the group of this one, and not only this one.
    """

    def __init__(self, kill_at: int, *, whole_group: bool = False) -> None:
        self.number = 0
        self._kill_at = kill_at
        self._whole_group = whole_group
        self._lock = threading.Lock()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGES or (event == "open" and _is_for_writing(arguments)):
            with self._lock:
                self.number += 1
                if self.number == self._kill_at:
                    (os.killpg if self._whole_group else os.kill)(os.getpid(), signal.SIGKILL)


def _is_for_writing(arguments: tuple[Any, ...]) -> bool:
    path, mode, flags = arguments
    if isinstance(path, int) or os.fsdecode(path).startswith(DEVICES):
        return False  # an open descriptor once more, or nothing that is kept
    return bool(flags & WRITING) if mode is None else any(letter in mode for letter in "wax+")


def main() -> None:
    kill_at, script, *arguments = sys.argv[1:]
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).resolve().parent)
    sys.dont_write_bytecode = True
    changes = Changes(int(kill_at))
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        print(f"{changes.number} changes", file=sys.stderr)


if __name__ == "__main__":
    main()
