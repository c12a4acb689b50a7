"""One training step of video-led fusion at GloVid's sizes: plait's block against the textbook's, in one run.

    python benchmarks/fusion.py [--rounds 30] [--threads 2] [--json FILE]

A step is zero_grad, forward, backward in fp32 at batch 8 with K = 416 and a mean head. The video grid x (10x7x7x832)
comes from a frozen encoder and takes no gradient; the glove grid y (28x64) does. The textbook block is theta, phi, g
and h as 1x1 convolutions on channels-first tensors, a softmax, two matrix products, the residual, mean pool, linear.
Beside it stands the best plain formulation: `nn.Linear` on channels-last tensors with
`scaled_dot_product_attention`. All three hold the same weights; outputs and gradients are compared first, with each
other and with the block in float64.
Rounds are interleaved, so that whatever else the machine does hits all alike; medians are printed.
"""

import argparse
import copy
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.fusion import Led, NonLocal

BATCH, GRID, LEAD, SAMPLES, CONTEXT, EMBEDDING, CLASSES = 8, (10, 7, 7), 832, 28, 64, 416, 8


class Textbook(nn.Module):
    """The block as it is usually written: 1x1 convolutions over channels-first tensors."""

    def __init__(self, block: NonLocal, classify: nn.Linear) -> None:
        super().__init__()
        self.theta, self.h = (_convolution(layer, nn.Conv3d) for layer in (block.theta, block.h))
        self.phi, self.g = (_convolution(layer, nn.Conv1d) for layer in (block.phi, block.g))
        self.classify = _copy(classify)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Logits from `(b, 832, 10, 7, 7)` and `(b, 64, 28)`."""
        theta = self.theta(x).flatten(2).transpose(1, 2)
        relation = (theta @ self.phi(y)).softmax(dim=-1)
        z = (relation @ self.g(y).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
        fused = self.h(z) + x
        logits: Tensor = self.classify(fused.mean(dim=(2, 3, 4)))
        return logits


class Plain(nn.Module):
    """The best plain formulation: linear layers over channels-last tensors and torch's fused attention."""

    def __init__(self, block: NonLocal, classify: nn.Linear) -> None:
        super().__init__()
        self.theta, self.phi, self.g, self.h = (_copy(layer) for layer in (block.theta, block.phi, block.g, block.h))
        self.classify = _copy(classify)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Logits from `(b, 10, 7, 7, 832)` and `(b, 28, 64)`."""
        x = x.flatten(1, 3)
        z = F.scaled_dot_product_attention(self.theta(x), self.phi(y), self.g(y), scale=1.0)
        logits: Tensor = self.classify((self.h(z) + x).mean(dim=1))
        return logits


def main() -> None:
    """Compare outputs and gradients, then time the three in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    led = Led({"video": (*GRID, LEAD), "gloves": (SAMPLES, CONTEXT)}, CLASSES, lead="video", embedding=EMBEDDING)
    block = led.enforced.blocks["gloves"]
    assert isinstance(block, NonLocal)
    textbook, plain = Textbook(block, led.head.classify), Plain(block, led.head.classify)
    x, y = torch.randn(BATCH, *GRID, LEAD), torch.randn(BATCH, SAMPLES, CONTEXT, requires_grad=True)
    x_first = x.movedim(-1, 1).contiguous()
    y_first = y.detach().transpose(1, 2).contiguous().requires_grad_()
    labels = torch.randint(CLASSES, (BATCH,))

    exact, y_exact = copy.deepcopy(led).double(), y.detach().double().requires_grad_()

    steps = {
        "plait": _step(led, lambda: led({"video": x, "gloves": y}), labels),
        "textbook": _step(textbook, lambda: textbook(x_first, y_first), labels),
        "linear + sdpa": _step(plain, lambda: plain(x, y), labels),
    }
    reference = _step(exact, lambda: exact({"video": x.double(), "gloves": y_exact}), labels)
    truth = _results(reference(), y_exact, exact.enforced.blocks["gloves"], exact.head.classify)
    ours = _results(steps["plait"](), y, block, led.head.classify)
    theirs = _results(steps["textbook"](), y_first, textbook, textbook.classify)
    apart = max(float((a - b.reshape(a.shape)).abs().max()) for a, b in zip(ours, theirs, strict=True))
    errors = {"plait": _error(ours, truth), "textbook": _error(theirs, truth)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    median = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    result = {
        "step_ms": median,
        "ratio_to_textbook": median["textbook"] / median["plait"],
        "ratio_to_linear_sdpa": median["linear + sdpa"] / median["plait"],
        "largest_difference_to_textbook": apart,
        "relative_error_to_float64": errors,
        "threads": options.threads,
        "rounds": options.rounds,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    print(f"video-led fusion, one training step, batch {BATCH}, fp32, {options.threads} threads, mean head")
    for name, value in median.items():
        print(f"  {name:14s} {value:7.1f} ms   {value / median['plait']:5.1f} x plait's")
    print(f"outputs and gradients: largest difference to the textbook {apart:.1e}; largest relative error to float64:")
    print(f"  plait {errors['plait']:.1e}, textbook {errors['textbook']:.1e}")
    assert apart < 1e-5 and errors["plait"] < 1e-5, "outputs or gradients differ"
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def _step(module: nn.Module, forward: Callable[[], Tensor], labels: Tensor) -> Callable[[], Tensor]:
    def step() -> Tensor:
        module.zero_grad()
        logits = forward()
        F.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        return logits

    return step


def _convolution(layer: nn.Linear, kind: type[nn.Conv1d] | type[nn.Conv3d]) -> nn.Module:
    made = kind(layer.in_features, layer.out_features, 1)
    made.load_state_dict({"weight": layer.weight.reshape(made.weight.shape), "bias": layer.bias})
    return made


def _copy(layer: nn.Linear) -> nn.Linear:
    made = nn.Linear(layer.in_features, layer.out_features)
    made.load_state_dict(layer.state_dict())
    return made


def _results(logits: Tensor, y: Tensor, block: nn.Module, classify: nn.Module) -> list[Tensor]:
    """The logits and every gradient but that of phi's bias, which is zero up to rounding."""
    layers = [block.get_submodule(name) for name in ("theta", "phi", "g", "h")]
    parameters = [*(p for layer in layers for p in layer.parameters()), *classify.parameters()]
    gradients = [p.grad for p in parameters if p is not block.get_submodule("phi").bias]
    grid = y.grad if y.shape[1] == SAMPLES else y.grad.mT if y.grad is not None else None
    return [logits.detach(), *(g.detach() for g in (grid, *gradients) if g is not None)]


def _error(results: list[Tensor], truth: list[Tensor]) -> float:
    """The largest error, relative to the largest entry of each tensor."""
    pairs = zip(results, truth, strict=True)
    return max(float((a.reshape(b.shape) - b).abs().max() / b.abs().max()) for a, b in pairs)


if __name__ == "__main__":
    main()
