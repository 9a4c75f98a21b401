"""What every test has to leave as it was."""

import os
import sys
from collections.abc import Iterator

import pytest

INHERITED = os.environ.get("ONEDNN_MAX_CPU_ISA")


@pytest.fixture(autouse=True)
def _no_ceiling_for_the_cpu() -> Iterator[None]:
    """`posterity.nn.device.configure` sets it for its process, and oneDNN reads it once, whenever it is first used.

    A test that computes in 16 bits later in the same process would then abort on a CPU that has them in hardware.
    """
    yield
    assert os.environ.get("ONEDNN_MAX_CPU_ISA") == INHERITED, "set machine.device.cpu_isa to null in this test"


@pytest.fixture(autouse=True)
def _no_determinism_for_the_process() -> Iterator[None]:
    """`posterity.nn.device.configure` switches it on for its process, and Keras compiles with XLA only without it.

    Which test comes next in the same process depends on how fast the others are: the one that leaves it on has to fail.
    """
    yield
    if config := sys.modules.get("tensorflow.python.framework.config"):
        assert not config.is_op_determinism_enabled(), "configure the device in a process of its own"
