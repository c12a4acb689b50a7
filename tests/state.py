"""What a test could leave to the next one: switches of torch and of the process, as they are now."""

import os
import random
import signal
import sys
import sysconfig
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import backends

# What begins so is set by pytest, or, once and for all, by libraries as they are loaded.
SET_BY_OTHERS = (
    "PYTEST_CURRENT_TEST",
    "TORCHINDUCTOR_",
    "_TORCHINDUCTOR_",
    "TRITON_",
    "CUDA_MODULE_LOADING",
    "KMP_",
    "_RJEM_",
    "RAY_",
    "LD_LIBRARY_PATH",
)
INSTALLED = sysconfig.get_path("purelib") + os.sep


def switches():
    """Every switch by name: two of these are equal where nothing was left."""
    precision = torch._C._get_fp32_precision_getter if hasattr(backends.mkldnn, "matmul") else None
    parts = [
        ("generic", "all"),
        *(("mkldnn", part) for part in ("all", "matmul", "conv", "rnn")),
        *(("cuda", part) for part in ("matmul", "conv", "rnn")),
    ]
    return {
        "torch.get_num_threads": torch.get_num_threads(),
        "torch.get_default_dtype": torch.get_default_dtype(),
        "torch.get_default_device": torch.get_default_device(),
        "torch.is_grad_enabled": torch.is_grad_enabled(),
        "torch.is_inference_mode_enabled": torch.is_inference_mode_enabled(),
        "torch.is_anomaly_enabled": torch.is_anomaly_enabled(),
        "torch.are_deterministic_algorithms_enabled": torch.are_deterministic_algorithms_enabled(),
        "torch.is_autocast_enabled": {kind: torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")},
        "torch.get_autocast_dtype": {kind: torch.get_autocast_dtype(kind) for kind in ("cpu", "cuda")},
        "torch.set_flush_denormal": float(torch.tensor(1e-40) * 1) == 0,
        "torch.backends.mkldnn.enabled": backends.mkldnn.enabled,
        "torch.backends.mkldnn.deterministic": backends.mkldnn.deterministic,
        "torch.backends.cudnn": (
            backends.cudnn.enabled,
            backends.cudnn.benchmark,
            backends.cudnn.deterministic,
        ),
        "torch.backends.*.fp32_precision": {part: precision(*part) for part in parts} if precision else None,
        "numpy.geterr": np.geterr(),
        "os.environ": {
            name: value for name, value in os.environ.items() if not name.startswith(SET_BY_OTHERS)
        },
        "os.getcwd": os.getcwd(),  # noqa: PTH109 - what the process has, not a path to go on with
        "sys.path": [path for path in sys.path if not path.startswith(INSTALLED)],
        "signal.getsignal": {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)},
    }


def changed(before, after):
    """What differs between two of `switches`, in words."""
    lines = []
    for name, was in before.items():
        now = after[name]
        if now == was:
            continue
        if isinstance(was, dict):
            parts = [key for key in was.keys() | now.keys() if was.get(key, "unset") != now.get(key, "unset")]
            lines += [
                f"{name}[{key}]: {was.get(key, 'unset')!r} -> {now.get(key, 'unset')!r}"
                for key in sorted(parts)
            ]
        else:
            lines.append(f"{name}: {was!r} -> {now!r}")
    return lines


def draw_alike():
    """Have every generator of the process draw the same from here on, whatever has drawn from it before."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the one of the process, in which others' code draws
    torch.manual_seed(0)


def forget_modules(folder: Path):
    """Have modules that tests wrote below `folder` be imported anew: another's may have the same name."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(f"{folder}{os.sep}"):
            del sys.modules[name]


@contextmanager
def unsettled():
    """Within, each switch that changes what torch computes, and draws, as another's code may leave them."""
    dtype, onednn = torch.get_default_dtype(), backends.mkldnn.enabled
    rounded = [
        getattr(backends.mkldnn, part) for part in ("matmul", "conv") if hasattr(backends.mkldnn, part)
    ]
    before = [part.fp32_precision for part in rounded]
    try:
        torch.set_default_dtype(torch.float64)
        backends.mkldnn.enabled = False
        for part in rounded:
            part.fp32_precision = "bf16"
        torch.rand(5)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            yield
    finally:
        torch.set_default_dtype(dtype)
        backends.mkldnn.enabled = onednn
        for part, precision in zip(rounded, before, strict=True):
            part.fp32_precision = precision
