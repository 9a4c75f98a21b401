"""A process that has imported what the stages need and forks for every trial, so that a trial costs no start of Python.

Started by `runner.Forking`: it gets one request a line on stdin, in JSON, and answers with one line on stdout. Modules
are imported and nothing is executed: TensorFlow in particular starts its threads in the child, at its first operation.
`runner.check_same` compares what a forked process makes with what a process of its own makes.
"""

import atexit
import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults import start

POLL_S = 0.002
PR_SET_PDEATHSIG = 1


def main() -> None:
    requests, answers = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what an import prints must not be taken for an answer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in sys.argv[1:]:
            importlib.import_module(module)
    with os.fdopen(requests) as lines:
        for line in iter(lines.readline, ""):
            request = json.loads(line)
            streams = Streams()
            child = os.fork()
            if child == 0:
                os.close(answers)
                streams.enter()
                os.setsid()
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # it must not outlive this server
                os.chdir(request["folder"])
                os.environ.clear()
                os.environ.update(request["environment"])
                time.tzset()
                _become(request)
            os.write(answers, (json.dumps(_wait(child, request, streams)) + "\n").encode())
    os._exit(0)  # there is nothing to clean up, and libraries that are used in forked processes alone may wait here


class Streams:
    """stdout and stderr of a forked process: pipes, since limits of the size of files do not act on them."""

    def __init__(self) -> None:
        self._pipes = {"stdout": os.pipe(), "stderr": os.pipe()}
        self._read = dict.fromkeys(self._pipes, b"")

    def enter(self) -> None:
        """In the forked process: write to the pipes from now on."""
        for number, (reader, writer) in enumerate(self._pipes.values(), start=1):
            os.dup2(writer, number)
            os.close(reader)
            os.close(writer)
        # Those of the server remember that they can seek, which a pipe cannot.
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, buffering=1, errors="backslashreplace")  # noqa: SIM115

    def only_read(self) -> None:
        """In the server: let the pipes end with the forked process."""
        for reader, writer in self._pipes.values():
            os.close(writer)
            os.set_blocking(reader, False)

    def read(self) -> None:
        """Take what has been written, so that the forked process need not wait."""
        for name, (reader, _) in self._pipes.items():
            with contextlib.suppress(BlockingIOError):
                while part := os.read(reader, 65536):
                    self._read[name] += part

    def close(self) -> dict[str, str]:
        """Take the rest; a process that the forked one has started may still hold the pipes open."""
        self.read()
        for reader, _ in self._pipes.values():
            os.close(reader)
        return {name: content.decode(errors="replace") for name, content in self._read.items()}


def _become(request: dict[str, Any]) -> NoReturn:
    """Run the script and end as Python does, without the seconds that it takes to free what was imported."""
    code = 0
    try:
        start.run(request)
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
        if isinstance(done.code, str):
            print(done.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _wait(child: int, request: dict[str, Any], streams: Streams) -> dict[str, Any]:
    """Wait for the end of ``child``; on the way, send it the signal of the request, and kill it at its time limit."""
    started, sent, timed_out = time.monotonic(), request.get("signal") is None, False
    streams.only_read()
    while True:
        streams.read()
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            break
        passed = time.monotonic() - started
        if not sent and passed >= request["after_s"]:
            sent = True
            _send(child, request["signal"], whole_group=bool(request.get("whole_group")))
        if passed > request["limit_s"]:
            timed_out = True
            _send(child, signal.SIGKILL, whole_group=True)
        time.sleep(POLL_S)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "timed_out": timed_out,
        "seconds": time.monotonic() - started,
        "peak_mb": usage.ru_maxrss / 1024,  # Linux counts in KB
        **streams.close(),
    }


def _send(child: int, number: int, *, whole_group: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if whole_group else os.kill)(child, number)


if __name__ == "__main__":
    main()
