"""The mapper of a Ray cluster: the work of one stage on many machines.

All machines must see the data and the project's folder under the same path, as on a shared file system: what travels is
names of files there, and results here.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from posterity.errors import UserError
from posterity.parallel import Mapper

T = TypeVar("T")
R = TypeVar("R")

TASKS_PER_CPU = 3  # one computes, one waits, and one brings its result
SRC = Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def mapper(address: str | None = None) -> Iterator[Mapper]:
    """Connect to a Ray cluster; yield a mapper that runs on it.

    A task whose machine dies runs again on another one. An exception of the function is raised here as it is.

    Parameters
    ----------
    address : str, optional
        The cluster's, such as ``auto`` on one of its machines or ``ray://head:10001``; None starts Ray on this machine
        and stops it in the end.

    Raises
    ------
    UserError
        If Ray is not installed, or if there is no cluster at this address.
    """
    try:
        import ray
    except ImportError:
        raise UserError(
            "params.yaml: preprocess.engine: ray needs the package ray. Got none. "
            'Run `pip install -c requirements.lock -e ".[ray]"`, or set it to local.'
        ) from None
    # Workers import this very code, not what may be installed there; see DESIGN on `dvc exp run`.
    environment = {"env_vars": {"PYTHONPATH": str(SRC)}}
    is_new = not ray.is_initialized()
    if is_new:
        try:
            ray.init(
                address, runtime_env=environment, include_dashboard=None if address else False, log_to_driver=False,
                configure_logging=False,
            )  # fmt: skip
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(
                f"params.yaml: ray.address: expected the address of a running cluster. Got {address!r}: {error} "
                "Start one by `ray start --head`, or set it to null."
            ) from None
    try:
        yield _map
    finally:
        if is_new:
            ray.shutdown()


def _map(function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
    import ray

    # Retries are for machines that die. Exceptions of the function are answers, and none is tried again.
    run = ray.remote(max_retries=-1)(_in_folder)
    folder, shared = str(Path.cwd()), ray.put(function)
    pending: deque[Any] = deque()
    try:
        for item in items:
            pending.append(run.remote(folder, shared, item))
            # Asked for anew each time: machines come and go.
            if len(pending) >= TASKS_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1))):
                yield _result(pending.popleft())
        while pending:
            yield _result(pending.popleft())
    finally:
        for task in pending:
            ray.cancel(task, force=True)


def _in_folder(folder: str, function: Callable[[T], R], item: T) -> R:
    """Runs on a worker, from the folder of the stage: paths are relative to it."""
    os.chdir(folder)
    return function(item)


def _result(task: Any) -> Any:
    import ray

    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
