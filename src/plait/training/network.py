"""Encoders and a method as one network: a clip's tensors -> grids -> class scores."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from plait.config import Encoder, Method
from plait.encoders.weights import read_weights
from plait.errors import ConfigError, DataError, own_code
from plait.features.cut import tuned_of
from plait.fusion.contraction import average
from plait.fusion.grids import Reads, is_known, mean_of
from plait.objects import made, resolve
from plait.types import Dataset


class Network(nn.Module):
    """One encoder per modality, then a method over their grids; trained as one.

    Args:
        encoders: from a modality's tensor `(b, *shape)` to its grid, by modality.
        method: from grids by modality to logits.
        frozen: modalities whose encoders are not trained: no gradient, no moving statistics either.
        shapes: of each modality's grid, without the batch axis, where they are known.
        stand_ins: modalities, of `shapes`, in whose absence the network goes on with a grid of its own, zeros
            at first: a parameter where this is true, else zeros for good.
        precision: under bfloat16 the method computes in it what `torch.autocast` names, unless its `reads`
            says float32; encoders, weights and logits stay float32.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        method: nn.Module,
        frozen: Collection[str] = (),
        precision: torch.dtype = torch.float32,
        shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
        stand_ins: Mapping[str, bool] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        reads = getattr(method, "reads", None)  # anything else of that name is somebody's own
        self.reads = reads if isinstance(reads, Reads) else Reads()
        self.precision = torch.float32 if self.reads.float32 else precision
        self.encoders = nn.ModuleDict(encoders)
        self.method = method
        self.frozen = tuple(frozen)
        self.shapes = dict(shapes)
        self.stand_ins = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(shapes[name]), trained) for name, trained in stand_ins.items()}
        )
        for name in self.frozen:
            self.encoders[name].requires_grad_(False)

    @property
    def needs(self) -> frozenset[str]:
        """The modalities without which it sees nothing."""
        return frozenset(self.encoders) - frozenset(self.reads.optional) - frozenset(self.stand_ins.keys())

    def sees(self, held: Collection[str]) -> bool:
        """Whether it tells anything of a clip that holds these modalities alone."""
        return self.needs <= set(held) and not set(held).isdisjoint(self.encoders)

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but the frozen encoders."""
        super().train(mode)
        for name in self.frozen:
            self.encoders[name].eval()
        return self

    def forward(
        self, clip: Mapping[str, Tensor], grids: Mapping[str, Tensor] = MappingProxyType({})
    ) -> Float[Tensor, "b classes"]:
        """Logits from one tensor `(b, *shape)` per modality, or from its grid or mean where one is known.

        Modalities that the method reads as `optional`, or that have a stand-in, may be absent.
        """
        return self.outputs(self.enter(clip, grids))["logits"]

    def enter(
        self, clip: Mapping[str, Tensor], grids: Mapping[str, Tensor] = MappingProxyType({})
    ) -> dict[str, Tensor]:
        """The grids and means that the method is given, from what `forward` is given."""
        entering: dict[str, Tensor] = {}
        for name, encoder in self.encoders.items():
            absent = name not in clip and not is_known(name, grids)
            if absent and name in self.stand_ins:
                count = next(iter({**clip, **grids}.values())).shape[0]
                entering[name] = self.stood_in(name, count)
            if absent and (name in self.stand_ins or name in self.reads.optional):
                continue
            if not is_known(name, grids):
                entering[name] = encoder(clip[name])
            entering |= {key: grids[key] for key in (name, mean_of(name)) if key in grids}
        return entering

    def completed(self, grids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Grids, one at least, with stand-ins for those that are not there."""
        count = next(iter(grids.values())).shape[0]
        missing = [name for name in self.stand_ins if not is_known(name, grids)]
        return {**grids, **{name: self.stood_in(name, count) for name in missing}}

    def stood_in(self, name: str, count: int) -> Float[Tensor, "b *grid n"]:
        """The stand-in of a modality, for so many clips."""
        stand_in: Tensor = self.stand_ins[name]
        return stand_in.expand(count, *stand_in.shape)

    def outputs(
        self,
        grids: Mapping[str, Tensor],
        held: Mapping[str, Tensor] = MappingProxyType({}),
        more: bool = False,
    ) -> dict[str, Tensor]:
        """What the method makes of its grids: `logits` and, if asked for `more`, whatever else it names.

        A method names more by a method of its own, `outputs(grids) -> dict`, of `logits` and of tensors that
        all have a row for each clip.

        Args:
            grids: as `enter` gives them.
            held: by modality, which clips `(b,)` hold it, bool; those named hold it all. The others' grids
                are the stand-in's, or else are withheld from the method, which is called once for all clips
                that hold the same.
            more: whether other outputs are wanted.
        """
        entering, lacking = dict(grids), {}
        for name, holds in held.items():
            if bool(holds.all()):
                continue
            if name not in self.stand_ins:
                lacking[name] = holds
                continue
            stand_in = self.stood_in(name, 1)
            for key, other in ((name, stand_in), (mean_of(name), average(stand_in))):
                if key in entering:
                    rows = holds.view(-1, *[1] * (other.ndim - 1))
                    entering[key] = torch.where(rows, entering[key], other.to(entering[key].dtype))
        if not lacking:
            return self._outputs(entering, more)
        kinds, kind_of = torch.unique(torch.stack(list(lacking.values()), dim=1), dim=0, return_inverse=True)
        groups = [(kind_of == kind).nonzero().squeeze(1) for kind in range(len(kinds))]
        parts = []
        for holds, rows in zip(kinds.tolist(), groups, strict=True):
            absent = {name for name, held_here in zip(lacking, holds, strict=True) if not held_here}
            absent |= {mean_of(name) for name in absent}
            part = {key: grid[rows] for key, grid in entering.items() if key not in absent}
            parts.append(self._outputs(part, more))
        order = torch.cat(groups).argsort()
        named = [key for key in parts[0] if all(key in part for part in parts)]
        return {key: torch.cat([part[key] for part in parts])[order] for key in named}

    def _outputs(self, entering: dict[str, Tensor], more: bool) -> dict[str, Tensor]:
        """What the method makes of the grids that it is given."""
        naming: Any = self.method if more and names_outputs(self.method) else None
        if self.precision == torch.float32:
            return {"logits": self.method(entering)} if naming is None else naming.outputs(entering)
        with torch.autocast(next(iter(entering.values())).device.type, self.precision):
            made = {"logits": self.method(entering)} if naming is None else naming.outputs(entering)
        return {key: output.float() for key, output in made.items()}


def names_outputs(method: nn.Module) -> bool:
    """Whether a method has `outputs` that go with its `forward`: written in the same class, or below it."""
    for kind in type(method).__mro__:
        if "outputs" in vars(kind):
            return True
        if "forward" in vars(kind):
            return False
    return False


def build(
    method: Method,
    dataset: Dataset,
    shapes: Mapping[str, tuple[int, ...]],
    where: str,
    precision: torch.dtype = torch.float32,
    stand_ins: Mapping[str, bool] = MappingProxyType({}),
) -> Network:
    """The network of one method, freshly initialised from torch's global generator.

    Args:
        method: what to build, with every donor's encoder spelled out.
        dataset: whose encoders are the default, and whose activities are the classes.
        shapes: of each modality's tensor, without the batch axis.
        where: what errors call the method.
        precision: as in `Network`.
        stand_ins: likewise; those of other modalities than the method's are not looked at.

    Raises:
        ConfigError: a class is not found, or does not take its arguments.
        PlaitError: what the encoders and the method themselves refuse.
    """
    encoders: dict[str, nn.Module] = {}
    for name in method.modalities:
        encoder = method.encoders.get(name, Encoder())
        here = f"{where}.encoders.{name}"
        encoders[name] = encoder_of(encoder, maker(encoder, dataset, name, where), shapes[name], here)
    grids = {name: grid_shape(encoder, shapes[name]) for name, encoder in encoders.items()}
    assert method.use is not None
    make = resolve(method.use, f"{where}.use")
    fusion = made(make, (grids, len(dataset.activities)), method.args, f"{where}.args")
    frozen = [name for name, encoder in method.encoders.items() if encoder.frozen]
    known = {name: trained for name, trained in stand_ins.items() if name in grids}
    return Network(encoders, fusion, frozen, precision, grids, known)


def maker(own: Encoder, dataset: Dataset, name: str, where: str = "study") -> Callable[..., nn.Module]:
    """What makes a modality's encoder: the method's own choice, nothing upon features, or the data set's.

    Args:
        own: the method's choice.
        dataset: whose choice is the default.
        name: of the modality.
        where: what errors call the method.

    Raises:
        ConfigError: the choice is not found.
    """
    if own.use:
        make: Callable[..., nn.Module] = resolve(own.use, f"{where}.encoders.{name}.use")
        return make
    return nn.Identity if own.features else dataset.modality(name).encoder


def encoder_of(own: Encoder, make: Callable[..., nn.Module], shape: tuple[int, ...], where: str) -> nn.Module:
    """A modality's encoder, freshly made; of a network with blocks that are trained, what begins with these.

    Args:
        own: the method's choice.
        make: what makes it, or the whole network.
        shape: of what it is given.
        where: the setting that errors name.

    Raises:
        PlaitError: it cannot be had.
    """
    if own.trainable is None:
        return made(make, (shape,), own.args, where)
    options = own.trainable
    return tuned_of(
        make,
        own.args,
        options.blocks,
        f"{where}.trainable",
        statistics=options.statistics,
        checkpoint=options.checkpoint,
        precision=getattr(torch, options.precision),
        learning_rate=options.lr,
    )


def grid_shape(encoder: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an encoder's grid without the batch axis, by a dry run on zeros.

    Raises:
        ConfigError: it fails, or gives something else than a tensor.
    """
    training, called = encoder.training, f"encoder {type(encoder).__name__}"
    with own_code(f"{called}: fails on clips of {shape}", passing=()), torch.no_grad():
        grid = encoder.eval()(torch.zeros(2, *shape))
    encoder.train(training)
    if not isinstance(grid, Tensor):
        raise ConfigError(f"{called}: gave a {type(grid).__name__}, expected a torch.Tensor")
    return tuple(grid.shape[1:])


def restored(
    method: Method,
    dataset: Dataset,
    shapes: Mapping[str, tuple[int, ...]],
    where: str,
    weights: Path,
    precision: torch.dtype = torch.float32,
) -> Network:
    """A method's network with its weights from a job's file, in eval mode; other arguments as in `build`.

    Raises:
        DataError: the file is missing or damaged, or of other code.
    """
    other = f"{weights}: not readable, or of other code; run the study again"
    try:
        state = read_weights(weights)
    except DataError as error:
        raise DataError(other) from error
    network = build(method, dataset, shapes, where, precision, stand_ins_of(state))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(other) from error
    return network.eval()


def stand_ins_of(state: Collection[str]) -> dict[str, bool]:
    """The stand-ins that a trained network has, by the names of its weights."""
    prefix = "stand_ins."
    return {name.removeprefix(prefix): False for name in state if name.startswith(prefix)}


def save_weights(network: Network, path: Path) -> None:
    """A network's parameters and buffers as a safetensors file."""
    save_file({n: w.detach().cpu().contiguous().clone() for n, w in network.state_dict().items()}, path)


def inherit(network: Network, donors: Mapping[str, Path]) -> None:
    """Give `network` the encoders, by modality, of the donors' networks, kept in these files.

    Raises:
        DataError: a file is missing or damaged.
    """
    for modality, path in donors.items():
        give(network.encoders[modality], modality, path)


def give(encoder: nn.Module, modality: str, donor: Path) -> None:
    """Give an encoder the weights that a modality's has in a donor's file.

    Raises:
        DataError: the file is missing or damaged.
    """
    prefix = f"encoders.{modality}."
    try:
        state = read_weights(donor)
        own = {n.removeprefix(prefix): weight for n, weight in state.items() if n.startswith(prefix)}
        encoder.load_state_dict(own)
    except (DataError, RuntimeError) as error:
        raise DataError(f"{donor}: not readable; remove its folder and run again") from error
