"""Levels: channels that say nothing, stand still, are cut off, or are far from what others' say."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from plait.doctor import scales
from plait.doctor.finding import Finding
from plait.doctor.peers import apart, of_people, plain, seen, usual
from plait.doctor.sampled import Signal, signals
from plait.doctor.scales import Scale
from plait.doctor.words import listed
from plait.types import Recording

FROZEN_S, FROZEN_READINGS = 0.25, 8  # below, equal readings in a row are a slow sensor's, asked too often
CUT, CUT_RUN = (
    0.002,
    3,
)  # share of readings at an end of the range, in runs of so many, from which on it is cut
STEPS = 3  # levels by which a signal meets its end: slower, it may rest there
PILE = 4.0  # times as many readings at the end as at the level next to it: a continuous signal has fewer
REST = 0.2  # share of readings at one value from which on it is where a channel rests, and cuts nothing off
CLEAR = 0.95
FAR, FAR_CONSTANT = math.log(5.0), math.log(1.15)  # of spreads, and of lengths of constant vectors


class _Channels(NamedTuple):
    """A stream's channels in a few numbers.

    Args:
        names: of the channels.
        still_s: seconds of the longest stretch of equal readings; the last number: of all channels at once.
        cut, cut_at: the share of readings that are cut off, and at which number.
        constant: whether it never changes.
        value: its smallest number, NaN where nothing is known.
    """

    names: list[str]
    still_s: list[float]
    cut: list[float]
    cut_at: list[float]
    constant: list[bool]
    value: list[float]


def _channels(signal: Signal) -> _Channels:
    values = signal.values
    known = np.isfinite(values)
    step_s = float(np.median(np.diff(signal.times))) if len(signal.times) > 1 else 0.0
    same = (values[1:] == values[:-1]) & signal.neighbours[:, None]
    runs = np.array([*(_longest(column) for column in same.T), _longest(same.all(axis=1))])
    still_s = np.where(runs + 1 >= FROZEN_READINGS, runs * step_s, 0.0)
    low = np.where(known, values, np.inf).min(axis=0)
    high = np.where(known, values, -np.inf).max(axis=0)
    cuts = [
        max((_cut(values[known[:, place], place], end), float(end)) for end in (low[place], high[place]))
        if known[:, place].any()
        else (0.0, math.nan)
        for place in range(values.shape[1])
    ]
    shares, ends = np.array(cuts, np.float64).reshape(-1, 2).T
    constant = ~(low < high) if len(values) > FROZEN_READINGS else np.zeros(len(low), np.bool_)
    return _Channels(
        list(signal.names),
        still_s.tolist(),
        shares.tolist(),
        ends.tolist(),
        constant.tolist(),
        np.where(known.any(axis=0), low, math.nan).tolist(),
    )


def _longest(same: np.ndarray) -> int:
    """How many in a row are true, at most."""
    ends = np.flatnonzero(~np.concatenate([[False], same, [False]]))
    return int(np.diff(ends).max()) - 1


def _cut(values: np.ndarray, end: float) -> float:
    """The share of `(n,)` readings that lie at an end of their range because the range is too small.

    They do so in runs of three or more, which come from elsewhere and go there again: a signal that is cut
    off is steep where it meets its end. A value at which a channel rests is none.
    """
    at_end = values == end
    share = float(at_end.mean())
    if share < CUT or share >= REST or at_end.sum() < 2 * CUT_RUN:
        return 0.0
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
        return 0.0
    return float(lengths[runs].sum() / len(values))


def _stored(facts: Mapping[str, object]) -> dict[str, dict[str, _Channels]]:
    """Facts by stream, then by recording; of recordings whose stream has other channels than most, none."""
    found: dict[str, dict[str, _Channels]] = {}
    for recording, streams in facts.items():
        for stream, channels in streams.items():  # type: ignore[attr-defined]
            found.setdefault(stream, {})[recording] = channels
    kept = {}
    for stream, channels in found.items():
        counts = [len(one.names) for one in channels.values()]
        most = max(set(counts), key=counts.count)
        kept[stream] = {name: one for name, one in channels.items() if len(one.names) == most}
    return kept


def _look(recording: Recording) -> dict[str, _Channels]:
    return {name: _channels(signal) for name, signal in signals(recording)}


@dataclass(frozen=True)
class DeadChannels:
    """A channel says one number, or nothing, throughout a recording.

    A real sensor's last digits move. Where it moves in other recordings, it is a fault; where it never moves
    in any, a note: it is a constant of the data set, which tells networks nothing.
    """

    name: str = "dead-channels"

    def look(self, recording: Recording) -> dict[str, _Channels]:
        """What each channel does."""
        return _look(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Constant channels, a finding for each channel."""
        findings = []
        for stream, recordings in _stored(facts).items():
            names = next(iter(recordings.values())).names
            constant = {name: one.constant for name, one in recordings.items()}
            whole = [name for name, dead in constant.items() if all(dead)]
            if whole and len(whole) < len(constant):
                findings.append(self._found(stream, "every channel", whole, recordings, 0))
            for place, channel in enumerate(names):
                dead = [name for name, one in constant.items() if one[place] and name not in whole]
                if dead:
                    findings.append(self._found(stream, f"channel {channel}", dead, recordings, place))
        return findings

    def _found(
        self, stream: str, channel: str, names: list[str], every: Mapping[str, _Channels], place: int
    ) -> Finding:
        value = every[names[0]].value[place]
        says = "is unknown" if math.isnan(value) else f"is {plain(value)}"
        always = len(names) == len(every)
        alive = len(every) - len(names)
        return Finding(
            self.name,
            "note" if always else "fault",
            "all recordings, " + stream if always else f"{_recordings(names)}, {stream}",
            0.99 if alive > 1 or always else 0.9,
            f"{channel[0].upper()}{channel[1:]} of {stream} {says} throughout in {len(names)} of "
            f"{len(every)} recordings.",
            "It tells networks nothing."
            if always
            else "Networks take silence for something the person did; where it goes with a person or an "
            "activity, it "
            "is learnt in place of motion.",
            "Leave the channel out."
            if always
            else "Leave these recordings out, or the channel for everyone, or train with it missing "
            "(`missing`).",
        )


@dataclass(frozen=True)
class Frozen:
    """A stream, or a channel, repeats its last reading for a stretch.

    The longest run of equal readings is held against other people's in the same stream or channel: five times
    what 95 % of these stay below, at least 0.25 s and eight readings. So coarse sensors at rest have high
    bars.
    """

    name: str = "frozen"

    def look(self, recording: Recording) -> dict[str, _Channels]:
        """What each channel does."""
        return _look(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Frozen stretches, a finding for each stream, or channel of one."""
        findings = []
        for stream, recordings in _stored(facts).items():
            alive = {name: one for name, one in recordings.items() if not all(one.constant)}
            table = seen(
                {
                    name: ("", np.append(np.where(one.constant, 0.0, one.still_s[:-1]), one.still_s[-1]))
                    for name, one in alive.items()
                },
                people,
            )
            if table is None:
                continue
            bars = usual(table, FROZEN_S, times=5.0)
            odd = table.values > bars
            findings += self._found(
                stream, "every channel", table.names, table.values[:, -1], bars[:, -1], odd[:, -1]
            )
            odd[odd[:, -1]] = False
            for place, channel in enumerate(next(iter(alive.values())).names):
                if len(bars[0]) > 2:
                    findings += self._found(
                        stream,
                        f"channel {channel}",
                        table.names,
                        table.values[:, place],
                        bars[:, place],
                        odd[:, place],
                    )
        return findings

    def _found(
        self,
        stream: str,
        channel: str,
        names: Sequence[str],
        still_s: np.ndarray,
        bars: np.ndarray,
        odd: np.ndarray,
    ) -> list[Finding]:
        if not odd.any():
            return []
        worst = int(np.argmax(np.where(odd, still_s / bars, 0)))
        frozen = [name for name, is_odd in zip(names, odd, strict=True) if is_odd]
        return [
            Finding(
                self.name,
                "warning",
                f"{_recordings(frozen)}, {stream}",
                float(np.clip(1 - 0.5 * bars[worst] / still_s[worst], 0, 0.99)),
                f"{channel[0].upper()}{channel[1:]} of {stream} repeats one reading for "
                f"{plain(still_s[worst])} s in "
                f"{names[worst]}; up to {plain(bars[worst])} s would be usual.",
                "Clips there show a person at rest who was not.",
                "Leave the stretch out: shorten its labels, or take the repeated readings for missing.",
            )
        ]


@dataclass(frozen=True)
class Saturation:
    """A channel is cut off at an end of its range.

    At least 0.5 % of its readings equal its largest (or smallest) number in runs of three or more, four times
    as many as at the next level, and it is met and left as steeply as the signal moves elsewhere. A value at
    which a fifth of readings lie is where a channel rests, such as a pressure's 0, and is none.
    """

    name: str = "saturation"

    def look(self, recording: Recording) -> dict[str, _Channels]:
        """What each channel does."""
        return _look(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Cut channels, a finding for each stream."""
        findings = []
        for stream, recordings in _stored(facts).items():
            cut = {name: one for name, one in recordings.items() if max(one.cut) > 0}
            if not cut:
                continue
            worst = max(cut, key=lambda name: max(cut[name].cut))
            place = int(np.argmax(cut[worst].cut))
            channels = sorted({one.names[at] for one in cut.values() for at in np.flatnonzero(one.cut)})
            share = cut[worst].cut[place]
            findings.append(
                Finding(
                    self.name,
                    "warning" if share > 0.01 else "note",
                    f"{_recordings(list(cut))}, {stream}",
                    float(np.clip(1 - CUT / share / 2, 0.5, 0.99)),
                    f"{stream} is cut off in {len(cut)} of {len(recordings)} recordings "
                    f"({listed(channels)}): "
                    f"{channels and cut[worst].names[place]} stays at "
                    f"{plain(float(cut[worst].cut_at[place]))} for "
                    f"{100 * share:.2g} % of {worst}.",
                    "What is strongest looks alike: forceful activities and people are told apart less.",
                    "Set a larger range of the sensor; nothing brings back what was cut.",
                )
            )
        return findings


@dataclass(frozen=True)
class Levels:
    """A person's numbers are far stronger or weaker than the others', by a factor of no unit.

    Spreads (of a vector that is constant, its length) are compared within an activity, where three others did
    it. People differ by 0.4 in natural logarithms anyway; it takes a factor of 5, of a constant vector 1.15,
    and 95 % after all comparisons. What is a factor between units is told by `units`.
    """

    name: str = "levels"

    def look(self, recording: Recording) -> tuple[str, dict[str, list[Scale]]]:
        """The scale of each vector and channel."""
        return scales.look(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Levels out of line, a finding for each person and stream."""
        every: dict[str, tuple[str, dict[str, list[Scale]]]] = dict(facts)  # type: ignore[arg-type]
        findings = []
        for stream in sorted({name for _, found in every.values() for name in found}):
            found = scales.of_stream(every, stream, people)
            table = seen(found.rows, people)
            if table is None or not found.labels:
                continue
            off = apart(table, found.floors)
            far = np.abs(off.off) > np.where(found.constant, FAR_CONSTANT, FAR)
            for person, shifts, sure, odd in zip(
                off.people, off.off, off.sure, far & (off.clear >= CLEAR), strict=True
            ):
                odd &= [not found.conversion(number, shift) for number, shift in enumerate(shifts)]
                if odd.any():
                    worst = int(np.argmax(np.where(odd, np.abs(shifts), 0)))
                    findings.append(
                        Finding(
                            self.name,
                            "note",
                            f"person {person}, {stream}",
                            float(sure[worst]),
                            f"{stream}{found.which(worst)} is {plain(math.exp(abs(shifts[worst])))} times "
                            f"{'stronger' if shifts[worst] > 0 else 'weaker'} than with "
                            f"{of_people(len(off.people) - 1)}.",
                            "A network that knows the others only is asked beyond what it has seen; this "
                            "person may "
                            "decide means.",
                            "Look at the recording: a gain, another range, a loose sensor, or a person "
                            "who is so.",
                        )
                    )
        return findings


def _recordings(names: list[str]) -> str:
    return f"recording{'s' if len(names) > 1 else ''} {listed(names)}"
