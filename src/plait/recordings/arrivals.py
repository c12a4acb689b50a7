"""Rows of a log in the order in which they arrived: packets that were sent again, and such that came late."""

import numpy as np
import polars as pl
from jaxtyping import Float64

from plait.recordings.clocks import SET_AT_MOST, usual_step_s
from plait.recordings.tables import Table

ROOM = 1.5  # usual steps: where rows are no farther apart, none is missing between them
CLOSE = 0.5  # of a usual step: rows that are nearer are no neighbours


def as_taken(
    table: Table,
    times: Float64[np.ndarray, "rows"],
    values: Float64[np.ndarray, "rows columns"],
    said: list[str],
) -> tuple[Table, Float64[np.ndarray, "n"], Float64[np.ndarray, "n columns"]]:
    """Rows without those that were sent again, and those that came late where their times belong.

    Both are no clock that was set: what is sent again stood already, time and values; what comes late fills a
    hole exactly. A log whose times never go back by more than a sample is left as it is.

    Args:
        table: the rows.
        times: their seconds, as they are written.
        values: what is read of them, NaN where a cell is empty.
        said: grows by what was done.
    """
    if not _goes_back(times):
        return table, times, values
    again = _sent_again(times, values)
    if again.any():
        said.append(f"{again.sum()} rows were sent again, with the times and values of others: left out")
        table, times, values = table.take(~again), times[~again], values[~again]
    places = _places(times)
    late = places != np.arange(len(times))
    if late.any():
        said.append(f"{late.sum()} rows came late and fill holes exactly: put where their times belong")
        order = np.lexsort((times * late, places))
        table, times, values = table.in_order(order), times[order], values[order]
    return table, times, values


def _goes_back(times: np.ndarray) -> bool:
    back = np.maximum.accumulate(times) - times
    return bool((back > usual_step_s(np.diff(times)) * (1 + 1e-6)).any())


def _sent_again(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Which of `(rows,)` stood already: stretches of rows whose times and values are those of earlier ones.

    Of half of such a stretch, the values stand at no other time: those of a sensor at rest say nothing.
    """
    frame = pl.DataFrame(values, [f"v{column}" for column in range(values.shape[1])], orient="row")
    kinds = frame.columns
    frame = frame.with_columns(time=pl.Series(times)).select(
        again=~pl.struct(pl.all()).is_first_distinct(),
        alone=pl.col("time").n_unique().over(kinds) == 1,
    )
    again, alone = frame["again"].to_numpy(), frame["alone"].to_numpy()
    stretch = np.cumsum(np.diff(again, prepend=False))  # odd ones are of rows that stood already
    rows, telling = np.bincount(stretch), np.bincount(stretch, alone)
    sure: np.ndarray = again & (telling >= rows / 2)[stretch]
    return sure


def _places(times: np.ndarray) -> np.ndarray:
    """Before which row each belongs, `(rows,)`: of a row that came late another than itself, less one half.

    Where the clock was set back, rows lie among others that stood there: it is looked at anew from there on.
    """
    places = np.arange(len(times), dtype=np.float64)
    start, usual_s = 0, usual_step_s(np.diff(times))
    for _ in range(SET_AT_MOST + 1):
        part = times[start:]
        behind = part < np.maximum.accumulate(part)
        first = np.flatnonzero(~behind)  # which came in order
        after = np.searchsorted(part[first], part)
        hole = np.diff(part[first], prepend=-np.inf)[np.minimum(after, len(first) - 1)]
        no_room = behind & ((hole <= ROOM * usual_s) | (after == 0))
        run = np.cumsum(np.diff(behind, prepend=False))
        set_back = np.isin(run, run[no_room]) & behind
        set_back &= np.isin(run, run[behind & (np.maximum.accumulate(part) - part > usual_s * (1 + 1e-6))])
        stop = int(set_back.argmax()) if set_back.any() else len(part)
        inside = np.arange(len(part)) < stop
        filled = np.sort(part[inside & (~behind | ~no_room)])
        steps = np.diff(filled, prepend=-np.inf, append=np.inf)
        at = np.searchsorted(filled, part[:stop])
        near = [(CLOSE * usual_s < step) & (step < ROOM * usual_s) for step in (steps[at], steps[at + 1])]
        late = behind[:stop] & ~no_room[:stop] & near[0] & near[1]
        late &= ~np.isin(run[:stop], run[:stop][behind[:stop] & ~late])
        places[start : start + stop][late] = start + first[after[:stop][late]] - 0.5
        if stop == len(part):
            return places
        start += stop
    return np.arange(len(times), dtype=np.float64)
