"""Where the work of a stage is done: in threads of this machine, or on the machines of a Ray cluster.

For a cluster, functions must be picklable, and so must items, results and exceptions. All machines must see the
project's folder and the data under the same paths, as on a shared file system, and have the packages of
requirements.lock: what travels is names of files there, and results here.
"""

import contextlib
import math
import os
import platform
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from posterity.choices import RunOn
from posterity.errors import UserError
from posterity.workers.threads import Mapper
from posterity.workers.threads import threads as local_threads

T = TypeVar("T")
R = TypeVar("R")

TASKS_PER_CPU = 3  # one computes, one waits, and one brings its result
# Of a task whose machine or process dies. Not without end: a file that kills its decoder would kill them all.
RETRIES = 5
OOM_RETRIES = 1  # after Ray has ended a task since its machine was out of memory; Ray's own number is without end
TIMEOUT_S = 10
SRC = Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def open_mapper(run_on: RunOn, *, threads: int | None = None, address: str | None = None) -> Iterator[Mapper]:
    """Yield the mapper that params.yaml asks for.

    Parameters
    ----------
    run_on : {"local", "ray"}
        Threads of this machine, or `mapper`.
    threads : int, optional
        ``local``: number of threads, None for one per core.
    address : str, optional
        ``ray``: as for `mapper`.
    """
    if run_on == "local":
        yield local_threads(threads)
        return
    with mapper(address) as on_cluster:
        yield on_cluster


@contextlib.contextmanager
def mapper(address: str | None = None) -> Iterator[Mapper]:
    """Connect to a Ray cluster; yield a mapper that runs on it.

    A task whose machine dies runs again on another one. An exception of the function is raised here as it is. Tasks
    compute on CPUs, a core each.

    Parameters
    ----------
    address : str, optional
        The cluster's, such as ``auto`` on one of its machines or ``ray://head:10001``; None starts Ray on this machine
        and stops it in the end. A session of Ray that this process has already is used, and left running.

    Raises
    ------
    UserError
        If Ray is not installed, if there is no cluster at this address, or, while the mapper is at work, if a machine
        does not have what it needs.
    """
    _set_environment()
    try:
        import ray
    except ImportError:
        raise UserError(
            "params.yaml: machine.workers.run_on: ray needs the package ray. Got none. "
            'Run `pip install -c requirements.lock -e ".[ray]"`, or set it to local.'
        ) from None
    is_new = not ray.is_initialized()
    if is_new:
        _connect(address)
    try:
        yield _map
    finally:
        if is_new:
            ray.shutdown()


def _set_environment() -> None:
    """Set what Ray reads when it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # as in .dvc/config: nothing is reported to anyone
    os.environ.setdefault("RAY_task_oom_retries", str(OOM_RETRIES))


def _connect(address: str | None) -> None:
    import ray

    # Workers import this very code, not what may be installed there; see DESIGN on `dvc exp run`.
    variables = {"PYTHONPATH": str(SRC)}
    # A task has one core; Ray sets OMP_NUM_THREADS alike. The number of threads does not change a bit of the results
    # (EfficientNet-Lite0 by TensorFlow and by ONNX Runtime, 1 and 2 threads).
    variables |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    # Ray does not share GPUs out among tasks that ask for none: all would take all.
    variables |= {"CUDA_VISIBLE_DEVICES": ""}
    kept = ("KERAS_BACKEND", "RAY_task_oom_retries")  # the latter is read there if the address is ray://
    variables |= {name: os.environ[name] for name in kept if name in os.environ}
    try:
        _check_port(address or "")
        ray.init(
            address or "local",  # with None, Ray would look for a cluster first
            include_dashboard=None if address else False,
            runtime_env={"env_vars": variables},
            log_to_driver=False,
            configure_logging=False,
        )
    except (OSError, ValueError, RuntimeError, ImportError, ray.exceptions.RayError) as error:
        raise UserError(
            "params.yaml: machine.workers.ray_address: expected the address of a running cluster (auto, "
            "host:port, ray://host:port). "
            f"Got {address!r}: {_line(error)}. Start one by `ray start --head`, or set null. If it wants a token, "
            "all machines need the same ~/.ray/auth_token and, in the environment, RAY_AUTH_MODE=token."
        ) from None


def _check_port(address: str) -> None:
    """Raise OSError if nobody listens at ``host:port`` or ``ray://host:port``: Ray would try on and on."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and "://" not in host:
        socket.create_connection((host, int(port)), TIMEOUT_S).close()


def _map(function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
    import ray

    # Retries are for what dies. Exceptions of the function are answers, and none is tried again.
    run: Any = ray.remote(max_retries=RETRIES)(_in_folder)
    folder = str(Path.cwd())
    pending: deque[Any] = deque()
    ahead, asked_s = 0, -math.inf
    with _explained():
        try:
            for item in items:
                pending.append(run.remote(folder, function, item))
                if time.monotonic() - asked_s > 1:  # machines come and go
                    ahead, asked_s = TASKS_PER_CPU * _num_cpus(), time.monotonic()
                if len(pending) >= ahead:
                    yield ray.get(pending.popleft())
            while pending:
                yield ray.get(pending.popleft())
        finally:
            with contextlib.suppress(ConnectionError, ray.exceptions.RayError):  # there is nothing left to cancel then
                for task in pending if ray.is_initialized() else ():  # it is not if the mapper was left first
                    ray.cancel(task, force=True)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Raise exceptions of a mapped function as they are, and those of Ray as what the user can do."""
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)  # what the function raised; Ray's own errors have none
        is_answer = isinstance(cause, Exception) and not isinstance(cause, ray.exceptions.RayError)
        if cause is not None and is_answer and not str(cause).startswith("The remote function failed to import"):
            raise cause from error
        raise UserError(
            "params.yaml: machine.workers.run_on: ray: expected machines that have the packages of "
            "requirements.lock, see "
            f"{SRC} and have memory enough. A task could not be done there: {_line(cause or error)}."
        ) from error
    except ConnectionError as error:  # by ray://; those of a function come as RayError
        raise UserError(
            "params.yaml: machine.workers.ray_address: expected a cluster that runs until the stage is done. It "
            "is gone: "
            f"{_line(error)}. Start it anew and run again."
        ) from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500].rstrip(".")


def _num_cpus() -> int:
    import ray

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(resources.get("CPU", 1)))


def _in_folder(folder: str, function: Callable[[T], R], item: T) -> R:
    """Runs on a worker, from the folder of the stage: paths are relative to it."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise UserError(
            f"params.yaml: machine.workers.run_on: ray: expected machines that all see {folder}, as on a shared file "
            f"system. Got {error.strerror!r} from {platform.node()}. Put project and data on one, or set it to local."
        ) from None
    return function(item)
