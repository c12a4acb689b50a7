"""Cameras by their addresses: of this machine, of the network, and a file in the place of one."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import av
from av.container import InputContainer

from plait.errors import ConfigError, DataError, one_line
from plait.recordings.media import opened

DEVICES = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
NETWORK = ("rtsp", "rtsps", "http", "https", "udp", "tcp", "rtmp", "srt")
CODECS = {"v4l2": "input_format", "avfoundation": "pixel_format", "dshow": "vcodec"}  # what names a codec
OPENING_S, SILENT_S = 10.0, 5.0  # after which a camera is given up that says nothing


@dataclass(frozen=True)
class Address:
    """Where a camera is, as FFmpeg is told.

    Args:
        shown: what people are told, without a password.
        url: what is opened.
        form: FFmpeg's name of the format; None: it looks.
        options: FFmpeg's.
        file: where it is a file.
    """

    shown: str
    url: str
    form: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    file: Path | None = None


def address_of(text: str, system: str = sys.platform) -> Address:
    """What `camera:/dev/video0?size=640x480&fps=30&codec=mjpeg`, `rtsp://...` or `file:PATH` stand for.

    Raises:
        ConfigError: it is none of these, or has an option that is none.
    """
    scheme, _, rest = text.partition(":")
    if scheme in NETWORK and rest.startswith("//"):
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
        shown = urlunsplit(parts._replace(netloc=host, query=""))
        options = {"rtsp_transport": "tcp"} if scheme in ("rtsp", "rtsps") else {}
        return Address(shown, text, None, {**options, "fflags": "nobuffer"})
    if scheme == "file" and rest:
        return Address(text, rest, file=Path(rest))
    if scheme != "camera" or not rest:
        expected = "camera:DEVICE, file:PATH, or " + ", ".join(f"{name}://" for name in NETWORK)
        raise ConfigError(f"live: {text!r}, expected {expected}")
    device, _, query = rest.partition("?")
    form = DEVICES.get(system)
    if form is None:
        raise ConfigError(f"live: {text!r}: no cameras on {system}, expected one of the network (rtsp://...)")
    given = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := given.keys() - {"size", "fps", "codec"}:
        raise ConfigError(f"live: {text!r}: {min(unknown)}, expected size=640x480, fps=30, codec=mjpeg")
    options = {}
    if "size" in given:
        width, _, height = given["size"].partition("x")
        if not (width.isdecimal() and height.isdecimal() and int(width) * int(height)):
            raise ConfigError(f"live: {text!r}: size {given['size']!r}, expected one such as 640x480")
        options["video_size"] = given["size"]
    if "fps" in given:
        if not (given["fps"].replace(".", "", 1).isdecimal() and float(given["fps"]) > 0):
            raise ConfigError(f"live: {text!r}: fps {given['fps']!r}, expected a number above 0")
        options["framerate"] = given["fps"]
    if "codec" in given:
        options[CODECS[form]] = given["codec"]
    return Address(text, f"video={device}" if form == "dshow" else device, form, options)


@contextmanager
def opened_at(address: Address) -> Iterator[InputContainer]:
    """Open a camera; reading it waits for `SILENT_S` at most.

    Raises:
        DataError: it cannot be opened.
    """
    if address.file is not None:
        with opened(address.file) as container:
            yield container
        return
    try:
        limits = (OPENING_S, SILENT_S)
        with av.open(address.url, "r", address.form, options=address.options, timeout=limits) as container:
            yield container
    except av.ExitError as error:
        raise DataError(f"{address.shown}: gives no picture, expected some") from error
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror or one_line(error)
        raise DataError(f"{address.shown}: cannot be opened, expected a camera: {reason}") from error
    except ValueError as error:  # of PyAV
        raise DataError(f"{address.shown}: cannot be opened: {one_line(error)}") from error
