"""XDF: what the Lab Streaming Layer's recorders write, read by pyxdf (extra `xdf`).

Each stream's times are corrected by the clock offsets that the recorder has measured, so that all are on
the recording computer's clock (seconds since it was started, not since 1970), and the jitter of evenly
sampled streams is taken out, both by pyxdf: a straight line through the times of each run without a break.
pyxdf's own break is 500 samples, over which lost ones would be smeared; ours is `BREAK_S`, or `BREAK` samples
of a slow sensor. (github.com/sccn/xdf/wiki/Specifications)
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
from plait.recordings.formats.sensed import LONGEST_S, TIME, Format, Sensed, beginning

SAMPLES, HEADER = 3, 2
MOST_CHANNELS = 10_000
HARMLESS = "Segments and clock-segments differ"  # wherever there are breaks, or no clock offsets
BREAK_S, BREAK = 1.0, 10
MOVED_S = 0.05  # farther than that, what was taken out is said
BACK_S = 1.0  # a clock that goes back farther is none
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
    said, raw = _Said(), _Raw()
    logger = logging.getLogger("pyxdf.pyxdf")
    logger.addHandler(said)
    spread, logger.propagate = logger.propagate, False
    try:
        with path.open("rb") as file:
            streams, _ = pyxdf.load_xdf(
                file,
                on_chunk=raw.keep,
                jitter_break_threshold_seconds=BREAK_S,
                jitter_break_threshold_samples=BREAK,
            )
    except (Exception, MemoryError) as error:  # of damaged files, anything
        raise DataError(f"{path}: cannot be read, expected a whole XDF file: {one_line(error)}") from error
    finally:
        logger.removeHandler(said)
        logger.propagate = spread
    notes += [f"pyxdf: {line}" for line in said.lines[:5]]
    offsets = [stream for stream in streams if len(stream["clock_values"])]
    called = _called([stream["info"] for stream in streams], notes)
    found = [
        sensed
        for stream, name in zip(streams, called, strict=True)
        if (sensed := _sensed(path, name, stream, raw.moved_s(stream), bool(offsets), notes))
    ]
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
        if not record.getMessage().endswith(HARMLESS):
            self.lines.append(one_line(Exception(record.getMessage())))


class _Raw:
    """The times of each stream as they stand in the file."""

    def __init__(self) -> None:
        self.times: dict[int, list[np.ndarray]] = {}

    def keep(self, values: Any, times: Any, about: Any, number: int) -> tuple[Any, Any, Any]:
        """What pyxdf calls of each chunk."""
        self.times.setdefault(number, []).append(np.array(times, np.float64))
        return values, times, about

    def moved_s(self, stream: Mapping[str, Any]) -> float:
        """How far pyxdf has moved a reading against the others of its run; 0 where that cannot be told."""
        times = np.asarray(stream["time_stamps"], np.float64)
        raw = np.concatenate([np.zeros(0), *self.times.get(stream["info"]["stream_id"], ())])
        if len(raw) != len(times) or not _seconds(raw, times):
            return 0.0
        farthest_s = 0.0
        for first, last in stream["info"]["segments"]:
            run = slice(first, last + 1)
            off = times[run] - raw[run]
            if len(off) > 2:
                lasts = np.ptp(raw[run]) > 1e-3
                line = np.polyfit(raw[run] - raw[first], off, 1) if lasts else [off.mean()]
                farthest_s = max(farthest_s, float(np.ptp(off - np.polyval(line, raw[run] - raw[first]))) / 2)
        return farthest_s


def _seconds(*times: np.ndarray) -> bool:
    """Whether these can be seconds of any clock."""
    return all((np.abs(each) <= LONGEST_S).all() for each in times)


def _called(about: list[Mapping[str, Any]], notes: list[str]) -> list[str]:
    """What each stream is called: several of one name by their sources too, which stay the same each time."""
    names = [_text(info, "name") or f"stream {info['stream_id']}" for info in about]
    called = list(names)
    for key in ("source_id", "hostname", "stream_id"):  # the last is the recorder's, by chance
        for name in {name for name in called if called.count(name) > 1}:
            places = [place for place, each in enumerate(called) if each == name]
            sources = [_text(about[place], key) for place in places]
            if len({*sources, ""}) == len(places) + 1:
                for place, source in zip(places, sources, strict=True):
                    called[place] = f"{name} {source}"
                chance = ", which another recording may number otherwise" if key == "stream_id" else ""
                notes.append(f"{len(places)} streams called {name!r}: told apart by {key}{chance}")
    return called


def _sensed(
    path: Path, name: str, stream: Mapping[str, Any], moved_s: float, others: bool, notes: list[str]
) -> Sensed | None:
    """One stream of numbers; None for what is none, which `notes` then says."""
    info = stream["info"]
    values, times = stream["time_series"], np.asarray(stream["time_stamps"], np.float64)
    if _text(info, "channel_format") == "string" or len(times) < 2:
        why = "texts" if len(times) > 1 else f"{len(times)} readings"
        notes.append(f"{name}: {why}, left out")
        return None
    with np.errstate(invalid="ignore"):  # a NaN that signals is one
        values = np.asarray(values, np.float64).reshape(len(times), -1)
    labels, units = _channels(info, values.shape[1])
    measured, at = (np.asarray(stream[key], np.float64) for key in ("clock_values", "clock_times"))
    if not _seconds(times, measured, at):
        raise DataError(f"{path}: stream {name!r}: a time or clock offset that is none, expected seconds")
    back_s = float((np.maximum.accumulate(times) - times).max())
    if back_s > BACK_S:
        notes.append(f"{name}: its clock goes back by {back_s:.4g} s, left out")
        return None
    order = np.argsort(times, kind="stable")
    if len(measured):
        apart_s = float(at[-1] - at[0])
        drift = f", drifting {1e6 * np.polyfit(at - at[0], measured, 1)[0]:+.2g} ppm" if apart_s > 60 else ""
        clock = f"{len(measured)} clock offsets, {np.median(measured):+.4f} s{drift}: corrected"
    else:
        why = ", though other streams have some: its times may be of another clock" if others else ""
        clock = f"no clock offsets{why}"
    rate = _text(info, "nominal_srate")
    even = "jitter taken out by pyxdf" if float(rate or 0) > 0 else "as they came"
    said = [f"times: the recorder's clock, {even}; {clock}"]
    if moved_s > MOVED_S:
        said.append(
            f"that moved readings by up to {moved_s:.2g} s: right where they arrived late or in bursts, "
            "wrong by as much where some were lost"
        )
    return Sensed(
        name,
        times[order],
        values[order],
        labels,
        units,
        acceleration(labels, name),
        f"XDF {path.name}" if len(measured) else f"XDF {path.name}, {_text(info, 'hostname') or 'as sent'}",
        notes=tuple(said),
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
