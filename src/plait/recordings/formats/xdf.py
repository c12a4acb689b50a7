"""XDF: what the Lab Streaming Layer's recorders write, read by pyxdf (extra `xdf`).

Each stream's times are corrected by the clock offsets that the recorder has measured, so that all are on
the recording computer's clock (seconds since it was started, not since 1970), and the jitter of evenly
sampled streams is taken out, both by pyxdf. (github.com/sccn/xdf/wiki/Specifications)
"""

import logging
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from plait.errors import DataError, one_line
from plait.recordings.columns import acceleration
from plait.recordings.formats.sensed import TIME, Format, Sensed, beginning

SAMPLES, HEADER = 3, 2
MOST_CHANNELS = 10_000
ADVICE = "read by pyxdf: pip install 'plait[xdf]'; or convert its streams to CSV"


def fits(path: Path) -> bool:
    """Whether a file begins as XDF does."""
    return beginning(path, 4) == b"XDF:"


def read(path: Path) -> Iterator[Sensed]:
    """The streams of numbers, called as the Lab Streaming Layer calls them.

    Raises:
        DataError: pyxdf is not installed, or the file is damaged.
    """
    try:
        import pyxdf
    except ImportError as error:
        raise DataError(f"{path}: an XDF file, {ADVICE}") from error
    notes = _looked_through(path)
    said = _Said()
    logger = logging.getLogger("pyxdf.pyxdf")
    logger.addHandler(said)
    spread, logger.propagate = logger.propagate, False
    try:
        with path.open("rb") as file:
            streams, _ = pyxdf.load_xdf(file)
    except (Exception, MemoryError) as error:  # of damaged files, anything
        raise DataError(f"{path}: cannot be read, expected a whole XDF file: {one_line(error)}") from error
    finally:
        logger.removeHandler(said)
        logger.propagate = spread
    notes += [f"pyxdf: {line}" for line in said.lines[:5]]
    offsets = [stream for stream in streams if len(stream["clock_values"])]
    found = [sensed for stream in streams if (sensed := _sensed(path, stream, bool(offsets), notes))]
    if not found:
        raise DataError(
            f"{path}: no stream of numbers with readings, expected one: {'; '.join(notes) or 'empty'}"
        )
    for number, sensed in enumerate(found):
        yield sensed if number else replace(sensed, notes=(*sensed.notes, *notes))


class _Said(logging.Handler):
    """What pyxdf says of damage."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(one_line(Exception(record.getMessage())))


def _sensed(path: Path, stream: Mapping[str, Any], others: bool, notes: list[str]) -> Sensed | None:
    """One stream of numbers; None for what is none, which `notes` then says."""
    info = stream["info"]
    name = _text(info, "name") or f"stream {info['stream_id']}"
    values, times = stream["time_series"], np.asarray(stream["time_stamps"], np.float64)
    if _text(info, "channel_format") == "string" or len(times) < 2:
        why = "texts" if len(times) > 1 else f"{len(times)} readings"
        notes.append(f"{name}: {why}, left out")
        return None
    values = np.asarray(values, np.float64).reshape(len(times), -1)
    labels, units = _channels(info, values.shape[1])
    if not np.isfinite(times).all():
        raise DataError(f"{path}: stream {name!r}: a time that is no number, expected seconds")
    order = np.argsort(times, kind="stable")
    measured = np.asarray(stream["clock_values"], np.float64)
    if len(measured):
        at = np.asarray(stream["clock_times"], np.float64)
        apart_s = float(at[-1] - at[0])
        drift = f", drifting {1e6 * np.polyfit(at - at[0], measured, 1)[0]:+.2g} ppm" if apart_s > 60 else ""
        clock = f"{len(measured)} clock offsets, {np.median(measured):+.4f} s{drift}: corrected"
    else:
        why = ", though other streams have some: its times may be of another clock" if others else ""
        clock = f"no clock offsets{why}"
    rate = _text(info, "nominal_srate")
    even = "jitter taken out by pyxdf" if float(rate or 0) > 0 else "as they came"
    said = (f"times: the recorder's clock, {even}; {clock}",)
    return Sensed(
        name,
        times[order],
        values[order],
        labels,
        units,
        acceleration(labels, name),
        f"XDF {path.name}",
        notes=said,
    )


def _channels(info: Mapping[str, Any], count: int) -> tuple[tuple[str, ...], dict[str, str]]:
    """Names and units of the channels, numbered where the file does not tell them apart."""
    described: list[Any] = []
    for outer in info.get("desc") or ():
        for inner in (outer or {}).get("channels") or ():
            described += (inner or {}).get("channel") or ()
    described = [each if isinstance(each, dict) else {} for each in described]
    labels = [_text(each, "label") for each in described]
    if len(labels) != count or len({*labels, "", TIME}) < count + 2:
        labels = [f"c{number}" for number in range(1, count + 1)]
    units = {
        label: unit for label, each in zip(labels, described, strict=False) if (unit := _text(each, "unit"))
    }
    return tuple(labels), units


def _text(about: Mapping[str, Any], key: str) -> str:
    """The first text under a key; empty where there is none."""
    found = about.get(key) or [""]
    first = found[0] if isinstance(found, list) else found
    return str(first or "").strip()


def _looked_through(path: Path) -> list[str]:
    """Look at what the chunks of a file say of their sizes before pyxdf believes it.

    Raises:
        DataError: a chunk holds more samples, or a stream more channels, than its bytes can.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(4)
        while (at := file.tell()) < size:
            length = _size(file)
            start = file.tell()
            if length is None or length < 2 or start + length > size:
                return [
                    f"damaged or cut off at byte {at} of {size}: what cannot be read from there on is missing"
                ]
            (tag,) = struct.unpack("<H", file.read(2))
            if tag == SAMPLES and length > 6:
                file.seek(4, 1)
                if (samples := _size(file)) is None or samples > length:
                    raise DataError(f"{path}: byte {at}: {samples} samples in {length} bytes, expected fewer")
            elif tag == HEADER and length > 6:
                text = file.read(min(length - 2, 1 << 20))
                digits = text.partition(b"<channel_count>")[2].partition(b"<")[0].strip()
                if digits and not (digits.isdigit() and 0 < int(digits[:9]) <= MOST_CHANNELS):
                    got = digits[:20].decode(errors="replace")
                    raise DataError(f"{path}: a stream of {got!r} channels, expected 1 to {MOST_CHANNELS}")
            file.seek(start + length)
    return []


def _size(file: BinaryIO) -> int | None:
    """A number of 1, 4 or 8 bytes, whose length stands before it; None where there is none."""
    bytes_of = {b"\1": 1, b"\4": 4, b"\x08": 8}.get(file.read(1))
    content = file.read(bytes_of) if bytes_of else b""
    return int.from_bytes(content, "little") if bytes_of and len(content) == bytes_of else None


XDF = Format("xdf", fits, read)
