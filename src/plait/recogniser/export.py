"""A trained network as one file that runs without plait: of `torch.export`, or ONNX."""

import copy
import io
import logging
import math
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils._pytree import tree_map

from plait.analysis.calibration import LEAST
from plait.clips import listed, tensors
from plait.encoders.chain import Tuned
from plait.encoders.frames import FrameNet
from plait.errors import ConfigError, one_line
from plait.fusion import Average
from plait.recogniser.fused import Fused
from plait.recogniser.program_files import ENDINGS, NOTHING, About, Format, Run, to_onnx, to_torch
from plait.recogniser.recogniser import Recogniser
from plait.store import atomic
from plait.training.network import Network
from plait.types import Dataset

TOLERANCE = 1e-4  # of a probability
MOST_CLIPS = 4096  # that go through an exported network together
UNDIVIDED = 2**40  # frames, more than there ever are


class Exported(nn.Module):
    """A trained network from clips to probabilities, in float32 whatever precision it was trained in.

    Args:
        network: as it was trained.
        temperature: what logits are divided by before the softmax.
        front: by modality, the frozen network whose features its encoder was trained on.
        without: modalities that are not there: the network goes on with their stand-ins, or does without.

    Raises:
        ConfigError: `front` names a modality that the network does not have.
    """

    def __init__(
        self,
        network: Network,
        temperature: float = 1.0,
        front: Mapping[str, nn.Module] = MappingProxyType({}),
        without: Collection[str] = (),
    ) -> None:
        super().__init__()
        for name in front:
            if name not in network.encoders:
                expected = ", ".join(network.encoders)
                raise ConfigError(f"front of {name!r}, expected one of the network's modalities: {expected}")
        self.encoders, self.order = nn.ModuleDict(), tuple(network.encoders)
        self.stand_ins = nn.ParameterDict({n: g for n, g in network.stand_ins.items() if n in without})
        for name, encoder in network.encoders.items():
            if name in without:
                continue
            if isinstance(encoder, Tuned):
                encoder = copy.copy(encoder)
                encoder.precision = torch.float32
            self.encoders[name] = nn.Sequential(front[name], encoder) if name in front else encoder
        self.method = network.method
        self.temperature = temperature

    @property
    def modalities(self) -> tuple[str, ...]:
        """In the order in which `forward` takes their clips."""
        return tuple(self.encoders)

    def forward(self, *clips: Float[Tensor, "b *shape"]) -> Float[Tensor, "b classes"]:
        """Probabilities from a tensor for each of `modalities`."""
        pairs = zip(self.encoders.items(), clips, strict=True)
        grids = {name: encoder(clip) for (name, encoder), clip in pairs}
        for name, grid in self.stand_ins.items():
            grids[name] = grid.expand(clips[0].shape[0], *grid.shape)
        logits: Tensor = self.method({name: grids[name] for name in self.order if name in grids})
        return (logits / self.temperature).softmax(-1)


class Several(nn.Module):
    """Several networks' probabilities made one; those of the same modality are given the same clips.

    Args:
        members: the networks, each at a temperature of 1.
        temperature: what logarithms of the result are divided by.
        fuse: from their probabilities to one; by default the mean.
        silent: places, among those that are fused, of networks that are left out, and say nothing.
    """

    def __init__(
        self,
        members: Sequence[Exported],
        temperature: float = 1.0,
        fuse: Fused | None = None,
        silent: Collection[int] = (),
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.fuse = fuse or Fused([range(len(members))], [Average()])
        self.silent = tuple(silent)
        self.members: Sequence[Any] = nn.ModuleList(members)  # type: ignore[assignment]

    @property
    def modalities(self) -> tuple[str, ...]:
        """In the order in which `forward` takes their clips."""
        return tuple(dict.fromkeys(name for member in self.members for name in member.modalities))

    def forward(self, *clips: Float[Tensor, "b *shape"]) -> Float[Tensor, "b classes"]:
        """Probabilities from a tensor for each of `modalities`."""
        named = dict(zip(self.modalities, clips, strict=True))
        made = [member(*(named[name] for name in member.modalities)) for member in self.members]
        says = [torch.ones_like(scores[:, 0], dtype=torch.bool) for scores in made]
        for place in self.silent:
            made.insert(place, torch.full_like(made[0], 1 / made[0].shape[1]))
            says.insert(place, torch.zeros_like(says[0]))
        mean: Tensor = self.fuse(torch.stack(made), torch.stack(says))
        return mean if self.temperature == 1 else (mean.clamp(min=LEAST).log() / self.temperature).softmax(-1)


def exported(recogniser: Recogniser, without: Collection[str] = ()) -> Exported | Several:
    """A recogniser as one network: from the tensors of a window's modalities to its scores.

    Args:
        recogniser: whose networks these are.
        without: modalities that are never there; all others must be, for what is done without one is decided
            outside of a network. Of an average, networks that see nothing without them are left out.

    Raises:
        ConfigError: there is no such modality, or nothing is seen without them.
    """
    for name in without:
        if name not in recogniser.facts.sensors:
            raise ConfigError(
                f"--without {name}: no such modality, expected some of: {', '.join(recogniser.facts.sensors)}"
            )
    present = recogniser.facts.sensors.keys() - set(without)
    able = [m for m in recogniser.members if m.sees(present & set(m.network.encoders))]
    if not able:
        raise ConfigError(f"--without {', '.join(without)}: {recogniser.lacks(present)}")
    alone, temperature = len(recogniser.members) == 1, recogniser.facts.temperature
    members = []
    for member in able:
        front = {modality: recogniser.fronts[key].encoder for modality, key in member.features.items()}
        own = [name for name in without if name in member.network.encoders]
        members.append(Exported(member.network, temperature if alone else 1.0, front, own))
    silent = [place for place, member in enumerate(recogniser.members) if member not in able]
    return members[0] if alone else Several(members, temperature, recogniser.fuse, silent)


def about(recogniser: Recogniser, modalities: Sequence[str]) -> dict[str, Any]:
    """What whoever has an exported file alone must know of its clips and scores, in terms of JSON.

    Args:
        recogniser: that was exported.
        modalities: whose clips the file takes, in order.
    """
    facts = recogniser.facts
    inputs = {}
    for name in modalities:
        sensor = facts.sensors[name]
        columns = {stream: facts.columns[stream] for stream in sensor.streams if stream in facts.columns}
        inputs[name] = {
            "shape": sensor.shape,
            "streams": sensor.streams,
            "columns": columns,
            "samples": sensor.samples,
            "rate_hz": sensor.rate_hz,
        }
    return {
        "activities": facts.activities,
        "inputs": inputs,
        "seconds": facts.seconds,
        "stride_s": facts.stride_s,
        "decoding": facts.decoding.table(),
        "unlabelled": asdict(facts.unlabelled),
        "dataset": facts.dataset,
        "model": facts.key,
    }


class _Part(NamedTuple):
    """What can be exported by itself, as errors call it, with what it is called with."""

    called: str
    module: nn.Module
    inputs: tuple[Any, ...]


def export(
    module: Exported | Several,
    shapes: Mapping[str, tuple[int, ...]],
    path: Path,
    to: Format = "onnx",
    *,
    samples: Mapping[str, Tensor],
    about: About = NOTHING,
) -> float:
    """Write a network that takes any number of clips up to `MOST_CLIPS`; how far off its probabilities are.

    The file takes float32 tensors `(b, *shape)` in the order of `module.modalities` and gives probabilities;
    in ONNX these inputs have the modalities' names, a `.pt2` file lists them in `modalities.json`. Before it
    is kept, it is opened again and given the samples, all at once, one, and two or three: probabilities must
    be within `TOLERANCE` of the network's, and labels the same.

    Args:
        module: on the CPU; it is put into eval mode.
        shapes: of each modality's tensor, without the batch axis.
        path: of the file, `.onnx` or `.pt2`.
        to: what is written; `onnx` needs `plait[export]`.
        samples: some real clips of each modality, `(n, *shape)`, as many of each.
        about: what the file says of clips and scores (`about`), in ONNX as metadata, else in `model.json`.

    Raises:
        ConfigError: the samples or the file's name are not as above, something cannot be exported, or gives
            other numbers; the message names the encoder or the method that is to blame.
        DataError: the file cannot be written.
    """
    if path.suffix != ENDINGS[to]:
        raise ConfigError(f"{path}: expected a name that ends in {ENDINGS[to]}")
    clips = _checked(module.modalities, shapes, samples)
    write = to_onnx if to == "onnx" else to_torch
    with torch.no_grad(), _undivided(module.eval()), _quiet(), atomic(path) as file:
        few = tuple(_batch(clip, 3) for clip in clips)
        program = _whole(module, few)
        try:
            run, ours = write(program, file, module.modalities, about), module(*clips)
            sizes = {len(ours), 1, 3 if len(ours) == 2 else 2}
            pairs = [(_batch(ours, size), run(*(_batch(clip, size) for clip in clips))) for size in sizes]
        except (OSError, MemoryError, ConfigError):
            raise
        except Exception as error:  # an operation that a library does not know raises anything
            culprit = _culprit(module, few, write, file)
            raise ConfigError(f"{culprit} cannot be exported: {_reason(error)}") from error
        apart = max(_apart(*pair) for pair in pairs)
        if not apart <= TOLERANCE:
            off = f"gives other numbers once exported (probabilities {apart:.1e} off)"
            raise ConfigError(f"{_culprit(module, few, write, file)} {off}, expected at most {TOLERANCE:.0e}")
        if any((expected.argmax(1) != got.argmax(1)).any() for expected, got in pairs):
            raise ConfigError(f"{path}: some clips get other labels once exported, expected the same")
    return apart


def _checked(
    modalities: Sequence[str], shapes: Mapping[str, tuple[int, ...]], samples: Mapping[str, Tensor]
) -> tuple[Tensor, ...]:
    """The samples, float32, in the order of the modalities."""
    for name in modalities:
        if name not in shapes or name not in samples:
            raise ConfigError(f"modality {name!r} has no shape or no samples, expected both")
        got, count = tuple(samples[name].shape), len(samples[modalities[0]])
        if got != (count, *shapes[name]) or count < 1:
            sizes = ", ".join(map(str, ("n", *shapes[name])))
            expected = f"({sizes}), n the same for every modality, at least 1"
            raise ConfigError(f"samples of {name!r} have shape {got}, expected {expected}")
    return tuple(samples[name].float() for name in modalities)


def _whole(module: Exported | Several, clips: tuple[Tensor, ...]) -> ExportedProgram:
    """A network as a graph, for any number of clips.

    Raises:
        ConfigError: a part of it cannot be exported; the message names it.
    """
    try:
        return _of(module, clips, strict=False)
    except MemoryError:
        raise
    except Exception:  # a part cannot be traced so: it is found and named, or its code is read instead
        return _traced(_Part("the network", _graph(module, clips, []), clips))


def _graph(
    module: Exported | Several, clips: Sequence[Tensor], parts: list[tuple[_Part, ExportedProgram | None]]
) -> Exported | Several:
    """The same network with a graph in place of each encoder and method, which are noted in `parts`.

    One by one, so that an error names what fails, and each in the way that takes it. What cannot be traced is
    noted without a graph.
    """
    named = dict(zip(module.modalities, clips, strict=True))
    if isinstance(module, Several):
        members = []
        for member in module.members:
            members.append(_graph(member, [named[name] for name in member.modalities], parts))
        return Several(members, module.temperature, module.fuse, module.silent)  # type: ignore[arg-type]

    def traced(part: _Part) -> nn.Module:
        parts.append((part, None))
        parts[-1] = part, (program := _traced(part))
        return program.module()

    graphs: dict[str, nn.Module] = {}
    grids: dict[str, Tensor] = {
        name: grid.expand(len(clips[0]), *grid.shape) for name, grid in module.stand_ins.items()
    }
    for name, encoder in module.encoders.items():
        kinds = encoder if isinstance(encoder, nn.Sequential) else [encoder]
        called = f"the encoder of {name!r} ({', '.join(type(kind).__name__ for kind in kinds)})"
        graphs[name] = traced(_Part(called, encoder, (named[name],)))
        grids[name] = _batch(encoder(named[name][:1]), len(named[name]))  # one is quicker
    grids = {name: grids[name] for name in module.order if name in grids}
    method = traced(_Part(f"the method {type(module.method).__name__}", module.method, (grids,)))
    kept = {name: graphs.get(name, nn.Identity()) for name in module.order if name in grids}
    stand_ins = {name: grid.detach() for name, grid in module.stand_ins.items()}
    shapes = {name: tuple(grid.shape) for name, grid in stand_ins.items()}
    network = Network(kept, method, shapes=shapes, stand_ins=dict.fromkeys(stand_ins, False))
    network.stand_ins.load_state_dict(stand_ins)
    return Exported(network, module.temperature, without=tuple(stand_ins))


def _traced(part: _Part) -> ExportedProgram:
    """A part as a graph, for any number of clips.

    `torch.export` first runs the code as it is, which takes most Python but no `len(clips)`; then, slower, it
    reads the code, which takes less Python but that.

    Raises:
        ConfigError: neither takes it.
    """
    for strict in (False, True):
        try:
            return _of(part.module, part.inputs, strict)
        except MemoryError:
            raise
        except Exception as error:  # whatever depends on values, or is no torch
            if strict:
                raise ConfigError(f"{part.called} cannot be exported: {_reason(error)}") from error
    raise AssertionError


def _of(module: nn.Module, inputs: tuple[Any, ...], strict: bool) -> ExportedProgram:
    """A module as a graph, in one of the ways that `torch.export` has."""
    batch = Dim("batch", min=1, max=MOST_CLIPS)
    axes = tree_map(lambda tensor: {0: batch}, inputs)
    # A module that takes *clips has one argument, a tuple, in the eyes of dynamic_shapes.
    shapes = (axes,) if isinstance(module, Exported | Several) else axes
    return torch.export.export(module, inputs, dynamic_shapes=shapes, strict=strict)


def _culprit(
    module: Exported | Several,
    clips: tuple[Tensor, ...],
    write: Callable[[ExportedProgram, Path, Sequence[str]], Run],
    file: Path,
) -> str:
    """The first part that fails by itself, or else the whole, as errors call it."""
    parts: list[tuple[_Part, ExportedProgram | None]] = []
    with suppress(Exception):  # by itself a part may fail otherwise
        _graph(module, clips, parts)
    for part, program in parts:
        if program is None:  # it cannot be traced
            return part.called
        try:
            run = write(program, file, ())
            ours, theirs = part.module(*part.inputs), run(*part.inputs)
        except Exception:  # the same as of the whole
            return part.called
        if not _apart(ours, theirs) <= TOLERANCE * max(1.0, float(ours.abs().max())):
            return part.called
    return "the network as a whole"


def _apart(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference; without end between tensors of different shapes."""
    return float((ours - theirs).abs().max()) if ours.shape == theirs.shape else math.inf


def _batch(clips: Tensor, size: int) -> Tensor:
    """So many clips, from the first on and around."""
    return clips[torch.arange(size) % len(clips)]


def _reason(error: BaseException) -> str:
    """What was first to fail, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(error)


@contextmanager
def _undivided(module: nn.Module) -> Iterator[None]:
    """Within, image networks take all frames at once: they count them only to divide them."""
    networks = [part for part in module.modules() if isinstance(part, FrameNet)]
    before = [network.at_once for network in networks]
    for network in networks:
        network.at_once = UNDIVIDED
    try:
        yield
    finally:
        for network, at_once in zip(networks, before, strict=True):
            network.at_once = at_once


@contextmanager
def _quiet() -> Iterator[None]:
    """Within, libraries do not warn, log or print: what fails is said by an error."""
    level, nowhere = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def samples_of(recogniser: Recogniser, dataset: Dataset, data: Path, count: int) -> dict[str, Tensor]:
    """Some real clips of a data set, spread over it: a tensor `(clips, *shape)` of each modality.

    Args:
        recogniser: whose modalities are wanted.
        dataset: whose clips.
        data: where they lie.
        count: how many, if there are as many.

    Raises:
        DataError: there are none, or one cannot be read.
    """
    modalities = list(recogniser.modalities.values())
    cuts = listed(dataset, data, [modality.name for modality in modalities])
    chosen = [cuts[round(place)] for place in np.linspace(0, len(cuts) - 1, min(count, len(cuts)))]
    return {modality.name: torch.stack(list(tensors(modality, chosen))).float() for modality in modalities}
