"""An encoder of your own, for a new sensor or instead of another: spectrum over time, then a linear layer."""

import torch
from torch import Tensor, nn


class Spectrum(nn.Module):
    """A signal `(b, samples, channels)` to a grid over windows, `(b, windows, features)`."""

    def __init__(self, shape: tuple[int, ...], window: int = 16, features: int = 32) -> None:
        super().__init__()
        self.window = window
        self.linear = nn.Linear(shape[-1] * (window // 2 + 1), features)

    def forward(self, signal: Tensor) -> Tensor:
        """Magnitudes of windows that overlap by half, through a linear layer and a ReLU."""
        windows = signal.unfold(1, self.window, self.window // 2)  # (b, windows, channels, window)
        return torch.relu(self.linear(torch.fft.rfft(windows).abs().flatten(2)))
