"""Data sets that cut their own files into windows, and know the labels that these came from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from plait.datasets.published import Benchmark
from plait.errors import ConfigError
from plait.types import Recording


@dataclass(frozen=True)
class Windowed(Benchmark):
    """A data set whose `recordings` have windows for spans.

    Args:
        whole: opens the same folder as recordings with their labels for spans, none of which overlap: what
            whole recordings are recognised and scored on, and smoothing is chosen on.

    Raises:
        ConfigError: as `Benchmark`, or there is no `whole`.
    """

    whole: Callable[[Path], Iterator[Recording]] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.whole is None:
            raise ConfigError(f"data set {self.name}: no `whole`, expected what opens recordings with labels")
