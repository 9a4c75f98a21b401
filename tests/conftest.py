"""What every test has to leave as it was."""

import os
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
