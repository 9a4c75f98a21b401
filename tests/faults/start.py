"""The start of a process that something will befall: limits, missing rights, a kill at a change of a file.

`prepare` is called in a process that has just been forked (fork_server.py), or that Python has just started::

    python tests/faults/start.py '{"script": "src/split.py", ...}'
"""

import atexit
import ctypes
import json
import os
import resource
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.kill_at import Changes

PR_CAPBSET_DROP = 24
MOST_MEMORY_MB = 5000  # several times what a stage takes on the tiny project
LAST_CAPABILITY = 63
CAPABILITY_VERSION_3 = 0x20080522


def prepare(request: dict[str, Any]) -> None:
    """Bring the fault of ``request`` over this process, which then becomes that of the script.

    The keys of a request, all but the first two optional:

    - script, arguments: the script and its arguments, or ``-m`` and a module with its arguments
    - kill_at, whole_group: as in `kill_at.Changes`
    - count_to: file that gets the number of changes in the end
    - largest_file: bytes over which no file may grow
    - deadly: the kernel kills a process that writes more, where it otherwise refuses the write (as if a disk was full)
    - most_memory_mb: memory that the process may have, so that a file without end does not take that of the machine
    - no_privileges: root has to respect the permissions of files
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = request.get("most_memory_mb", MOST_MEMORY_MB) << 20
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    if request.get("no_privileges"):
        drop_privileges()
    if (size := request.get("largest_file")) is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if request.get("deadly") else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    changes = Changes(request.get("kill_at") or 0, whole_group=bool(request.get("whole_group")))
    if target := request.get("count_to"):
        atexit.register(lambda: Path(target).write_text(str(changes.number)))


def drop_privileges() -> None:
    """Let the kernel check permissions for root as for any user who owns the files; without root, nothing changes."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(LAST_CAPABILITY + 1):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # so that programs started from here have none, too
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def run(request: dict[str, Any]) -> None:
    """Become the script of ``request``; this returns, or raises SystemExit, as the script ends."""
    sys.dont_write_bytecode = True
    prepare(request)
    script, arguments = request["script"], request.get("arguments", [])
    if script == "-m":
        module, *sys.argv[1:] = arguments
        sys.argv[0] = module
        sys.path[0] = os.getcwd()  # noqa: PTH109  what Python itself writes there
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv = [script, *arguments]
        sys.path[0] = str(Path(script).resolve().parent)
        runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))
