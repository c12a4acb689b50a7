"""The machine plait runs on: its cores, and how the memory of a process is kept."""

import ctypes
import sys
from functools import cache

import joblib

# M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD and M_MXFAST of glibc's malloc.h; only fast bins need tidying up.
_KEEPING = ((-3, 2**25), (-1, 2**30), (-2, 2**26), (1, 0))


def cores() -> int:
    """How many cores this process may use: fewer than the machine has under an affinity or a container's limit."""
    return int(joblib.cpu_count())


@cache
def keep_memory() -> None:
    """Have the C library keep what this process frees: in training, the next batch needs as much again.

    Otherwise a batch's pages go back to the system and come as new ones, zeroed, which on a virtual machine can take
    longer than the batch's arithmetic. At most a gigabyte is kept. Only glibc has these settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for setting, value in _KEEPING:
            mallopt(setting, value)
