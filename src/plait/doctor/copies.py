"""The same readings under two names: whole recordings, stretches of them, or two streams of one recording."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from plait.doctor.finding import Finding, Severity
from plait.doctor.likeness import columns_of, digests, likeness, patterns, phases
from plait.doctor.sampled import Signal, signals
from plait.doctor.words import listed, share_of
from plait.types import Recording, Span

SHARED, PART = 4, 0.02  # digests that two streams share, and which part of the smaller one's these are
WHOLE = 0.8  # from this part on, one is a copy of the other
ALIKE, SAME_PERSON = 0.85, 0.95  # phases; one person's rhythms reach 0.82, two persons' 0.65 (UTD-MHAD)
TOGETHER = 0.6  # of their streams on average
AT_ONCE = 1024  # streams that are compared with all others at once
Way = Literal["values", "order", "phases"]
SEEN: dict[Way, str] = {
    "values": "equal readings",
    "order": "readings that rise and fall alike, reading for reading, in another unit or another place",
    "phases": "curves that agree, read at another rate or smoothed",
}
SURE: dict[Way, float] = {"values": 0.99, "order": 0.97, "phases": 0.9}


class Sketch(NamedTuple):
    """What copies of a stream would have in common (`plait.doctor.likeness`), and its content's key."""

    key: str
    values: list[int]
    order: list[int]
    phases: list[list[float]]


class Sketched(NamedTuple):
    """The streams of a recording, its own name, and on which occasion it was made."""

    recording: str
    session: str
    streams: dict[str, Sketch]


class _Likeness(NamedTuple):
    """Two streams, each a recording and a name, that are alike: in which way, and how large a part."""

    one: tuple[str, str]
    other: tuple[str, str]
    way: Way
    part: float


@dataclass(frozen=True)
class Copies:
    """Readings that stand in the data twice.

    Of recordings of two people, any common stretch counts; of one person's, `WHOLE` of it, for clips of one
    person may overlap. What several people's labels of one recording share is what `overlaps` looks at.

    Args:
        by: what a study keeps apart, people or sessions too.
        told_apart: pairs of people who are said to be different although they share recordings.
    """

    by: Literal["subject", "session"] = "subject"
    told_apart: frozenset[frozenset[str]] = frozenset()
    name: str = "copies"

    def look(self, recording: Recording) -> Sketched:
        """A sketch of each stream of numbers; of pictures, what their file holds."""
        found = {}
        for name, signal in signals(recording, widest=math.inf):
            values = signal.values[_labelled(signal, recording.spans)]
            some = values[:, columns_of(values)] if len(values) > 1 else values[:0]
            found[name] = Sketch("", digests(values), patterns(some), phases(some))
        for name, stream in recording.streams.items():
            if name not in found and (key := getattr(stream, "content_key", None)):
                found[name] = Sketch(key, [], [], [])
        return Sketched(recording.name, recording.session, found)

    def judge(self, facts: Mapping[str, Sketched], people: Mapping[str, str]) -> list[Finding]:
        """One finding for each two people, or recordings of one, or streams of one recording."""
        between: dict[tuple[str, str], list[_Likeness]] = defaultdict(list)
        within: dict[tuple[str, str], list[_Likeness]] = defaultdict(list)
        twins: dict[str, list[_Likeness]] = defaultdict(list)
        for pair in _together(_likenesses(facts), facts):
            recording, other = pair.one[0], pair.other[0]
            person, another = sorted((people[recording], people[other]))
            if recording == other:
                if pair.way == "values" and pair.part >= WHOLE:
                    twins[" and ".join(sorted((pair.one[1], pair.other[1])))].append(pair)
            elif person != another:
                if facts[recording].recording == facts[other].recording:
                    continue
                if pair.way != "phases" or pair.part >= ALIKE:
                    between[person, another].append(pair)
            elif pair.part >= (SAME_PERSON if pair.way == "phases" else WHOLE):
                within[min(recording, other), max(recording, other)].append(pair)
        findings = [
            self._of_two(*both, found)
            for both, found in between.items()
            if frozenset(both) not in self.told_apart
        ]
        for (recording, other), found in within.items():
            apart = self.by == "session" and facts[recording].session != facts[other].session
            findings.append(self._of_one(people[recording], recording, other, found, apart))
        return findings + [self._twins(streams, found) for streams, found in twins.items()]

    def _of_two(self, person: str, other: str, found: Sequence[_Likeness]) -> Finding:
        best = max(found, key=lambda one: (SURE[one.way], one.part))
        pairs = {tuple(sorted((one.one[0], one.other[0]))) for one in found}
        streams = sorted({name for one in found for name in (one.one[1], one.other[1])})
        part = "" if best.way == "phases" else f" in {share_of(best.part)} of the shorter one's digests"
        shown = listed([" and ".join(pair) for pair in sorted(pairs)])
        return Finding(
            self.name,
            "fault",
            f"people {person!r} and {other!r}: recordings {shown}",
            SURE[best.way],
            f"{len(pairs)} pairs of recordings share {SEEN[best.way]} of {listed(streams)}{part}.",
            "Who is tested has been trained on: accuracy is too high, as far as it comes from those clips.",
            f"Remove one of each pair; if {person!r} and {other!r} are one person, say same_person in "
            "[protocol]; if they were recorded together and are two, say different.",
        )

    def _of_one(
        self, person: str, recording: str, other: str, found: Sequence[_Likeness], apart: bool
    ) -> Finding:
        best = max(found, key=lambda one: (SURE[one.way], one.part))
        streams = sorted({name for one in found for name in (one.one[1], one.other[1])})
        severity: Severity = "fault" if apart else "warning"
        harm = (
            "Sessions are kept apart, and these are one: who is tested has been trained on."
            if apart
            else f"What they show counts twice, in training and in {person!r}'s accuracy."
        )
        return Finding(
            self.name,
            severity,
            f"recordings {recording} and {other} of {person!r}",
            SURE[best.way],
            f"They share {SEEN[best.way]} of {listed(streams)}.",
            harm,
            "Remove one of them.",
        )

    def _twins(self, streams: str, found: Sequence[_Likeness]) -> Finding:
        recordings = sorted({one.one[0] for one in found})
        return Finding(
            self.name,
            "fault",
            f"streams {streams}: recordings {listed(recordings)}",
            SURE["values"],
            f"Both hold the same readings, in {len(recordings)} recordings.",
            "Two sensors are one: a fusion of them cannot gain, and whatever the other one felt is lost.",
            "Find the other sensor's file; one log may have been given two names.",
        )


def _labelled(signal: Signal, spans: Sequence[Span]) -> np.ndarray:
    """The rows that were read and lie in a label; all where that are none: others may share a camera."""
    times = signal.times[signal.rows]
    inside = np.zeros(len(times), bool)
    for span in spans:
        first, last = np.searchsorted(times, (span.start_s, span.stop_s))
        inside[first:last] = True
    return inside if inside.any() else ~inside


def _likenesses(facts: Mapping[str, Sketched]) -> Iterator[_Likeness]:
    """Every two streams that are alike, each pair in the surest way."""
    sketches = {
        (recording, stream): sketch
        for recording, sketched in facts.items()
        for stream, sketch in sketched.streams.items()
    }
    seen: set[tuple[tuple[str, str], tuple[str, str]]] = set()
    by_way: tuple[tuple[Way, dict[tuple[str, str], Sequence[int | str]]], ...] = (
        ("values", {at: [one.key] for at, one in sketches.items() if one.key}),
        ("values", {at: one.values for at, one in sketches.items()}),
        ("order", {at: one.order for at, one in sketches.items()}),
    )
    for way, kept in by_way:
        for (one, other), count in _shared(kept).items():
            least = min(len(kept[one]), len(kept[other]))
            part = count / least
            if (count >= SHARED or count == least) and part >= PART and (one, other) not in seen:
                seen.add((one, other))
                yield _Likeness(one, other, way, part)
    for one, other, alike in _in_phase(sketches):
        if (one, other) not in seen:
            yield _Likeness(one, other, "phases", alike)


def _together(pairs: Iterable[_Likeness], facts: Mapping[str, Sketched]) -> list[_Likeness]:
    """Without recordings of which some curves agree, and those of their other streams do not.

    Whoever copies a recording copies its sensors; one that lies still may look like another's.
    """
    of_two: dict[tuple[str, str], list[_Likeness]] = defaultdict(list)
    for pair in pairs:
        of_two[min(pair.one[0], pair.other[0]), max(pair.one[0], pair.other[0])].append(pair)
    kept = []
    for (recording, other), found in of_two.items():
        if all(pair.way == "phases" for pair in found):
            ours, theirs = (
                {n: s.phases for n, s in facts[one].streams.items()} for one in (recording, other)
            )
            common = [n for n in ours if len(ours[n]) > 1 and len(ours[n]) == len(theirs.get(n, []))]
            alike = [float(likeness(np.array([ours[n], theirs[n]]))[0, 1]) for n in common]
            if np.mean(alike) < TOGETHER:
                continue
        kept += found
    return kept


def _shared(
    kept: Mapping[tuple[str, str], Sequence[int | str]],
) -> Counter[tuple[tuple[str, str], tuple[str, str]]]:
    """How many digests each two streams share, if any."""
    holders: dict[int | str, list[tuple[str, str]]] = defaultdict(list)
    for at, own in kept.items():
        for digest in own:
            holders[digest].append(at)
    counts: Counter[tuple[tuple[str, str], tuple[str, str]]] = Counter()
    for several in holders.values():
        for number, other in enumerate(several):
            counts.update((one, other) for one in several[:number])
    return counts


def _in_phase(
    sketches: Mapping[tuple[str, str], Sketch],
) -> Iterator[tuple[tuple[str, str], tuple[str, str], float]]:
    """Streams of one name and as many columns whose phases are alike."""
    groups: dict[tuple[str, int], list[tuple[str, str]]] = defaultdict(list)
    for (recording, stream), sketch in sketches.items():
        if len(sketch.phases) > 1:  # one column's agree by chance
            groups[stream, len(sketch.phases)].append((recording, stream))
    for members in groups.values():
        curves = np.array([sketches[at].phases for at in members])
        for start in range(0, len(members), AT_ONCE):
            alike = likeness(curves, slice(start, start + AT_ONCE))
            for row, column in np.argwhere(np.triu(alike, 1 + start) >= ALIKE):
                yield members[start + row], members[column], float(alike[row, column])
