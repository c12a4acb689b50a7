"""Clocks: one stream's times against those of the others, and against the same stream elsewhere.

Time stamps say when readings claim to have been made. From them alone one sees steps, rates, and where
streams begin and end; a clock that is late from the first reading to the last, while its stream is cut where
the others are, shows in what was recorded alone: that is what `plait sync` looks at.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from plait.doctor.finding import Finding, Severity
from plait.doctor.peers import apart, of_people, plain, seen, usual
from plait.doctor.times import Times, by_stream, lags, look
from plait.doctor.words import recordings
from plait.types import Recording

GAP_S, GAP_STEPS = 0.2, 10.0  # below, a gap is a late packet, which interpolation bridges
LATE_S, LATE_STEPS = 0.2, 3.0  # streams are never started at once: a fifth of a second is no news
RATE = 0.01  # rates within 1 % are of one setting: crystals are better, Bluetooth's stamps about as good


@dataclass(frozen=True)
class ClockJumps:
    """A stream's times step forward while the others' go on.

    A gap is told from the usual by other people's recordings of the same stream: five times what 95 % of
    these stay below, at least 0.2 s and ten steps. A gap of all streams is a pause, which windows heed. Where
    the stream then ends later than the others by the gap's length, its clock has jumped; else readings are
    lost. A clock that was set back leaves times that do not increase, which are refused or mended when read.
    """

    name: str = "clock-jumps"

    def look(self, recording: Recording) -> dict[str, Times]:
        """Each stream's times in a few numbers."""
        return look(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Gaps that are no usual ones, a finding for each stream and way."""
        every: dict[str, dict[str, Times]] = dict(facts)  # type: ignore[arg-type]
        ends = lags(every, "last_s")
        findings = []
        for stream, times in by_stream(every).items():
            table = seen({name: ("", [one.gap_s]) for name, one in times.items()}, people)
            if table is None:
                continue
            step_s = float(np.median([one.step_s for one in times.values()]))
            bars = usual(table, max(GAP_S, GAP_STEPS * step_s), times=5.0)[:, 0]
            odd = [
                name
                for name, bar in zip(table.names, bars, strict=True)
                if times[name].gap_s > bar and times[name].alone
            ]
            bar_of = dict(zip(table.names, bars.tolist(), strict=True))
            jumped = [
                name
                for name in odd
                if _has_jumped(times[name], ends[stream].get(name, 0.0)) and len(every[name]) > 1
            ]
            for some, jump in ((jumped, True), ([name for name in odd if name not in jumped], False)):
                if some:
                    findings.append(self._found(stream, some, times, bar_of, jump))
        return findings

    def _found(
        self, stream: str, names: list[str], times: dict[str, Times], bars: dict[str, float], jump: bool
    ) -> Finding:
        worst = max(names, key=lambda name: times[name].gap_s)
        gap = times[worst]
        excess = gap.gap_s / bars[worst]
        what = (
            f"{stream} has no reading for {plain(gap.gap_s)} s from {gap.gap_at_s:.2f} s on in {worst}, "
            "while "
            f"other streams go on; up to {plain(bars[worst])} s would be usual"
        )
        if jump:
            what += "; it ends later than the others by about as much, so its clock jumped"
        return Finding(
            self.name,
            "fault" if jump else "warning",
            _where(names, stream),
            float(np.clip(1 - 0.5 / excess, 0.0, 0.99)),
            what + ".",
            "From the jump on, clips join what did not happen together."
            if jump
            else "Clips there show interpolated or standing readings in place of what happened.",
            "Correct the times behind the jump, or leave out what follows."
            if jump
            else "Cut no clips across the gap (a log's max_gap_s), or leave the recording out.",
        )


@dataclass(frozen=True)
class ClockRates:
    """A stream's rate is not what it is elsewhere, or changes on its way: its clock drifts.

    Rates are of steps up to three usual ones, so that gaps do not count; where lost readings alone would
    tell, they do not either. A person's rate is compared with the others' (their spread, at least 0.3 %:
    crystals are better, stamps of a radio link about as good) and must be off by 1 %, twice as much as
    anybody else; a recording's by five times what 95 % of other people's recordings are, at least 1 %. A
    drift of 1 % is 50 ms in a window of five
    seconds; below, only streams that end apart say it (`clock-ends`). Within a recording, quarters of 64
    readings or more are compared.
    """

    name: str = "clock-rates"

    def look(self, recording: Recording) -> dict[str, Times]:
        """Each stream's times in a few numbers."""
        return look(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Rates out of line, a finding for each person or stream."""
        every: dict[str, dict[str, Times]] = dict(facts)  # type: ignore[arg-type]
        return [
            finding
            for stream, times in by_stream(every).items()
            for finding in (*self._rates(stream, times, people), *self._uneven(stream, times, people))
        ]

    def _rates(self, stream: str, times: dict[str, Times], people: Mapping[str, str]) -> Iterable[Finding]:
        table = seen(
            {name: ("", -np.log([one.mean_step_s, one.whole_step_s])) for name, one in times.items()}, people
        )
        if table is None:
            return
        everyone = np.median(table.values, axis=0)
        usual_hz = float(np.exp(everyone[0]))
        told: set[str] = set()
        off = apart(table, 0.003)
        apart_ = (np.abs(off.off) > RATE) & off.alone & (off.clear >= CLEAR)
        for person, shift, sure, is_off in zip(
            off.people, off.off, off.sure, apart_.all(axis=1), strict=True
        ):
            if is_off:
                told.add(person)
                yield self._found(
                    f"person {person}, {stream}",
                    float(sure.min()),
                    f"{stream} of person {person} comes at {plain(float(np.exp(shift[0])) * usual_hz)} "
                    "readings a "
                    f"second, {100 * np.expm1(shift[0]):+.1f} % off that of "
                    f"{of_people(len(off.people) - 1)}.",
                )
        if len(table.names) < FEW:
            return
        shifts = table.values - everyone
        bars = usual(table._replace(values=np.abs(shifts)), RATE, times=5.0)
        are_off = (np.abs(shifts) > bars).all(axis=1)
        odd = {
            name: float(shift[0])
            for name, person, shift, is_off in zip(table.names, table.people, shifts, are_off, strict=True)
            if is_off and person not in told
        }
        if odd:
            worst = max(odd, key=lambda name: abs(odd[name]))
            yield self._found(
                _where(list(odd), stream),
                1 - 1 / len(table.names),
                f"{stream} comes at {plain(float(np.exp(odd[worst])) * usual_hz)} readings a second in "
                f"{worst}, "
                f"{100 * np.expm1(odd[worst]):+.1f} % off the {plain(usual_hz)} of the {len(table.names)} "
                "recordings.",
            )

    def _found(self, where: str, sure: float, what: str) -> Finding:
        return Finding(
            self.name,
            "warning",
            where,
            sure,
            what,
            "If it is the clock that runs otherwise, streams come apart the more, the longer the recording; "
            "motions look faster or slower than they were.",
            "Compare the length with another clock; synchronise with drift (`plait sync`), or state the "
            "true rate.",
        )

    def _uneven(self, stream: str, times: dict[str, Times], people: Mapping[str, str]) -> Iterable[Finding]:
        table = seen({name: ("", [one.uneven]) for name, one in times.items()}, people)
        if table is None:
            return
        bars = usual(table, 0.05)[:, 0]
        values = table.values[:, 0]
        odd = [name for name, value, bar in zip(table.names, values, bars, strict=True) if value > bar]
        if odd:
            worst = max(odd, key=lambda name: times[name].uneven)
            yield self._found(
                _where(odd, stream),
                0.8 if len(set(table.people)) > FEW else 0.5,
                f"The rate of {stream} changes by {100 * np.expm1(times[worst].uneven):.0f} % within "
                f"{worst}, "
                f"where {100 * np.expm1(bars[table.names.index(worst)]):.0f} % would be usual.",
            )


@dataclass(frozen=True)
class ClockEnds:
    """A stream begins or ends apart from the other streams of its recording.

    It is held against the median of the others' ends, and that against the same in other people's recordings:
    three times what 95 % of these stay below, at least 0.2 s and three steps. Apart at both ends alike: the
    clock is off. At the end alone: it drifts, or the sensor stopped. A stream that begins late is told where
    labels lie before. Of several, the one that is farthest apart is told first, and the others only if they
    are apart from each other too. Where streams are never started together, the bar is high, and little is
    found: with reason. Of fewer than five recordings nothing is
    said, for nobody knows what is usual. A clock that jumped ends where it would have without.
    """

    name: str = "clock-ends"

    def look(self, recording: Recording) -> dict[str, Times]:
        """Each stream's times in a few numbers."""
        return look(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Ends apart, a finding for each stream and way."""
        every = _without_jumps(dict(facts))  # type: ignore[arg-type]
        begins, ends = lags(every, "first_s"), lags(every, "last_s")
        bars: dict[str, dict[str, np.ndarray]] = {}  # by stream and recording, of both ends
        for stream, times in by_stream(every).items():
            lag = {
                name: ("", [abs(begins[stream][name]), abs(ends[stream][name])])
                for name in times
                if name in begins[stream]
            }
            both = seen(lag, people)
            if both is not None and len(both.names) >= FEW:
                step_s = float(np.median([one.step_s for one in times.values()]))
                levels = usual(both, max(LATE_S, LATE_STEPS * step_s))
                bars[stream] = dict(zip(both.names, levels, strict=True))
        found: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
        for recording, streams in every.items():
            left = dict(streams)
            while odd := _apart(recording, left, bars):
                worst = max(odd, key=lambda name: abs(odd[name][1]))
                way, lag_s, bar_s = odd[worst]
                found.setdefault((worst, way), {})[recording] = lag_s, bar_s
                del left[worst]  # the others may be apart from it alone
        of_two = len(next(iter(every.values()), {})) == 2
        return [self._found(stream, way, lags, of_two) for (stream, way), lags in found.items()]

    def _found(self, stream: str, way: str, lags: dict[str, tuple[float, float]], of_two: bool) -> Finding:
        worst = max(lags, key=lambda name: abs(lags[name][0]))
        lag_s, bar_s = lags[worst]
        verb = {"both": "begins and ends", "begins": "begins", "ends": "ends"}[way]
        severity: Severity = "fault" if way == "both" else "warning" if way == "ends" else "note"
        than = "the other stream (either may be wrong)" if of_two else "the other streams"
        return Finding(
            self.name,
            severity,
            _where(list(lags), stream),
            float(np.clip(1 - 0.5 * bar_s / abs(lag_s), 0.0, 0.99)) * (0.6 if of_two else 1.0),
            f"{stream} {verb} {plain(abs(lag_s))} s {'later' if lag_s > 0 else 'earlier'} than {than} in "
            f"{worst}; up to {plain(bar_s)} s would be usual.",
            "Clips pair what did not happen together."
            if way == "both"
            else "Clips pair what did not happen together if the clock drifts; if the sensor was not "
            "running, "
            "clips there lack it.",
            "Find the offset (`plait sync`, or by hand) and state it."
            if way == "both"
            else "Look whether it was recording; if so, synchronise with drift (`plait sync`).",
        )


def _apart(
    recording: str, streams: Mapping[str, Times], bars: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, tuple[str, float, float]]:
    """Streams of a recording that are apart from the others: at which end, how late, up to what is usual."""
    begins, ends = (lags({recording: dict(streams)}, end) for end in ("first_s", "last_s"))
    odd = {}
    for name, own in streams.items():
        if recording not in bars.get(name, {}) or recording not in begins[name]:
            continue
        begin_bar, end_bar = (float(bar) for bar in bars[name][recording])
        begin_s, end_s = begins[name][recording], ends[name][recording]
        late_s, bar_s = max(abs(begin_s), abs(end_s)), max(begin_bar, end_bar)
        if late_s > bar_s and abs(begin_s - end_s) < late_s / 2:
            odd[name] = "both", begin_s, bar_s
        elif begin_s > begin_bar and own.label_s < own.first_s - own.step_s:
            odd[name] = "begins", begin_s, begin_bar
        elif abs(end_s) > end_bar:
            odd[name] = "ends", end_s, end_bar
    return odd


def _has_jumped(times: Times, late_s: float) -> bool:
    """Whether a stream ends later than the others by about its longest gap."""
    return abs(late_s - times.gap_s) < times.gap_s / 3


def _without_jumps(every: Mapping[str, dict[str, Times]]) -> dict[str, dict[str, Times]]:
    """The same, where a clock that jumped ends earlier by that, for `ClockJumps` tells it."""
    ends = lags(every, "last_s")
    return {
        recording: {
            name: own._replace(last_s=own.last_s - own.gap_s)
            if own.alone and own.gap_s > GAP_S and _has_jumped(own, ends[name].get(recording, 0.0))
            else own
            for name, own in streams.items()
        }
        for recording, streams in every.items()
    }


FEW = 5  # recordings or people, below which nobody is out of line
CLEAR = 0.95


def _where(names: list[str], stream: str) -> str:
    return f"{recordings(names)}: {stream}"
