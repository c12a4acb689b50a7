"""One training step of every fusion at GloVid's sizes: plait's blocks, the textbook's, torch's own attention.

    python benchmarks/fusion.py [--rounds 15] [--threads 2] [--device cuda] [--quick] [--json FILE]

A step is zero_grad, forward, backward in fp32 with K half of the lead's channels. The video grid (10x7x7x832)
comes from a frozen encoder and takes no gradient; the glove grid (28x64) does. The textbook is
`textbook.Fused`, 1x1 convolutions on channels-first tensors; beside it stands the best plain formulation,
`textbook.Plain`: linear layers on channels-last tensors and `scaled_dot_product_attention`. All hold the same
weights, keep freed memory and multiply matrices as plait's jobs do (`compute.machine`). Outputs and gradients
are compared first, with each other and with plait's in float64. Peak memory is that of one step beyond its
inputs, by torch's profiler. Then plait and the textbook in bfloat16 (`torch.autocast`, the video grid stored
so), whose logits and gradients may be apart from float64's by a thirtieth of their norm. The options of the
non-local family follow, one at a time and all together, on the video-led fusion.

Behind them the other methods, under a mean head, each against the same written with what torch has
(`plain_fusion`), compared in the same way.

Before: the products of fusion that are largest, as torch multiplies them and as plait's jobs do, and how far
either is off float64; not with `--device cuda`, where cuBLAS multiplies both, in float32 that is not rounded
to TensorFloat-32. Last, growth: one block, forward, and where stated forward and backward, from 10^2 to
10^5 positions on either side, with how many times as long it takes in the order of fewest multiplications, by
blocks where it must be (`attention.cheapest`), the largest tensor that any operation makes (never more than
`contraction.PAIRS` pairs) and the error of some rows to float64.
"""

import argparse
import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from attention import cheapest
from common import finish, in_turn, machine, medians, options, peak_on_card, peak_on_processor, said
from plain_fusion import OTHERS
from plait.compute.machine import keep_memory, settled, wide_products
from plait.fusion import Led, NonLocal, Symmetric, contraction
from textbook import Fused, Plain, channels_first

SHAPES = {"video": (10, 7, 7, 832), "gloves": (28, 64)}
CLASSES = 8
FUSIONS: dict[str, Callable[[str], Led | Symmetric]] = {
    "video-led": lambda head: Led(SHAPES, CLASSES, "video", head=head),
    "glove-led": lambda head: Led(SHAPES, CLASSES, "gloves", head=head),
    "symmetric": lambda head: Symmetric(SHAPES, CLASSES, head=head),
}
WIDER: dict[str, dict[str, Any]] = {
    "width 128": {"width": 128},
    "4 heads": {"heads": 4},
    "2 blocks": {"depth": 2},
    "MLP": {"width": 128, "mlp": 2},
    "clock": {"clock": True},
    "beside": {"beside": True},
    "all": {"width": 128, "heads": 4, "depth": 2, "mlp": 2, "clock": True, "beside": True},
}
FUSIONS |= {name: partial(Led, SHAPES, CLASSES, "video", None, **given) for name, given in WIDER.items()}
LEAD, CONTEXT, EMBEDDING = 64, 64, 32  # channels where growth is measured
GROWTH = (
    (10**2, 10**3),
    (10**4, 10**3),
    (10**5, 10**3),
    (10**3, 10**2),
    (10**3, 10**4),
    (10**3, 10**5),
    (10**5, 10**5),
)
STEP_UP_TO = 10**8  # pairs


def main() -> None:
    """Measure products, every fusion, then growth."""
    parser = options(__doc__, rounds=15, device=True)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    keep_memory()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    result: dict[str, Any] = {**machine(chosen.threads, chosen.device), "rounds": chosen.rounds}
    print(said(result))
    if chosen.device == "cpu":
        result["products"] = [multiplied(threads, chosen.rounds) for threads in sorted({1, chosen.threads})]
    with settled(), wide_products():
        measure(chosen, result)
    finish(chosen.json, result)


def measure(chosen: argparse.Namespace, result: dict[str, Any]) -> None:
    """Every fusion, then growth."""
    print("one training step, ms")
    print(
        f"{'':28s}{'plait':>9s}{'textbook':>18s}{'linear + sdpa':>18s}   peak MB; bfloat16: plait, textbook"
    )
    rows = []
    sizes = [(8, 1), (8, chosen.threads), (64, chosen.threads)]
    if chosen.device != "cpu":
        del sizes[0]
    if chosen.quick:
        sizes = [(2, 1)]
    for batch, threads in sizes:
        torch.set_num_threads(threads)
        print(f"batch {batch}, {threads} threads")
        for head in ("mean", "flatten"):
            for number, (name, make) in enumerate(FUSIONS.items()):
                if chosen.quick and number % 2 != (head == "mean"):  # of each one head
                    continue
                rounds = max(chosen.rounds * 8 // batch // 2, 3) if batch > 8 else chosen.rounds
                row = {
                    "fusion": name,
                    "head": head,
                    "batch": batch,
                    "threads": threads,
                    **measured(make(head), batch, 1 if chosen.quick else rounds, chosen.device),
                }
                print(told(row))
                rows.append(row)
    result["steps"] = rows
    result["others"] = others(chosen, sizes)
    result["growth"] = []
    print(
        f"\ngrowth: {LEAD} and {CONTEXT} channels, K = {EMBEDDING}, one clip; "
        f"at most {contraction.PAIRS:,} pairs held"
    )
    for i, j in GROWTH[:2] if chosen.quick else GROWTH:
        row = grown(i, j, chosen.device)
        forward, step = (
            f"{row[f'{what}_s']:8.4f} s ({row[f'{what}_cheapest_s'] / row[f'{what}_s']:4.2f} x)"
            if row[f"{what}_s"]
            else "       –"
            for what in ("forward", "step")
        )
        line = f"{i:7,} x {j:7,}: forward {forward}, step {step}"
        print(f"{line}, largest tensor {row['largest']:>12,}, error {row['error']:.1e}")
        result["growth"].append(row)


def others(chosen: argparse.Namespace, sizes: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """The other methods, each against the same with what torch has."""
    print("\none training step of the other methods, mean heads, ms: plait, with what torch has; parameters")
    rows = []
    for batch, threads in sizes:
        torch.set_num_threads(threads)
        print(f"batch {batch}, {threads} threads")
        for name, (make, plainly) in OTHERS.items():
            method = make(SHAPES, CLASSES)
            parameters = sum(p.numel() for p in method.parameters())
            found = beside(method, plainly, batch, 1 if chosen.quick else chosen.rounds, chosen.device)
            row = {"fusion": name, "batch": batch, "threads": threads, "parameters": parameters, **found}
            ms = f"{row['ms']['plait']:9.2f}{row['ms']['torch']:9.2f} ({row['ratio']:4.1f} x)"
            print(f"  {name:16s}{ms}{parameters:12,}")
            rows.append(row)
    return rows


def beside(
    method: nn.Module, plainly: Callable[[Any], nn.Module], batch: int, rounds: int, device: str
) -> dict[str, Any]:
    """Medians in ms, their ratio, and differences, of a step of a method and of the same written plainly."""
    grids = {name: torch.randn(batch, *shape).to(device) for name, shape in SHAPES.items()}
    grids["gloves"].requires_grad_()
    labels = torch.randint(CLASSES, (batch,)).to(device)
    plain, exact = plainly(method).to(device), copy.deepcopy(method).double().to(device)
    method = method.to(device)
    double = {name: grid.detach().double().requires_grad_(grid.requires_grad) for name, grid in grids.items()}
    truth = results(step(exact, double, labels)(), double["gloves"])
    ours = results(step(method, grids, labels)(), grids["gloves"])
    theirs = results(step(plain, grids, labels)(), grids["gloves"])
    apart = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True))
    error = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, truth, strict=True))
    assert error < 1e-5 and apart < 5e-5, f"outputs or gradients differ: {apart:.1e}, {error:.1e} to float64"
    steps = {"plait": step(method, grids, labels), "torch": step(plain, grids, labels)}
    ms = {name: 1e3 * s for name, s in medians(in_turn(steps, rounds, device)).items()}
    return {
        "ms": ms, "ratio": ms["torch"] / ms["plait"], "difference": apart, "relative_error_to_float64": error,
    }  # fmt: skip


def multiplied(threads: int, rounds: int) -> dict[str, Any]:
    """Keys of 28 positions with a video grid, and weights with a grid: ms, and how far off float64."""
    torch.set_num_threads(threads)
    keys, video = torch.rand(8, 28, 832), torch.rand(8, 490, 832)
    rows, weight = torch.rand(8 * 28, 64), torch.rand(832, 64)
    pairs = {"keys and video": (keys, video.mT), "glove rows and weights": (rows[None], weight.mT[None])}

    def wide(a: Tensor, b: Tensor) -> Tensor:
        with wide_products():
            return torch.bmm(a, b)

    found: dict[str, Any] = {"threads": threads}
    for name, (a, b) in pairs.items():
        exact = a.double() @ b.double()
        ways = {"torch": partial(torch.bmm, a, b), "plait": partial(wide, a, b)}
        ms = {way: 1e3 * s for way, s in medians(in_turn(ways, 2 * rounds)).items()}
        errors = {way: float(((run() - exact) / exact).abs().max()) for way, run in ways.items()}
        found[name] = {"ms": ms, "ratio": ms["torch"] / ms["plait"], "error_to_float64": errors}
        told = ", ".join(f"{way} {ms[way]:.2f} ms (error {errors[way]:.0e})" for way in ways)
        print(f"product of {name}, {threads} threads: {told}, {ms['torch'] / ms['plait']:.2f} x")
    return found


def measured(method: Led | Symmetric, batch: int, rounds: int, device: str) -> dict[str, Any]:
    """Medians in ms, ratios, differences and peak memory of one step of the three."""
    grids = {name: torch.randn(batch, *shape).to(device) for name, shape in SHAPES.items()}
    grids["gloves"].requires_grad_()
    labels = torch.randint(CLASSES, (batch,)).to(device)
    method = method.to(device)
    fused, plain = Fused(method).to(device), Plain(method).to(device)
    first = channels_first(grids)
    exact = copy.deepcopy(method).double()
    double = {name: grid.detach().double().requires_grad_(grid.requires_grad) for name, grid in grids.items()}
    truth = results(step(exact, double, labels)(), double["gloves"])
    ours = results(step(method, grids, labels)(), grids["gloves"])
    theirs = results(step(fused, first, labels)(), first["gloves"])
    apart = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True))
    error = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, truth, strict=True))
    assert error < 1e-5 and apart < 5e-5, f"outputs or gradients differ: {apart:.1e}, {error:.1e} to float64"
    steps: dict[str, Callable[[], Tensor]] = {
        "plait": step(method, grids, labels),
        "textbook": step(fused, first, labels),
        "linear + sdpa": step(plain, grids, labels),
    }
    halves = {
        "plait, bfloat16": step(
            method, {**grids, "video": grids["video"].bfloat16()}, labels, torch.bfloat16
        ),
        "textbook, bfloat16": step(
            fused, {**first, "video": first["video"].bfloat16()}, labels, torch.bfloat16
        ),
    }
    rough = results(halves["plait, bfloat16"](), grids["gloves"])
    error_half = max(float((a - b).norm() / b.norm()) for a, b in zip(rough, truth, strict=True))
    assert error_half < 1 / 30, f"outputs or gradients in bfloat16 differ: {error_half:.1e} to float64"
    ms = {name: 1e3 * s for name, s in medians(in_turn({**steps, **halves}, rounds, device)).items()}
    peaks = {}
    for name, one in steps.items():
        for made, given in ((method, grids), (fused, first)):  # gradients of before are not this step's
            cleared(made, given)
        peaks[name] = peak_on_processor(one) if device == "cpu" else peak_on_card(one)
    ratios = {f"ratio_to_{name}": ms[name] / ms["plait"] for name in ("textbook", "linear + sdpa")}
    return {
        "ms": ms, **ratios, "peak_mb": peaks, "difference": apart, "relative_error_to_float64": error,
        "bfloat16_error_to_float64": error_half,
    }  # fmt: skip


def told(row: Mapping[str, Any]) -> str:
    """A row in words."""
    ms, peaks = row["ms"], row["peak_mb"]
    others = "".join(f"{ms[n]:9.2f} ({ms[n] / ms['plait']:4.1f} x)" for n in ("textbook", "linear + sdpa"))
    memory = f"{', '.join(f'{peaks[name]:.0f}' for name in peaks):14s}"
    halves = f"{ms['plait, bfloat16']:9.2f}{ms['textbook, bfloat16']:9.2f}"
    return f"  {row['fusion']:10s} {row['head']:16s}{ms['plait']:9.2f}{others}   {memory}{halves}"


def step(
    module: nn.Module, grids: Mapping[str, Tensor], labels: Tensor, precision: torch.dtype = torch.float32
) -> Callable[[], Tensor]:
    """One training step, as a function that gives the logits."""

    def stepped() -> Tensor:
        cleared(module, grids)
        with torch.autocast(labels.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            logits: Tensor = module(grids)
        logits = logits.float() if precision == torch.bfloat16 else logits
        F.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        return logits.detach()

    return stepped


def cleared(module: nn.Module, grids: Mapping[str, Tensor]) -> None:
    """Forget all gradients."""
    module.zero_grad()
    for grid in grids.values():
        grid.grad = None


def results(logits: Tensor, gloves: Tensor) -> list[Tensor]:
    """The logits and the gradient that the glove network gets, channels last."""
    assert gloves.grad is not None
    grad = gloves.grad if gloves.shape[1:] == SHAPES["gloves"] else gloves.grad.mT
    return [logits, grad.clone()]


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the largest tensor that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The operation, looked at."""
        made = function(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            if isinstance(one, Tensor):
                self.numel = max(self.numel, one.numel())
        return made


def grown(i: int, j: int, device: str) -> dict[str, Any]:
    """A block with `i` positions in its lead and `j` in its context."""
    block = NonLocal(LEAD, CONTEXT, EMBEDDING).to(device)
    x, y = torch.randn(1, i, LEAD).to(device), torch.randn(1, j, CONTEXT).to(device)
    small = i * j <= STEP_UP_TO
    with torch.no_grad():
        with Largest() as largest:  # type: ignore[no-untyped-call]
            made = block(x, y)
        ways = {"plait": partial(block, x, y), "cheapest": partial(cheapest, block, x, y)}
        forward_s = medians(in_turn(ways, 3 if small else 1, device))
    rows = torch.linspace(0, i - 1, 20).long()
    exact = copy.deepcopy(block).double()
    theta, phi, g = exact.theta(x[:, rows].double()), exact.phi(y.double()), exact.g(y.double())
    wanted = exact.h((theta @ phi.mT).softmax(-1) @ g)
    error = float((made[:, rows].double() - wanted).abs().max().detach())
    step_s: dict[str, float | None] = {"plait": None, "cheapest": None}
    if small:
        with largest:
            backward(block, block, x, y)
        runs: dict[str, Callable[[Tensor, Tensor], Tensor]]
        runs = {"plait": block, "cheapest": partial(cheapest, block)}
        steps = {way: partial(backward, block, run, x, y) for way, run in runs.items()}
        step_s |= medians(in_turn(steps, 3, device))
    assert error < 1e-5 and largest.numel <= max(contraction.PAIRS, x.numel(), y.numel()), (
        "not exact, or too large"
    )
    return {
        "lead": i, "context": j, "forward_s": forward_s["plait"], "step_s": step_s["plait"],
        "forward_cheapest_s": forward_s["cheapest"], "step_cheapest_s": step_s["cheapest"],
        "largest": largest.numel, "error": error,
    }  # fmt: skip


def backward(block: NonLocal, run: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> None:
    """Forward, as `run` has it, and backward."""
    block.zero_grad()
    run(x, y).sum().backward()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
