"""Clips to probabilities by exported networks: onnxruntime and torch.export against plait, in one run.

    python benchmarks/export.py [--run RUN] [--data DIR] [--rounds 30] [--threads 1] [--quick] [--json FILE]

Of a finished RUN, its fusions as trained in the first fold and seed, on clips that these were tested on (DIR:
where they lie now). Without one, networks of GloVid's shapes with random weights, on noise: the features of a
frozen video network, 10x7x7x832, and 134 readings of two gloves, with the encoders of
`studies/glovid-features.toml`; fusion is video-led, symmetric (K = half of the lead's channels, mean head),
concatenation (flatten).

Each network is exported as `plait.recogniser.export` does it, which compares probabilities at three numbers
of clips and says how far they are off; the files are then opened by the libraries alone. `plait` is the
network in eval mode. Rounds are interleaved; medians are printed, and how often the others fit into plait's.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from common import finish, in_turn, machine, medians, options, said
from plait.datasets.glovid import GLOVID_FEATURES, GRID
from plait.encoders.glove import GLOVE_GRID, GLOVES
from plait.fusion import Concat, Led, Symmetric
from plait.recogniser.export import Exported, export
from plait.recogniser.program_files import ENDINGS, Format
from plait.study.finished import FinishedRun
from plait.training.network import Network

SHAPES = {"video": GRID, "gloves": GLOVES}
CLASSES = len(GLOVID_FEATURES.activities)
METHODS: dict[str, Callable[[dict[str, tuple[int, ...]]], nn.Module]] = {
    "video-led": lambda grids: Led(grids, CLASSES, lead="video"),
    "symmetric": lambda grids: Symmetric(grids, CLASSES),
    "concat": lambda grids: Concat(grids, CLASSES),
}
FORMATS: tuple[Format, ...] = ("onnx", "torch")
COUNTS = (1, 8, 32)  # clips at once
Samples = Mapping[str, Tensor]


def main() -> None:
    """Export every network, then time it and its files in turn."""
    parser = options(__doc__, rounds=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--run", type=Path, help="a finished run, whose trained networks are exported")
    parser.add_argument("--data", type=Path, help="where that run's data lie now")
    args = parser.parse_args()
    rounds = 2 if args.quick else args.rounds
    torch.set_num_threads(args.threads)
    result: dict[str, Any] = machine(args.threads)
    result |= {"onnxruntime": onnxruntime.__version__, "rounds": rounds, "rows": []}
    print(f"{said(result)}, onnxruntime {onnxruntime.__version__}")
    networks = drawn(args.quick) if args.run is None else trained(args.run, args.data)
    for name, network, samples in networks:
        with tempfile.TemporaryDirectory() as folder:
            counts = COUNTS[:1] if args.quick else COUNTS
            for row in measured(Exported(network), samples, Path(folder), args.threads, rounds, counts):
                result["rows"].append({"method": name, **row})
                print(told(result["rows"][-1]))
    finish(args.json, result)


def drawn(quick: bool) -> Iterator[tuple[str, Network, Samples]]:
    """Networks of GloVid's shapes with random weights, and noise."""
    for name, make in list(METHODS.items())[: 1 if quick else None]:
        torch.manual_seed(0)
        encoders = {m: GLOVID_FEATURES.modality(m).encoder(shape) for m, shape in SHAPES.items()}
        samples = {name: torch.randn(COUNTS[-1], *shape) for name, shape in SHAPES.items()}
        yield name, Network(encoders, make({"video": GRID, "gloves": GLOVE_GRID})).eval(), samples


def trained(run: Path, data: Path | None) -> Iterator[tuple[str, Network, Samples]]:
    """The fusions of a finished run's first fold and seed, and clips that they were tested on."""
    finished = FinishedRun.open(run, data)
    for name, method in finished.methods.items():
        if method.keys and len(method.modalities) > 1:
            fold, clips = next(iter(method.keys)), finished.clips(name)
            tested, network = finished.tested(name, fold), finished.network(name, fold, clips)
            spread = np.linspace(0, len(tested) - 1, min(COUNTS[-1], len(tested))).round().astype(int)
            yield name, network, clips.batch(tuple(network.encoders), tested[spread])


def measured(
    module: Exported, samples: Samples, folder: Path, threads: int, rounds: int, counts: tuple[int, ...]
) -> list[dict[str, Any]]:
    """A row for each number of clips: milliseconds, ratios to plait, differences, seconds of each export."""
    steps: dict[str, Callable[..., Tensor]] = {"plait": module}
    seconds, differences = {}, {}
    shapes = {name: tuple(clips.shape[1:]) for name, clips in samples.items()}
    for to in FORMATS:
        start, file = time.perf_counter(), folder / f"network{ENDINGS[to]}"
        differences[to] = export(module, shapes, file, to, samples=samples)
        seconds[to] = time.perf_counter() - start
        steps[to] = (
            opened(file, threads, module.modalities) if to == "onnx" else torch.export.load(file).module()
        )
    rows = []
    for count in counts:
        clips = [samples[name][:count] for name in module.modalities]

        def timed(step: Callable[..., Tensor], clips: list[Tensor] = clips) -> Callable[[], Tensor]:
            return lambda: step(*clips)

        calls = {name: timed(step) for name, step in steps.items()}
        with torch.inference_mode():
            in_turn(calls, 2)  # does not count
            ms = {name: 1e3 * s for name, s in medians(in_turn(calls, rounds)).items()}
        ratios = {f"ratio_{to}": ms["plait"] / ms[to] for to in FORMATS}
        rows.append({"clips": count, "ms": ms, **ratios, "difference": differences, "export_s": seconds})
    return rows


def opened(file: Path, threads: int, modalities: tuple[str, ...]) -> Callable[..., Tensor]:
    """What an ONNX file does."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])

    def run(*clips: Tensor) -> Tensor:
        named = {name: clip.numpy() for name, clip in zip(modalities, clips, strict=True)}
        return torch.from_numpy(session.run(None, named)[0])

    return run


def told(row: dict[str, Any]) -> str:
    """A row in words."""
    ms = row["ms"]
    others = ", ".join(
        f"{to} {ms[to]:.2f} ms ({row[f'ratio_{to}']:.2f} x, {row['difference'][to]:.0e} off)"
        for to in FORMATS
    )
    exports = ", ".join(f"{row['export_s'][to]:.1f}" for to in FORMATS)
    line = f"{row['method']:10} {row['clips']:2} clips: plait {ms['plait']:.2f} ms, {others}"
    return f"{line}; exported in {exports} s"


if __name__ == "__main__":
    main()
