"""I3D up to Mixed_5b on clips of 79x224x224: every engine against plain eager PyTorch, in one run.

    python benchmarks/i3d.py [--rounds 5] [--threads N] [--frames 79] [--network i3d]
                             [--engines torch compile openvino] [--device cuda] [--quick] [--json FILE]

`--network` takes `lite0` (EfficientNet-Lite0), `resnet50`, both on every frame, and `s3d`, too; the last two
with what torchvision's weights want of pictures, as in `plait.pretrained`. All weights are random.
Eager is the network in eval mode under `torch.inference_mode()`, clip by clip. Medians of interleaved rounds,
after one round that does not count; `ready` is what an engine needs before its first clip: writing the graph
down, folding, compiling. Multiply-adds are counted from the convolutions' kernels and output positions,
padding included; the peak is that of the best of several float32 matrix products, measured in the same
rounds. On a card, all compute in float32 as plait's features are; a last row is eager PyTorch as it comes,
whose convolutions round what they multiply to TensorFloat-32.
"""

import copy
import time
from collections.abc import Callable
from functools import partial

import timm
import torch
import torchvision
from torch import Tensor, nn

from common import finish, in_turn, machine, matmul_flops, medians, options, said
from plait.compute.machine import cores, settled
from plait.encoders.frames import FrameNet, Stage
from plait.encoders.i3d import ENDPOINTS, I3D
from plait.encoders.standard import Standard
from plait.encoders.video3d import Clip3D
from plait.features.engine import ENGINES, Encode, accelerate, engine_version

SIDE = 224


def drawn(name: str, shape: tuple[int, ...]) -> nn.Module:
    """A network with weights drawn at random; batch normalisations that do something, as trained ones."""
    if name == "i3d":
        network: nn.Module = I3D("Mixed_5b")
    elif name == "lite0":
        network = FrameNet(Stage(timm.create_model("tf_efficientnet_lite0", pretrained=False), 32), shape)
    elif name == "s3d":
        kinetics = Standard(torchvision.models.video.S3D_Weights.KINETICS400_V1.transforms())
        stages = list(torchvision.models.video.s3d().features)[: ENDPOINTS.index("Mixed_5b") + 1]
        network = Clip3D(nn.Sequential(*stages), shape, kinetics)
    else:
        imagenet = Standard(torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms(antialias=True))
        stages = list(torchvision.models.resnet50().children())[:-2]
        network = FrameNet(
            nn.Sequential(*stages),
            shape,
            pool="all",
            prepare=lambda images: imagenet((images + 1) / 2),
        )
    for part in network.modules():  # nothing to fold is no test of folding
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm3d):
            part.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return network.eval().requires_grad_(False)


def multiply_adds(network: nn.Module, clip: Tensor) -> int:
    """Multiply-adds of every convolution on one clip."""
    counted: list[int] = []

    def count(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.Conv3d)
        counted.append(out.numel() * module.weight[0].numel())

    parts = [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.Conv3d)]
    hooks = [part.register_forward_hook(count) for part in parts]
    with torch.inference_mode():
        network(clip)
    for hook in hooks:
        hook.remove()
    return sum(counted)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, rounds=5, device=True)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--frames", type=int, default=79, help="of the clip")
    parser.add_argument("--network", choices=("i3d", "lite0", "resnet50", "s3d"), default="i3d")
    parser.add_argument("--engines", nargs="+", choices=ENGINES)
    args = parser.parse_args()
    card = args.device != "cpu"
    engines = args.engines or [engine for engine in ENGINES if not (card and engine == "openvino")]
    shape, rounds = (1, args.frames, SIDE, SIDE, 3), args.rounds
    if args.quick:
        shape, rounds = (1, 9, 64, 64, 3), 1
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network = drawn(args.network, shape[1:]).to(args.device)
    plain = copy.deepcopy(network)
    clip = (torch.rand(shape) * 2 - 1).to(args.device)
    needed = multiply_adds(plain, clip)

    def eager(clips: Tensor) -> Tensor:
        with torch.inference_mode():
            out: Tensor = plain(clips)
        return out

    def within(run: Encode) -> Tensor:
        with settled():
            return run(clip)

    runs: dict[str, Callable[[], Tensor]] = {"eager": partial(within, eager)}
    ready = {"eager": 0.0}
    for engine in engines:
        start = time.perf_counter()
        with settled():
            runs[engine] = partial(within, accelerate(copy.deepcopy(network), clip, engine))
        ready[engine] = time.perf_counter() - start
    if card:
        runs["eager, TF32"], ready["eager, TF32"] = partial(eager, clip), 0.0
    expected = runs["eager"]()
    error = {name: float((run() - expected).abs().max() / expected.abs().max()) for name, run in runs.items()}
    seconds = medians(in_turn(runs, rounds, args.device))
    peak = matmul_flops(device=args.device) / 2
    told = machine(args.threads, args.device)
    print(f"{args.network}, one clip of {' x '.join(map(str, shape[1:4]))}; {said(told)}")
    print(f"{needed / 1e9:.1f} G multiply-adds a clip; matrix products: {peak / 1e9:.0f} G a second")
    print(f"{'engine':12} {'clips/s':>8} {'ratio':>6} {'of peak':>8} {'ready s':>8} {'difference':>11}")
    for name, median in seconds.items():
        print(
            f"{name:12} {1 / median:8.2f} {seconds['eager'] / median:6.2f} {needed / median / peak:8.0%} "
            f"{ready[name]:8.1f} {error[name]:11.1e}"
        )
    rows = {
        name: {
            "seconds": median,
            "ratio": seconds["eager"] / median,
            "of_peak": needed / median / peak,
            "ready_s": ready[name],
            "difference": error[name],
            "version": engine_version(name if name in ENGINES else "torch"),
        }
        for name, median in seconds.items()
    }
    found = {"network": args.network, "multiply_adds": needed, "peak_per_s": peak, "engines": rows}
    finish(args.json, {**told, **found})


if __name__ == "__main__":
    main()
