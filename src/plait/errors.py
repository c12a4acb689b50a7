"""What bad input gets: one clear line naming the file, the field and the value that was expected."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


QUOTED = 120  # letters of a value that an error quotes
LONGEST = 2000  # letters of an error: names come from data, and may be of any length and number


class PlaitError(Exception):
    """Input that plait refuses; the message is one line for a person, without its middle where it is long."""

    def __str__(self) -> str:
        line = super().__str__()
        return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 + 5 :]}"


class ConfigError(PlaitError):
    """A study file or setting that does not say what it must."""


class DataError(PlaitError):
    """A data file or folder that is missing, damaged or of another kind."""


class ShapeError(PlaitError, ValueError):
    """A tensor or a grid whose shape does not fit where it is used."""


class PlaitWarning(UserWarning):
    """What goes on otherwise than was asked for; the message is one line for a person."""


def one_line(error: BaseException) -> str:
    """What another's error says, on one line; its kind if it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def quote(value: object) -> str:
    """A value as an error quotes it, on one line and not too long."""
    text = repr(value)
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."


def first_fault(error: "ValidationError") -> str:
    """The first thing that pydantic refuses: where it stands, and why."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


def raised(error: BaseException) -> str:
    """What a user's own code has raised, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    at = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {one_line(error)}{at}"


@contextmanager
def own_code(where: str, passing: tuple[type[Exception], ...] = (OSError, MemoryError)) -> Iterator[None]:
    """What a user's own code raises becomes one line that says `where`; plait's errors and `passing` stay.

    Raises:
        ConfigError: it has failed.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (PlaitError, *passing)):
            raise
        raise ConfigError(f"{where}: {raised(error)}") from error
