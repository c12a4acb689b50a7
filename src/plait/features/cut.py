"""A network cut in two in front of the first block that is trained: what is frozen is run once, as features.

Both halves are of one network: whatever it draws at random is drawn alike wherever it is made.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from plait.compute import seeds
from plait.contents import describe, network_key
from plait.encoders.chain import Chain, Tuned, memory_of
from plait.errors import ConfigError, PlaitError
from plait.features.alone import close
from plait.objects import made
from plait.patterns import matching

CLIP = (8, 224, 224, 3)  # blocks hang on no clip's shape, so those that are trained are made for this one
SMALL = (8, 64, 64)  # of frames, height and width: what an encoder is tried on, if it takes clips so small


def drawn_alike(
    make: Callable[..., nn.Module], shape: tuple[int, ...], args: Mapping[str, Any], where: str
) -> nn.Module:
    """A network as it always is, whatever was drawn before.

    Raises:
        PlaitError: it cannot be had.
    """
    return seeds.drawn_alike(partial(made, make, (shape,), args, where))


def front_of(
    make: Callable[..., nn.Module],
    shape: tuple[int, ...],
    args: Mapping[str, Any],
    trained: Sequence[str],
    where: str,
) -> nn.Module:
    """The encoder that ends in front of the first block that is trained.

    Args:
        make: makes the whole encoder.
        shape: of a clip's tensor.
        args: settings of `make`.
        trained: names or patterns of the blocks that are trained.
        where: the setting that errors name.

    Raises:
        ConfigError: the encoder has no blocks, none of these, or blocks that hang on the clip's shape.
        PlaitError: what the encoder refuses.
    """
    chain, names = _parted(drawn_alike(make, shape, args, where), trained, where)
    first = list(chain.blocks).index(names[0])
    _check_alike(chain, _chain_of(drawn_alike(make, CLIP, args, where), where), first, where)
    return chain.front(first)


def tuned_of(
    make: Callable[..., nn.Module],
    args: Mapping[str, Any],
    trained: Sequence[str],
    where: str,
    **options: Any,
) -> Tuned:
    """The blocks of an encoder from the first that is trained to its end; `options` are `Tuned`'s.

    Raises:
        ConfigError: as of `front_of`.
        PlaitError: what the encoder refuses.
    """
    chain, names = _parted(drawn_alike(make, CLIP, args, where), trained, where)
    try:
        return Tuned(chain, names, **options)
    except PlaitError as error:
        raise type(error)(f"{where}: {error}") from error


def check_whole(
    make: Callable[..., nn.Module],
    shape: tuple[int, ...],
    args: Mapping[str, Any],
    trained: Sequence[str],
    where: str,
) -> None:
    """Refuse an encoder whose blocks, one after another, are not what it does itself.

    Both are given a random clip in eval mode: a small one, and one of `shape` where it does not take that or
    where they come to something else. What fails on clips as they are is said by whoever runs it.

    Args:
        make: makes the whole encoder.
        shape: of a clip's tensor.
        args: settings of `make`.
        trained: names or patterns of the blocks that are trained.
        where: the setting that errors name.

    Raises:
        ConfigError: they come to other numbers.
    """
    small = (*(min(size, most) for size, most in zip(shape, SMALL, strict=False)), *shape[len(SMALL) :])
    apart = False
    for clip in dict.fromkeys((small, tuple(shape))):
        apart = False
        with suppress(Exception):
            if close(*_both(drawn_alike(make, clip, args, where), clip, trained, where), spread=_sd):
                return
            apart = True
    if apart:
        expected = "expected all that it does to be in a block, in the front or in what closes the chain"
        raise ConfigError(f"{where}: chain() comes to other numbers than forward(), {expected}")


def _both(
    encoder: nn.Module, shape: tuple[int, ...], trained: Sequence[str], where: str
) -> tuple[Tensor, Tensor]:
    """Grids of a random clip by the blocks that are trained, upon an encoder's front, and by the encoder."""
    clips = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = seeds.drawn_alike(partial(encoder.eval(), clips.clone()))
        chain, names = _parted(encoder, trained, where)
        front = chain.front(list(chain.blocks).index(names[0])).eval()
        parts = nn.Sequential(front, Tuned(chain, names).eval())
        return seeds.drawn_alike(partial(parts, clips)), whole


def _parted(encoder: nn.Module, trained: Sequence[str], where: str) -> tuple[Chain, list[str]]:
    """An encoder's blocks, and which of them are trained."""
    chain = _chain_of(encoder, where)
    return chain, trained_blocks(trained, chain, where)


def _sd(numbers: Tensor) -> Tensor:
    return numbers.std(correction=0)


def trained_blocks(wanted: Sequence[str], chain: Chain, where: str) -> list[str]:
    """The blocks with weights that `wanted` stands for, names or patterns, in the encoder's order.

    Raises:
        ConfigError: one stands for none, or shares weights with a block that is not trained.
    """
    able = [name for name, block in chain.blocks.items() if any(True for _ in block.parameters())]
    found: set[str] = set()
    for pattern in wanted:
        names = matching(pattern, able)
        if not names:
            raise ConfigError(f"{where}: no block {pattern!r}, expected some of: {', '.join(able)}")
        found.update(names)
    weights = [
        (memory_of(weight), name) for name, block in chain.blocks.items() for weight in block.parameters()
    ]
    behind = {True: (0, ""), False: (0, "")}  # how far those before reach that are trained, or are not
    for (start, stop), name in sorted(weights):
        reach, other = behind[name not in found]
        if start < min(stop, reach):
            raise ConfigError(f"{where}: {name!r} and {other!r} share weights, expected both or neither")
        behind[name in found] = max(behind[name in found], (stop, name))
    return [name for name in able if name in found]


def _chain_of(encoder: nn.Module, where: str) -> Chain:
    chain: Any = getattr(encoder, "chain", None)
    if not callable(chain):
        kind = type(encoder).__name__
        raise ConfigError(
            f"{where}: {kind} does not say by chain() what its blocks are, expected one that does"
        )
    try:
        said: Chain = chain()
    except PlaitError as error:
        raise type(error)(f"{where}: {error}") from error
    return said


def _check_alike(one: Chain, other: Chain, first: int, where: str) -> None:
    """Refuse blocks, from the `first` on, that differ between clips of two shapes, in weights or settings."""
    names, others = list(one.blocks)[first:], list(other.blocks)[first:]
    hangs = [name for name in names if name not in others or _key(one, name) != _key(other, name)]
    hangs += [name for name in others if name not in names]
    if hangs:
        said = f"block {hangs[0]!r} hangs on the clip's shape"
        raise ConfigError(f"{where}: {said}, expected the same for clips of every shape")
    if _told(one.close) != _told(other.close):
        raise ConfigError(f"{where}: what closes its chain() hangs on the clip's shape, expected the same")


def _key(chain: Chain, name: str) -> str:
    return network_key(chain.blocks[name])


def _told(close: object) -> Any:
    """What closes a chain, as far as that can be told; a method would be all that its object holds."""
    with suppress(PlaitError):
        return None if isinstance(close, MethodType) else describe(close)
    return None
