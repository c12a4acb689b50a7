"""What checkpoints and parts of batches cost and save where I3D's last blocks are trained.

    python benchmarks/tuning.py [--blocks "Mixed_5*"] [--clips 8] [--rounds 3] [--threads 1] [--json FILE]

I3D with random weights from the first trained block on, behind it the mean and a linear layer; activations in
front of that block of clips of 79 frames of 224 x 224. A step is forward, backward and plain descent on a
batch. `held` is what outputs of I3D's parts take that are still in memory when a forward pass is over, the
most of a step's parts: what has to be kept for the gradient.
"""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F

from common import finish, in_turn, machine, options, said
from plait.encoders.chain import Tuned
from plait.encoders.i3d import I3D
from plait.features.cut import trained_blocks

ACTIVATIONS = {"Mixed_5": (10, 7, 7, 832), "Mixed_4f": (20, 14, 14, 528)}
WAYS = {
    "a batch whole": (1, False),
    "checkpoints": (1, True),
    "in 4 parts": (4, False),
    "in 4 parts, checkpoints": (4, True),
}


class Way:
    """One way to take a step: in so many parts, with checkpoints or without."""

    def __init__(self, parts: int, again: bool, blocks: str) -> None:
        torch.manual_seed(0)
        chain = I3D("Mixed_5c").chain()
        trained = trained_blocks([blocks], chain, "--blocks")
        self.parts, self.rest, self.head = parts, Tuned(chain, trained, checkpoint=again), nn.Linear(1024, 8)
        self.shape = next(s for name, s in ACTIVATIONS.items() if trained[0].startswith(name))
        weights = [p for p in [*self.rest.parameters(), *self.head.parameters()] if p.requires_grad]
        self.optimizer = torch.optim.SGD(weights, 1e-3)
        self.losses: list[float] = []

    def step(self, grid: Tensor, target: Tensor) -> float:
        """Learn from a batch; the most bytes that were held behind one of its parts."""
        self.optimizer.zero_grad()
        most, total = 0.0, 0.0
        for x, y in zip(grid.tensor_split(self.parts), target.tensor_split(self.parts), strict=True):
            with outputs_of(self.rest) as kept:
                loss = F.cross_entropy(self.head(self.rest(x).mean((1, 2, 3))), y) * len(y) / len(target)
            most = max(most, sum(size for reference, size in kept.values() if not reference.expired()))
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        self.optimizer.step()
        self.losses.append(total)
        return most


@contextmanager
def outputs_of(network: nn.Module) -> Iterator[dict[int, tuple[Any, int]]]:
    """References to the storages of what the parts of a network give meanwhile, with their bytes."""
    kept: dict[int, tuple[Any, int]] = {}

    def note(part: nn.Module, given: Any, out: Tensor) -> None:
        storage = out.untyped_storage()
        reference: Any = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        kept[storage.data_ptr()] = reference, storage.nbytes()

    hooks = [part.register_forward_hook(note) for part in network.modules() if part is not network]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, rounds=3)
    parser.add_argument("--blocks", default="Mixed_5*")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.clips, args.blocks = 1, 4, "Mixed_5c"
    torch.set_num_threads(args.threads)
    ways = {name: Way(*how, args.blocks) for name, how in WAYS.items()}
    shape = (2, 3, 3, 832) if args.quick else next(iter(ways.values())).shape
    grid, target = torch.rand(args.clips, *shape), torch.arange(args.clips) % 8
    held = {name: way.step(grid, target) / 1e6 for name, way in ways.items()}
    steps = {name: partial(way.step, grid, target) for name, way in ways.items()}
    seconds = {name: statistics.median(times) for name, times in in_turn(steps, args.rounds).items()}
    apart = max(abs(way.losses[0] - ways["a batch whole"].losses[0]) for way in ways.values())
    told = machine(args.threads)
    print(f"I3D's {args.blocks}, {args.clips} clips a batch; {said(told)}")
    for name in WAYS:
        print(f"{name:26}{seconds[name]:8.2f} s a step{held[name]:9.1f} MB held")
    print(f"losses of the first step differ by at most {apart:.1e}")
    finish(args.json, {**told, "seconds": seconds, "held_mb": held, "apart": apart})


if __name__ == "__main__":
    main()
