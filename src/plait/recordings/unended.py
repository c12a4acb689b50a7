"""A last line without a line break: whole, or cut off with the rest of its file."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from plait.errors import DataError
from plait.recordings.layouts import NUMBER, TIME_OF_DAY, Layout, cells

ABOVE = 1000  # lines that the last one is held against
TAIL = 1 << 18  # bytes in which some of them are
ALIKE = 5  # lines that show a form
CODED = 10  # as many rows to each value: they are few that come again
WAY_OUT = "if it is whole, end it with a line break"


class Unended(NamedTuple):
    """What speaks against a last line.

    Args:
        sure: it was cut off; else it may have been.
        why: what is odd about it.
    """

    sure: bool
    why: str


def unended(rows: Sequence[Sequence[str]]) -> Unended | None:
    """Whether the last of `rows`, which no line break follows, was cut off, told by those above it.

    It has fewer cells; or its last cell is no number where all above are, has fewer decimals than all of
    them, or is the beginning of one. None: it is whole, for its last cell has as many decimals as all, or
    stands there again, as codes and names do.

    Args:
        rows: the cells of each line of a table, in order.
    """
    *above, last = [list(map(str.strip, row)) for row in rows[-ABOVE - 1 :]] or [[]]
    fewest = min(map(len, above), default=0)
    if not above or not last:
        return None
    if len(last) < fewest:
        return Unended(True, f"it has {len(last)} of {fewest} cells")
    cell, column = last[-1], [row[len(last) - 1] for row in above if len(row) >= len(last)]
    others = {*column}
    if not cell:
        return None if "" in others else Unended(True, "its last cell is empty")
    filled = [other for other in column if other]
    if (form := _form(filled)) is not None:
        if (own := _form([cell])) == form:
            return None
        shorter = own is None or own < form
        return Unended(shorter and len(filled) >= ALIKE, f"{cell!r} is not written like {filled[-1]!r} above")
    longer = next((other for other in filled if other != cell and other.startswith(cell)), None)
    if all(map(NUMBER.fullmatch, filled)):
        if not NUMBER.fullmatch(cell):
            return Unended(bool(filled), f"{cell!r} is no number")
        if cell in others and longer is None and CODED * len(others) <= len(column):
            return None
    elif cell in others and longer is None:
        return None
    elif cell not in others and longer is not None:
        return Unended(True, f"{cell!r} is the beginning of {longer!r}")
    return Unended(False, f"{cell!r} may go on")


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
    """The rows of a logger's table less a last one that was cut off or may have been, which notes say."""
    odd = None if _ended(text) else unended([row for _, row in _cells(layout)])
    if odd is None:
        return layout
    was = "was cut off" if odd.sure else "may have been cut off"
    line = f"line {layout.rows[-1][0]}, the last, has no line break and {was}"
    note = f"{line} ({odd.why}): left out; {WAY_OUT}"
    return replace(layout, rows=layout.rows[:-1], notes=(*layout.notes, note))


def refuse_cut(place: object, text: str, rows: Layout | Sequence[tuple[int, Sequence[str]]]) -> list[str]:
    """What to say of a last line that may have been cut off, in a table of which each line matters.

    Args:
        place: the table, as errors name it.
        text: what it was read from.
        rows: its lines, or the number and cells of each.

    Raises:
        DataError: the line was cut off.
    """
    rows = _cells(rows) if isinstance(rows, Layout) else rows
    odd = None if _ended(text) else unended([row for _, row in rows])
    if odd is None:
        return []
    line = f"line {rows[-1][0]}, the last, has no line break"
    if odd.sure:
        raise DataError(f"{place}: {line} and was cut off: {odd.why}; expected a whole file ({WAY_OUT})")
    return [f"{line}: {odd.why}, so that nothing tells whether it is whole"]


def refuse_cut_bytes(place: object, content: bytes, separator: str) -> None:
    """Refuse a file of a published data set, a table of numbers without quotes, that was cut off.

    Raises:
        DataError: its last line was, as far as can be told.
    """
    if content.endswith(b"\n"):
        return
    tail = content[-TAIL:].decode("utf-8", "replace").splitlines()[len(content) > TAIL :]
    odd = unended([line.split(separator) for line in tail if line.strip()])
    if odd is not None and odd.sure:
        line = content.count(b"\n") + 1
        raise DataError(f"{place}: line {line}, the last, was cut off: {odd.why}; expected a whole file")


def _ended(text: str) -> bool:
    """Whether a line break, or the end of a quoted cell, ends the text."""
    last = text[text.rfind("\n") + 1 :].rstrip()
    return not last or (last.endswith('"') and last.count('"') % 2 == 0)


def _cells(layout: Layout) -> list[tuple[int, Sequence[str]]]:
    return [(number, cells(line, layout.separator)) for number, line in layout.rows[-ABOVE - 1 :]]
