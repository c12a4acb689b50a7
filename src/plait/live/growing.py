"""The complete lines of a file that somebody else is writing."""

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

AT_ONCE = 1 << 20  # bytes
LONGEST = 1 << 16  # bytes of a line


class Growing:
    """A file's lines as they are completed; one that takes its place, or that it is cut to, is begun anew.

    Args:
        file: which may not be there yet.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.number = 0  # of the last line
        self._open: BinaryIO | None = None
        self._rest = b""

    def read(self) -> list[tuple[int, bytes]]:
        """The lines that have been completed since, with their numbers; at most a megabyte of them.

        What stands behind the last end of a line is not one yet.

        Raises:
            OSError: the file cannot be read.
        """
        if self._open is None:
            try:
                self._open = self.file.open("rb")
            except FileNotFoundError:
                return []
        content = self._rest + self._open.read(AT_ONCE)
        *lines, self._rest = content.split(b"\n")
        if len(self._rest) > LONGEST:
            self._rest = b""
        first = self.number + 1
        self.number += len(lines)
        return [(first + place, line.removesuffix(b"\r")) for place, line in enumerate(lines)]

    def anew(self) -> str | None:
        """What has become of the file, if it is to be read from its start; to be asked once all is read."""
        if self._open is None:
            return None
        begun = os.fstat(self._open.fileno())
        try:
            there = self.file.stat()
        except FileNotFoundError:
            return None  # another may take its place
        if (there.st_dev, there.st_ino) != (begun.st_dev, begun.st_ino):
            said = "another file has taken its place"
        elif there.st_size < self._open.tell():
            said = "it was cut short"
        else:
            return None
        self.close()
        return said

    def skip(self) -> None:
        """Go to the end that the file has now."""
        with suppress(FileNotFoundError):
            size = self.file.stat().st_size
            while self.read() and self._open is not None and self._open.tell() < size:
                pass

    def close(self) -> None:
        """Begin anew when it is read again."""
        if self._open is not None:
            self._open.close()
        self._open, self._rest, self.number = None, b"", 0
