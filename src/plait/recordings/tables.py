"""Tables as loggers and spreadsheets write them: CSV of any separator and decimal sign, or parquet."""

import difflib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Float64

from plait import store
from plait.errors import DataError
from plait.recordings.layouts import MISSING, Layout, first_odd_row, layout_of, text_of
from plait.recordings.unended import check_last, without_cut

CSV = (".csv", ".tsv", ".txt")
Cell = str | float
LARGEST = 1e30  # far inside float32
WHOLE = r"^[+-]?\d{1,3}$"
POINTED = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$"  # thousands apart by points, or three decimals
GROUPED = r"^[+-]?[1-9]\d{0,2}([,.]\d{3})+$"  # thousands apart, or three decimals
WITH_POINT = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"  # in a cell of a table whose cells are apart by commas


@dataclass(frozen=True, eq=False)
class Table:
    """The columns of a table by name, and where in its file each row stands.

    Args:
        file: that it was read from.
        frame: its columns.
        place: what the file's rows are called: "line" or "row".
        rows: the number of each of them.
        decimal_comma: numbers may have decimal commas.
        notes: how the file was read where that was not plain.
        units: what the file says of its columns' units.
        rate_hz: what it says above their names.
        decimal: the decimal sign; any other sign within a number then sets thousands apart.
        missing: cells that hold no number.
    """

    file: Path
    frame: pl.DataFrame
    place: str
    rows: tuple[int, ...] | range
    decimal_comma: bool
    notes: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    rate_hz: float | None = None
    decimal: Literal[",", "."] | None = None
    missing: tuple[Cell, ...] = ()

    def at(self, row: int) -> str:
        """File and place of row `row`, to begin an error with."""
        return f"{self.file}: {self.place} {self.rows[row]}"

    def take(self, keep: np.ndarray) -> "Table":
        """The rows where the boolean array `keep` is true."""
        if keep.all():
            return self
        rows = tuple(self.rows[i] for i in np.flatnonzero(keep))
        return replace(self, frame=self.frame.filter(pl.Series(keep)), rows=rows)

    def in_order(self, order: np.ndarray) -> "Table":
        """The rows as `order`, `(rows,)` numbers of theirs, has them."""
        return replace(self, frame=self.frame[order], rows=tuple(self.rows[i] for i in order))

    def with_column(self, name: str, values: np.ndarray) -> "Table":
        """The same with one more column of numbers."""
        return replace(self, frame=self.frame.with_columns(pl.Series(name, values)))


def read_table(
    file: Path, *, header_line: int | None = None, names: Sequence[str] = (), logger: bool = False
) -> Table:
    """The table in a file: CSV (every cell is text) or parquet.

    A CSV's separator is the commonest of comma, semicolon, tab and bar in its header, or blanks; unless it is
    the comma, numbers may have decimal commas. Blank lines, trailing separators and columns without a name
    are ignored, and so is what stands above the names: comments, Excel's `sep=;`, a logger's own lines.

    Args:
        file: `.csv`, `.tsv`, `.txt` or `.parquet`.
        header_line: of a CSV, the line of its columns' names; looked for by default.
        names: of a CSV's columns, where no line has them.
        logger: units may stand below the names, and letters in another encoding than UTF-8; a last line
            that may have been cut off is left out.

    Raises:
        DataError: the file is missing, empty, damaged, cut off, or of another kind.
    """
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        frame = store.read_parquet(file, "give another file")
        table = Table(file, frame, "row", range(1, len(frame) + 1), False)
    elif suffix in CSV:
        table = _read_csv(file, header_line, names, logger)
    else:
        raise DataError(f"{file}: a table is expected to be one of {', '.join(CSV)} or .parquet")
    if not len(table.frame):
        raise DataError(f"{file}: no rows, expected some below the names of the columns")
    return table


def read_bytes(file: Path) -> bytes:
    """What is in `file`.

    Raises:
        DataError: it cannot be read, or nothing is in it.
    """
    try:
        content = store.read_bytes(file)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    if not content.strip():
        raise DataError(f"{file}: empty")
    return content


def numbers(table: Table, name: str) -> Float64[np.ndarray, "rows"]:
    """Column `name` as numbers; NaN where a cell is empty, NaN, NA or null, or one of `table.missing`.

    Raises:
        DataError: a cell is anything else than a finite number.
    """
    column = table.frame[name]
    if column.dtype != pl.String:
        if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
            raise DataError(f"{table.file}: column {name!r} is of type {column.dtype}, expected numbers")
        values, wrong = column.cast(pl.Float64, strict=False), np.zeros(len(column), bool)
    else:
        text = cells = texts(table, name)
        if table.decimal is not None:
            text = text.str.replace_all("[.'’\\s]" if table.decimal == "," else "[,'’\\s]", "")
        elif table.decimal_comma:
            comma, point = text.str.contains(",", literal=True), text.str.contains(".", literal=True)
            if comma.any() and point.any():
                row = max(int(sign.to_numpy().argmax()) for sign in (comma, point))
                raise DataError(
                    f"{table.at(row)}: {text[row]!r} in column {name!r}, "
                    "expected decimal commas or decimal points in one column, not both"
                )
        if table.decimal == "," or (table.decimal is None and table.decimal_comma):
            text = text.str.replace_all(",", ".", literal=True)
        values, wrong = text.cast(pl.Float64, strict=False), np.zeros(len(text), bool)
        if values.null_count():
            none = [*MISSING, *(str(cell).strip().lower() for cell in table.missing)]
            wrong = (values.is_null() & ~cells.str.to_lowercase().is_in(none)).to_numpy()
    fills = [value for cell in table.missing if (value := _number(cell)) is not None]
    if fills:
        values = values.set(values.is_in(fills).fill_null(False), None)
    found = values.to_numpy().astype(np.float64)
    wrong = wrong | (np.abs(found) > LARGEST)
    if wrong.any():
        row = int(wrong.argmax())
        most = "" if values[row] is None else f" of at most {LARGEST:g}"
        raise DataError(
            f"{table.at(row)}: {str(column[row])[:80]!r} in column {name!r}, expected a number{most}"
        )
    return found


def texts(table: Table, name: str) -> pl.Series:
    """Column `name`, of whatever type, as text without blanks around it; where a cell is empty, nothing."""
    column = table.frame[name]
    try:
        cells = column.cast(pl.String, strict=False)
    except pl.exceptions.InvalidOperationError:  # durations, lists, ...
        cells = pl.Series(name, [None if cell is None else str(cell) for cell in column], pl.String)
    return cells.fill_null("").str.strip_chars()


def _number(cell: Cell) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def thousands(table: Table) -> str | None:
    """A column whose signs may as well set thousands apart as decimals, None where nothing leaves that open.

    Between other separators, a comma is a decimal sign if some number of the table could not be written so
    otherwise. Points are none where `1.006` stands beside `998`, which would be `998.000`, nor where there
    are two in a number.
    """
    if table.decimal:
        return None
    columns = [column.str.strip_chars().drop_nulls() for column in table.frame if column.dtype == pl.String]
    with_commas = [column.filter(column.str.contains(",", literal=True)) for column in columns]
    if table.decimal_comma and any(
        (column.str.contains(r"^[+-]?\d*,\d+$") & ~column.str.contains(GROUPED)).any()
        for column in with_commas
    ):
        return None
    form = GROUPED if table.decimal_comma else WITH_POINT
    doubtful = [column for column in with_commas if len(column) and column.str.contains(form).all()]
    doubtful += [column for column in columns if _pointed(column)]
    return doubtful[0].name if doubtful else None


def _pointed(cells: pl.Series) -> bool:
    """Whether numbers have points before each three digits, and some have no other reading than thousands."""
    pointed, whole = cells.str.contains(POINTED), cells.str.contains(WHOLE)
    plain = (pointed | whole | cells.str.to_lowercase().is_in(MISSING)).all()
    return bool(plain and pointed.any() and (whole.any() or cells.str.contains(r"\..*\.").any()))


def no_column(table: Table, wanted: str, names: list[str]) -> DataError:
    """The error that there is no column `wanted`: which of `names` may be meant, and which there are."""
    close = difflib.get_close_matches(wanted.lower().strip("*?"), [name.lower() for name in names], 1)
    meant = next((f" (did you mean {name!r}?)" for name in names if name.lower() in close), "")
    more = f" and {len(names) - 30} more" if names[30:] else ""
    listed = ", ".join(repr(name) for name in names[:30]) + more
    return DataError(f"{table.file}: no column {wanted!r}{meant}, expected one of: {listed}")


def _read_csv(file: Path, header_line: int | None, names: Sequence[str], logger: bool) -> Table:
    text, notes = text_of(file, read_bytes(file), legacy=logger)
    layout = layout_of(file, text, header_line=header_line, names=names, logger=logger)
    if logger:
        layout = without_cut(text, layout)
    else:
        notes += check_last(file, text, layout)
    return framed(file, layout, notes)


def framed(file: Path, layout: Layout, notes: tuple[str, ...] = ()) -> Table:
    """The table that lines are, once it is known how they are laid out.

    Raises:
        DataError: a row does not fit the names.
    """
    separator = layout.separator
    for number, line in layout.rows:
        if line.count('"') % 2:
            raise DataError(f"{file}: line {number}: a quote is open, expected it closed on the same line")
    header = separator.join(map(str, range(len(layout.names))))
    lines = [line.rstrip(f"{separator} ") or '""' for _, line in layout.rows]
    content = "\n".join([header, *lines]).encode()
    try:
        with store.unechoed():
            frame = pl.read_csv(io.BytesIO(content), separator=separator, infer_schema=False)
    except (Exception, pl.exceptions.PanicException) as error:
        raise first_odd_row(file, layout, error) from error
    if len(frame) != len(lines):
        raise DataError(f"{file}: cannot be read, expected CSV with one row per line")
    named = frame.select(pl.col(f"{i}").alias(name) for i, name in enumerate(layout.names) if name)
    rows = tuple(number for number, _ in layout.rows)
    notes += layout.notes
    return Table(file, named, "line", rows, separator != ",", notes, layout.units, layout.rate_hz)
