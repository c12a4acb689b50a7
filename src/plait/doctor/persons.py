"""People: names that look alike, and two names that move and are built like one person."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from plait.doctor.finding import Finding
from plait.doctor.sampled import Signal, signals
from plait.doctor.words import listed, share_of
from plait.names import alike, plain
from plait.types import Recording

JOINTS = 8  # places in space, from which on they are taken for a body
CHANNELS = 24  # of a sensor, at most
LABELS = 64  # of a recording, of which traits are taken
ROWS = 3000  # labels that are compared, at most
LEAST, MET = 8, 4  # labels of a person, at least, and how many of them must find the other name
OWN, EACH_OTHER = 0.7, 0.25  # nearest neighbours: others' are their own, and these two's are each other's
RIDGE = 0.1  # of each trait's own variance, added to it


@dataclass(frozen=True)
class Names:
    """People, or activities, whose names look alike.

    As `plait.names.alike` says, which studies ask too.

    Args:
        told_apart: pairs of names that are said to be different.
    """

    told_apart: frozenset[frozenset[str]] = frozenset()
    name: str = "names"

    def look(self, recording: Recording) -> list[str]:
        """The activities that its labels name."""
        return sorted({plain(span.activity) for span in recording.spans})

    def judge(self, facts: Mapping[str, list[str]], people: Mapping[str, str]) -> list[Finding]:
        """One finding for each two names."""
        activities = {activity for own in facts.values() for activity in own}
        counts = Counter(people.values())
        findings = []
        for one, other in alike(set(people.values())):
            if frozenset((one, other)) not in self.told_apart:
                findings.append(
                    Finding(
                        self.name,
                        "fault",
                        f"people {one!r} and {other!r}",
                        0.9,
                        f"The names differ in their spelling alone; {counts[one]} recordings are of the one, "
                        f"{counts[other]} of the other.",
                        "If they are one person, that person trains and is tested at once: accuracy is too "
                        "high. A study is refused until it is settled.",
                        "Say same_person or different in [protocol], or rename.",
                    )
                )
        for one, other in alike(activities, person=False):
            if frozenset((one, other)) not in self.told_apart:
                findings.append(
                    Finding(
                        self.name,
                        "fault",
                        f"activities {one!r} and {other!r}",
                        0.9,
                        "The names differ in their spelling alone.",
                        "One activity counts as two: each has fewer clips, and telling them apart is chance.",
                        "Spell it in one way.",
                    )
                )
        return findings


class Traits(NamedTuple):
    """Of one label: its activity, and by stream what its person is like."""

    activity: str
    streams: dict[str, list[float]]


@dataclass(frozen=True)
class SamePerson:
    """Two names whose labels are each other's nearest, where everybody else's are their own.

    Of each label and stream: lengths between neighbouring joints of a skeleton; medians, strengths and usual
    steps of a sensor's channels. What an activity does to them is taken off (its median), the rest is
    whitened by its covariance within people, and each label's nearest other one is looked at. A person under
    two names finds themselves under the other one half of the time.
    """

    name: str = "same-person"

    def look(self, recording: Recording) -> list[Traits]:
        """Traits of its labels, of `LABELS` of them that are spread evenly."""
        spans = recording.spans
        if len(spans) > LABELS:
            spans = tuple(spans[i] for i in np.linspace(0, len(spans) - 1, LABELS).astype(int))
        found = [Traits(plain(span.activity), {}) for span in spans]
        for name, signal in signals(recording):
            times = signal.times[signal.rows]
            for span, traits in zip(spans, found, strict=True):
                inside = (times >= span.start_s) & (times <= span.stop_s)
                own = _traits(signal, signal.values[inside])
                if len(own) and np.isfinite(own).all():
                    traits.streams[name] = [round(float(one), 5) for one in own]
        return found

    def judge(self, facts: Mapping[str, list[Traits]], people: Mapping[str, str]) -> list[Finding]:
        """One finding for each two names."""
        seen: dict[tuple[str, str], dict[str, tuple[float, float, float]]] = defaultdict(dict)
        for stream in sorted({stream for own in facts.values() for one in own for stream in one.streams}):
            for pair, shares in _each_other_s(facts, people, stream):
                seen[pair][stream] = shares
        findings = []
        for (one, other), streams in seen.items():
            stream, (there, back, others) = max(streams.items(), key=lambda item: min(item[1][:2]))
            findings.append(
                Finding(
                    self.name,
                    "warning",
                    f"people {one!r} and {other!r}: {listed(sorted(streams))}",
                    round(min(0.95, 0.5 + min(there, back)), 2),
                    f"By {stream}, the label nearest to one of {one!r} is one of {other!r} in "
                    f"{share_of(there)} of cases, and the other way round in {share_of(back)}; "
                    f"everybody else finds themselves in {share_of(others)}.",
                    "If they are one person, that person trains and is tested at once: accuracy is too high.",
                    "Ask who recorded. If they are one: same_person in [protocol].",
                )
            )
        return findings


def _traits(signal: Signal, values: np.ndarray) -> np.ndarray:
    """What a person is like, by the readings of one label; empty where a stream says nothing of it."""
    if len(values) < 8:
        return np.empty(0)
    if len(signal.axes) >= JOINTS:
        places = values[:, signal.axes]
        bones = np.linalg.norm(np.diff(places, axis=1), axis=2)
        return np.asarray(np.log(np.median(bones, axis=0) + 1e-6))
    if values.shape[1] > CHANNELS:
        return np.empty(0)
    steps = np.abs(np.diff(values, axis=0))
    # in units of its own usual size, so that no unit makes floors matter
    size = np.abs(values).mean(axis=0) + 1e-9
    return np.concatenate(
        [
            np.median(values, axis=0),
            np.log(steps.mean(axis=0) / size + 1e-4),
            np.log(values.std(axis=0) / size + 1e-4),
        ]
    )


def _each_other_s(
    facts: Mapping[str, list[Traits]], people: Mapping[str, str], stream: str
) -> Iterator[tuple[tuple[str, str], tuple[float, float, float]]]:
    """Pairs of people who are each other's nearest by a stream; how often, and how often others their own."""
    rows = [
        (people[name], one.activity, one.streams[stream])
        for name, own in facts.items()
        for one in own
        if stream in one.streams
    ]
    width = Counter(len(row[2]) for row in rows).most_common(1)[0][0]
    counts = Counter(person for person, _, own in rows if len(own) == width)
    rows = [row for row in rows if len(row[2]) == width and counts[row[0]] >= LEAST]
    if not rows:
        return
    rows = rows[:: -(-len(rows) // ROWS)]
    whose, done = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    everybody = sorted(set(whose.tolist()))
    if len(everybody) < 4:
        return
    number = {person: place for place, person in enumerate(everybody)}
    of = np.array([number[person] for person in whose.tolist()])
    found = of[_nearest(np.array([row[2] for row in rows]), whose, done)]
    met = np.zeros((len(everybody), len(everybody)), dtype=np.int64)  # how often one finds the other
    np.add.at(met, (of, found), 1)
    share = met / np.bincount(of)[:, None]
    enough = (met >= MET - 0.5) & (share >= EACH_OTHER)
    for one, other in np.argwhere(np.triu(enough & enough.T, 1)).tolist():
        others = float(np.median(np.delete(share.diagonal(), [one, other])))
        if others >= OWN:
            shares = float(share[one, other]), float(share[other, one]), others
            yield (everybody[one], everybody[other]), shares


def _nearest(traits: np.ndarray, whose: np.ndarray, done: np.ndarray) -> np.ndarray:
    """The row that is nearest to each, without what activities do, whitened by what people vary in."""
    traits = traits.astype(np.float64)
    for activity in set(done.tolist()):
        traits[done == activity] -= np.median(traits[done == activity], axis=0)
    rest = traits.copy()
    for person in set(whose.tolist()):
        rest[whose == person] -= rest[whose == person].mean(axis=0)
    covariance = rest.T @ rest / len(rest)
    covariance += np.diag(RIDGE * np.diag(covariance) + 1e-12)
    white = traits @ np.linalg.cholesky(np.linalg.inv(covariance))
    squares = (white**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * white @ white.T
    np.fill_diagonal(distances, np.inf)
    return np.asarray(distances.argmin(axis=1))
