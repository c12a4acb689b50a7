"""A frozen network run faster: one switch, the same numbers."""

import importlib.metadata
import operator
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from plait.encoders.chain import with_parts
from plait.encoders.frames import FrameNet
from plait.errors import ConfigError, PlaitWarning, one_line

ENGINES = ("torch", "compile", "openvino")
Encode = Callable[[Tensor], Tensor]


def accelerate(network: nn.Module, example: Tensor, engine: str = "torch") -> Encode:
    """`network` in eval mode as a function of tensors of `example`'s shape; outputs agree to 1e-3 relative.

    `torch` folds batch normalisations into convolutions, keeps their weights channels-last and needs nothing
    else; `compile` is `torch.compile` with frozen weights and needs a C++ compiler; `openvino` runs on the
    CPU, in float32, and needs `plait[openvino]`.

    Raises:
        ConfigError: there is no such engine, or it is not to be had here.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine {engine!r}, expected one of: {', '.join(ENGINES)}")
    network = network.eval().requires_grad_(False)
    if engine == "openvino":
        if example.device.type != "cpu":
            raise ConfigError("engine 'openvino' runs on the CPU: --device cpu, or another engine")
        return _openvino(network, example)
    if engine == "compile":  # which folds by itself, and picks its own order
        return _compiled(_graph(network, example, fold=False), example)
    for part in network.modules():
        if isinstance(part, FrameNet) and example.device.type == "cpu":
            part.at_once = 8  # activations of more do not stay in the processor's cache
    if isinstance(network, FrameNet):
        return _inferring(_by_pieces(network, example))
    return _inferring(_graph(network, example, fold=True))


def engine_version(engine: str) -> str:
    """The engine and the version of what runs it.

    Raises:
        ConfigError: it is not installed.
    """
    package = "openvino" if engine == "openvino" else "torch"
    try:
        return f"{engine} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError as error:
        raise ConfigError(f"engine {engine!r} is not installed: pip install 'plait[{engine}]'") from error


def folded(network: nn.Module, example: Tensor) -> nn.Module:
    """A copy of an eval-mode network for one shape, every batch normalisation in the convolution before it.

    Its weights are kept channels-last, so that a channels-last clip is never copied into another order.
    """
    program = torch.export.export(network, (example,))
    module = program.module()
    assert isinstance(module, fx.GraphModule)
    aten = torch.ops.aten
    convolutions = (aten.conv2d.default, aten.conv3d.default)
    users = {node: len(node.users) for node in module.graph.nodes}
    names: dict[tuple[str, ...], list[str]] = {}
    for node in list(module.graph.nodes):
        if node.target is not aten.batch_norm.default:
            continue
        before = node.args[0]
        if before.target not in convolutions or users[before] > 1:
            continue
        arguments = (*before.args[1:3], *[None] * (3 - len(before.args)), *node.args[1:5])
        kernel, bias, gain, shift, mean, variance = (_constant(module, argument) for argument in arguments)
        if kernel is None or mean is None or variance is None:
            continue
        key = (str(before.args[1]), str(node.args[3]), str(node.args[4]))
        if key not in names:
            scale = (variance + node.args[7]).rsqrt()
            scale = scale if gain is None else scale * gain
            moved = ((0 if bias is None else bias) - mean) * scale + (0 if shift is None else shift)
            order = torch.channels_last if kernel.ndim == 4 else torch.channels_last_3d
            weight = (kernel * scale.view(-1, *[1] * (kernel.ndim - 1))).contiguous(memory_format=order)
            names[key] = [f"folded_{len(names)}_{part}" for part in ("weight", "bias")]
            for name, value in zip(names[key], (weight, moved), strict=True):
                module.register_buffer(name, value)
        with module.graph.inserting_before(before):
            constants = [module.graph.get_attr(name) for name in names[key]]
        before.args = (before.args[0], *constants, *before.args[3:])
        node.replace_all_uses_with(before)
        module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _constant(module: nn.Module, node: object) -> Tensor | None:
    """The tensor that a node of the graph stands for, if it is a constant."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    value = operator.attrgetter(str(node.target))(module)
    return value.detach() if isinstance(value, Tensor) else None


class _Pieces(nn.Module):
    """A network of images, as a graph for each shape that came while it was `open`, when it gives zeros."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.open = network, True
        self.graphs: dict[torch.Size, nn.Module] = {}

    def forward(self, images: Tensor) -> Tensor:
        if self.open:
            if images.shape not in self.graphs:
                self.graphs[images.shape] = _graph(self.network, images, fold=True)
            return images.new_zeros(len(images), 1, 1, 1)
        maps: Tensor = self.graphs.get(images.shape, self.network)(images)
        return maps


def _by_pieces(network: FrameNet, example: Tensor) -> nn.Module:
    """The same with its network of images as a graph: of a piece of the frames, not of each piece anew."""
    pieces = _Pieces(network.network)
    whole = with_parts(network, network=pieces)
    whole(example)
    pieces.open = False
    return whole


def _graph(network: nn.Module, example: Tensor, fold: bool) -> nn.Module:
    """A network as a graph; one that torch cannot write down so runs as it is, and a warning says so."""
    try:
        return folded(network, example) if fold else torch.export.export(network, (example,)).module()
    except Exception as error:  # whatever in it depends on values, or is no torch
        why = f"torch.export cannot write it down ({one_line(error)}); it runs as it is, slower"
        warnings.warn(f"{type(network).__name__}: {why}", PlaitWarning, stacklevel=3)
        return network


def _inferring(run: Callable[[Tensor], Tensor]) -> Encode:
    def infer(clips: Tensor) -> Tensor:
        with torch.inference_mode():
            return run(clips)

    return infer


def _compiled(network: nn.Module, example: Tensor) -> Encode:
    run = _inferring(torch.compile(network, options={"freezing": True}))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of others, about their own future
            run(example)
    except Exception as error:  # no compiler, or code that it cannot take
        remedy = "the engine 'torch' needs no compiler"
        raise ConfigError(f"engine 'compile': {one_line(error)}; {remedy}") from error
    return run


def _openvino(network: nn.Module, example: Tensor) -> Encode:
    try:
        import openvino
    except ImportError as error:
        raise ConfigError("engine 'openvino' is not installed: pip install 'plait[openvino]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = openvino.convert_model(torch.export.export(network, (example,)))
    except Exception as error:  # as above, or an operation that OpenVINO does not know
        why = f"{type(network).__name__} cannot be converted ({one_line(error)})"
        raise ConfigError(f"engine 'openvino': {why}; the engine 'torch' takes it") from error
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.Core().compile_model(model, "CPU", settings)

    def infer(clips: Tensor) -> Tensor:
        return torch.from_numpy(compiled([clips.detach().numpy()])[0].copy())

    return infer
