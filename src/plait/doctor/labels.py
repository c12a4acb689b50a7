"""Labels against the recording that they are of, against each other, and over people."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from plait.doctor.finding import Finding, Severity
from plait.doctor.words import listed, recordings, share_of
from plait.names import plain
from plait.types import Recording

Labelled = tuple[float, float, str]  # start and stop in seconds, and the activity
SLACK_S, SLACK = 0.5, 0.05  # by how much a label may reach beyond its recording: a person's hand is no clock
COMMON = 0.5  # of the shorter of two labels, from which on they are of the same time
SAME_S = 1e-3


class Outlined(NamedTuple):
    """A recording's name, labels, and when its first stream begins and its last one ends, in seconds."""

    recording: str
    labels: list[Labelled]
    start_s: float
    stop_s: float


def outlined(recording: Recording) -> Outlined:
    """What is known of a recording's labels without a look at its readings."""
    ends = []
    for stream in recording.streams.values():
        times = np.asarray(stream.times, np.float64)
        if len(times):
            lasts_s = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
            ends.append((float(times[0]), float(times[-1]) + lasts_s))
    labels = [(span.start_s, span.stop_s, plain(span.activity)) for span in recording.spans]
    start_s, stop_s = min((a for a, _ in ends), default=0.0), max((b for _, b in ends), default=-1.0)
    return Outlined(recording.name, labels, start_s, stop_s)


@dataclass(frozen=True)
class LabelsOutside:
    """Labels where nothing was recorded: by another clock, in another unit, or of another recording."""

    name: str = "labels-outside"

    def look(self, recording: Recording) -> Outlined:
        """Its labels and its ends."""
        return outlined(recording)

    def judge(self, facts: Mapping[str, Outlined], people: Mapping[str, str]) -> list[Finding]:
        """One finding for recordings with such labels, one for those with some that are wholly outside."""
        found: dict[Severity, list[tuple[float, str, str]]] = defaultdict(list)
        for name, (_, labels, start_s, stop_s) in facts.items():
            beyond = [_beyond_s(label, start_s, stop_s) for label in labels]
            out = [label for label, by_s in zip(labels, beyond, strict=True) if by_s > _slack_s(label)]
            if not out or stop_s < start_s:
                continue
            whole = sum(a >= stop_s or b <= start_s for a, b, _ in out)
            first = out[0]
            said = (
                f"{len(out)} of {len(labels)} labels reach beyond {name} ({people[name]!r}), {whole} of them "
                f"wholly outside: it lasts from {start_s:.2f} s to {stop_s:.2f} s, and {first[2]!r} from "
                f"{first[0]:.2f} s to {first[1]:.2f} s{_guess(labels, start_s, stop_s)}."
            )
            found["fault" if whole else "warning"].append((max(beyond), name, said))
        return [
            Finding(
                self.name,
                severity,
                recordings([name for _, name, _ in some]),
                0.99 if severity == "fault" else 0.9,
                max(some)[2] + (f" So it is in {len(some) - 1} more, less far." if len(some) > 1 else ""),
                "Windows there are dropped, or hold the last reading over and over; if the labels' clock "
                "is another one, all other labels are shifted as well.",
                "Check whose labels they are, their unit and zero (label_unit, label_zero, label_fps).",
            )
            for severity, some in found.items()
        ]


def _beyond_s(label: Labelled, start_s: float, stop_s: float) -> float:
    return max(start_s - label[0], label[1] - stop_s, 0.0)


def _slack_s(label: Labelled) -> float:
    return max(SLACK_S, SLACK * (label[1] - label[0]))


def _guess(labels: Sequence[Labelled], start_s: float, stop_s: float) -> str:
    """What the labels' unit may be, if dividing by it puts all of them inside and they fill the recording."""
    last = max(stop for _, stop, _ in labels)
    lasts_s = max(stop_s - start_s, SAME_S)
    units = {"milliseconds": 1000.0, "frames, 60 a second": 60.0, "frames, 30 a second": 30.0}
    fills = {unit: last / per_s / lasts_s for unit, per_s in units.items()}
    fitting = [unit for unit, share in fills.items() if 0.3 <= share <= 1.02]
    return f"; as {max(fitting, key=fills.__getitem__)} they would fit" if fitting else ""


@dataclass(frozen=True)
class Overlaps:
    """Clips that show the same moments, under two people's names or as two activities."""

    name: str = "overlaps"

    def look(self, recording: Recording) -> Outlined:
        """Its labels."""
        return outlined(recording)

    def judge(self, facts: Mapping[str, Outlined], people: Mapping[str, str]) -> list[Finding]:
        """One finding for each two people of one recording, and for each recording with two activities."""
        findings = []
        of: dict[str, list[str]] = defaultdict(list)
        for name, outline in facts.items():
            of[outline.recording].append(name)
        for recording, names in of.items():
            for one, other in combinations(names, 2):
                if people[one] == people[other]:
                    continue
                count = sum(
                    overlap > SAME_S for overlap in _overlaps_s(facts[one].labels, facts[other].labels)
                )
                if count:
                    findings.append(self._across(recording, people[one], people[other], count))
        for name, outline in facts.items():
            findings += self._contradictions(name, people[name], outline.labels)
        return findings

    def _across(self, recording: str, person: str, other: str, count: int) -> Finding:
        return Finding(
            self.name,
            "fault",
            f"recording {recording}: people {person!r} and {other!r}",
            0.99,
            f"{count} pairs of clips, one of each of them, share moments of it.",
            "The same readings train and test: accuracy is too high.",
            "Give each stretch of a recording to one person, or put both on one side of the split.",
        )

    def _contradictions(self, name: str, person: str, labels: Sequence[Labelled]) -> list[Finding]:
        lengths = np.array([stop - start for start, stop, _ in labels])
        if len(labels) < 2 or (len(labels) > 2 and np.ptp(lengths) < SAME_S):  # windows, not labels
            return []
        pairs = [(one, other) for one, other in _at_once(labels) if one[2] != other[2]]
        if not pairs:
            return []
        one, other = pairs[0]
        return [
            Finding(
                self.name,
                "warning",
                f"recording {name} ({person!r})",
                0.95,
                f"{len(pairs)} pairs of labels are of the same time and of two activities, such as "
                f"{one[2]!r} from {one[0]:.2f} s to {one[1]:.2f} s and {other[2]!r} from {other[0]:.2f} s to "
                f"{other[1]:.2f} s.",
                "One clip is taught as two activities: nothing can be right on both.",
                "Choose one tier of labels, or cut the labels where one activity ends.",
            )
        ]


def _at_once(labels: Sequence[Labelled]) -> Iterator[tuple[Labelled, Labelled]]:
    """Pairs of labels that share more than `COMMON` of the shorter one."""
    open_ones: list[Labelled] = []
    for label in sorted(labels):
        open_ones = [one for one in open_ones if one[1] > label[0]]
        for one in open_ones:
            shorter_s = min(one[1] - one[0], label[1] - label[0])
            if min(one[1], label[1]) - label[0] > COMMON * shorter_s:
                yield one, label
        open_ones.append(label)


def _overlaps_s(labels: Sequence[Labelled], others: Sequence[Labelled]) -> list[float]:
    return [min(a[1], b[1]) - max(a[0], b[0]) for a in labels for b in others]


@dataclass(frozen=True)
class Lacking:
    """Activities that some people never show."""

    name: str = "lacking"

    def look(self, recording: Recording) -> dict[str, int]:
        """How many labels of each activity it has."""
        return dict(Counter(plain(span.activity) for span in recording.spans))

    def judge(self, facts: Mapping[str, dict[str, int]], people: Mapping[str, str]) -> list[Finding]:
        """One finding for the activities that the same people lack."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for name, own in facts.items():
            if own:
                counts[people[name]].update(own)
        everybody = sorted(counts)
        findings = []
        lacked: dict[tuple[str, ...], list[str]] = defaultdict(list)  # activities, by who lacks them
        for activity in sorted({activity for own in counts.values() for activity in own}):
            lacked[tuple(person for person in everybody if not counts[person][activity])].append(activity)
        for without, activities in lacked.items():
            holders = [person for person in everybody if person not in without]
            if not without or len(everybody) < 2:
                continue
            them = "it" if len(activities) == 1 else "them"
            severity: Severity = (
                "fault" if len(holders) == 1 else "warning" if len(holders) >= len(without) else "note"
            )
            alone = len(holders) == 1
            findings.append(
                Finding(
                    self.name,
                    severity,
                    f"{'activity' if len(activities) == 1 else 'activities'} "
                    f"{listed([repr(activity) for activity in activities])}",
                    1.0,
                    f"{len(without)} of {len(everybody)} people never show {them} ({listed(without)}); "
                    f"{share_of(len(holders) / len(everybody))} do.",
                    f"Nobody else trains {them} when {holders[0]!r} is tested: such a fold is refused."
                    if alone
                    else "These people's accuracies are over fewer activities and not comparable with "
                    "others'; the activity itself is judged on fewer people.",
                    "Record what is missing, check whether it is labelled under another name, or leave the "
                    "activity out.",
                )
            )
        return findings
