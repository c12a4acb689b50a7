"""One non-local block on grids of several sizes: plait's products beside others, fused attention among them.

    python benchmarks/attention.py [--rounds 9] [--batch 8] [--only GRIDS,...] [--device cuda] [--quick]
                                   [--json FILE]

`h(softmax(theta(x)^T phi(y)) g(y))` with K half of the lead's channels, in float32 and under bfloat16
autocast, forward, and forward and backward (of weights and both grids). `plait` is `NonLocal`, as its rule
has it (`plait.fusion.orders`); `cheapest` the same without the rule, in the order of fewest multiplications,
by blocks of rows where the relation is large; `textbook` the products one by one in the embedding, the
relation held whole; `sdpa` has `scaled_dot_product_attention` in the embedding instead of it. `pooled` is
what a `mean` head takes, with its like from sdpa's grid. Outputs are compared with float64's first (some rows
of the lead), as far as these fit. Medians of interleaved rounds; ratios are to plait, so above 1 plait is
faster. Peak memory, on a card, is that of forward and backward. The largest grids are for cards alone.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from common import finish, in_turn, machine, medians, options, peak_on_card, said
from plait.compute.machine import keep_memory, settled, wide_products
from plait.fusion import NonLocal, contraction, orders
from plait.fusion.contraction import positions

# Lead and context: the paper's two ways round, UTD-MHAD's grids, two cameras, larger grids.
GRIDS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "video-led": ((10, 7, 7, 832), (28, 64)),
    "glove-led": ((28, 64), (10, 7, 7, 832)),
    "depth-led": ((8, 8, 8, 48), (16, 64)),
    "cameras 8x7x7": ((8, 7, 7, 832), (8, 7, 7, 832)),
    "narrow 16x8x8": ((16, 8, 8, 64), (16, 8, 8, 64)),
    "narrow 16x14x14": ((16, 14, 14, 64), (16, 14, 14, 64)),
    "wide 16x14x14": ((16, 14, 14, 256), (16, 14, 14, 256)),
    "narrow 16x28x28": ((16, 28, 28, 64), (16, 28, 28, 64)),
}
SMALL = ("glove-led", "depth-led")
LARGE = ("narrow 16x28x28",)
WHOLE = 2**32  # pairs (i, j) of a batch that the textbook may hold whole, 16 GB in float32
ROWS = 20  # of the lead that are compared with float64


def cheapest(block: NonLocal, x: Tensor, y: Tensor) -> Tensor:
    """The order of fewest multiplications, by blocks where it must be, whatever the rule says."""
    ruled = orders.SPARE, orders.FUSED
    orders.SPARE, orders.FUSED = {}, {}
    try:
        made: Tensor = block(x, y)
    finally:
        orders.SPARE, orders.FUSED = ruled
    return made


def textbook(block: NonLocal, x: Tensor, y: Tensor) -> Tensor:
    """The products one by one, in the embedding."""
    theta, phi, g = block.theta(positions(x)), block.phi(positions(y)), block.g(positions(y))
    made: Tensor = block.h((theta @ phi.mT).softmax(-1) @ g)
    return made.reshape(x.shape)


def sdpa(block: NonLocal, x: Tensor, y: Tensor) -> Tensor:
    """Torch's fused attention, in the embedding."""
    theta, phi, g = block.theta(positions(x)), block.phi(positions(y)), block.g(positions(y))
    q, k, v = (part.unsqueeze(1) for part in (theta, phi, g))
    made: Tensor = block.h(F.scaled_dot_product_attention(q, k, v, scale=1.0).squeeze(1))
    return made.reshape(x.shape)


def sdpa_pooled(block: NonLocal, x: Tensor, y: Tensor) -> Tensor:
    """The mean of the same over the lead's positions."""
    return positions(sdpa(block, x, y)).mean(1)


def ways(block: NonLocal, pairs: int) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """What is compared, by name; the textbook where what it holds fits."""
    found: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "plait": block,
        "cheapest": partial(cheapest, block),
    }
    if pairs <= WHOLE // 4:  # a backward pass holds several of its like
        found["textbook"] = partial(textbook, block)
    found["sdpa"] = partial(sdpa, block)
    found |= {"pooled": block.pooled, "pooled, sdpa": partial(sdpa_pooled, block)}
    return found


def main() -> None:
    """Compare with float64, then time all ways in turn, for each pair of grids and precision."""
    parser = options(__doc__, rounds=9, device=True)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--only", help="of the grids, by name, separated by commas")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    only = chosen.only.split(",") if chosen.only else []
    if unknown := [name for name in only if name not in GRIDS]:
        parser.error(f"--only {unknown[0]}: expected some of {', '.join(GRIDS)}")
    if chosen.quick:
        chosen.rounds, chosen.batch = 1, 2
    keep_memory()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    result: dict[str, Any] = {**machine(chosen.threads, chosen.device), "batch": chosen.batch}
    print(said(result))
    print(f"{chosen.batch} clips, ms; in brackets how many times plait's; K is half of the lead's channels")
    result["rows"] = []
    with settled(), wide_products():
        usual = [name for name in GRIDS if chosen.device != "cpu" or name not in LARGE]
        for name in only or (SMALL if chosen.quick else usual):
            for dtype in (torch.float32, torch.bfloat16):
                rows = measured(name, dtype, chosen)
                result["rows"] += rows
                for row in rows:
                    print(told(row), flush=True)
    finish(chosen.json, result)


def measured(name: str, dtype: torch.dtype, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for forward, and one for forward and backward."""
    (lead, context), device = GRIDS[name], chosen.device
    block = NonLocal(lead[-1], context[-1], lead[-1] // 2).to(device)
    x, y = (torch.randn(chosen.batch, *shape).to(device).requires_grad_() for shape in (lead, context))
    pairs = chosen.batch * positions(x).shape[1] * positions(y).shape[1]
    half = dtype == torch.bfloat16

    def forward(run: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        with torch.no_grad(), torch.autocast(x.device.type, torch.bfloat16, enabled=half):
            return run(x, y)

    def stepped(run: Callable[[Tensor, Tensor], Tensor]) -> None:
        block.zero_grad()
        x.grad = y.grad = None
        with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
            made = run(x, y)
        made.float().square().mean().backward()  # type: ignore[no-untyped-call]

    runs = ways(block, pairs)
    errors = {way: off(block, way, forward(run), x, y) for way, run in runs.items()}
    for way, error in errors.items():
        assert error is None or error < (1 / 30 if half else 1e-4), (
            f"{name}: {way} is {error:.1e} from float64"
        )
    rows = []
    for what, do in {"forward": forward, "forward and backward": stepped}.items():
        steps = {way: partial(do, run) for way, run in runs.items()}
        ms = {way: 1e3 * s for way, s in medians(in_turn(steps, chosen.rounds, device)).items()}
        row = {
            "grids": name, "lead": lead, "context": context, "precision": str(dtype).removeprefix("torch."),
            "what": what, "ms": ms, "error_to_float64": errors,
            "blocks": -(-pairs // contraction.PAIRS),
            "ratio": {way: s / ms["pooled" if "pooled" in way else "plait"] for way, s in ms.items()},
        }  # fmt: skip
        if device != "cpu" and do is stepped:
            row["peak_mb"] = {way: peak_on_card(one) for way, one in steps.items()}
        rows.append(row)
    return rows


def off(block: NonLocal, way: str, made: Tensor, x: Tensor, y: Tensor) -> float | None:
    """How far some rows are from float64, as norms, or the mean; None where its relation does not fit."""
    with torch.no_grad():
        lead, context = positions(x).double(), positions(y).double()
        layers = (block.theta, block.phi, block.g, block.h)
        theta, phi, g, h = ((layer.weight.double(), layer.bias.double()) for layer in layers)
        rows = torch.linspace(0, lead.shape[1] - 1, ROWS).long().to(x.device)
        if "pooled" in way:
            if lead.shape[1] * context.shape[1] * len(x) > WHOLE // 16:
                return None
            rows = torch.arange(lead.shape[1], device=x.device)
        relation = (F.linear(lead[:, rows], *theta) @ F.linear(context, *phi).mT).softmax(-1)
        true = F.linear(relation @ F.linear(context, *g), *h)
        got = made.double() if "pooled" in way else positions(made)[:, rows].double()
        true = true.mean(1) if "pooled" in way else true
        return float((got - true).norm() / true.norm())


def told(row: Mapping[str, Any]) -> str:
    """A row in words."""
    parts = [f"{way} {ms:.3f} ({row['ratio'][way]:.2f})" for way, ms in row["ms"].items()]
    peaks = row.get("peak_mb", {})
    memory = f"; peak MB {', '.join(f'{peaks[way]:.0f}' for way in peaks)}" if peaks else ""
    what = "forward" if row["what"] == "forward" else "step"
    blind = [way for way, error in row["error_to_float64"].items() if error is None]
    unknown = f"; not compared with float64: {', '.join(blind)}" if blind else ""
    return f"{row['grids']:16s} {row['precision']:9s}{what:8s} {', '.join(parts)}{memory}{unknown}"


if __name__ == "__main__":
    main()
