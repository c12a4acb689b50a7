"""A run's folder over HTTP, for looking at: read only, nothing outside it, by default on this machine."""

import ipaddress
import re
import socket
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Timer
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from plait.errors import ConfigError, DataError

HOST, PORT = "127.0.0.1", 8000
PATIENCE_S = 20.0  # within which a request must be there, and each piece of an answer be taken


class Files(SimpleHTTPRequestHandler):
    """GET and HEAD of the files of one folder, whole or a range of bytes, as players of films ask for.

    There are no listings, hidden files, or ways out of the folder: not by `..`, not by a symbolic link. A
    connection that is slower than `patience_s` is closed; a player asks again for the rest.
    """

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, patience_s: float = PATIENCE_S, **kwargs: Any) -> None:
        self.patience_s = patience_s
        super().__init__(*args, **kwargs)

    def setup(self) -> None:
        """Take the connection, whose every read and write has so much time."""
        super().setup()
        self.connection.settimeout(self.patience_s)

    def handle_one_request(self) -> None:
        """One request, whose head must have arrived whole in time, however steadily it drips."""
        self._late = Timer(self.patience_s, self._hang_up)
        self._late.daemon = True
        self._late.start()
        try:
            super().handle_one_request()
        except OSError:  # the other side has gone, or does not take its answer
            self.close_connection = True
        finally:
            self._late.cancel()

    def parse_request(self) -> bool:
        """Read the head; what comes after it has all the time that each piece needs."""
        whole = super().parse_request()
        self._late.cancel()
        return whole

    def send_head(self) -> BinaryIO | None:
        """Answer with the file's head; what is left to send is returned, None where there is nothing."""
        try:
            path = self._wanted_file() if self._at_home() else None
        except ValueError:  # "Host: [", "GET http://[/"
            self.send_error(HTTPStatus.BAD_REQUEST, "no address that can be read")
            return None
        try:
            if path is None:
                raise FileNotFoundError
            file = path.open("rb")
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND, "no such file in this run")
            return None
        size = path.stat().st_size
        first, last = _parse_range(self.headers.get("Range") if size else None, size)
        if first > last and size:
            file.close()
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        self._left = last - first + 1
        part = self._left < size
        self.send_response(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Length", str(self._left))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        if part:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        file.seek(first)
        return file

    def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:  # type: ignore[override]
        """Send what the head has promised; a reader who has seen enough may hang up, or fall asleep."""
        try:
            while self._left and (piece := source.read(min(self._left, 1 << 16))):
                outputfile.write(piece)
                self._left -= len(piece)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the page asks for dozens of films."""

    def _at_home(self) -> bool:
        """Whether the page was asked for by an address of this machine, where it is served to it alone.

        Somebody else's page whose name was made to mean this machine asks by that name.
        """
        bound = ipaddress.ip_address(self.connection.getsockname()[0])
        name = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        return not bound.is_loopback or name in ("localhost", "127.0.0.1", "::1", str(bound))

    def _wanted_file(self) -> Path | None:
        """The file that is asked for; None where there is none to be had."""
        root = Path(self.directory).resolve()
        name = unquote(urlsplit(self.path).path).lstrip("/") or "index.html"
        if "\0" in name or any(part.startswith(".") for part in name.split("/")):
            return None
        try:
            path = (root / name).resolve()
            return path if path.is_relative_to(root) and path.is_file() else None
        except (OSError, RuntimeError):  # a name that no file system takes, or a link to itself
            return None

    def _hang_up(self) -> None:
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # it is closed already
            return


def server(
    run: Path, host: str = HOST, port: int = PORT, patience_s: float = PATIENCE_S
) -> ThreadingHTTPServer:
    """A server of a run's folder, listening already.

    Args:
        run: The folder.
        host: The address to listen at.
        port: The port; 0 takes any that is free.
        patience_s: How long a request may take to arrive, and a piece of an answer to be taken.

    Raises:
        DataError: there is no page in the folder.
        ConfigError: the address cannot be had.
    """
    if not (run / "index.html").is_file():
        raise DataError(f"{run / 'index.html'}: no such file, expected the folder of a finished run")
    if not host.strip():
        raise ConfigError(
            "--host: empty, which is every address of this machine; say 0.0.0.0 if that is meant"
        )
    try:
        return ThreadingHTTPServer((host, port), partial(Files, directory=str(run), patience_s=patience_s))
    except (OSError, OverflowError, TypeError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"--host {host} --port {port}: cannot listen there: {why}") from error


def _parse_range(header: str | None, size: int) -> tuple[int, int]:
    """The first and the last byte of `bytes=a-b`, `bytes=a-` or `bytes=-n`; else of the whole file."""
    ends = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header or "")
    if ends is None or not any(ends.groups()):
        return 0, size - 1
    first, last = ends.groups()
    if not first:
        return max(size - int(last), 0), size - 1
    return int(first), min(int(last) if last else size - 1, size - 1)
