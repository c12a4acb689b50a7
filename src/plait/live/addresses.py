"""What `--stream` says -> sources."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from plait.errors import ConfigError, quote
from plait.live.events import Source
from plait.live.pace import Pace
from plait.trust import NOBODY, Trust

CAMERAS = ("camera", "file", "rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt")
EXPECTED = (
    "camera:DEVICE, file:PATH, rtsp://..., lsl:NAME, csv:PATH, replay:RECORDING, "
    "or module:Name of something of your own"
)
LSL = ("source_id", "columns", "clock")
TEXTS = ("time", "fraction", "fraction_unit", "decimal", "same_time")
NUMBERS = ("rate_hz", "scale", "max_gap_s", "header_line", "absolute")
LISTS = ("columns", "names", "missing", "clock_set", "held")
OF_COLUMNS = ("where.", "circular.")
ALIASES = {"unit": "time_unit"}


class Said(NamedTuple):
    """A `--stream`.

    Args:
        text: as it is written.
        name: of the stream; empty for all of a recording.
        scheme: what kind of address.
        place: what follows, without options.
        options: what follows `?`.
    """

    text: str
    name: str
    scheme: str
    place: str
    options: dict[str, str]

    def refused(self, why: str) -> ConfigError:
        """The error that something is wrong with it."""
        return ConfigError(f"--stream {self.text}: {why}")


def parse(text: str) -> Said:
    """A `--stream` in its parts.

    Raises:
        ConfigError: it is not `NAME=ADDRESS`, or of no known kind.
    """
    name, equals, address = text.partition("=")
    if re.match(r"replay:", text):
        name, equals, address = "", "=", text
    scheme, colon, place = address.partition(":")
    said = Said(text, name.strip(), scheme, place, {})
    if not equals or not address:
        raise said.refused(f"expected NAME=ADDRESS, where ADDRESS is {EXPECTED}")
    if not re.fullmatch(r"\w[\w.-]*", said.name) and scheme != "replay":
        raise said.refused(f"{quote(said.name)} is no name of a stream, expected letters, digits, _, - or .")
    if not colon or not place:
        raise said.refused(f"expected an address: {EXPECTED}")
    if scheme not in ("lsl", "csv"):
        return said
    place, _, query = place.partition("?")
    options: dict[str, str] = {}
    for option in filter(None, query.split("&")):
        key, given, value = option.partition("=")
        if not given:
            raise said.refused(f"option {quote(option)}, expected KEY=VALUE")
        options[ALIASES.get(key, unquote(key))] = unquote(value)
    return said._replace(place=place, options=options)


def is_replay(stream: str) -> bool:
    """Whether what is said is a recording, whose clock is its own.

    Raises:
        ConfigError: something is wrong with the address.
    """
    return parse(stream).scheme == "replay"


def modules_of(streams: Sequence[str]) -> list[str]:
    """The `module:Name` of a user's own that are said."""
    known = {"lsl", "csv", "replay", *CAMERAS}
    return [f"{said.scheme}:{said.place}" for said in map(parse, streams) if said.scheme not in known]


def sources_of(streams: Sequence[str], pace: Pace, trust: Trust = NOBODY) -> list[Source]:
    """The sources that are said.

    A recording is one source, however many of its streams are named. If one source cannot be opened, those
    before it are closed.

    Args:
        streams: of the form `NAME=ADDRESS`, or `replay:RECORDING`.
        pace: the session's clock.
        trust: whose code may run.

    Raises:
        PlaitError: something is wrong with an address, or a source cannot be opened.
    """
    every = [parse(text) for text in streams]
    if not every:
        raise ConfigError(f"live: no --stream, expected NAME=ADDRESS, where ADDRESS is {EXPECTED}")
    twice = [said.name for place, said in enumerate(every) if said.name in {s.name for s in every[:place]}]
    if twice:
        what = f"stream {twice[0]!r}" if twice[0] else "a whole recording"
        raise ConfigError(f"live: --stream: {what} is said twice, expected once")
    replays = {said.scheme == "replay" for said in every}
    if len(replays) > 1:
        raise ConfigError("live: --stream: replay: beside what happens now, expected either: clocks differ")
    if replays == {True}:
        return [_replay(every, pace)]
    sources: list[Source] = []
    try:
        for said in every:
            sources.append(KINDS.get(said.scheme, _own)(said, trust))
    except BaseException:
        for source in sources:
            source.close()
        raise
    return sources


def _replay(every: Sequence[Said], pace: Pace) -> Source:
    from plait.live.replay import Replay

    folders = list(dict.fromkeys(Path(said.place).resolve() for said in every))
    if len(folders) > 1:
        raise every[1].refused("another recording than the first, expected one: their clocks differ")
    names = [said.name for said in every if said.name]
    if len(names) < len(every) > 1:
        raise ConfigError("live: --stream: a whole recording beside some of its streams, expected either")
    return Replay(Path(every[0].place), pace, names or None)


def _camera(said: Said, trust: Trust) -> Source:
    from plait.live.cameras import Camera

    return Camera(said.name, f"{said.scheme}:{said.place}")


def _lsl(said: Said, trust: Trust) -> Source:
    from plait.live.lsl import Outlet

    _check(said, LSL)
    options: dict[str, Any] = {key: value for key, value in said.options.items() if key != "columns"}
    return Outlet(said.name, said.place, columns=_list(said.options.get("columns", "")), **options)


def _csv(said: Said, trust: Trust) -> Source:
    from plait.live.csv_tail import Tail

    known = (*TEXTS, *NUMBERS, *LISTS, "quaternions", "time_unit", "sync")
    _check(said, (*known, *(key for key in said.options if key.startswith(OF_COLUMNS))))
    settings = _settings(said.options)
    sync = said.options.get("sync")
    return Tail(said.name, Path(said.place), settings, sync=None if sync is None else Path(sync))


def _own(said: Said, trust: Trust) -> Source:
    from plait.live.own import Own

    if not re.fullmatch(r"[A-Za-z_][\w.]*", said.scheme):
        raise said.refused(f"{quote(said.scheme)} is no kind of address, expected {EXPECTED}")
    return Own(said.name, f"{said.scheme}:{said.place}", trust)


KINDS: Mapping[str, Callable[[Said, Trust], Source]] = {
    "lsl": _lsl,
    "csv": _csv,
    **dict.fromkeys(CAMERAS, _camera),
}


def _check(said: Said, known: Sequence[str]) -> None:
    for key in said.options:
        if key not in known:
            raise said.refused(f"no option {key!r}, expected one of: {', '.join(known)}")


def _settings(options: Mapping[str, str]) -> dict[str, Any]:
    """Options as settings of a log."""
    settings: dict[str, Any] = {}
    for key, value in options.items():
        if key.startswith("where."):
            settings.setdefault("where", {})[key.removeprefix("where.")] = value
        elif key.startswith("circular."):
            settings.setdefault("circular", {})[key.removeprefix("circular.")] = _json(value)
        elif key == "quaternions":
            settings[key] = _json(value)
        elif key in LISTS:
            found = _list(value)
            settings[key] = tuple(map(_number, found)) if key == "clock_set" else found
        elif key in NUMBERS or key == "time_unit":
            settings[key] = _number(value)
        elif key in TEXTS:
            settings[key] = value
    return settings


def _list(value: str) -> tuple[str, ...]:
    """Names apart by commas, or a list as JSON has it."""
    if value.startswith("["):
        try:
            found = json.loads(value)
        except ValueError:
            found = None
        if isinstance(found, list):
            return tuple(map(str, found))
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _json(value: str) -> Any:
    """What a text says in JSON, or the text."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _number(value: str) -> Any:
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() else number
