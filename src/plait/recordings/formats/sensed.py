"""What a format finds in a sensor's own file: named streams with times."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Num

from plait.errors import DataError
from plait.store import regular

LONGEST_S = 1e10  # seconds since 1970, or since anything else
TIME = "time"  # what the column of times is called


@dataclass(frozen=True, eq=False)
class Sensed:
    """One stream of a sensor's own file.

    Args:
        name: what it is called; empty: like the file.
        times: of each reading, in seconds, `(n,)`; or in ticks of an unknown length where `ticks`.
        values: `(n, columns)`, in the units that `units` says; NaN where there is none.
        columns: what the columns are called.
        units: of columns, as the file or the format's documents say.
        acceleration: the three columns that tell how the sensor is moved.
        clock: streams with the same, if it is not empty, have times of one clock.
        on_video: times are those of the video that the file is, as a player counts them.
        ticks: nothing says how many of the times' units make a second.
        notes: what is guessed, converted or left out, and which clock the times are.

    Raises:
        DataError: no readings, or shapes, names or times that cannot be.
    """

    name: str
    times: Float64[np.ndarray, "n"]
    values: Num[np.ndarray, "n columns"]
    columns: tuple[str, ...]
    units: Mapping[str, str] = field(default_factory=dict)
    acceleration: tuple[str, ...] = ()
    clock: str = ""
    on_video: bool = False
    ticks: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no stream."""
        name = f"stream {self.name!r}" if self.name else "its stream"
        shape = (len(self.times), len(self.columns))
        if np.shape(self.values) != shape:
            raise DataError(f"{name}: values of shape {np.shape(self.values)}, expected {shape}")
        if len(self.times) < 2:
            raise DataError(f"{name}: {len(self.times)} readings, expected at least 2")
        if len({*self.columns, TIME}) < len(self.columns) + 1 or not all(self.columns):
            raise DataError(
                f"{name}: columns {', '.join(self.columns)}, expected names that differ, none {TIME}"
            )
        if unknown := {*self.units, *self.acceleration} - {*self.columns}:
            raise DataError(f"{name}: speaks of {min(unknown)!r}, expected one of {', '.join(self.columns)}")
        wrong = ~(np.abs(self.times) <= LONGEST_S)
        if wrong.any() and not self.ticks:
            row = int(wrong.argmax())
            raise DataError(f"{name}: reading {row + 1}: time {self.times[row]} s, expected seconds")


Read = Callable[[Path], Iterable[Sensed]]


@dataclass(frozen=True)
class Format:
    """A format of sensors' own files.

    Args:
        name: what it is called.
        fits: whether a file, or a folder, is one, by its name and its first bytes.
        read: what is in it.
    """

    name: str
    fits: Callable[[Path], bool]
    read: Read

    def streams(self, path: Path) -> Iterator[Sensed]:
        """What is in a file, or a folder.

        Raises:
            DataError: it is damaged, or cannot be read without what is not installed; the line names it.
        """
        try:
            if not path.is_dir():
                regular(path)
            yield from self.read(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
        except DataError as error:
            if str(path) in str(error):
                raise
            raise DataError(f"{path}: {error}") from error


def beginning(file: Path, size: int = 4096) -> bytes:
    """The first bytes of a file; none where it cannot be read."""
    try:
        if not file.is_file():
            return b""
        with file.open("rb") as stream:
            return stream.read(size)
    except OSError:
        return b""
