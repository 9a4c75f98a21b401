"""Memory of a process that trains: kept from step to step."""

import ctypes
import platform

# Numbers of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1  # bytes of free memory from which on some of it is given back


def keep_freed() -> None:
    """Let the C library keep freed memory for the next training step, instead of giving it back to the system.

    glibc gives arrays of 32 MiB and more back at once. Every step needs them again, and the system clears each new page
    of 4 KB: a tenth of the CPU time of a step of `compact_cnn` where large pages are given on request only (Linux'
    ``transparent_hugepage: madvise``). TensorFlow frees and allocates the same sizes in every step, so what is kept
    is used again. Results do not depend on it. What was needed at most belongs to the process until it ends.
    With another C library than glibc, which has no such settings, nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)
