"""An encoder as blocks in a row, and what is left of it behind a frozen front: blocks that are trained."""

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from plait.errors import ConfigError

Statistics = Literal["kept", "moving"]
Module = TypeVar("Module", bound=nn.Module)


class Chain(NamedTuple):
    """What an encoder says by its method `chain()`, if it can be cut between blocks.

    Args:
        blocks: in order, by name; each is given what the one before it makes, maps of channels first. No
            block hangs on the shape of the clips.
        front: of a number of blocks, the encoder that ends behind so many: a grid `(b, t, *map, channels)`.
        frames: blocks see frames one by one, `(b t) c h w`, or else whole clips, `b c t h w`.
        close: from the grid `(b, t, h, w, channels)` behind the last block to the encoder's own.
    """

    blocks: dict[str, nn.Module]
    front: Callable[[int], nn.Module]
    frames: bool
    close: Callable[[Tensor], Tensor] | None = None


def with_parts(module: Module, **parts: nn.Module) -> Module:
    """A module like another, weights and all, with these modules in the place of its own of these names."""
    like = copy.copy(module)
    like._modules = {**module._modules, **parts}
    return like


def in_a_row(network: nn.Module, names: Sequence[str] = ()) -> dict[str, nn.Module]:
    """What an `nn.Sequential` holds, by `names` or its own.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(network, nn.Sequential):
        raise ConfigError(f"a {type(network).__name__}, expected an nn.Sequential, whose parts are in a row")
    children = dict(network.named_children())
    return flat(dict(zip(names or children, children.values(), strict=True)))


def flat(blocks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Blocks in a row, with what plain `nn.Sequential`s hold in their places: `layer4` is `layer4.0`, ..."""
    found: dict[str, nn.Module] = {}
    for name, block in blocks.items():
        inner = dict(block.named_children()) if type(block) is nn.Sequential else {}
        found |= {f"{name}.{key}": part for key, part in flat(inner).items()} if inner else {name: block}
    return found


def memory_of(weight: Tensor) -> tuple[int, int]:
    """Where a tensor's numbers lie: the address of the first, and the one behind the last."""
    reach = sum((size - 1) * stride for size, stride in zip(weight.shape, weight.stride(), strict=True)) + 1
    start = weight.data_ptr()
    return start, start + (reach * weight.element_size() if weight.numel() else 0)


class Tuned(nn.Module):
    """The blocks of an encoder from the first that is trained to its end, on activations in front of them.

    Blocks behind that are not trained hand on the gradient and stay as they are, in eval mode.

    Args:
        chain: the whole encoder.
        trained: names of the blocks that are trained, one at least.
        statistics: those of normalisations in trained blocks that track any, as batch normalisations do, are
            `kept`, as their networks' authors left them, or `moving`, those of each batch in training; gain
            and shift are trained in both.
        checkpoint: activations within blocks are not kept but made once more for the gradient: less memory,
            more time, the same numbers.
        precision: that blocks compute in, by `torch.autocast`; weights and what comes out stay float32.
        learning_rate: the optimizer's for these blocks; by default as for all else.

    Raises:
        ConfigError: `checkpoint` with moving statistics, which would move twice; or two blocks of one name.
    """

    def __init__(
        self,
        chain: Chain,
        trained: Collection[str],
        *,
        statistics: Statistics = "kept",
        checkpoint: bool = False,
        precision: torch.dtype = torch.float32,
        learning_rate: float | None = None,
    ) -> None:
        super().__init__()
        names = list(chain.blocks)
        names = names[min(map(names.index, trained)) :]
        self.blocks = nn.ModuleDict({_key(name): chain.blocks[name] for name in names})
        if len(self.blocks) < len(names):
            raise ConfigError(f"blocks that are called alike: {', '.join(names)}, expected each once")
        self.trained = tuple(_key(name) for name in names if name in trained)
        self.frames, self.close = chain.frames, chain.close
        self.statistics, self.checkpoint, self.precision = statistics, checkpoint, precision
        self.learning_rate = learning_rate
        if checkpoint and statistics == "moving":
            raise ConfigError("checkpoint = true with statistics = 'moving', which would move twice")
        for name, block in self.blocks.items():
            block.requires_grad_(name in self.trained)
        self.train()

    def train(self, mode: bool = True) -> "Tuned":
        """Training mode for the blocks that are trained, but for normalisations whose statistics stay."""
        super().train(mode)
        for name, block in self.blocks.items():
            if name not in self.trained:
                block.eval()
            elif self.statistics == "kept":
                for part in block.modules():
                    if isinstance(part, _NormBase):
                        part.eval()
        return self

    def forward(self, grid: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b *grid n"]:
        """The encoder's grid, from the activations in front of its first trained block."""
        maps = rearrange(grid, "b t h w c -> (b t) c h w" if self.frames else "b t h w c -> b c t h w")
        with torch.autocast(maps.device.type, self.precision, enabled=self.precision != torch.float32):
            for block in self.blocks.values():
                again = self.checkpoint and torch.is_grad_enabled()
                maps = _again(block, maps) if again else block(maps)
        back = "(b t) c h w -> b t h w c" if self.frames else "b c t h w -> b t h w c"
        made = rearrange(maps.float(), back, b=grid.shape[0])
        return made if self.close is None else self.close(made)


def _again(block: nn.Module, maps: Tensor) -> Tensor:
    made: Any = checkpoint(block, maps, use_reentrant=False)
    out: Tensor = made
    return out


def _key(name: str) -> str:
    """A block's name as a part's of a module: it holds no dot, and is no name that every one has."""
    key = name.replace(".", "_")
    return f"{key}_" if hasattr(nn.ModuleDict(), key) else key
