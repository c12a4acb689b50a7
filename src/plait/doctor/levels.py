"""Levels: channels that say nothing, stand still, are cut off, or are far from what others' say."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from plait.doctor import channels, scales
from plait.doctor.channels import CUT, FROZEN_S, OFTEN, Channels
from plait.doctor.finding import Finding
from plait.doctor.peers import apart, of_people, plain, seen, usual
from plait.doctor.scales import Scale
from plait.doctor.words import called, listed
from plait.doctor.words import recordings as recordings_
from plait.types import Recording

CLEAR = 0.95
FAR, FAR_CONSTANT = math.log(5.0), math.log(1.3)  # of spreads, and of lengths of constant vectors


@dataclass(frozen=True)
class DeadChannels:
    """A channel says one number, or nothing, throughout a recording.

    A real sensor's last digits move. Where it moves in other recordings, it is a fault; where it never moves
    in any, a note: it is a constant of the data set, which tells networks nothing. A note, too, where it is a
    switch that nobody pressed: at an end of its range, at which most others rest for a fifth of the time.
    """

    name: str = "dead-channels"

    def look(self, recording: Recording) -> dict[str, Channels]:
        """What each channel does."""
        return channels.look(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Constant channels, a finding for those that are so in the same recordings."""
        findings = []
        for stream, recordings in channels.by_stream(facts).items():
            names = next(iter(recordings.values())).names
            constant = {name: one.constant for name, one in recordings.items()}
            whole = [name for name, dead in constant.items() if all(dead)]
            if whole and len(whole) < len(constant):
                findings.append(
                    self._found(stream, "every channel", whole, recordings, list(range(len(names))))
                )
            silent: dict[tuple[str, ...], list[int]] = defaultdict(list)  # which channels, by recordings
            for place in range(len(names)):
                dead = tuple(name for name, one in constant.items() if one[place] and name not in whole)
                if dead:
                    silent[dead].append(place)
            for some, places in silent.items():
                which = called([names[place] for place in places])
                findings.append(self._found(stream, which, list(some), recordings, places))
        return findings

    def _found(
        self, stream: str, channel: str, names: list[str], every: Mapping[str, Channels], places: list[int]
    ) -> Finding:
        value = every[names[0]].value[places[0]]
        says = "unknown" if math.isnan(value) else plain(value + 0.0)  # no -0
        verb = "are" if channel.startswith("channels ") else "is"
        always = len(names) == len(every)
        alive = len(every) - len(names)
        rests = not always and all(_rests(every, names, place) for place in places)
        return Finding(
            self.name,
            "note" if always or rests else "fault",
            "all recordings, " + stream if always else f"{recordings_(names)}: {stream}",
            0.5 if rests else 0.99 if alive > 1 or always else 0.9,
            f"{channel[0].upper()}{channel[1:]} of {stream} {verb} {says} throughout in {len(names)} of "
            f"{len(every)} recordings{', where most others rest, too' if rests else ''}.",
            "It tells networks nothing."
            if always
            else "If it was not connected, networks take its silence for rest."
            if rests
            else "Networks take silence for something the person did; where it goes with a person or an "
            "activity, it is learnt in place of motion.",
            "Leave the channel out."
            if always
            else "Look whether there was something to be felt; if there was, leave these recordings out."
            if rests
            else "Leave these recordings out, or the channel for everyone, or train with it missing "
            "(`missing`).",
        )


def _rests(every: Mapping[str, Channels], names: Sequence[str], place: int) -> bool:
    """Whether a channel that is constant in these recordings is so where it rests in most of the others."""
    values = {every[name].value[place] for name in names}
    alive = [one for name, one in every.items() if name not in names and not one.constant[place]]
    return sum(values <= {*one.rests[place]} for one in alive) > len(alive) / 2


@dataclass(frozen=True)
class Frozen:
    """A stream, or a channel, repeats its last reading for a stretch.

    The longest run of equal readings is held against other people's in the same stream or channel: five times
    what 95 % of these stay below, at least 0.25 s and eight readings. So coarse sensors at rest have high
    bars.
    """

    name: str = "frozen"

    def look(self, recording: Recording) -> dict[str, Channels]:
        """What each channel does."""
        return channels.look(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Frozen stretches, a finding for each stream, or channel of one."""
        findings = []
        for stream, recordings in channels.by_stream(facts).items():
            alive = {name: one for name, one in recordings.items() if not all(one.constant)}
            table = seen(
                {
                    name: ("", np.append(np.where(_elsewhere(one), 0.0, one.still_s[:-1]), one.still_s[-1]))
                    for name, one in alive.items()
                },
                people,
            )
            if table is None:
                continue
            bars = usual(table, FROZEN_S, times=5.0)
            odd = (table.values > bars) & np.array([alive[name].frozen for name in table.names])
            findings += self._found(
                stream, "every channel", table.names, table.values[:, -1], bars[:, -1], odd[:, -1]
            )
            odd[odd[:, -1]] = False
            for place, channel in enumerate(next(iter(alive.values())).names):
                if len(bars[0]) > 2:
                    findings += self._found(
                        stream,
                        called([channel]),
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
                f"{recordings_(frozen)}: {stream}",
                float(np.clip(1 - 0.5 * bars[worst] / still_s[worst], 0, 0.99)),
                f"{channel[0].upper()}{channel[1:]} of {stream} repeats one reading for "
                f"{plain(still_s[worst])} s in "
                f"{names[worst]}; up to {plain(bars[worst])} s would be usual.",
                "Clips there show a person at rest who was not.",
                "Leave the stretch out: shorten its labels, or take the repeated readings for missing.",
            )
        ]


def _elsewhere(one: Channels) -> np.ndarray:
    """Which channels other checks speak of: constant ones, and those that are cut off again and again."""
    return np.array(one.constant) | (np.array(one.cuts) >= OFTEN)


@dataclass(frozen=True)
class Saturation:
    """A channel is cut off at an end of its range.

    At least 0.5 % of its readings equal its largest (or smallest) number in runs of three or more, four times
    as many as at the next level, and it is met and left as steeply as the signal moves elsewhere. A value at
    which a fifth of readings lie is where a channel rests, such as a pressure's 0, and is none. A range that
    is too small is met more than once: three times, in one recording or several.
    """

    name: str = "saturation"

    def look(self, recording: Recording) -> dict[str, Channels]:
        """What each channel does."""
        return channels.look(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Cut channels, a finding for each stream."""
        findings = []
        for stream, recordings in channels.by_stream(facts).items():
            cut = {name: one for name, one in recordings.items() if max(one.cut) > 0}
            if sum(sum(one.cuts) for one in cut.values()) < OFTEN:
                continue
            worst = max(cut, key=lambda name: max(cut[name].cut))
            place = int(np.argmax(cut[worst].cut))
            cut_off = sorted({one.names[at] for one in cut.values() for at in np.flatnonzero(one.cut)})
            share = cut[worst].cut[place]
            findings.append(
                Finding(
                    self.name,
                    "warning" if share > 0.01 else "note",
                    f"{recordings_(list(cut))}: {stream}",
                    float(np.clip(1 - CUT / share / 2, 0.5, 0.99)),
                    f"{stream} is cut off in {len(cut)} of {len(recordings)} recordings "
                    f"({listed(cut_off)}): "
                    f"{cut[worst].names[place]} stays at "
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
    it. People differ by 0.4 in natural logarithms anyway; it takes a factor of 5, of a constant vector 1.3,
    and 95 % after all comparisons, and twice as much as anybody else. What is a factor between units is told
    by `units`.

    Args:
        decoded: whether pictures of depths or pressures are looked at.
    """

    decoded: bool = True
    name: str = "levels"

    def look(self, recording: Recording) -> tuple[str, dict[str, list[Scale]]]:
        """The scale of each vector and channel."""
        return scales.look(recording, self.decoded)

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
                off.people, off.off, off.sure, far & off.alone & (off.clear >= CLEAR), strict=True
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
                            "person may decide means.",
                            "Look at the recording: a gain, another range, a loose sensor, or a person "
                            "who is so.",
                        )
                    )
        return findings
