"""Recognised segments as files: a table, ELAN's `.eaf` for each recording, and ActivityNet's JSON."""

import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import polars as pl
from pympi.Elan import Eaf, to_eaf  # type: ignore[import-untyped]

from plait.errors import DataError, quote
from plait.names import encodable, natural
from plait.recordings.annotations import MOST_S
from plait.recordings.label_tables import TOUCH_S
from plait.recordings.owners import key
from plait.store import atomic, content_key, write_csv, write_json
from plait.types import Segment, Span

SEGMENTS, RESULTS = "segments.csv", "segments.json"
PREDICTED, LABELLED = "predicted", "labelled"  # ELAN's tiers
DIGITS = 6  # of seconds and scores in a table
LONGEST = 200  # bytes of a file's name, without its ending
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # names that Windows keeps
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2
MIME = {  # as ELAN calls them
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
}


def write_segments(
    folder: Path,
    segments: Mapping[str, Sequence[Segment]],
    labels: Mapping[str, Sequence[Span]],
    videos: Mapping[str, Path],
) -> dict[str, Path]:
    """Write `segments.csv`, `segments.json` and an `.eaf` for each recording; returns the latter.

    The same segments give the same bytes. The JSON has the form of results that ActivityNet's evaluation
    takes (Caba Heilbron et al., CVPR 2015).

    Args:
        folder: where.
        segments: by recording; those of one do not overlap.
        labels: what was said to be done, of the recordings that have labels.
        videos: of the recordings that have one, to which ELAN is linked.

    Raises:
        DataError: a segment or a label has no time or no name that can be written, two segments of one
            recording overlap, or the folder cannot be written.
    """
    recordings = sorted(segments, key=natural)
    checked = {name: _checked(name, segments[name]) for name in recordings}
    write_csv(folder / SEGMENTS, _table(checked))
    results = {
        name: [
            {"label": activity, "score": _digits(score), "segment": [_digits(start_s), _digits(stop_s)]}
            for start_s, stop_s, activity, score in ordered
        ]
        for name, ordered in checked.items()
    }
    version = f"plait {metadata.version('plait')}"
    write_json(folder / RESULTS, {"version": version, "results": results, "external_data": {}})
    files = {name: folder / f"{stem}.eaf" for name, stem in file_stems(recordings).items()}
    for name, file in files.items():
        write_eaf(file, checked[name], labels.get(name, ()), videos.get(name))
    return files


def file_stems(recordings: Iterable[str]) -> dict[str, str]:
    """Names for files of recordings, without an ending: good on any system, and another for each recording.

    A recording that is called as no file can be, or as another one but for upper and lower case, has a `~`
    and a part of a checksum behind its name, which no other has.
    """
    plain = {name: _safe(name) for name in recordings}
    sharing = Counter(key(stem) for stem in plain.values())
    return {
        name: stem
        if stem == unicodedata.normalize("NFC", name) and sharing[key(stem)] == 1
        else f"{stem}~{content_key(name)[:12]}"
        for name, stem in plain.items()
    }


def write_eaf(path: Path, segments: Iterable[Segment], labels: Iterable[Span], video: Path | None) -> None:
    """Write segments as ELAN's tier `predicted` and labels, if there are any, as its tier `labelled`.

    Times are whole milliseconds. Letters that XML has no place for become U+FFFD.

    Args:
        path: the `.eaf`.
        segments: from 0 s on.
        labels: from 0 s on.
        video: on whose clock they are, which ELAN opens.

    Raises:
        DataError: a label starts before 0 s, or the file cannot be written.
    """
    eaf = Eaf(author="plait")
    eaf.adocument["DATE"] = "1970-01-01T00:00:00+00:00"  # must be there, and would be another every time
    eaf.header = {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"}
    eaf.remove_tier("default")
    tiers: dict[str, list[Segment | Span]] = {PREDICTED: [*segments], LABELLED: [*labels]}
    for tier, spans in tiers.items():
        if spans or tier == PREDICTED:
            eaf.add_tier(tier)
        for span in sorted(spans, key=lambda span: span.start_s):
            if not 0 <= span.start_s < span.stop_s <= MOST_S:
                raise DataError(
                    f"{path}: {tier}: {_said(span)}, expected a start of 0 or more and a later stop"
                )
            start_ms = _milliseconds(span.start_s)
            stop_ms = max(_milliseconds(span.stop_s), start_ms + 1)
            eaf.add_annotation(tier, start_ms, stop_ms, NO_XML.sub("\ufffd", span.activity))
    _order_slots(eaf)
    eaf.properties = [("lastUsedAnnotationId", eaf.maxaid)]
    if video is not None:
        eaf.add_linked_file(*(NO_XML.sub("\ufffd", text) for text in _links(video, path.parent)))
    with atomic(path) as target:
        to_eaf(target, eaf)


def _safe(name: str) -> str:
    """A name without what some system has no place for in a file's name, nor `~`, and not too long."""
    composed = unicodedata.normalize("NFC", name)
    shown = "".join(letter if letter.isprintable() else "_" for letter in composed)
    safe = re.sub(r'[<>:"/\\|?*~]|^[. ]+|[. ]+$', "_", shown) or "_"
    if DEVICES.fullmatch(safe):
        safe = f"_{safe}"
    return safe.encode()[:LONGEST].decode(errors="ignore")


def _checked(recording: str, segments: Sequence[Segment]) -> list[Segment]:
    """A recording's segments in order.

    Raises:
        DataError: as `write_segments`.
    """
    where = f"recording {quote(recording)}"
    if not encodable(recording):
        raise DataError(f"{where}: its name cannot be written as UTF-8, expected one that can")
    for segment in segments:
        if not isinstance(segment.activity, str) or not encodable(segment.activity):
            raise DataError(f"{where}: activity is {quote(segment.activity)}, expected text that is UTF-8")
        if not 0 <= segment.start_s < segment.stop_s <= MOST_S:
            raise DataError(f"{where}: {_said(segment)}, expected a start of 0 or more and a later stop")
        if not math.isfinite(segment.score):
            raise DataError(
                f"{where}: {_said(segment)}, with score {segment.score}, expected a finite number"
            )
    ordered = sorted(segments, key=lambda segment: segment.start_s)
    for before, segment in pairwise(ordered):
        if segment.start_s < before.stop_s - TOUCH_S:
            raise DataError(f"{where}: {_said(before)}, expected it to end before {_said(segment)}")
    return ordered


def _said(span: Segment | Span) -> str:
    return f"{quote(span.activity)} is from {span.start_s} s to {span.stop_s} s"


def _table(segments: Mapping[str, Sequence[Segment]]) -> pl.DataFrame:
    rows = [(recording, segment) for recording, ordered in segments.items() for segment in ordered]
    return pl.DataFrame(
        {
            "recording": pl.Series([recording for recording, _ in rows], dtype=pl.String),
            "start_s": pl.Series([_digits(segment.start_s) for _, segment in rows], dtype=pl.Float64),
            "stop_s": pl.Series([_digits(segment.stop_s) for _, segment in rows], dtype=pl.Float64),
            "activity": pl.Series([segment.activity for _, segment in rows], dtype=pl.String),
            "score": pl.Series([_digits(segment.score) for _, segment in rows], dtype=pl.Float64),
        }
    )


def _digits(number: float) -> float:
    return round(float(number), DIGITS)


def _milliseconds(seconds: float) -> int:
    """Half a millisecond goes up, so that what lasts a millisecond does so still."""
    return math.floor(1000 * seconds + 0.5)


def _order_slots(eaf: Eaf) -> None:
    """Number time slots by time, as ELAN has them."""
    ordered = sorted(eaf.timeslots.items(), key=lambda slot: slot[1])
    names = {slot: f"ts{number}" for number, (slot, _) in enumerate(ordered, 1)}
    eaf.timeslots = {names[slot]: ms for slot, ms in ordered}
    for aligned, *_ in eaf.tiers.values():
        for name, (start, stop, *rest) in aligned.items():
            aligned[name] = (names[start], names[stop], *rest)


def _links(video: Path, folder: Path) -> tuple[str, str, str]:
    """A video's address, its path from a folder and its MIME type, as ELAN has them: nothing is escaped."""
    absolute = Path(os.path.normpath(video.absolute()))
    posix = absolute.as_posix()
    address = f"file:{posix}" if posix.startswith("//") else f"file:///{posix.lstrip('/')}"
    try:
        way = Path(os.path.relpath(absolute, folder.absolute())).as_posix()
    except ValueError:  # on another drive
        way = absolute.name
    return address, way if way.startswith("../") else f"./{way}", MIME.get(absolute.suffix.lower(), "video/*")
