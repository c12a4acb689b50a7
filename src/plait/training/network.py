"""Encoders and a method as one network: a clip's tensors -> grids -> class scores."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from plait.config import Encoder, Method
from plait.encoders.weights import read_weights
from plait.errors import ConfigError, DataError, own_code
from plait.fusion.grids import Reads, is_known, mean_of
from plait.objects import made, resolve
from plait.types import Dataset


class Network(nn.Module):
    """One encoder per modality, then a method over their grids; trained as one.

    Args:
        encoders: from a modality's tensor `(b, *shape)` to its grid, by modality.
        method: from grids by modality to logits.
        frozen: modalities whose encoders are not trained: no gradient, no moving statistics either.
        precision: under bfloat16 the method computes in it what `torch.autocast` names, unless its `reads`
            says float32; encoders, weights and logits stay float32.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        method: nn.Module,
        frozen: Collection[str] = (),
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        reads = getattr(method, "reads", None)  # anything else of that name is somebody's own
        self.reads = reads if isinstance(reads, Reads) else Reads()
        self.precision = torch.float32 if self.reads.float32 else precision
        self.encoders = nn.ModuleDict(encoders)
        self.method = method
        self.frozen = tuple(frozen)
        for name in self.frozen:
            self.encoders[name].requires_grad_(False)

    @property
    def needs(self) -> frozenset[str]:
        """The modalities without which it sees nothing."""
        return frozenset(self.encoders) - frozenset(self.reads.optional)

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

        Modalities that the method reads as `optional` may be absent.
        """
        entering: dict[str, Tensor] = {}
        for name, encoder in self.encoders.items():
            if name in self.reads.optional and name not in clip and not is_known(name, grids):
                continue
            if not is_known(name, grids):
                entering[name] = encoder(clip[name])
            entering |= {key: grids[key] for key in (name, mean_of(name)) if key in grids}
        if self.precision == torch.float32:
            logits: Tensor = self.method(entering)
            return logits
        with torch.autocast(next(iter(entering.values())).device.type, self.precision):
            logits = self.method(entering)
        return logits.float()


def build(
    method: Method,
    dataset: Dataset,
    shapes: Mapping[str, tuple[int, ...]],
    where: str,
    precision: torch.dtype = torch.float32,
) -> Network:
    """The network of one method, freshly initialised from torch's global generator.

    Args:
        method: what to build, with every donor's encoder spelled out.
        dataset: whose encoders are the default, and whose activities are the classes.
        shapes: of each modality's tensor, without the batch axis.
        where: what errors call the method.
        precision: as in `Network`.

    Raises:
        ConfigError: a class is not found, or does not take its arguments.
        PlaitError: what the encoders and the method themselves refuse.
    """
    encoders: dict[str, nn.Module] = {}
    for name in method.modalities:
        encoder = method.encoders.get(name, Encoder())
        make = maker(encoder, dataset, name, where)
        encoders[name] = made(make, (shapes[name],), encoder.args, f"{where}.encoders.{name}")
    grids = {name: grid_shape(encoder, shapes[name]) for name, encoder in encoders.items()}
    assert method.use is not None
    make = resolve(method.use, f"{where}.use")
    fusion = made(make, (grids, len(dataset.activities)), method.args, f"{where}.args")
    frozen = [name for name, encoder in method.encoders.items() if encoder.frozen]
    return Network(encoders, fusion, frozen, precision)


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
    network = build(method, dataset, shapes, where, precision)
    try:
        network.load_state_dict(read_weights(weights))
    except (DataError, RuntimeError) as error:
        raise DataError(f"{weights}: not readable, or of other code; run the study again") from error
    return network.eval()


def save_weights(network: Network, path: Path) -> None:
    """A network's parameters and buffers as a safetensors file."""
    save_file({n: w.detach().cpu().contiguous().clone() for n, w in network.state_dict().items()}, path)


def inherit(network: Network, donors: Mapping[str, Path]) -> None:
    """Give `network` the encoders, by modality, of the donors' networks, kept in these files.

    Raises:
        DataError: a file is missing or damaged.
    """
    for modality, path in donors.items():
        prefix = f"encoders.{modality}."
        try:
            weights = {
                name.removeprefix(prefix): weight
                for name, weight in read_weights(path).items()
                if name.startswith(prefix)
            }
            network.encoders[modality].load_state_dict(weights)
        except (DataError, RuntimeError) as error:
            raise DataError(f"{path}: not readable; remove its folder and run again") from error
