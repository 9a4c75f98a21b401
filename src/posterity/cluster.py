"""Where the work of a stage is done: in threads of this machine, or on the machines of a Ray cluster.

For a cluster, functions must be picklable, and so must items, results and exceptions. All machines must see the
project's folder and the data under the same paths, as on a shared file system, and have the packages of
requirements.lock: what travels is names of files there, and results here.
"""

import contextlib
import os
import platform
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from posterity.errors import UserError
from posterity.parallel import Mapper, threads

T = TypeVar("T")
R = TypeVar("R")

TASKS_PER_CPU = 3  # one computes, one waits, and one brings its result
# Of a task whose machine or process dies. Not without end: a file that kills its decoder would kill them all.
RETRIES = 5
TIMEOUT_S = 10
SRC = Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def engine(
    name: Literal["local", "ray"], *, workers: int | None = None, address: str | None = None
) -> Iterator[Mapper]:
    """Yield the mapper of an engine.

    Parameters
    ----------
    name : {"local", "ray"}
        Threads, or `mapper`.
    workers : int, optional
        ``local``: number of threads, None for one per core.
    address : str, optional
        ``ray``: as for `mapper`.
    """
    if name == "local":
        yield threads(workers)
        return
    with mapper(address) as on_cluster:
        yield on_cluster


@contextlib.contextmanager
def mapper(address: str | None = None) -> Iterator[Mapper]:
    """Connect to a Ray cluster; yield a mapper that runs on it.

    A task whose machine dies runs again on another one. An exception of the function is raised here as it is.

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
    try:
        import ray
    except ImportError:
        raise UserError(
            "params.yaml: preprocess.engine: ray needs the package ray. Got none. "
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


def _connect(address: str | None) -> None:
    import ray

    # Workers import this very code, not what may be installed there; see DESIGN on `dvc exp run`.
    variables = {"PYTHONPATH": str(SRC)}
    # A task has one core; Ray sets OMP_NUM_THREADS alike. The number of threads does not change a bit of the results
    # (EfficientNet-Lite0 by TensorFlow and by ONNX Runtime, 1 and 2 threads).
    variables |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    variables |= {name: os.environ[name] for name in ("KERAS_BACKEND",) if name in os.environ}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # as in .dvc/config: nothing is reported to anyone
    try:
        _check_port(address or "")
        ray.init(
            address or "local",  # with None, Ray would look for a cluster first
            include_dashboard=None if address else False,
            runtime_env={"env_vars": variables},
            log_to_driver=False,
            configure_logging=False,
        )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise UserError(
            f"params.yaml: ray.address: expected the address of a running cluster. Got {address!r}: {error} "
            "Start one by `ray start --head`, or set it to null."
        ) from None


def _check_port(address: str) -> None:
    """Raise OSError if nobody listens at ``host:port``: Ray would try on and on."""
    host, _, port = address.rpartition(":")
    if host and "://" not in address:
        socket.create_connection((host, int(port)), TIMEOUT_S).close()


def _map(function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
    import ray

    # Retries are for what dies. Exceptions of the function are answers, and none is tried again.
    run: Any = ray.remote(max_retries=RETRIES)(_in_folder)
    folder = str(Path.cwd())
    pending: deque[Any] = deque()
    try:
        for item in items:
            pending.append(run.remote(folder, function, item))
            # Asked for anew each time: machines come and go.
            if len(pending) >= TASKS_PER_CPU * _num_cpus():
                yield _result(pending.popleft())
        while pending:
            yield _result(pending.popleft())
    finally:
        if ray.is_initialized():  # not if the mapper was left first
            for task in pending:
                ray.cancel(task, force=True)


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
            f"params.yaml: preprocess.engine: ray: expected machines that all see {folder}, as on a shared file "
            f"system. Got {error.strerror!r} from {platform.node()}. Put project and data on one, or set it to local."
        ) from None
    return function(item)


def _result(task: Any) -> Any:
    import ray

    try:
        return ray.get(task)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)  # what the function raised; Ray's own errors have none
        is_answer = isinstance(cause, Exception) and not isinstance(cause, ray.exceptions.RayError)
        if cause is not None and is_answer and not str(cause).startswith("The remote function failed to import"):
            raise cause from error
        raise UserError(
            "params.yaml: preprocess.engine: ray: expected machines that have the packages of requirements.lock, see "
            f"{SRC} and have memory enough. A task could not be done there: "
            f"{' '.join(str(cause or error).split())[:500]}"
        ) from error
