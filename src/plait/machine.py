"""The machine plait runs on: its cores, how a process keeps its memory, and how it multiplies matrices."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

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


@contextmanager
def wide_products() -> Iterator[None]:
    """Have torch multiply float32 matrices by oneDNN meanwhile, if here that is as exact as without.

    torch has MKL do it, which on some processors fills half of a vector register. It asks oneDNN where float32 may be
    rounded to bfloat16 on the way; processors without matrix units for that round nothing, and `_exact` finds out.
    Whoever has chosen a precision for torch's products keeps it.
    """
    products = _products()
    free = products is not None and products.fp32_precision in ("none", "ieee")
    with _may_round(products) if free and _exact() else nullcontext():
        yield


def _products() -> Any:
    """What torch lets be set about products by oneDNN; None before torch 2.9."""
    import torch  # who asks for cores does not wait for it

    return getattr(torch.backends.mkldnn, "matmul", None)


@contextmanager
def _may_round(products: Any) -> Iterator[None]:
    """Leave to round float32 to bfloat16 within."""
    before = products.fp32_precision
    products.fp32_precision = "bf16"
    try:
        yield
    finally:
        products.fp32_precision = before


@cache
def _exact() -> bool:
    """Whether products that may be rounded to bfloat16 are not: a trial of some, against float64."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with _may_round(_products()):
        for batch, m, k, n in ((1, 8, 1000, 8), (1, 224, 64, 832), (8, 28, 832, 490), (1, 256, 256, 256)):
            a = torch.rand(batch, m, k, generator=generator)
            for b in (torch.rand(batch, k, n, generator=generator), torch.rand(batch, n, k, generator=generator).mT):
                exact = a.double() @ b.double()
                for found, true in ((torch.bmm(a, b), exact), (a[0] @ b[0], exact[0])):
                    if ((found - true).abs() > 1e-5 * true).any():  # float32 is off by 5e-7, bfloat16 by 2e-4
                        return False
    return True
