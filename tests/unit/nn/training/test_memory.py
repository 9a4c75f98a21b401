"""Freed memory is kept, in a process of its own."""

import platform
import subprocess
import sys

import pytest

from posterity.nn.training import memory

# Allocates, fills and frees 64 MiB four times; prints how often the system had to give a page.
FAULTS = """
import ctypes, resource, sys
from posterity.nn.training import memory
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.memset.restype = ctypes.c_void_p
if sys.argv[1] == "keep":
    memory.keep_freed()
for number in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(64 << 20)))
    libc.memset(block, 1, ctypes.c_size_t(64 << 20))
    libc.free(block)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
@pytest.mark.parametrize("kept", [True, False])
def test_only_the_first_large_array_needs_new_pages(kept):
    command = [sys.executable, "-c", FAULTS, "keep" if kept else "leave"]
    first, *others = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert first > 24  # 32 large pages or 16,384 small ones
    assert all(found < 16 if kept else found > 24 for found in others)


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    memory.keep_freed()  # to call None would be an error
