"""How far a media file goes by its own structure, which tells whether it was cut off."""

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

BOXES = b"ftyp styp moov moof mdat mfra sidx ssix free skip wide uuid meta emsg prft pdin".split()
SEGMENT = bytes.fromhex("18538067")
TS_PACKETS = ((188, 0), (192, 4), (204, 0))  # size of a packet, and where in it the sync byte stands
TS_SYNC, TS_LOOKED_AT = 0x47, 5
ASF_PROPERTIES, HEADER = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"), 1 << 16
MXF_PARTITION = bytes.fromhex("060e2b34020501010d01020101")
OGG_ENDS = 4
PACK, PS_END, PS_TAIL = b"\0\0\1\xba", 0xB9, 1 << 18


class Extent(NamedTuple):
    """The bytes that a file must have to end where one of its parts does; `stated`: where its header says."""

    size: int
    stated: bool


def extent(file: Path, form: str) -> Extent | None:
    """How far a file of FFmpeg's format `form` goes by what it says itself; None where it says nothing.

    Matroska and WebM state the size of all; live, or where the recorder died, only of each element. MP4 and
    MOV state the size of each box and, with an index of fragments (`sidx`), of all; AVI, of each RIFF chunk;
    ASF, of the file; MXF, where its footer stands. Ogg marks the last page of each track. Transport and
    program streams and DV state nothing but the size of their packets. So one of these that was cut between
    two packets, and a live Matroska or a fragmented MP4 cut between two elements or fragments, cannot be told
    from shorter ones; nor can other formats be.
    """
    measure = {
        "matroska": _matroska, "mov": _boxes, "avi": _riff, "asf": _asf, "mxf": _mxf, "ogg": _ogg,
        "mpegts": _transport, "mpeg": _program, "dv": _dv,
    }.get(form)  # fmt: skip
    if measure is None:
        return None
    with file.open("rb") as opened:
        return measure(opened, file.stat().st_size)


def _matroska(file: BinaryIO, size: int) -> Extent:
    """The end of the segment, or, if its size is left open, of the last element in it."""
    at, stated = 0, True
    while at < size:
        file.seek(at)
        head = file.read(12)
        kind = 9 - head[0].bit_length()
        if kind > 4:
            break  # no element: something that lies behind them
        width = 9 - head[kind].bit_length() if len(head) > kind else 1
        if width > 8:
            break
        content = at + kind + width
        most = (1 << 7 * width) - 1
        length = int.from_bytes(head[kind : kind + width]) & most
        if content <= size and length == most:
            at, stated = content, False  # unknown: its elements follow
            continue
        at = content + length
        if head[:kind] == SEGMENT:
            break
    return Extent(at, stated)


def _boxes(file: BinaryIO, size: int) -> Extent:
    """The end of the last box, or of the fragments that an index before them lists."""
    at, listed = 0, 0
    while at + 8 <= size:
        file.seek(at)
        length, kind, long = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        length = long if length == 1 else length or size - at  # 0: to the end of the file
        if kind not in BOXES or length < 8:
            break  # something that lies behind them
        if kind == b"sidx" and at + length <= size:
            file.seek(at + 8)
            listed = max(listed, at + length + _fragments_size(file.read(length - 8)))
        at += length
    return Extent(max(at, listed), True)


def _fragments_size(index: bytes) -> int:
    """How many bytes of fragments an index (ISO/IEC 14496-12, 8.16.3) lists."""
    start, first = (20, index[16:20]) if index[:1] == b"\0" else (28, index[20:28])
    if len(index) < start + 4:
        return 0
    count = int.from_bytes(index[start + 2 : start + 4])
    sizes = (int.from_bytes(index[at : at + 4]) for at in range(start + 4, start + 4 + 12 * count, 12))
    return int.from_bytes(first) + sum(size & 0x7FFFFFFF for size in sizes)


def _riff(file: BinaryIO, size: int) -> Extent:
    """The end of the last RIFF chunk; large files have several."""
    at = end = 0
    while at + 8 <= size:
        file.seek(at)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF" or length in (0, 0xFFFFFFFF):
            break  # something that lies behind them, or a recorder died
        end = at + 8 + length
        at = end + length % 2
    return Extent(end, True)


def _transport(file: BinaryIO, size: int) -> Extent | None:
    """The end of the last packet."""
    head = file.read(TS_LOOKED_AT * 204)
    for length, sync in TS_PACKETS:
        marks = head[sync : TS_LOOKED_AT * length : length]
        if marks and set(marks) == {TS_SYNC}:
            return Extent(-(-size // length) * length, False)
    return None


def _program(file: BinaryIO, size: int) -> Extent | None:
    """The end of the last part (ISO/IEC 13818-1, 2.5.3), reached from one of the last packs."""
    start = max(0, size - PS_TAIL)
    file.seek(start)
    tail = file.read()
    first = tail.find(PACK)
    while first >= 0:
        at, kind = first, PACK[3]
        while tail.startswith(PACK[:3], at) and len(tail) > at + 3 and tail[at + 3] >= PS_END:
            kind = tail[at + 3]
            at += _part_size(tail[at : at + 14])
        if kind == PS_END or PACK.startswith(tail[at : at + 3]):
            return Extent(start + max(at, len(tail) + (kind != PS_END and at < len(tail))), False)
        first = tail.find(PACK, first + 1)
    return None


def _part_size(head: bytes) -> int:
    """The size of a part of a program stream that begins like this."""
    if head[3] == PS_END:
        return 4
    if head[3] != PACK[3]:
        return 6 + int.from_bytes(head[4:6])
    if len(head) > 4 and head[4] >> 4 == 2:  # MPEG-1
        return 12
    return 14 + (head[13] % 8 if len(head) > 13 else 0)  # MPEG-2


def _dv(file: BinaryIO, size: int) -> Extent | None:
    """The end of the last frame (IEC 61834-2); the first says whether there are 25 or 30 a second."""
    head = file.read(4)
    length = 144_000 if len(head) == 4 and head[3] & 0x80 else 120_000
    return Extent(-(-size // length) * length, False)


def _asf(file: BinaryIO, size: int) -> Extent | None:
    """The size that the properties of a file state, unless it was broadcast."""
    head = file.read(HEADER)
    at = head.find(ASF_PROPERTIES)
    if at < 0 or len(head) < at + 92:
        return None
    stated, flags = struct.unpack_from("<Q", head, at + 40)[0], struct.unpack_from("<I", head, at + 88)[0]
    return None if flags & 1 or not stated else Extent(stated, True)


def _mxf(file: BinaryIO, size: int) -> Extent | None:
    """The end of the last element from the footer on, whose place the header states once it is closed."""
    head = file.read(HEADER)
    at = head.find(MXF_PARTITION)
    if at < 0 or len(head) < at + 64:
        return None
    value = _value(head, at + 16)[0]
    end = at + int.from_bytes(head[value + 24 : value + 32])  # counted from the first partition
    if end == at:
        return None
    while end < size:
        file.seek(end)
        element = file.read(16 + 9)
        if not element.startswith(MXF_PARTITION[: min(4, len(element))]):
            break  # something that lies behind it
        if len(element) < 17:
            return Extent(end + 17, True)
        start, length = _value(element, 16)
        end += start + length
    return Extent(max(end, at + 1), True)


def _value(element: bytes, at: int) -> tuple[int, int]:
    """Where the value behind a length (SMPTE 379, BER) begins, and that length."""
    short = element[at]
    if short < 0x80:
        return at + 1, short
    width = short & 0x7F
    return at + 1 + width, int.from_bytes(element[at + 1 : at + 1 + width])


def _ogg(file: BinaryIO, size: int) -> Extent:
    """The end of the last page, and a byte more where a track has no last page."""
    at = 0
    running: set[bytes] = set()
    while at < size:
        file.seek(at)
        page = file.read(27 + 255).ljust(27, b"\0")
        if page[:4] != b"OggS":
            break  # something that lies behind them
        track, count = page[14:18], page[26]
        if page[5] & OGG_ENDS:
            running.discard(track)
        else:
            running.add(track)
        at += 27 + count + sum(page[27 : 27 + count])
    return Extent(max(at, size + 1) if running else at, False)
