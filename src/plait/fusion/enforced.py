"""A lead's grid enforced by its contexts, once (eqs. 5 and 6) or block after block."""

from collections.abc import Iterable, Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from plait.errors import ShapeError
from plait.fusion.contraction import average
from plait.fusion.grids import Shape, mean_of, read_mean
from plait.fusion.nonlocal_ import NonLocal
from plait.fusion.transformer import mlp as layers


def check_lead(shapes: Mapping[str, Shape], lead: str) -> None:
    """Refuse a lead that is none of the modalities, or the only one.

    Raises:
        ShapeError: naming it.
    """
    if lead not in shapes:
        raise ShapeError(f"lead is {lead!r}, expected one of the modalities: {', '.join(shapes)}")
    if len(shapes) < 2:
        raise ShapeError(f"lead {lead!r} is the only modality, expected at least one other as context")


def check_clock(shapes: Mapping[str, Shape], leads: Iterable[str]) -> None:
    """Refuse a clock where no lead and context have a time axis each.

    Raises:
        ShapeError: naming the grids.
    """
    timed = {name for name, shape in shapes.items() if len(shape) > 1}
    if len(timed) < 2 or not timed & set(leads):
        grids = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ShapeError(f"clock: no lead and context have a time axis each, got grids {grids}")


class Mlp(nn.Module):
    """`x + outer(gelu(inner(LayerNorm(x))))` at every position: `transformer.mlp` beside a residual.

    Args:
        width: channels of `x`.
        times: so many times the channels in between.
        zero: `outer` starts at zero, so that the layer starts as the identity.

    Raises:
        ShapeError: a size is below 1.
    """

    def __init__(self, width: int, times: int, zero: bool = False) -> None:
        super().__init__()
        self.norm, self.inner, self.gelu, self.outer = layers(width, times)
        for weight in self.outer.parameters() if zero else ():
            nn.init.zeros_(weight)

    def forward(self, x: Float[Tensor, "b *grid n"], pooled: bool = False) -> Float[Tensor, "b *rest n"]:
        """Like `x`; if `pooled`, its mean over positions, for which `outer` is needed once a clip."""
        between = self.gelu(self.inner(self.norm(x)))
        if pooled:
            x, between = average(x), average(between)
        enriched: Tensor = x + self.outer(between)
        return enriched


class Enforced(nn.Module):
    """The lead's grid enforced by every other modality: `x + sum_r h^r(z^r(x, y^r))`, eq. 6; eq. 5 with one.

    Of `depth` blocks in a row, each takes what the one before made of the lead, and the same contexts; behind
    each may stand an `Mlp`. One block without is the paper's.

    Args:
        shapes: grid shape `(*grid, channels)` of each modality.
        lead: the modality that leads.
        embedding: width K in which grids are compared; by default half of the lead's channels, rounded down
            to a multiple of `heads`, which it is at least.
        depth: how many blocks.
        mlp: so many times the lead's channels in the middle of each block's `Mlp`; 0: none.
        heads: of every `NonLocal`.
        clock: of every `NonLocal` whose two grids have a time axis; a plain vector has none.
        **block: `pool`, `scale`, `zero_h`, `norm`, `uniform` of every `NonLocal`; under `zero_h` an `Mlp`
            starts as the identity, too.

    Raises:
        ShapeError: `lead` is none of the modalities, there is no other one, or `depth` or `mlp` is too small.
    """

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        lead: str,
        embedding: int | None = None,
        *,
        depth: int = 1,
        mlp: int = 0,
        heads: int = 1,
        clock: bool = False,
        **block: Any,
    ) -> None:
        super().__init__()
        check_lead(shapes, lead)
        if depth < 1 or mlp < 0:
            raise ShapeError(f"depth is {depth} and mlp {mlp}, expected at least 1 and at least 0")
        self.lead = lead
        width = shapes[lead][-1]
        if embedding is None:
            embedding = max(width // 2 // max(heads, 1), 1) * max(heads, 1)
        self.blocks = nn.ModuleDict()
        for name, shape in shapes.items():
            if name != lead:
                timed = clock and min(len(shape), len(shapes[lead])) > 1
                self.blocks[name] = NonLocal(width, shape[-1], embedding, heads=heads, clock=timed, **block)
        self.mlp = Mlp(width, mlp, block.get("zero_h", False)) if mlp else None
        one = {"mlp": mlp, "heads": heads, "clock": clock, **block}
        self.deeper = nn.ModuleList(Enforced(shapes, lead, embedding, **one) for _ in range(depth - 1))

    @property
    def stages(self) -> "list[Enforced]":
        """Its blocks in their order, itself the first."""
        return [self, *(stage for stage in self.deeper if isinstance(stage, Enforced))]

    @staticmethod
    def is_linear(options: Mapping[str, Any]) -> bool:
        """Whether, under these options, the mean of the lead's grid is read: one block, no `Mlp`."""
        return options.get("depth", 1) == 1 and not options.get("mlp", 0)

    def forward(self, grids: Mapping[str, Tensor], pooled: bool = False) -> Float[Tensor, "b *grid n"]:
        """The enforced grid, of the lead's shape; if `pooled`, its mean over positions without making it.

        Where blocks or an `Mlp` need the grid, it is made, and the last linear map is taken of the mean. A
        context that is absent adds nothing to the sum of eq. 6.
        """
        *before, last = self.stages
        x = grids[self.lead]
        for stage in before:
            x = stage.once(x, grids)
        if not pooled or last.mlp is not None:
            return last.once(x, grids, pooled)
        enforced = average(x) if before else read_mean(grids, self.lead)
        for name, block in last.blocks.items():
            assert isinstance(block, NonLocal)
            if name in grids:
                enforced = enforced + block.pooled(x, grids[name], grids.get(mean_of(name)))
        return enforced

    def once(self, x: Tensor, grids: Mapping[str, Tensor], pooled: bool = False) -> Tensor:
        """What its own block makes of `x` in the lead's place; if `pooled`, its mean behind an `Mlp`."""
        enforced = x
        for name, block in self.blocks.items():
            assert isinstance(block, NonLocal)
            if name in grids:
                enforced = block.onto(enforced, x, grids[name])
        return enforced if self.mlp is None else self.mlp(enforced, pooled)
