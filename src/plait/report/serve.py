"""A run's folder over HTTP, for looking at: read only, nothing outside it, by default on this machine."""

import os
import re
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from plait.errors import DataError
from plait.serving import HOST, PATIENCE_S, PORT, Listening


def server(run: Path, host: str = HOST, port: int = PORT, patience_s: float = PATIENCE_S) -> Listening:
    """A server of a run's folder, listening already.

    Args:
        run: The folder.
        host: The address to listen at; any but this machine's own asks for a token.
        port: The port; 0 takes any that is free.
        patience_s: How long a request may take to arrive, and a piece of an answer to be taken.

    Raises:
        DataError: there is no page in the folder.
        ConfigError: the address cannot be had.
    """
    if not (run / "index.html").is_file():
        raise DataError(f"{run / 'index.html'}: no such file, expected the folder of a finished run")
    return Listening(files(run), host, port, patience_s)


def files(folder: Path) -> Starlette:
    """GET and HEAD of the files of one folder, whole or a range of bytes, as players of films ask for.

    There are no listings, hidden files, or ways out of the folder: not by `..`, not by a symbolic link.
    """
    root = folder.resolve()

    def answer(request: Request) -> Response:
        path = _wanted(root, request.path_params["name"].lstrip("/") or "index.html")
        if path is None:
            return _missing()
        try:
            size = path.stat()
        except OSError:  # it has just gone
            return _missing()
        asked = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", request.headers.get("range", ""))
        if asked is None or not any(asked.groups()):  # nothing that can be answered in part
            request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] != b"range"]
        elif all(asked.groups()) and int(asked[1]) > int(asked[2]):
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size.st_size}"})
        return FileResponse(path, stat_result=size, headers={"Cache-Control": "no-cache"})

    app = Starlette(routes=[Route("/{name:path}", answer)])
    app.router.redirect_slashes = False  # it would look for an address where there may be none
    app.router.default = _missing()
    return app


def _wanted(root: Path, name: str) -> Path | None:
    """The file that is asked for; None where there is none to be had."""
    if "\0" in name or any(part.startswith(".") for part in name.split("/")):
        return None
    try:
        path = (root / name).resolve()
        there = path.is_relative_to(root) and path.is_file() and os.access(path, os.R_OK)
    except (OSError, RuntimeError):  # a name that no file system takes, or a link to itself
        return None
    return path if there else None


def _missing() -> Response:
    return PlainTextResponse("no such file in this run\n", 404)
