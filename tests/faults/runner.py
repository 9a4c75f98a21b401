"""Two ways to run a script under a fault: forked from a process that has imported everything, or started afresh."""

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from small_project import SRC, environment

HERE = Path(__file__).parent
LIMIT_S = 120  # a stage takes at most 15 s on the tiny project; who needs so long waits for ever
LIGHT = ("cv2", "iterstrat.ml_stratifiers", "pandas", "PIL.Image", "pydantic", "ruamel.yaml", "simplejpeg",
         "scipy.stats", "sklearn.metrics", "sklearn.isotonic", "sklearn.linear_model", "tqdm", "yaml")  # fmt: skip
# Not ONNX Runtime: it starts a thread when it is imported, and a forked process then aborts at its end.
HEAVY = (*LIGHT, "tensorflow", "keras")
DVC = ("dvc.cli", "dvc.repo", "dvc.commands.repro", "dvc.commands.experiments.run", "dvc.stage", "dvc.repo.reproduce")


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code (minus the signal if one killed it), output, and whether it had to be stopped."""

    code: int
    stdout: str
    stderr: str
    timed_out: bool = False
    seconds: float = 0.0
    peak_mb: float = 0.0

    @property
    def has_traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.stderr + self.stdout

    @property
    def last_line(self) -> str:
        """The last line that says something: DVC ends an unexpected error with where to ask for help."""
        lines = (self.stderr.strip() or self.stdout.strip()).splitlines()
        errors = [line for line in lines if "ERROR: " in line]
        return (errors or lines or ["(nothing)"])[-1][:200]


class Forking:
    """A fork server (fork_server.py) that has imported ``modules``; use it inside ``with``."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self._modules = modules

    def __enter__(self) -> "Forking":
        self._server = subprocess.Popen(
            [sys.executable, str(HERE / "fork_server.py"), *self._modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(),
        )
        return self

    def __exit__(self, _kind: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.close()
        self._server.wait(LIMIT_S)
        self._server.stdout.close()

    def run(self, folder: Path, script: str, *arguments: str, env: dict[str, str] | None = None, **fault: Any) -> Ended:
        """Run ``script`` in ``folder`` with ``arguments``; ``fault`` holds keys of `start.prepare` and those below.

        signal, after_s: a signal to send so many seconds after the start; limit_s: seconds after which it is stopped.
        """
        request = {
            "script": script,
            "arguments": arguments,
            "folder": str(folder),
            "environment": environment() if env is None else env,
            "limit_s": LIMIT_S,
            **fault,
        }
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        if not (line := self._server.stdout.readline()):
            raise RuntimeError(f"the fork server with {', '.join(self._modules)} has ended")
        return Ended(**json.loads(line))


class Starting:
    """The same by a Python of its own for each run."""

    def run(self, folder: Path, script: str, *arguments: str, env: dict[str, str] | None = None, **fault: Any) -> Ended:
        """Run ``script`` as `Forking.run` does."""
        request = json.dumps({"script": script, "arguments": arguments, **fault})
        return run(
            [sys.executable, str(HERE / "start.py"), request],
            folder,
            environment() if env is None else env,
            **{key: fault[key] for key in ("signal", "after_s", "limit_s", "whole_group") if key in fault},
        )


def run(
    command: list[str],
    folder: Path,
    env: dict[str, str],
    *,
    signal: int | None = None,
    after_s: float = 0.0,
    limit_s: float = LIMIT_S,
    whole_group: bool = False,
) -> Ended:
    """Run a command in a process group of its own, and send it a signal after ``after_s`` seconds."""
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    timed_out = False
    if signal is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=after_s)
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if whole_group else os.kill)(process.pid, signal)
    try:
        stdout, stderr = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        timed_out = True
        os.killpg(process.pid, 9)
        stdout, stderr = process.communicate()
    return Ended(process.returncode, stdout, stderr, timed_out, time.monotonic() - started)


def script_of(stage: str) -> str:
    """The script of a stage in this checkout."""
    return str(SRC / f"{stage}.py")
