"""GoPro's metadata format: keys, lengths and values in the packets of a video's `gpmd` track.

Each item is four letters, a letter for the type, the size of one sample, how many there are (16 bits), and
their bytes, filled up to four; all big-endian. Type 0 holds more items: a device (`DEVC`) has streams
(`STRM`), in which what describes the readings (`SCAL`, `SIUN`, `ORIN`, ...) stands before them.
(github.com/gopro/gpmf-parser)
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from plait.errors import DataError

DEEPEST = 8
NUMBERS = {"b": "i1", "B": "u1", "s": ">i2", "S": ">u2", "l": ">i4", "L": ">u4", "f": ">f4", "d": ">f8",
           "j": ">i8", "J": ">u8"}  # fmt: skip


class Item(NamedTuple):
    """One key with its value.

    Args:
        key: its four letters.
        kind: the letter of its type; empty for more items.
        size: bytes of one sample.
        content: all samples.
    """

    key: str
    kind: str
    size: int
    content: bytes

    def numbers(self) -> np.ndarray:
        """Its samples as `(samples, elements)` of float64.

        Raises:
            DataError: they are no numbers, or of an odd size.
        """
        form = NUMBERS.get(self.kind)
        if form is None or not self.size or self.size % np.dtype(form).itemsize:
            raise DataError(f"{self.key}: type {self.kind!r} of {self.size} bytes, expected numbers")
        return (
            np.frombuffer(self.content, form).reshape(-1, self.size // np.dtype(form).itemsize).astype(float)
        )

    def text(self) -> str:
        """Its letters; GoPro writes a degree or a square in Latin-1."""
        return self.content.rstrip(b"\0").decode("latin-1").strip()


def items(content: bytes, depth: int = 0) -> Iterator[Item]:
    """The items in some bytes.

    Raises:
        DataError: one is longer than what is left.
    """
    if depth > DEEPEST:
        raise DataError(f"items nested deeper than {DEEPEST}, expected streams of devices")
    at = 0
    while at + 8 <= len(content) and content[at : at + 4] != b"\0\0\0\0":
        key, kind, size, repeat = struct.unpack_from(">4scBH", content, at)
        length = size * repeat
        if at + 8 + length > len(content):
            raise DataError(f"{_letters(key)} says that it is {length} bytes long, expected at most "
                            f"{len(content) - at - 8}")  # fmt: skip
        yield Item(
            _letters(key), _letters(kind) if kind != b"\0" else "", size, content[at + 8 : at + 8 + length]
        )
        at += 8 + length + -length % 4


def streams(content: bytes) -> Iterator[tuple[str, list[Item]]]:
    """Each stream of each device in a packet: the device's name and the stream's items.

    Raises:
        DataError: the packet is damaged.
    """
    for device in items(content):
        if device.key == "DEVC" and not device.kind:
            inner = list(items(device.content, 1))
            name = next((item.text() for item in inner if item.key == "DVNM"), "")
            for stream in inner:
                if stream.key == "STRM" and not stream.kind:
                    yield name, list(items(stream.content, 2))


def _letters(key: bytes) -> str:
    return key.decode("latin-1")
