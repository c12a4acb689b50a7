"""Where a text file's table begins: encoding, separator, what stands around the names of its columns."""

import codecs
import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plait.errors import DataError, one_line

SEPARATORS = "\t;,|"
COMMENTS = ("#", "//", "%")
ABOVE = 100  # lines within which the names of the columns are looked for
BELOW = 3  # rows that must fit the names
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?|nan", re.IGNORECASE)
MISSING = ("", "nan", "na", "n/a", "#n/a", "null", "none", "-", "--")  # cells that hold no number
TIME_OF_DAY = re.compile(r".*\d:\d\d.*")
RATED = re.compile(r"[1-9]\d{0,4}([.,]\d*)?")  # readings a second, as files say them
DATED_S = 1e8  # seconds since 1970 that are a date
EXCEL = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
RATE = re.compile(r"(\d+(?:\.\d+)?) ?Hz\b", re.IGNORECASE)

Lines = Sequence[tuple[int, str]]


@dataclass(frozen=True)
class Layout:
    """How the lines of a table are to be read.

    Args:
        names: of the columns, in order; empty where one has none.
        separator: the sign between two cells.
        rows: number and text of each line below the names.
        notes: what is not read, and what was assumed.
        units: what a line below the names says of a column's unit.
        rate_hz: a rate that lines above the names speak of.
    """

    names: tuple[str, ...]
    separator: str
    rows: Lines
    notes: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    rate_hz: float | None = None


def text_of(file: Path, content: bytes, *, legacy: bool) -> tuple[str, tuple[str, ...]]:
    """What the bytes of a file say, lines apart by newlines, and how they were read if not as UTF-8.

    UTF-16 is told by its mark or by its zeros. With `legacy`, what is no UTF-8 is taken as Windows' Western
    European, and a letter of which a half is at the end, where other letters show that it is one, as U+FFFD.

    Raises:
        DataError: it is no text in an encoding that can be told, or ends within a letter.
    """
    content, encoding = content.removeprefix(codecs.BOM_UTF8), "utf-8"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif content[1:200:2].count(0) > 0.9 * len(content[1:200:2]):
        encoding = "utf-16-le"
    elif content[0:200:2].count(0) > 0.9 * len(content[0:200:2]):
        encoding = "utf-16-be"
    notes: tuple[str, ...] = () if encoding == "utf-8" else (f"read as {encoding.upper()}",)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        place = content.count(b"\n", 0, error.start) + 1
        whole = content[: error.start]
        cut_off = error.end == len(content) and error.reason in ("unexpected end of data", "truncated data")
        if cut_off and (encoding != "utf-8" or not whole.isascii()):
            if not legacy:
                expected = "expected a whole file"
                raise DataError(f"{file}: line {place}: ends within a letter: cut off? {expected}") from error
            text = whole.decode(encoding) + "\ufffd"
        elif encoding != "utf-8" or not legacy or b"\0" in content:
            raise DataError(f"{file}: line {place}: expected text in UTF-8") from error
        else:
            text = content.decode("cp1252", errors="replace")
            notes = (f"line {place} is no UTF-8: read as Windows-1252 (Latin-1)",)
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


def layout_of(
    file: Path, text: str, *, header_line: int | None = None, names: Sequence[str] = (), logger: bool = False
) -> Layout:
    """How the table in a text is laid out.

    The names stand in the first line, unless what follows does not fit it: then above what fits. Lines that
    begin like comments, and Excel's `sep=;`, are no names.

    Args:
        file: the table's file, for errors.
        text: what is in it, lines apart by newlines.
        header_line: the number, from 1, of the line of the names; None: it is looked for.
        names: of the columns, where no line has them; then rows begin at once, or behind `header_line`.
        logger: leave out, below the names, a line without any number, comments, and the names again.

    Raises:
        DataError: there is no line, no name, two columns of one name, or numbers in the place of names; or
            a logger's names come again in another order.
    """
    lines: Lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{file}: empty")
    notes: list[str] = []
    excel = EXCEL.fullmatch(lines[0][1].strip(" "))
    if excel and len(lines) > 1:
        lines = lines[1:]
    start = _find_header(lines, header_line, bool(names))
    above = [line for _, line in lines[:start]]
    separator, lines = _separate(lines, start, excel[1] if excel else None)
    if start:
        notes.append(
            f"lines {lines[0][0]} to {lines[start - 1][0]}, above the names of its columns, are not read"
        )
    rates = {float(rate) for line in above for rate in RATE.findall(line)}
    header, rows = tuple(names), lines[start:]
    if not header:
        header, rows = _header(file, lines, start, separator, logger=logger), lines[start + 1 :]
    units: dict[str, str] = {}
    if logger:
        _refuse_other_order(file, rows, header, separator)
        rows = _without_asides(rows, lines[start][1], notes, named=bool(names))
        below = [line for _, line in rows[:2]]
        if len(below) == 2 and not _has_number(below[0], separator) and _has_number(below[1], separator):
            units = dict(zip(header, map(str.strip, cells(below[0], separator)), strict=False))
            notes.append(f"line {rows[0][0]}, below the names, holds units")
            rows = rows[1:]
    return Layout(header, separator, rows, tuple(notes), units, rates.pop() if len(rates) == 1 else None)


def _without_asides(rows: Lines, header: str, notes: list[str], *, named: bool) -> Lines:
    """The rows without comments, nor the names again where a log was continued; `notes` grow by both."""
    headers = [number for number, line in rows if not named and line.strip() == header.strip()]
    comments = [number for number, line in rows if line.lstrip().startswith(COMMENTS)]
    if 2 * len(comments) > len(rows):  # signs that this table's cells begin with
        comments = []
    comments = [number for number in comments if number not in headers]
    for numbers, kind in ((headers, "the names again"), (comments, "comments")):
        if numbers:
            places = ", ".join(map(str, numbers[:3])) + (" ..." if len(numbers) > 3 else "")
            notes.append(f"{'line' if len(numbers) == 1 else 'lines'} {places}, {kind}: left out")
    asides = {*headers, *comments}
    return [row for row in rows if row[0] not in asides] if asides else rows


def _refuse_other_order(file: Path, rows: Lines, header: tuple[str, ...], separator: str) -> None:
    """Refuse names that come again in a comment in another order; other lines of words are no numbers."""
    for number, line in rows:
        again = names_again(line, header, separator) if line.lstrip().startswith(COMMENTS) else None
        if again is not None and again != header:
            raise DataError(
                f"{file}: line {number}: the names of the columns again, in another order "
                f"({', '.join(again)}), expected a file for each; or say last_line = {number - 1}"
            )


def names_again(line: str, names: tuple[str, ...], separator: str) -> tuple[str, ...] | None:
    """The names of all columns, in the order of a line that holds them once more; None: it is another."""
    bare = _uncommented(line.strip()).rstrip(f"{separator} ")
    rows = [cells(bare, separator), bare.split()] if separator == "\t" else [cells(bare, separator)]
    found = (tuple(map(str.strip, row)) for row in rows)
    return next((row for row in found if len(row) > 1 and sorted(row) == sorted(names)), None)


def cells(line: str, separator: str) -> list[str]:
    """The cells of one line, none where it is too odd to be one."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def _find_header(lines: Lines, header_line: int | None, named: bool) -> int:
    """Which of `lines` holds the names of the columns, or is the first row where they are `named`."""
    if header_line is not None:
        return next((i for i, (number, _) in enumerate(lines) if number >= header_line + named), 0)
    first = next((i for i, (_, line) in enumerate(lines) if not line.lstrip().startswith(COMMENTS)), 0)
    if named:
        return first
    if first and _is_header(_uncommented(lines[first - 1][1]), lines[first:]):
        return first - 1  # names in the last comment
    if _fits(lines[first][1], lines[first + 1 :]):
        return first
    for i in range(first + 1, min(first + ABOVE, len(lines) - 1)):
        if _fits(lines[i][1], lines[i + 1 :], strictly=True):
            return i
    return first


def _is_header(comment: str, below: Lines) -> bool:
    """Whether a comment names the columns below: rows are all numbers, or as many cells with some numbers."""
    if _is_number_row(below[0][1]):
        return _fits(comment, below)
    separator = _commonest(comment, below)
    mixed = _has_number(below[0][1], separator) and not _has_number(comment, separator)
    return mixed and _fits(comment, below, strictly=True)


def _fits(header: str, below: Lines, *, strictly: bool = False) -> bool:
    """Whether the lines below have as many cells as `header`, or fewer; `strictly`, as many and numbers."""
    separator = _commonest(header, below)
    count = len(cells(header.rstrip(f"{separator} "), separator))
    if not strictly and not below:
        return True
    if _has_number(header, separator) if strictly else _is_number_row(header):
        return False
    rows = [cells(line.rstrip(f"{separator} "), separator) for _, line in below[:BELOW]]
    if not strictly:
        return count > 1 and all(len(row) <= count for row in rows)
    if len(rows) > 1 and not _has_number(below[0][1], separator):  # units below the names
        rows = rows[1:]
    fitting = all(len(row) == count and any(map(_is_number, row)) for row in rows)
    return count > 1 and bool(rows) and fitting


def _separate(lines: Lines, start: int, separator: str | None) -> tuple[str, Lines]:
    """The separator, and the lines with it: columns that are apart by blanks get tabulators."""
    separator = separator or _commonest(_uncommented(lines[start][1]), lines[start + 1 :])
    if separator != " ":
        return separator, lines
    return "\t", [(number, "\t".join(line.split())) for number, line in lines]


def _commonest(header: str, below: Lines) -> str:
    """The separator that `header` has most of; blanks where it has none, and rows have as many."""
    if any(sign in header for sign in SEPARATORS):
        return max(SEPARATORS, key=header.count)
    count = len(header.split())
    blank = count > 1 and bool(below) and all(len(line.split()) == count for _, line in below[:BELOW])
    return " " if blank else ";"


def _header(file: Path, lines: Lines, start: int, separator: str, *, logger: bool) -> tuple[str, ...]:
    """The names of the columns, empty where there is none."""
    number, line = lines[start]
    line = _uncommented(line).rstrip(f"{separator} ")
    names = [name.strip() for name in cells(line, separator)]
    below = [cell.strip() for cell in cells(lines[start + 1][1], separator)] if start + 1 < len(lines) else []
    numeric = _is_number(names[0]) if len(names) == 1 else _is_number_row(line)
    if numeric or (logger and _are_alike(names, below)):
        remedy = ", ".join(f'"c{i}"' for i in range(1, len(names) + 1))
        if len({*names}) == len({*below}) == 1 and _are_start_and_rate(names[0], below[0]):  # Empatica's
            raise DataError(
                f"{file}: lines {number} and {lines[start + 1][0]} hold a start ({names[0]}) and a rate "
                f"({below[0]}), expected the names of the columns; say names = [{remedy}], "
                f"first_line = {number + 2}, rate_hz = {float(below[0].replace(',', '.')):g}"
            )
        raise DataError(
            f"{file}: line {number}: numbers, expected the names of the columns; say names = [{remedy}], "
            "or header_line = the number of their line"
        )
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise DataError(f"{file}: two columns are called {twice[0]!r}, expected names that differ")
    if not any(names):
        raise DataError(f"{file}: no names of columns in the first line, expected a header")
    return tuple(names)


def _are_alike(names: Sequence[str], below: Sequence[str]) -> bool:
    """Whether what may be names has numbers where the next row has them, and only there: it is a row."""
    numeric = [_is_number(cell) for cell in names]
    return any(numeric) and numeric == [_is_number(cell) for cell in below]


def _are_start_and_rate(start: str, rate: str) -> bool:
    """Whether two numbers are a date, in seconds, and readings a second."""
    if not NUMBER.fullmatch(start) or not RATED.fullmatch(rate):
        return False
    return float(start.replace(",", ".")) >= DATED_S


def _uncommented(line: str) -> str:
    bare = line.lstrip()
    mark = next((mark for mark in COMMENTS if bare.startswith(mark)), "")
    return bare[len(mark) :].lstrip("/#% \t") if mark else line


def _is_number(cell: str) -> bool:
    return bool(NUMBER.fullmatch(cell.strip()))


def _is_number_row(line: str) -> bool:
    """Whether every cell of a line is a number or a time, whatever separates them."""
    for row in (*(cells(line, separator) for separator in SEPARATORS), line.split()):
        if len(row) > 1 and all(_is_number(cell) or TIME_OF_DAY.fullmatch(cell.strip()) for cell in row):
            return True
    return False


def _has_number(line: str, separator: str) -> bool:
    return any(map(_is_number, cells(line, separator)))


def first_odd_row(file: Path, layout: Layout, error: BaseException) -> DataError:
    """The error of a table whose rows do not fit its names."""
    for number, row in layout.rows:
        stripped = row.rstrip(f"{layout.separator} ")
        if len(cells(stripped, layout.separator)) > len(layout.names):
            return DataError(
                f"{file}: line {number}: more cells than the {len(layout.names)} that the header names; the "
                f"separator seems to be {layout.separator!r}; if the names stand elsewhere, say header_line"
            )
    return DataError(f"{file}: cannot be read, expected CSV: {one_line(error)}")
