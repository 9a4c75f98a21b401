"""Training in several processes, on one machine or many: Keras on JAX, each process with a part of every batch.

Every process runs the same program on the same rows with the same seeds. Only `spread` makes them work together;
before and after it each one has the whole model and computes the same as the others.
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

# Keras' own names (`keras.distribution.initialize`), which its launchers set.
ADDRESS = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
COUNT = "KERAS_DISTRIBUTION_NUM_PROCESSES"
NUMBER = "KERAS_DISTRIBUTION_PROCESS_ID"
# Processes wait for each other in `leave`. JAX ends them all, also the one that has the model to save, if one takes
# longer; its own limit of five minutes is too short for scoring many images on machines that are not equally fast.
PATIENCE_S = 24 * 3600


class Part(NamedTuple):
    """The part of every batch that this process computes.

    Attributes
    ----------
    process : int
        Number of this process, from 0. Only 0 writes files.
    processes : int
        How many there are.
    devices : int
        How many they have together, each process as many as the others; rows are divided among these.
    """

    process: int = 0
    processes: int = 1
    devices: int = 1

    def of(self, length: int) -> slice:
        """Where this process' part of ``length`` rows is; ``length`` has to be a multiple of ``devices``."""
        size = length // self.processes
        return slice(self.process * size, (self.process + 1) * size)


ALONE = Part()


def join(processes: int | None, coordinator: str | None) -> None:
    """Meet the other processes. Call it before JAX is asked for a device: before `runtime.configure`.

    What is None comes from the environment variables of Keras (`ADDRESS`, `COUNT`), or else from the scheduler: JAX
    knows Slurm, Open MPI and Kubernetes (`jax.distributed.initialize`). The number of this process comes from there
    in any case (`NUMBER`).

    JAX ends the process, with a message and code 134, if another one does not come within five minutes, or within two
    minutes after another one has died. A process that ends before `leave` does so at once, with code 1.

    Parameters
    ----------
    processes : int, optional
        How many there are; 1 does nothing.
    coordinator : str, optional
        Address host:port at which process 0 can be reached.

    Raises
    ------
    UserError
        If Keras does not run on JAX, or if something needed is not known.
    """
    if processes == 1:
        return
    if (backend := device.load_backend()) != "jax":
        raise UserError(
            f"params.yaml: train.distributed.processes: {processes or 'null'} needs Keras' JAX backend. "
            f"Got {backend}. Set the environment variable KERAS_BACKEND=jax, or processes: 1."
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
        jax.distributed.initialize(coordinator, processes, process, shutdown_timeout_seconds=PATIENCE_S)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"params.yaml: train.distributed: expected to know how many processes there are, where they meet and "
            f"which one this is. JAX says: {error} Set processes and coordinator, and {NUMBER} for each process, or "
            "start them by Slurm, Open MPI or Kubernetes (see the README)."
        ) from None
    atexit.register(_desert)


def part(batch_size: int) -> Part:
    """Say which part of every batch is this process', after `runtime.configure`; `ALONE` without `join`.

    Raises
    ------
    UserError
        If batches of ``batch_size`` rows cannot be divided among the devices.
    """
    if device.load_backend() != "jax":
        return ALONE
    import jax

    if jax.process_count() == 1:
        return ALONE
    found = Part(jax.process_index(), jax.process_count(), jax.device_count())
    if found.devices != found.processes * jax.local_device_count():
        raise UserError(
            f"params.yaml: train.distributed: expected as many devices in each of {found.processes} processes. "
            f"Got {jax.local_device_count()} of {found.devices} in process {found.process}. "
            "Set gpu.visible_devices to as many on every machine."
        )
    if batch_size % found.devices:
        raise UserError(
            f"params.yaml: train.batch_size must be a multiple of the {found.devices} devices of "
            f"{found.processes} processes. Got {batch_size}."
        )
    print(f"Process {found.process} of {found.processes}, {found.devices} devices in all.", file=sys.stderr)
    return found


def leave() -> None:
    """Wait until all processes have come here, and part; it does nothing without `join`."""
    if device.load_backend() == "jax":
        import jax

        jax.distributed.shutdown()


def _desert() -> None:
    """End a process that has not come to `leave`, when Python ends it for an error that it has reported.

    JAX, whose own function for this is called later, would wait for the others, and they for this one's part of a sum.
    """
    import jax

    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def agree(part: Part, content: bytes) -> None:
    """Compare ``content`` with that of the other processes: on other rows they would train something else, or hang.

    Raises
    ------
    UserError
        In every process, if it is not the same in all.
    """
    if part.processes == 1:
        return
    import jax.experimental.multihost_utils

    sums = jax.experimental.multihost_utils.process_allgather(np.array([zlib.crc32(content)], np.uint32)).ravel()
    if others := np.flatnonzero(sums != sums[0]).tolist():
        raise UserError(
            f"params.yaml: train.distributed: expected the same parameters and split in all processes. "
            f"Got others than in process 0 in {others}. Give every process the same files."
        )


@contextlib.contextmanager
def spread(variables: Sequence["keras.Variable"], part: Part) -> Iterator[None]:
    """Within the block, the processes compute together, with a copy of ``variables`` on each of all devices.

    Variables made in the block, such as an optimizer's, belong to all processes for good; ``variables`` only until the
    end of the block, so that a process can predict and save a model by itself. If the block fails, they are lost.
    All processes have to enter with the same values.
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
