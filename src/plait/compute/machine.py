"""The machine plait runs on: its cores, how a process keeps its memory, how torch computes."""

import ctypes
import multiprocessing
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import joblib

from plait.errors import ConfigError, one_line

# M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD and M_MXFAST of glibc's malloc.h; fast bins need tidying up.
_KEEPING = ((-3, 2**25), (-1, 2**30), (-2, 2**26), (1, 0))

# What numerical libraries read of the environment before they choose how to compute.
_INTEL = ("ONEDNN_", "DNNL_", "MKL_CBWR", "MKL_ENABLE_", "MKL_DEBUG_")
_NUMERICAL = (*_INTEL, "ATEN_", "OPENBLAS_CORE", "NPY_", "CUBLAS_")
_NUMERICAL_TOO = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "TORCH_LINEAR_FLATTEN_3D")
_OUTPUT = ("VERBOSE", "DUMP", "PROFILE", "CACHE")  # in names of variables that decide no number

DIED = "a worker process died, perhaps for want of memory: try fewer --workers"
CARD_SHARE = 4 * 2**30  # bytes of a graphics card's memory for each process that shares it

_before: list[str] = []  # torch's own precision, as long as it may round here


def cores() -> int:
    """How many cores this process may use; an affinity or a container's limit counts."""
    return int(joblib.cpu_count())


def follow_parent() -> None:
    """Have a worker leave interrupts to its parent, and end when the parent does, however that ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    watch = threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True)
    watch.start()


def device_called(name: str, elsewhere: bool = False) -> str:
    """The device called `name`, or for `auto` the best there is; tried out, unless it is `elsewhere`.

    Raises:
        ConfigError: there is none of that name, or it does not work.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if elsewhere:  # each node has its own, and a task sees one of them
        if name not in ("cpu", "cuda"):
            raise ConfigError(f"device is {name!r}, expected auto, cpu or cuda on a cluster")
        return name
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", name):
        raise ConfigError(f"device is {name!r}, expected auto, cpu, cuda or cuda:N")
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = one_line(error).partition(". ")[0]  # torch lists all that it has
        raise ConfigError(f"device is {name!r}, expected auto, cpu, cuda or cuda:N: {why}") from error
    return name


def device_here(name: str) -> str:
    """The device called `name` if it works here, else the CPU: for what another machine has begun."""
    try:
        return device_called(name)
    except ConfigError:
        return "cpu"


def jobs_at_once(threads: int, device: str = "cpu") -> int:
    """How many processes of so many threads there is room for, by cores; on a card by its free memory, too.

    Each has the card's libraries and memory of its own there, and they take turns at it.
    """
    import torch

    most = cores() // threads
    if torch.device(device).type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        most = min(most, free // CARD_SHARE)
    return max(most, 1)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have the environment hold these for processes that begin within; what stood there comes back."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@cache
def keep_memory() -> None:
    """Have the C library keep what this process frees: in training, the next batch needs as much again.

    Otherwise a batch's pages go back to the system and come as new ones, zeroed, which on a virtual machine
    can take longer than the batch's arithmetic. At most a gigabyte is kept. Only glibc has these settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for setting, value in _KEEPING:
            mallopt(setting, value)


def give_back() -> None:
    """Give the system back what this process has free, where the C library keeps it: in a session of hours.

    What one thread takes and another lets go of leaves holes, which add up. Only glibc has such a function.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


@contextmanager
def settled() -> Iterator[None]:
    """Have torch compute within as it comes, whatever this process has set; set that again afterwards.

    These switches decide what comes out on a CPU, apart from the number of threads. Within, the default dtype
    is float32, gradients are recorded, autocast is off, oneDNN is used, and its products of float32 are
    float32. So are those of a graphics card, where torch as it comes rounds what convolutions and LSTMs
    multiply to TensorFloat-32; and cuDNN takes algorithms that repeat what they gave.
    """
    import torch  # who asks for cores does not wait for it

    with ExitStack() as stack:
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
        stack.enter_context(_switched(torch.backends.mkldnn, "enabled", True))
        for above in (torch.backends, torch.backends.mkldnn, torch.backends.cudnn):  # of parts without a say
            if getattr(above, "fp32_precision", "none") not in ("none", "ieee"):
                stack.enter_context(_set_to(above, "none"))
        for part in ("matmul", "conv", "rnn"):
            if (products := _products(part)) is not None and products.fp32_precision not in ("none", "ieee"):
                stack.enter_context(_set_to(products, "ieee"))
        stack.enter_context(_not_rounded_on_cards())
        for switch, to in {"enabled": True, "benchmark": False, "deterministic": True}.items():
            stack.enter_context(_switched(torch.backends.cudnn, switch, to))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def wide_products() -> Iterator[None]:
    """Have torch multiply float32 matrices by oneDNN meanwhile, if here that is as exact as without.

    torch has MKL do it, which on some processors fills half of a vector register. It asks oneDNN where
    float32 may be rounded to bfloat16 on the way; processors without matrix units for that round nothing, and
    `_exact` finds out. Whoever has chosen a precision for torch's products keeps it.
    """
    with _may_round(_products("matmul")) if _wide() else nullcontext():
        yield


@contextmanager
def small_products() -> Iterator[None]:
    """Have torch multiply as it comes meanwhile, within `wide_products`: small matrices it multiplies sooner.

    oneDNN takes longer before it multiplies anything; on two cores of an AMD EPYC 15 microseconds, MKL 3.
    """
    with _set_to(_products("matmul"), _before[0]) if _before else nullcontext():
        yield


def numerics(device: str = "cpu") -> dict[str, Any]:
    """What decides the last digits of what torch computes here, as JSON: part of the keys of what is kept.

    That is the instructions that torch and its libraries choose between, by what the processor has and what
    the environment allows; who multiplies matrices; torch's own switches; and the graphics card with its
    libraries.
    """
    import torch

    facts: dict[str, Any] = {
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "settings": {name: os.environ[name] for name in sorted(os.environ) if _decides(name)},
        "products": ["oneDNN" if _wide() else "torch", "ieee" if _precision() == "none" else _precision()],
        "switches": [
            str(torch.get_default_dtype()),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.mkldnn.enabled,
        ],
    }
    if torch.device(device).type == "cuda" and torch.cuda.is_available():
        cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
        versions = [torch.version.cuda, cudnn.version()]  # type: ignore[no-untyped-call]
        facts["device"] = [torch.cuda.get_device_name(device), *versions]
        facts["switches"] += [cudnn.enabled, cudnn.deterministic, cudnn.benchmark]
        parts = (getattr(cudnn, "conv", None), getattr(cudnn, "rnn", None), products)
        facts["switches"] += [getattr(part, "fp32_precision", None) for part in parts]
    return facts


def settled_numerics(device: str) -> dict[str, Any]:
    """`numerics` of what is computed `settled`: whatever this process has set before."""
    with settled():
        return numerics(device)


def _decides(name: str) -> bool:
    """Whether a variable of the environment tells a library which instructions or precision to take."""
    numerical = name.startswith(_NUMERICAL) or name in _NUMERICAL_TOO
    return numerical and not any(word in name for word in _OUTPUT)


@cache
def _processor() -> list[str]:
    """Architecture, maker and instruction sets: libraries choose by these."""
    import platform

    import torch

    capabilities = dict(getattr(torch.cpu, "get_capabilities", dict)())
    flags = sorted(name for name, value in capabilities.items() if value is True)
    if not capabilities:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
        sets = [line.split(":")[1].split() for line in lines if line.startswith(("flags", "Features"))]
        flags = sorted(sets[0]) if sets else []
    maker = str(capabilities.get("cpu_name") or platform.processor()).partition(" ")[0]
    return [platform.machine(), maker, " ".join(flags)]


def _wide() -> bool:
    """Whether torch is to ask oneDNN for products."""
    return _precision() in ("none", "ieee") and _exact()


def _precision() -> str:
    """What torch's products are set to, by others than plait."""
    products = _products("matmul")
    if products is None:
        return "old"
    return _before[0] if _before else str(products.fp32_precision)


def _products(part: str) -> Any:
    """What torch lets be set about a part of oneDNN; None before torch 2.9."""
    import torch

    return getattr(torch.backends.mkldnn, part, None)


@contextmanager
def _not_rounded_on_cards() -> Iterator[None]:
    """No product of a graphics card is rounded to TensorFloat-32 within.

    torch has two switches for this, and refuses to say how the older one stands if only the newer is set,
    which `torch.export` asks: the older sets both. Before torch 2.9 there is no other.
    """
    import torch

    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    convolutions = [getattr(cudnn, name, None) for name in ("conv", "rnn")]
    both: list[tuple[Any, list[Any]]] = [(cuda.matmul, [cuda.matmul]), (cudnn, convolutions)]
    with ExitStack() as stack:
        for older, parts in both:
            if parts[-1] is None or not hasattr(parts[0], "fp32_precision"):
                stack.enter_context(_switched(older, "allow_tf32", False))
            elif any(part.fp32_precision not in ("none", "ieee") for part in parts):
                for part in parts:
                    stack.callback(setattr, part, "fp32_precision", part.fp32_precision)
                stack.callback(_allow, older, True)
                _allow(older, False)
        yield


def _allow(older: Any, rounding: bool) -> None:
    """Set an older switch, without a word on the newer one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        older.allow_tf32 = rounding


def _set_to(products: Any, precision: str) -> AbstractContextManager[None]:
    """Another precision of float32 within."""
    return _switched(products, "fp32_precision", precision)


@contextmanager
def _switched(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another value of a switch within."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _may_round(products: Any) -> Iterator[None]:
    """Leave to round float32 to bfloat16 within."""
    _before.append(products.fp32_precision)
    try:
        with _set_to(products, "bf16"):
            yield
    finally:
        _before.pop()


@cache
def _exact() -> bool:
    """Whether products that may be rounded to bfloat16 are not: a trial of some, against float64."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with _may_round(_products("matmul")):
        for batch, m, k, n in ((1, 8, 1000, 8), (1, 224, 64, 832), (8, 28, 832, 490), (1, 256, 256, 256)):
            a = torch.rand(batch, m, k, generator=generator)
            straight = torch.rand(batch, k, n, generator=generator)
            transposed = torch.rand(batch, n, k, generator=generator).mT
            for b in (straight, transposed):
                exact = a.double() @ b.double()
                for product, true in ((torch.bmm(a, b), exact), (a[0] @ b[0], exact[0])):
                    off = (product - true).abs() > 1e-5 * true  # float32 by 5e-7, bfloat16 by 2e-4
                    if off.any():
                        return False
    return True
