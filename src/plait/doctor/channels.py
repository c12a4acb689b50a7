"""Channels of signals in a few numbers: what stands still, is cut off or never changes."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from plait.doctor.sampled import Signal, signals
from plait.types import Recording

FROZEN_S, FROZEN_READINGS = 0.25, 8  # below, equal readings in a row are a slow sensor's, asked too often
CUT, CUT_RUN = 0.005, 3  # share of readings at an end of the range, in runs of so many, that is cut off
STEPS = 5  # levels by which a signal meets its end: slower, it may rest there
PILE = 4.0  # times as many readings at the end as at the level next to it: a continuous signal has fewer
OFTEN = 3  # times that a range which is too small is met at least, in one recording or several
REST = 0.2  # share of readings at one value from which on it is where a channel rests, and cuts nothing off


class Channels(NamedTuple):
    """A stream's channels in a few numbers.

    Args:
        names: of the channels.
        still_s: seconds of the longest stretch of equal readings; the last number: of all channels at once.
        frozen: whether that is of more readings than a slow sensor's, asked too often, has.
        cut, cut_at: the share of readings that are cut off, and at which number.
        cuts: how often: runs of readings that are cut off.
        constant: whether it never changes.
        value: its smallest number, NaN where nothing is known.
        rests: ends of its range at which it rests, as a switch does that nobody presses.
    """

    names: list[str]
    still_s: list[float]
    frozen: list[bool]
    cut: list[float]
    cut_at: list[float]
    cuts: list[int]
    constant: list[bool]
    value: list[float]
    rests: list[list[float]]


def _of(signal: Signal) -> Channels:
    values = signal.values
    known = np.isfinite(values)
    step_s = float(np.median(np.diff(signal.times))) if len(signal.times) > 1 else 0.0
    same = (values[1:] == values[:-1]) & signal.neighbours[:, None]
    runs = np.array([*(_longest(column) for column in same.T), _longest(same.all(axis=1))])
    low = np.where(known, values, np.inf).min(axis=0)
    high = np.where(known, values, -np.inf).max(axis=0)
    # a reading that comes again in all channels was repeated, not cut off
    moved = np.append(True, ~same.all(axis=1)) if values.shape[1] > 1 else np.ones(len(values), np.bool_)
    seen = known & moved[:, None]
    cuts = [
        max((*_cut(values[seen[:, place], place], end), float(end)) for end in (low[place], high[place]))
        if seen[:, place].any()
        else (0.0, 0, math.nan)
        for place in range(values.shape[1])
    ]
    shares, counts, ends = np.array(cuts, np.float64).reshape(-1, 3).T
    both = np.stack([low, high])
    resting = (values == both[:, None]).mean(axis=1) >= REST
    constant = ~(low < high) if len(values) > FROZEN_READINGS else np.zeros(len(low), np.bool_)
    return Channels(
        list(signal.names),
        (runs * step_s).tolist(),
        (runs + 1 >= FROZEN_READINGS).tolist(),
        shares.tolist(),
        ends.tolist(),
        counts.astype(np.int64).tolist(),
        constant.tolist(),
        np.where(known.any(axis=0), low, math.nan).tolist(),
        [both[resting[:, place], place].tolist() for place in range(len(low))],
    )


def _longest(same: np.ndarray) -> int:
    """How many in a row are true, at most."""
    ends = np.flatnonzero(~np.concatenate([[False], same, [False]]))
    return int(np.diff(ends).max()) - 1


def _cut(values: np.ndarray, end: float) -> tuple[float, int]:
    """Which share of `(n,)` readings lies at an end of their range that is too small, and in how many runs.

    They do so in runs of three or more, which come from elsewhere and go there again: a signal that is cut
    off is steep where it meets its end. A value at which a channel rests is none.
    """
    at_end = values == end
    share = float(at_end.mean())
    if share < CUT or share >= REST or at_end.sum() < 2 * CUT_RUN:
        return 0.0, 0
    inside = values[~at_end]
    next_to = inside[np.argmin(np.abs(inside - end))]
    edges = np.flatnonzero(np.diff(at_end.astype(np.int8)))
    bounds = np.concatenate([[-1], edges, [len(values) - 1]])
    lengths = np.diff(bounds)[at_end[bounds[1:]]]
    steep = np.abs(np.diff(values))[edges]
    spread = float(np.abs(np.diff(inside)).mean())
    runs = lengths >= CUT_RUN
    levels = np.unique(values)
    finest = float(np.diff(levels).min())
    many = at_end.sum() >= PILE * (inside == next_to).sum()
    if not runs.any() or not many or float(np.median(steep)) < max(0.5 * spread, STEPS * finest):
        return 0.0, 0
    return float(lengths[runs].sum() / len(values)), int(runs.sum())


def by_stream(facts: Mapping[str, object]) -> dict[str, dict[str, Channels]]:
    """Facts by stream, then by recording; of recordings whose stream has other channels than most, none."""
    found: dict[str, dict[str, Channels]] = {}
    for recording, streams in facts.items():
        for stream, channels in streams.items():  # type: ignore[attr-defined]
            found.setdefault(stream, {})[recording] = channels
    kept = {}
    for stream, channels in found.items():
        counts = [len(one.names) for one in channels.values()]
        most = max(set(counts), key=counts.count)
        kept[stream] = {name: one for name, one in channels.items() if len(one.names) == most}
    return kept


def look(recording: Recording) -> dict[str, Channels]:
    """The channels of each signal, by stream."""
    return {name: _of(signal) for name, signal in signals(recording)}
