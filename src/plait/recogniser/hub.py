"""Recognisers on the Hugging Face hub: a MODEL's three files are pushed and fetched, and nothing else."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from plait.download import Remote, check
from plait.errors import ConfigError, DataError, PlaitError, one_line, quote
from plait.store import atomic, cache_folder, locked

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

SCHEME = "hf://"
LIMITS = {"model.toml": 1 << 20, "model.safetensors": 20 << 30, "README.md": 1 << 20}  # in bytes
EXPECTED = f"expected a MODEL: {', '.join(LIMITS)}"
NAME = re.compile(r"(?!.*(--|\.\.))\w[\w.-]{0,95}(?<![.-])/\w[\w.-]{0,95}(?<![.-])", re.ASCII)
REVISION = re.compile(r"(?!.*\.\.)\w[\w./+-]{0,199}", re.ASCII)
COMMIT = re.compile("[0-9a-f]{40}")
TOKEN = "with a token in $HF_TOKEN, or after `hf auth login`"
PATIENCE_S = 30.0


def push(model: Path, name: str, *, private: bool = False, message: str = "A recogniser of plait") -> str:
    """Put a MODEL into the repository `name` (ORG/NAME), created if it is not there, in one commit.

    Args:
        model: a folder that holds `LIMITS`; what else it holds stays here.
        name: ORG/NAME.
        private: only its organisation sees the repository; one that is public already is refused.
        message: the commit's.

    Returns:
        Its address, `hf://ORG/NAME@COMMIT`.

    Raises:
        ConfigError: the extra is not installed.
        DataError: it is no MODEL, there can be no such name, or the hub refuses it or cannot be reached.
    """
    if not NAME.fullmatch(name):
        raise DataError(f"{quote(name)}: no name of a repository, expected ORG/NAME")
    for file, limit in LIMITS.items():
        if not (model / file).is_file():
            raise DataError(f"{model}: no {file}, {EXPECTED}")
        _within(model / file, (model / file).stat().st_size, limit)
    api = _api()
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    bars = nullcontext() if sys.stderr.isatty() else disable_progress_bars()
    with bars, _in_one_line(f"{SCHEME}{name}", f"pushed to {api.endpoint}"):
        api.create_repo(name, private=private or None, exist_ok=True)
        if private and not api.model_info(name, timeout=PATIENCE_S).private:
            raise DataError(f"{SCHEME}{name}: a public repository, expected a private one")
        files = [CommitOperationAdd(file, model.absolute() / file) for file in LIMITS]
        commit = api.create_commit(name, files, commit_message=message)
    return f"{SCHEME}{name}@{commit.oid}"


def fetched(model: str) -> Path:
    """The folder of a MODEL: a path as it is, `hf://ORG/NAME[@REVISION]` as it lies in the cache.

    It is downloaded if it is not there; the folder's name ends in the commit. Where REVISION is a commit that
    is there already, the hub is not asked.

    Raises:
        ConfigError: the extra is not installed.
        DataError: there can be no such address, the repository holds no MODEL, or it cannot be had.
    """
    if not model.startswith(SCHEME):
        return Path(model)
    name, at, revision = model.removeprefix(SCHEME).partition("@")
    if not NAME.fullmatch(name) or (at and not REVISION.fullmatch(revision)):
        raise DataError(f"{quote(model)}: no address of a MODEL, expected {SCHEME}ORG/NAME[@REVISION]")
    if COMMIT.fullmatch(revision) and _is_whole(_folder(name, revision)):
        return _folder(name, revision)
    api = _api()
    with _in_one_line(model, f"fetched from {api.endpoint}", _at_hand(name)):
        info = api.model_info(name, revision=revision or None, files_metadata=True, timeout=PATIENCE_S)
        commit = str(info.sha)
        if not COMMIT.fullmatch(commit) or (COMMIT.fullmatch(revision) and commit != revision):
            raise DataError(f"{model}: the hub says commit {quote(commit)}, expected the one of this address")
        remotes = _remotes(model, name, info, api)
    folder = _folder(name, commit)
    with locked(folder.with_name(f".{folder.name}.lock")):
        if not _is_whole(folder):
            with atomic(folder) as making:
                making.mkdir()
                for remote in remotes:
                    with _in_one_line(remote.url, "fetched"):
                        _download(remote, making / remote.name)
    return folder


def _folder(name: str, commit: str) -> Path:
    return cache_folder("models") / f"{name.replace('/', '--')}--{commit}"


def _is_whole(folder: Path) -> bool:
    return all((folder / file).is_file() for file in LIMITS)


def _at_hand(name: str) -> str:
    """Which commits of a repository need no hub."""
    folders = sorted(cache_folder("models").glob(_folder(name, "*").name))
    commits = [folder.name[-40:] for folder in folders if _is_whole(folder)]
    return f"; at hand: {', '.join(f'{SCHEME}{name}@{commit}' for commit in commits)}" if commits else ""


def _within(file: Path | str, size: int, limit: int) -> None:
    """Refuse a file that is larger than any of a MODEL is."""
    if size > limit:
        raise DataError(f"{file}: {size} bytes, expected at most {limit}")


def _remotes(model: str, name: str, info: "ModelInfo", api: "HfApi") -> list[Remote]:
    """A MODEL's files as a repository lists them."""
    from huggingface_hub import hf_hub_url

    listed = {file.rfilename: file for file in info.siblings or ()}
    remotes = []
    for file, limit in LIMITS.items():
        if file not in listed:
            raise DataError(f"{model}: no {file}, {EXPECTED}")
        size, lfs, blob = listed[file].size, listed[file].lfs, listed[file].blob_id
        url = hf_hub_url(name, file, revision=info.sha, endpoint=api.endpoint)
        _within(url, size or 0, limit)
        remotes.append(Remote(url, size, lfs.sha256 if lfs else None, None if lfs else blob))
    return remotes


def _download(remote: Remote, target: Path) -> None:
    """Write a file of a repository, and stop where it is longer than it may be.

    A token stays with the hub: it does not follow to where the hub keeps large files.
    """
    from huggingface_hub import get_session, hf_raise_for_status
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers = build_hf_headers(library_name="plait") | {"Accept-Encoding": "identity"}
    limit = LIMITS[remote.name] if remote.size is None else remote.size
    have = 0
    with get_session().stream("GET", remote.url, headers=headers, timeout=PATIENCE_S) as answer:
        hf_raise_for_status(answer)
        with target.open("wb") as file:
            for piece in answer.iter_bytes():
                have += len(piece)
                _within(remote.url, have, limit)
                file.write(piece)
    check(remote, target)


def _api() -> "HfApi":
    """The hub at `$HF_ENDPOINT`, as it says now.

    Raises:
        ConfigError: the extra is not installed.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ConfigError("huggingface_hub is not installed: pip install 'plait[huggingface]'") from error
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT", "").rstrip("/") or None, library_name="plait")


@contextmanager
def _in_one_line(what: str, done: str, remedy: str = "") -> Iterator[None]:
    """What goes wrong on the way to the hub and back becomes one line.

    Raises:
        DataError: something has.
    """
    try:
        yield
    except PlaitError:
        raise
    except Exception as error:  # what the library's libraries raise, of HTTP, xet and JSON, passes through it
        raise DataError(f"{what}: cannot be {done} ({_why(error)}){remedy}") from error


def _why(error: Exception) -> str:
    """What an error of the hub's library comes to."""
    from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # of one file among those that are uploaded
    if not isinstance(error, HfHubHTTPError):
        return one_line(error)
    status = error.response.status_code
    if isinstance(error, RevisionNotFoundError):
        return f"{status}: no such revision, expected a branch, a tag or a commit"
    if status == HTTPStatus.NOT_FOUND:
        return f"{status}: no such repository, or none that you may see; expected one that is there, {TOKEN}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"{status}: not there, or not for you; expected a repository that you may use, {TOKEN}"
    return f"{status}: {one_line(error)}"
