"""MCAP: robots' logs, of ROS 2 or of JSON, read by mcap and mcap-ros2-support (extra `mcap`).

A topic is a stream; the numbers of its messages, by their dotted names, are its columns. Times are those in
the messages (`header.stamp`, `timestamp`) where all have one and they rise, else when the log took them;
nanoseconds, as a rule since 1970. (mcap.dev/spec)
"""

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from plait.errors import DataError, one_line
from plait.recordings.formats.sensed import Format, Sensed, beginning
from plait.store import explained

MAGIC = b"\x89MCAP0\r\n"
ADVICE = "read by mcap: pip install 'plait[mcap]'; or convert its topics to CSV"
LARGEST = 1 << 30  # bytes of one record
WIDEST, DEEPEST = 64, 8  # numbers in a column that is an array; messages within messages
UNITS = {  # of ROS messages that state theirs, REP 103
    "sensor_msgs/msg/Imu": {"linear_acceleration": "m/s^2", "angular_velocity": "rad/s", "orientation": "1"},
    "sensor_msgs/msg/MagneticField": {"magnetic_field": "T"},
    "sensor_msgs/msg/Temperature": {"temperature": "degC"},
    "sensor_msgs/msg/FluidPressure": {"fluid_pressure": "Pa"},
}
STAMPS = ("header.stamp", "timestamp", "stamp")
MOVED = ("linear_acceleration", "acceleration", "accel", "acc", "linear", "")

Decode = Callable[[bytes], Any]


@dataclass
class _Topic:
    """What the messages of one topic have said."""

    name: str
    schema: str
    encoding: str
    decode: Decode | None
    logged_s: list[float] = field(default_factory=list)
    stamped_s: list[float] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)
    others: int = 0


def fits(path: Path) -> bool:
    """Whether a file begins as MCAP does."""
    return beginning(path, len(MAGIC)) == MAGIC


def read(path: Path) -> Iterator[Sensed]:
    """The topics whose messages hold numbers, called by their names.

    Raises:
        DataError: mcap is not installed, the file is damaged, or no topic holds numbers that can be decoded.
    """
    try:
        from mcap.exceptions import EndOfFile, McapError
    except ImportError as error:
        raise DataError(f"{path}: an MCAP file, {ADVICE}") from error
    topics: dict[tuple[str, str, str, bytes], _Topic] = {}
    notes: list[str] = []
    try:
        with path.open("rb") as file:
            _gather(path, file, topics)
    except DataError:
        raise
    except ImportError as error:  # mcap without what decodes ROS or unpacks chunks
        raise DataError(f"{path}: an MCAP file, {ADVICE} ({one_line(error)})") from error
    except EndOfFile:
        notes.append("ends in the middle of a record: what was to follow is missing")
    except (McapError, Exception, MemoryError) as error:  # of damaged files, anything
        raise DataError(f"{path}: cannot be read, expected a whole MCAP file: {one_line(error)}") from error
    several = Counter(topic.name for topic in topics.values())
    for topic in topics.values():
        if several[topic.name] > 1:  # of several types: none is decoded as another
            topic.name = f"{topic.name} {topic.schema or topic.encoding}"
    found = [sensed for topic in topics.values() if (sensed := _sensed(path, topic, notes))]
    if not found:
        why = "; ".join(notes) or "no messages"
        raise DataError(f"{path}: no topic of numbers that can be decoded, expected one: {why}")
    for number, sensed in enumerate(found):
        said = sensed.notes if number else (*sensed.notes, *notes)
        yield replace(sensed, notes=said)


def _gather(path: Path, file: BinaryIO, topics: dict[tuple[str, str, str, bytes], _Topic]) -> None:
    """Decode the messages of a file in its order."""
    from mcap.records import Channel, Chunk, Message, Schema
    from mcap.stream_reader import StreamReader, breakup_chunk

    limit = min(LARGEST, path.stat().st_size)
    schemas: dict[int, Any] = {}
    channels: dict[int, _Topic] = {}
    held = 0
    for record in StreamReader(file, emit_chunks=True, record_size_limit=limit).records:
        inner = [record]
        if isinstance(record, Chunk):
            held += record.uncompressed_size
            explained(path, held)
            inner = breakup_chunk(_unpacked(path, record))
        for one in inner:
            if isinstance(one, Schema):
                schemas[one.id] = one
            elif isinstance(one, Channel):
                if one.id not in channels:
                    schema, encoding = schemas.get(one.schema_id), one.message_encoding
                    key = (one.topic, encoding, *((schema.name, schema.data) if schema else ("", b"")))
                    if key not in topics:
                        topics[key] = _topic(one.topic, encoding, schema)
                    channels[one.id] = topics[key]
            elif isinstance(one, Message):
                if one.channel_id not in channels:
                    raise DataError(f"{path}: a message of no channel that was opened, expected one that was")
                _take(channels[one.channel_id], one.log_time / 1e9, one.data)


def _unpacked(path: Path, chunk: Any) -> Any:
    """A chunk that is not compressed, no larger than it says."""
    if chunk.compression == "zstd":
        import zstandard

        reader = zstandard.ZstdDecompressor().stream_reader(chunk.data)
        content = reader.read(chunk.uncompressed_size + 1)
    elif chunk.compression == "lz4":
        import lz4.frame

        content = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, chunk.uncompressed_size + 1)
    elif chunk.compression == "":
        content = chunk.data
    else:
        raise DataError(f"{path}: a chunk compressed by {chunk.compression!r}, expected zstd or lz4")
    damaged = chunk.uncompressed_crc != 0 and zlib.crc32(content) != chunk.uncompressed_crc
    if len(content) != chunk.uncompressed_size or damaged:
        raise DataError(f"{path}: a chunk that is not what its size and checksum say, expected a whole file")
    return replace(chunk, compression="", data=content, uncompressed_crc=0)


def _topic(topic: str, encoding: str, schema: Any) -> _Topic:
    """How the messages of a channel are decoded; by nothing where nobody can."""
    name = schema.name if schema else ""
    if encoding == "json":
        return _Topic(topic, name, encoding, json.loads)
    decode = None
    if encoding == "cdr":
        from mcap_ros2.decoder import DecoderFactory

        decode = DecoderFactory().decoder_for(encoding, schema)
    return _Topic(topic, name, f"{encoding or 'unnamed'} encoding", decode)


def _take(topic: _Topic, logged_s: float, content: bytes) -> None:
    """Decode one message, unless the first ones have shown that its topic has no numbers."""
    if topic.decode is None or (topic.others > 9 and not topic.rows):
        topic.others += 1
        return
    row: dict[str, float] = {}
    _flatten(topic.decode(content), "", row, 0)
    stamp = next((stamp for name in STAMPS if (stamp := _stamp(row, name)) is not None), np.nan)
    row = {
        name: value
        for name, value in row.items()
        if not any(name == stamp or name.startswith(f"{stamp}.") for stamp in STAMPS)
        and "covariance" not in name
    }
    if not row:
        topic.others += 1
        return
    topic.logged_s.append(logged_s)
    topic.stamped_s.append(stamp)
    topic.rows.append(row)


def _stamp(row: Mapping[str, float], name: str) -> float | None:
    """Seconds of a stamp of seconds and nanoseconds."""
    seconds = row.get(f"{name}.sec")
    rest = row.get(f"{name}.nanosec", row.get(f"{name}.nsec"))
    return None if seconds is None or rest is None else seconds + rest / 1e9


def _flatten(value: Any, name: str, row: dict[str, float], depth: int) -> None:
    """Add the numbers in a message to `row`, by their dotted names."""
    if isinstance(value, bool | int | float):
        if name and abs(value) < 1e300:
            row[name] = float(value)
    elif isinstance(value, str | bytes | None.__class__) or depth > DEEPEST:
        return
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _flatten(inner, f"{name}.{key}".lstrip("."), row, depth + 1)
    elif isinstance(value, list | tuple | np.ndarray):
        if len(value) <= WIDEST:
            for number, inner in enumerate(value):
                _flatten(inner, f"{name}.{number}", row, depth + 1)
    else:  # a message within a message
        for key in getattr(value, "__slots__", None) or vars(value):
            _flatten(getattr(value, key), f"{name}.{key}".lstrip("."), row, depth + 1)


def _sensed(path: Path, topic: _Topic, notes: list[str]) -> Sensed | None:
    """A topic's stream; None where it has none, which `notes` then says."""
    name = topic.name
    if len(topic.rows) < 2:
        why = topic.encoding if topic.decode is None else f"{len(topic.rows)} messages with numbers"
        notes.append(f"{name} ({topic.schema or 'no schema'}): {why}, left out")
        return None
    columns = tuple(dict.fromkeys(column for row in topic.rows for column in row))
    if len(columns) > 10_000:
        raise DataError(f"{path}: topic {name!r}: {len(columns)} columns, expected at most 10000")
    values = np.array([[row.get(column, np.nan) for column in columns] for row in topic.rows])
    logged = np.argsort(topic.logged_s, kind="stable")  # a file may hold them in any order
    values, stamped = values[logged], np.array(topic.stamped_s)[logged]
    inside = bool(np.isfinite(stamped).all() and (np.diff(stamped) >= 0).all() and stamped[-1] > stamped[0])
    times = stamped if inside else np.array(topic.logged_s)[logged]
    said = "those in the messages" if inside else "when the log took them, for messages have none that rise"
    known = UNITS.get(topic.schema, {})
    units = {column: unit for column in columns if (unit := known.get(column.split(".")[0]))}
    axes = next((axes for start in MOVED if {*(axes := _axes(start))} <= {*columns}), ())
    if axes and not (axes[0].startswith(("lin", "acc")) or "acc" in name.lower()):
        axes = ()
    return Sensed(
        name,
        times,
        values,
        columns,
        units,
        axes,
        f"MCAP {path.name}",
        notes=(f"times: {said}",),
    )


def _axes(start: str) -> tuple[str, ...]:
    return tuple(f"{start}.{axis}".lstrip(".") for axis in "xyz")


MCAP = Format("mcap", fits, read)
