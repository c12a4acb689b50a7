"""A zip, a folder or a single file as named contents, whose sizes are looked at before anything is read."""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from plait.errors import DataError, one_line
from plait.recordings.layouts import layout_of, text_of
from plait.recordings.tables import Table, framed
from plait.recordings.unended import without_cut
from plait.store import explained, read_bytes

MOST = 10_000  # files in one archive
DAMAGE = (OSError, EOFError, KeyError, ValueError, RuntimeError, MemoryError, struct.error)


class Archive(Mapping[str, bytes]):
    """The files in a zip or a folder, read when asked for, by their names in lower case without folders.

    Nothing is unpacked to the disk.

    Args:
        path: of the zip or the folder.
        wanted: names in lower case; all by default.

    Raises:
        DataError: it is damaged, holds far more than its size explains, or two files of one name.
    """

    def __init__(self, path: Path, wanted: Collection[str] | None = None) -> None:
        self.path = path
        self._paths: dict[str, str] = {}
        if path.is_dir():
            found = [inner.name for inner in sorted(path.iterdir()) if inner.is_file()]
        else:
            with _opened(path) as content:
                listed = [info for info in content.infolist() if not info.is_dir()]
                explained(path, sum(info.file_size for info in listed))
                found = [info.filename for info in listed]
        if len(found) > MOST:
            raise DataError(f"{path}: {len(found)} files in it, expected at most {MOST}")
        for inner in found:
            name = PurePosixPath(inner.replace("\\", "/")).name.lower()
            if (
                name.startswith(".")
                or "__macosx" in inner.lower()
                or (wanted is not None and name not in wanted)
            ):
                continue
            if name in self._paths:
                raise DataError(
                    f"{path}: two files called {name!r} in it, expected one; give each as its own"
                )
            self._paths[name] = inner

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __getitem__(self, name: str) -> bytes:
        """What is in one of its files.

        Raises:
            DataError: it is damaged.
        """
        inner = self._paths[name]
        if self.path.is_dir():
            try:
                return read_bytes(self.path / inner)
            except OSError as error:
                raise DataError(f"{self.path / inner}: cannot be read: {error.strerror}") from error
        with _opened(self.path) as content:
            return content.read(inner)

    def where(self, name: str) -> Path:
        """One of its files, as errors name it."""
        return self.path / self._paths[name]

    def table(self, name: str) -> Table:
        """The table with named columns that is in one of its files.

        Raises:
            DataError: it is none.
        """
        file = self.where(name)
        text, notes = text_of(file, self[name], legacy=True)
        return framed(file, without_cut(text, layout_of(file, text, logger=True)), notes)


def names_in(path: Path) -> set[str]:
    """The names, in lower case, of the files in a zip or a folder; none where that cannot be told."""
    try:
        return set(Archive(path)) if path.is_dir() or zipfile.is_zipfile(path) else set()
    except (DataError, OSError):
        return set()


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as content:
            yield content
    except DataError:
        raise
    except (*DAMAGE, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: cannot be read, expected a whole zip: {one_line(error)}") from error
