"""Cross-attention as transformers have it: several heads, and an MLP behind them, both residual.

Source: Tsai, Bai, Liang, Kolter, Morency, Salakhutdinov, Multimodal Transformer for Unaligned Multimodal
Language Sequences (MulT), arXiv 1906.00295, sections 3.1 and 3.2; blocks as in Dosovitskiy et al.,
arXiv 2010.11929, eqs. 2 and 3.
"""

from collections.abc import Collection, Mapping

from jaxtyping import Float
from torch import Tensor, nn

from plait.errors import ShapeError
from plait.fusion.enforced import check_lead
from plait.fusion.grids import Entry, Head, Reads, Shape, check_sizes
from plait.fusion.transformer import MultiHead, Tokens, mlp


class CrossLayer(nn.Module):
    """Tokens of a lead that attend to those of every context, then an MLP.

    `x' = x + sum_r A^r(LN(x), LN^r(y^r))`, then `x' + MLP(LN(x'))`. Where the last layers of attention and of
    the MLP are zero, it is the identity.

    Args:
        contexts: the modalities that are attended to.
        width: channels of the tokens.
        heads: of attention.
        times: how many times `width` the MLP has between its layers.
    """

    def __init__(self, contexts: Collection[str], width: int, heads: int, times: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in contexts})
        self.attend = nn.ModuleDict({name: MultiHead(width, heads) for name in contexts})
        self.mlp = mlp(width, times)

    def forward(self, x: Float[Tensor, "b i n"], tokens: Mapping[str, Tensor]) -> Float[Tensor, "b i n"]:
        """The lead's tokens, enforced by those contexts that are there."""
        queries = self.norm(x)
        for name, attend in self.attend.items():
            if name in tokens:
                x = x + attend(queries, self.norms[name](tokens[name]))
        enforced: Tensor = x + self.mlp(x)
        return enforced


class CrossAttention(nn.Module):
    """Class scores from tokens of one modality, or of each, that attend to those of the others.

    Each grid becomes tokens of one width, a learned vector added for each position. A lead's tokens then go
    through `layers` blocks of attention to the contexts and an MLP. The contexts stay what they were before
    the first block, as in MulT. Several contexts are added, as in eq. 6 of `Led`, where MulT has a stack for
    each pair and joins what they give. Residuals go around the normalisation, as in later transformers;
    in MulT they begin behind it. MulT's convolutions over time and the self-attention behind its stacks are
    left to the encoders.

    A context that is absent adds nothing. Without `lead`, none may be absent.

    Args:
        shapes: grid shape `(*grid, channels)` of each modality.
        classes: number of activities.
        lead: the modality that leads; by default each leads once, and the heads see all of them.
        width: channels of the tokens.
        heads: of attention; they divide `width`.
        layers: blocks, one behind the other.
        mlp: how many times `width` the MLP has between its layers.
        head: `mean`, `flatten` or `hidden`, of the leads' tokens.
        normalise: a LayerNorm over channels on each grid as it enters.

    Raises:
        ShapeError: fewer than two modalities, `lead`, `head` or a size does not fit, or a grid is not of its
            shape.
    """

    def __init__(
        self,
        shapes: dict[str, Shape],
        classes: int,
        lead: str | None = None,
        width: int = 64,
        heads: int = 4,
        layers: int = 1,
        mlp: int = 4,
        head: str = "mean",
        normalise: bool = False,
    ) -> None:
        super().__init__()
        check_sizes("CrossAttention", width=width, layers=layers)
        if lead is not None:
            check_lead(shapes, lead)
        elif len(shapes) < 2:
            raise ShapeError(
                f"CrossAttention: {', '.join(shapes)} is the only modality, expected two or more"
            )
        contexts = set(shapes) - {lead} if lead is not None else set()
        self.entry = Entry(shapes, normalise, Reads(optional=contexts))
        self.reads = self.entry.reads
        leads = list(shapes) if lead is None else [lead]
        # Drawn first: from one seed every method's head starts alike, as comparisons need it.
        self.head = Head([(*shapes[one][:-1], width) for one in leads], classes, head)
        self.tokens = Tokens(shapes, width)
        self.leads = nn.ModuleDict()
        for one in leads:
            others = [name for name in shapes if name != one]
            self.leads[one] = nn.ModuleList([CrossLayer(others, width, heads, mlp) for _ in range(layers)])

    def forward(self, grids: dict[str, Tensor]) -> Float[Tensor, "b classes"]:
        """Logits from one channels-last grid `(b, *shape)` per modality; contexts of a lead may be absent."""
        tokens = self.tokens(self.entry(grids))
        enforced = []
        for lead, layers in self.leads.items():
            assert isinstance(layers, nn.ModuleList)
            x = tokens[lead]
            for layer in layers:
                x = layer(x, tokens)
            enforced.append(x)
        logits: Tensor = self.head(enforced)
        return logits
