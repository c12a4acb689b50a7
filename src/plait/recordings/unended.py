"""A table's last line, where no line break follows it: whole, or cut off with the rest of its file."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from plait.errors import DataError, PlaitWarning
from plait.recordings.layouts import MISSING, NUMBER, TIME_OF_DAY, Layout, cells

COMPARED = 1000  # lines that the last one is held against
TAIL = 1 << 18  # bytes in which some of them are
FORM = 50  # lines of as many decimals: where zeros at the end are left out, a tenth has fewer
CODED = 10  # rows to each value of a column of codes
WAY_OUT = "if it is whole, end it with a line break"


class Doubt(NamedTuple):
    """Why a last line may not be whole.

    Args:
        line: its number.
        strong: it looks cut off; else only nothing shows that it is whole.
        why: what is odd about it, to follow "it" or a quoted cell.
    """

    line: int
    strong: bool
    why: str


def doubt(
    text: str, rows: Sequence[tuple[int, Sequence[str]]], columns: int | None = None, line: int | None = None
) -> Doubt | None:
    """Whether a table's last row may have been cut off, told by those above it.

    Whole is a row that a line break ends; or that has as many cells as any above, of which the last ends with
    its quote or a separator, has as many decimals as all above, or stands there again, as codes and names do.

    Args:
        text: the file's, or its end.
        rows: the number and the cells of each line that is one.
        columns: how many cells of a row are read; the others do not matter.
        line: the number of the text's last line, where the text is but an end.

    Returns:
        None if it is whole, no row, or the only one.
    """
    last_line = text.rpartition("\n")[2]
    line = text.count("\n") + 1 if line is None else line
    if not last_line.strip() or not rows or rows[-1][0] != line:
        return None
    *above, last = [_filled(row[:columns]) for _, row in rows[-COMPARED - 1 :]]
    widths = [len(row) for row in above if row]
    if not last or not widths:
        return None
    quoted = last_line.rstrip().endswith('"') and last_line.count('"') % 2 == 0
    if not quoted and len(last) == len(rows[-1][1][:columns]):  # no separator follows
        found = _doubt_of(last[-1], [row[len(last) - 1] for row in above if len(row) >= len(last)])
        if found is not None:
            return Doubt(line, *found)
    fewest, most = min(widths), max(widths)
    if len(last) < most:
        return Doubt(
            line, False, f"it has {len(last)} of {most if fewest == most else f'up to {most}'} cells"
        )
    return None


def _filled(row: Sequence[str]) -> list[str]:
    """The cells of a row up to the last that holds something."""
    filled = [cell.strip() for cell in row]
    while filled and not filled[-1]:
        filled.pop()
    return filled


def _doubt_of(cell: str, column: Sequence[str]) -> tuple[bool, str] | None:
    """Whether a cell may go on, told by those above it; and if so, whether it looks cut off, and why."""
    values = [value for value in column if value.lower() not in MISSING]
    again = f"{cell!r} may go on"
    if (form := _form(values)) is not None:
        if (found := _form([cell])) == form:
            return None
        open_ended = cell[-2:-1].isdigit() and cell[-1] in ".,:"
        shorter = (found is None or found < form) and cell.lower() not in MISSING
        strong = shorter and (open_ended or len(values) >= FORM)
        return strong, f"{cell!r} is not written like {values[-1]!r} above" if shorter else again
    longer = next((value for value in values if value != cell and value.startswith(cell)), None)
    if cell in values and longer is None:
        number = NUMBER.fullmatch(cell) is not None
        return None if not number or CODED * len({*values}) <= len(values) else (False, again)
    if (
        longer is not None
        and cell not in values
        and not NUMBER.fullmatch(cell)
        and cell.lower() not in MISSING
    ):
        return longer[len(cell)].isalnum(), f"{cell!r} is the beginning of {longer!r}"
    return False, again


def _form(cells: Sequence[str]) -> tuple[str, int] | None:
    """What all cells have alike: decimals, one or more, or the signs of a time of the day; and how many."""
    if not cells:
        return None
    if all(NUMBER.fullmatch(cell) and "e" not in cell.lower() for cell in cells):
        kind, counts = "decimals", {len(cell.replace(",", ".").partition(".")[2]) for cell in cells}
    elif all(map(TIME_OF_DAY.fullmatch, cells)):
        kind, counts = "signs", {*map(len, cells)}
    else:
        return None
    return (kind, counts.pop()) if len(counts) == 1 and 0 not in counts else None


def without_cut(text: str, layout: Layout) -> Layout:
    """The rows of a logger's table less a last one that may have been cut off, which notes say.

    Such a row costs one reading.
    """
    found = _doubt_in(text, layout)
    if found is None:
        return layout
    note = f"line {found.line}, the last, has no line break and may have been cut off ({found.why}): left out"
    return replace(layout, rows=layout.rows[:-1], notes=(*layout.notes, f"{note}; {WAY_OUT}"))


def check_last(
    place: object, text: str, table: Layout | Sequence[tuple[int, Sequence[str]]]
) -> tuple[str, ...]:
    """What to say of a last line of which nothing shows that it is whole, in a table whose lines all matter.

    Args:
        place: the table, as errors name it.
        text: what it was read from.
        table: its lines, or the number and cells of each.

    Raises:
        DataError: the line looks cut off.
    """
    found = _doubt_in(text, table) if isinstance(table, Layout) else doubt(text, table)
    if found is None:
        return ()
    if found.strong:
        raise _cut(place, found)
    return (f"line {found.line}, the last, has no line break: {found.why}, nothing shows that it is whole",)


def check_end(place: object, content: bytes, separator: str, *, header: bool) -> None:
    """Refuse a published data set's file whose last line looks cut off; warn where nothing shows it whole.

    Args:
        place: the file, as errors name it.
        content: of it.
        separator: between two cells.
        header: the first line names the columns.

    Raises:
        DataError: the line looks cut off.
    """
    if content.endswith(b"\n"):
        return
    tail = content[-TAIL:].decode("utf-8", "replace")
    lines = tail.split("\n")[header or len(content) > TAIL :]
    last = content.count(b"\n") + 1
    rows = [(last - below, lines[-1 - below].split(separator)) for below in reversed(range(len(lines)))]
    found = doubt(tail, rows, line=last)
    if found is not None:
        if found.strong:
            raise _cut(place, found)
        said = (
            f"{place}: line {last}, the last, has no line break: {found.why}, nothing shows that it is whole"
        )
        warnings.warn(said, PlaitWarning, stacklevel=2)


def _cut(place: object, found: Doubt) -> DataError:
    line = f"line {found.line}, the last, has no line break, and {found.why}: cut off?"
    return DataError(f"{place}: {line} Expected a whole file; {WAY_OUT}")


def _doubt_in(text: str, layout: Layout) -> Doubt | None:
    rows = [(number, cells(line, layout.separator)) for number, line in layout.rows[-COMPARED - 1 :]]
    named = max((place for place, name in enumerate(layout.names, 1) if name), default=0)
    return doubt(text, rows, named or None)
