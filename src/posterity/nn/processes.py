"""Training in several processes, on one machine or many: Keras on JAX, each process with its part of every batch.

All processes run the same program on the same rows with the same seeds. They work together only within
`on_all_devices`; before and after it, each process has the whole model and computes the same as the others.
"""

import atexit
import contextlib
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from posterity.errors import UserError
from posterity.nn import device

if TYPE_CHECKING:
    import keras

# The names are those of Keras (`keras.distribution.initialize`); its launchers set them.
ADDRESS = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
COUNT = "KERAS_DISTRIBUTION_NUM_PROCESSES"
NUMBER = "KERAS_DISTRIBUTION_PROCESS_ID"
# Processes wait for each other in `disconnect`. If one of them takes longer than this, JAX ends all of them, including
# the one that has yet to save the model. JAX' own limit of five minutes is too short for scoring many images on
# machines of different speeds.
SHUTDOWN_TIMEOUT_S = 24 * 3600


class Part(NamedTuple):
    """The part of every batch that this process computes.

    Attributes
    ----------
    process : int
        Number of this process, from 0. Only process 0 writes files.
    processes : int
        Number of processes.
    devices : int
        Number of devices of all processes together; each process has the same number. Rows are divided among them.
    """

    process: int = 0
    processes: int = 1
    devices: int = 1

    def of(self, length: int) -> slice:
        """The slice of ``length`` rows that belongs to this process; ``length`` is a multiple of ``devices``."""
        size = length // self.processes
        return slice(self.process * size, (self.process + 1) * size)


SINGLE_PROCESS = Part()


def connect(processes: int | None, coordinator: str | None) -> None:
    """Connect to the other processes. Call it before JAX is asked for a device: before `posterity.nn.device.configure`.

    An argument that is None is taken from the environment variables of Keras (`ADDRESS`, `COUNT`), or else from the
    scheduler: JAX knows Slurm, Open MPI and Kubernetes (`jax.distributed.initialize`). The number of this process
    always comes from there (`NUMBER`).

    JAX ends the process, with a message and exit code 134, if another one does not connect within five minutes, and
    two minutes after another one has died. A process that ends before `disconnect` ends at once, with exit code 1.

    Parameters
    ----------
    processes : int, optional
        Number of processes; with 1, nothing is done.
    coordinator : str, optional
        Address host:port at which process 0 can be reached.

    Raises
    ------
    UserError
        If Keras does not run on JAX, or if the number of processes, their address or this process' number is unknown.
    """
    if processes == 1:
        return
    if (backend := device.load_backend()) != "jax":
        raise UserError(
            f"params.yaml: machine.processes.count: {processes or 'null'} needs Keras' JAX backend. "
            f"Got {backend}. Set the environment variable KERAS_BACKEND=jax, or count: 1."
        )
    import jax

    coordinator = coordinator or os.environ.get(ADDRESS, "").split(",")[0] or None
    processes = processes or _integer(COUNT)
    process = _integer(NUMBER)
    if processes == 1:
        return
    number = "as the scheduler says" if process is None else process
    where = coordinator or "the address that the scheduler says"
    print(
        f"Process {number}: waiting at most five minutes for {processes or 'all'} processes to meet at {where}.",
        file=sys.stderr,
    )
    try:
        jax.distributed.initialize(coordinator, processes, process, shutdown_timeout_seconds=SHUTDOWN_TIMEOUT_S)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            "params.yaml: machine.processes: expected the number of processes, the address where they meet and the "
            f"number of this process. JAX says: {error} Set count and coordinator, and {NUMBER} for each process, or "
            "start the processes by Slurm, Open MPI or Kubernetes (see docs/hardware.md)."
        ) from None
    atexit.register(_exit_without_waiting)


def own_part(batch_size: int) -> Part:
    """Find the part of every batch that this process computes; `SINGLE_PROCESS` without `connect`.

    Call it after `posterity.nn.device.configure`.

    Raises
    ------
    UserError
        If batches of ``batch_size`` rows cannot be divided among the devices.
    """
    if device.load_backend() != "jax":
        return SINGLE_PROCESS
    import jax

    if jax.process_count() == 1:
        return SINGLE_PROCESS
    found = Part(jax.process_index(), jax.process_count(), jax.device_count())
    if found.devices != found.processes * jax.local_device_count():
        raise UserError(
            f"params.yaml: machine.processes: expected the same number of devices in each of {found.processes} "
            f"processes. Got {jax.local_device_count()} of {found.devices} in process {found.process}. "
            "Set machine.device.visible_devices to the same number of devices on every machine."
        )
    if batch_size % found.devices:
        raise UserError(
            f"params.yaml: train.batch_size must be a multiple of the {found.devices} devices of "
            f"{found.processes} processes. Got {batch_size}."
        )
    print(f"Process {found.process} of {found.processes}, {found.devices} devices in all.", file=sys.stderr)
    return found


def disconnect() -> None:
    """Wait until all processes have called this, then disconnect; without `connect`, nothing is done."""
    if device.load_backend() == "jax":
        import jax

        jax.distributed.shutdown()


def _exit_without_waiting() -> None:
    """End a process that has not called `disconnect`, because Python ends it for an error that it has reported.

    JAX' own function for the end of a process, which is called later, would wait for the other processes, and they
    would wait for this one's part of a sum.
    """
    import jax

    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def check_same_content(part: Part, content: bytes) -> None:
    """Compare ``content`` with that of the other processes: with other rows they would hang or train something else.

    Raises
    ------
    UserError
        In every process, if ``content`` is not the same in all of them.
    """
    if part.processes == 1:
        return
    import jax.experimental.multihost_utils

    sums = jax.experimental.multihost_utils.process_allgather(np.array([zlib.crc32(content)], np.uint32)).ravel()
    if others := np.flatnonzero(sums != sums[0]).tolist():
        raise UserError(
            "params.yaml: machine.processes: expected the same parameters and split in all processes. "
            f"Got other ones than those of process 0 in {others}. Give every process the same files."
        )


@contextlib.contextmanager
def on_all_devices(variables: Sequence["keras.Variable"], part: Part) -> Iterator[None]:
    """Within the block, the processes compute together, with a copy of ``variables`` on every device.

    Variables that are made in the block, such as those of an optimizer, belong to all processes for good. ``variables``
    do so only until the end of the block, so that each process can then predict and save a model by itself. If the
    block fails, they are lost. All processes have to enter the block with the same values.
    """
    if part.devices == 1:
        yield
        return
    import jax
    import keras

    distribution = keras.distribution.DataParallel(devices=keras.distribution.list_devices(), auto_shard_dataset=False)
    everywhere = jax.sharding.NamedSharding(distribution.device_mesh.backend_mesh, jax.sharding.PartitionSpec())
    own = [variable for variable in variables if variable.value.is_fully_addressable]
    for variable in own:
        copies = [jax.device_put(variable.value, device) for device in everywhere.addressable_devices]
        variable.assign(jax.make_array_from_single_device_arrays(variable.shape, everywhere, copies))
    with distribution.scope():
        yield
    for variable in own:
        variable.assign(variable.value.addressable_data(0))


def _integer(name: str) -> int | None:
    text = os.environ.get(name)
    if text is not None and not text.isdecimal():
        raise UserError(f"The environment variable {name} must be a whole number, 0 or more. Got {text!r}.")
    return None if text is None else int(text)
