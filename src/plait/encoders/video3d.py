"""Networks of torchvision that look at a whole clip, as encoders: S3D and R(2+1)D-18."""

from collections.abc import Callable, Sequence

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from plait.encoders.chain import Chain, in_a_row, with_parts
from plait.errors import ShapeError


def check_rgb(shape: tuple[int, ...], who: str) -> None:
    """Refuse clips that are no RGB video; `who` takes them.

    Raises:
        ShapeError: `shape` is not (frames, height, width, 3).
    """
    if len(shape) != 4 or shape[3] != 3:
        raise ShapeError(f"{who}: got a clip of shape {tuple(shape)}, expected (frames, height, width, 3)")


class Clip3D(nn.Module):
    """A 3D network on RGB clips in [-1, 1]: `prepare` on every frame, `network`, channels last.

    Args:
        network: `(b, 3, frames, height, width)` to `(b, channels, t, h, w)`.
        shape: a clip's shape, `(frames, height, width, 3)`.
        prepare: from frames `(n, 3, height, width)` in [0, 1] to what the network's weights want of them.
        names: of the network's parts, if it is an `nn.Sequential`; by default as it calls them.

    Raises:
        ShapeError: `shape` is no RGB video.
    """

    black_and_white = (-1.0, 1.0)  # the clips' values that are so

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, ...],
        prepare: Callable[[Tensor], Tensor],
        names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        check_rgb(shape, "3D network")
        self.network, self.prepare, self._names = network, prepare, tuple(names)

    def forward(self, clips: Float[Tensor, "b frames height width 3"]) -> Float[Tensor, "b t h w c"]:
        """The grid of each clip."""
        frames = self.prepare(rearrange((clips + 1) / 2, "b t h w c -> (b t) c h w"))
        video = rearrange(frames, "(b t) c h w -> b c t h w", b=clips.shape[0])
        grid: Tensor = rearrange(self.network(video), "b c t h w -> b t h w c")
        return grid

    def chain(self) -> Chain:
        """The parts of its network in a row, if it is an `nn.Sequential`."""
        return Chain(in_a_row(self.network, self._names), self._up_to, False)

    def _up_to(self, count: int) -> "Clip3D":
        """The same encoder, as far as the first parts of its network go."""
        parts = list(in_a_row(self.network, self._names).values())
        return with_parts(self, network=nn.Sequential(*parts[:count]))
