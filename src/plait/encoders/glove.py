"""The glove network: three convolutions over time, then a bidirectional LSTM."""

from collections.abc import Iterable, Sequence

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from plait.encoders.standardise import Standardise
from plait.errors import ShapeError

GLOVES = (134, 18)  # readings at 25 Hz; both hands: 5 flex, 3 acceleration, 1 pressure each
GLOVE_GRID = (28, 64)


class SignalNet(nn.Module):
    """A signal of any length and number of channels, to a grid over time.

    Stages of a valid 1-D convolution, a ReLU and max-pooling; a bidirectional LSTM reads what they leave.

    Args:
        shape: a clip's, `(samples, channels)`.
        widths: channels after each stage's convolution.
        kernels: samples that each convolution sees.
        pools: samples that each pooling makes one of.
        units: of the LSTM in each direction.
        norm: a batch normalisation between each convolution and its ReLU; the paper has none.
        dropout: share of whole channels that are dropped after each stage; the paper has none.
        standardise: channels enter about their mean and SD in the training clips
            (`plait.encoders.standardise.Standardise`).

    Raises:
        ShapeError: `shape` is not `(samples, channels)`, or has too few samples for the convolutions.

    Source: Byvshev, Mettes, Xiao, ICMR 2020, Fig. 5.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        widths: Sequence[int] = (32, 64, 64),
        kernels: Sequence[int] = (5, 5, 3),
        pools: Sequence[int] = (2, 2, 1),
        units: int = 32,
        norm: bool = False,
        dropout: float = 0.0,
        standardise: bool = False,
    ) -> None:
        super().__init__()
        if not len(widths) == len(kernels) == len(pools):
            got = f"widths {widths}, kernels {kernels}, pools {pools}"
            raise ShapeError(f"signal network: got {got}, expected as many")
        least = shortest(kernels, pools)
        if len(shape) != 2 or shape[0] < least or shape[1] < 1:
            expected = f"(samples, channels) with at least {least} samples"
            raise ShapeError(f"signal network: got shape {tuple(shape)}, expected {expected}")
        self.entry = Standardise(shape[1]) if standardise else nn.Identity()
        # Pictures of one line: these torch takes with the channels last, as signals come and grids go.
        stages: list[nn.Module] = []
        channels = shape[1]
        for width, kernel, pool in zip(widths, kernels, pools, strict=True):
            stages.append(nn.Conv2d(channels, width, (1, kernel)))
            channels = width
            if norm:
                stages.append(nn.BatchNorm2d(width))
            stages.append(nn.ReLU())
            if pool > 1:
                stages.append(nn.MaxPool2d((1, pool)))
            if dropout > 0:
                stages.append(nn.Dropout2d(dropout))
        self.stages = nn.Sequential(*stages)
        self.lstm = nn.LSTM(widths[-1], units, batch_first=True, bidirectional=True)

    def calibrate(self, clips: Iterable[Tensor]) -> None:
        """With `standardise`, take each channel's mean and SD in the training clips."""
        if isinstance(self.entry, Standardise):
            self.entry.calibrate(clips)

    def forward(self, signal: Float[Tensor, "b samples channels"]) -> Float[Tensor, "b t features"]:
        """The grid `(b, t, 2 * units)`; forward direction first."""
        stages: Tensor = self.stages(rearrange(self.entry(signal), "b t c -> b c 1 t"))
        grid: Tensor = self.lstm(rearrange(stages, "b c 1 t -> b t c"))[0]
        return grid


class GloveNet(nn.Module):
    """The paper's glove network: 134 readings of 18 channels, to a grid of 28 positions with 64 channels.

    The paper gives both ends and not what is between; valid convolutions with kernels (5, 5, 3) and pools (2,
    2, 1) join them: 134 -> 130 -> 65 -> 61 -> 30 -> 28.

    Raises:
        ShapeError: `shape` is not (134, 18).

    Source: Byvshev, Mettes, Xiao, ICMR 2020, Fig. 5.
    """

    def __init__(self, shape: tuple[int, ...] = GLOVES, *, standardise: bool = False) -> None:
        super().__init__()
        if tuple(shape) != GLOVES:
            raise ShapeError(f"glove network: got shape {tuple(shape)}, expected {GLOVES}")
        kernels, pools, units = (5, 5, 3), (2, 2, 1), 32
        grid = (positions(shape[0], kernels, pools), 2 * units)
        assert grid == GLOVE_GRID, f"glove network: grid {grid}, expected {GLOVE_GRID}"
        self.net = SignalNet(shape, kernels=kernels, pools=pools, units=units, standardise=standardise)

    def calibrate(self, clips: Iterable[Tensor]) -> None:
        """With `standardise`, take each channel's mean and SD in the training clips."""
        self.net.calibrate(clips)

    def forward(self, signal: Float[Tensor, "b 134 18"]) -> Float[Tensor, "b 28 64"]:
        """The grid of the LSTM's outputs."""
        grid: Tensor = self.net(signal)
        return grid


def positions(samples: int, kernels: Sequence[int], pools: Sequence[int]) -> int:
    """Positions that valid convolutions, each followed by max-pooling without padding, leave of `samples`."""
    for kernel, pool in zip(kernels, pools, strict=True):
        samples = (samples - kernel + 1) // pool
    return samples


def shortest(kernels: Sequence[int], pools: Sequence[int]) -> int:
    """The fewest samples of which `kernels` and `pools` leave one position."""
    samples = 1
    for kernel, pool in reversed(list(zip(kernels, pools, strict=True))):
        samples = samples * pool + kernel - 1
    return samples
