"""Labels that are told by what nobody did: durations, rates, which sensors there are, how one hangs at rest.

A tree learns them on some people and is asked of others, who are dealt to `FOLDS` groups. Its balanced
accuracy is compared with what it reaches on labels that were dealt anew among each person's own, `DEALT`
times. That is chance by person: whoever has more of one activity has it there too. Rates and sensors may tell
a few activities of many: an activity whose labels the tree holds for it more often than others' in 90 % of
pairs (the area under its curve) is told.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from plait.doctor.finding import Finding, Severity
from plait.doctor.sampled import signals
from plait.doctor.words import listed, share_of
from plait.names import plain
from plait.types import Recording

FOLDS, DEALT = 5, 20
ROWS = 4000  # labels that are looked at, at most
SURE_SD = 3.0  # standard deviations above chance
SETS_APART = 0.9  # area under a class's curve from which on its activity is told from the others
LEAST = 10  # labels of an activity that is told so
TELLS = 0.25  # of the way from chance to always right: less is how people move
REST_S, REST = 0.1, 3  # the first tenth of a second, three readings at least
GROUPS, ALMOST = 4, 0.9  # ways in which a sensor may hang, and how sure they tell groups of activities


class About(NamedTuple):
    """What is known of a label without its readings."""

    activity: str
    numbers: dict[str, dict[str, float]]  # by group: durations, rates, sensors


GROUP_OF: dict[str, tuple[str, Severity, str]] = {
    "duration": (
        "how long it lasts",
        "note",
        "Where a clip is its whole label, its length shows in what is resampled: faster is longer.",
    ),
    "rate": (
        "how many readings a second its streams have",
        "warning",
        "Interpolation looks otherwise at another rate: a network may tell the recording's setting from it.",
    ),
    "sensors": (
        "which streams it has",
        "warning",
        "Where clips without a sensor stay (missing = 'without'), its absence tells the activity.",
    ),
}


@dataclass(frozen=True)
class Metadata:
    """Labels that durations, rates or absent sensors tell across people."""

    name: str = "metadata"

    def look(self, recording: Recording) -> list[About]:
        """What is known of its labels."""
        times = {name: np.asarray(stream.times, np.float64) for name, stream in recording.streams.items()}
        found = []
        for span in recording.spans:
            lasts_s = span.stop_s - span.start_s
            counts = {
                name: int(np.diff(np.searchsorted(own, (span.start_s, span.stop_s)))[0])
                for name, own in times.items()
            }
            found.append(
                About(
                    plain(span.activity),
                    {
                        "duration": {"s": round(lasts_s, 4)},
                        # a reading more or less at the ends is no rate
                        "rate": {name: round(n / lasts_s, 3) for name, n in counts.items() if n >= 10},
                        "sensors": {name: float(n > 0) for name, n in counts.items()},
                    },
                )
            )
        return found

    def judge(self, facts: Mapping[str, list[About]], people: Mapping[str, str]) -> list[Finding]:
        """A finding for each group of numbers that tells activities."""
        findings = []
        rows = [(people[name], about) for name, own in facts.items() for about in own]
        rows = rows[:: -(-len(rows) // ROWS)] if rows else rows
        for group, (words, severity, harm) in GROUP_OF.items():
            names = sorted({name for _, about in rows for name in about.numbers[group]})
            absent = 0.0 if group == "sensors" else np.nan
            values = np.array([[one.numbers[group].get(name, absent) for name in names] for _, one in rows])
            if (
                group == "rate"
            ):  # within a tenth of an octave it is one setting; who has none has the usual one
                values = np.round(10 * np.log2(values)) / 10
                values = np.where(np.isnan(values), np.nanmedian(values, axis=0), values)
            whose = np.array([person for person, _ in rows])
            done = np.array([about.activity for _, about in rows])
            told = _told(values, whose, done, alone=severity != "note")
            if told is None:
                continue
            what = (
                f"tells the activity of people who were not learned from in {share_of(told.seen)} of cases, "
                f"where chance gives {share_of(told.chance)}."
                if told.seen
                else f"tells {listed(told.activities)} of people who were not learned from: against other "
                f"activities, {share_of(told.area)} of pairs are put in the right order."
            )
            findings.append(
                Finding(
                    self.name,
                    severity,
                    f"all labels: {group}",
                    0.95,
                    f"Of a label, {words} {what}",
                    harm,
                    "Look at which activities those are, and record or cut all of them alike; else a row of "
                    "the table that is shown these numbers alone says what they are worth.",
                )
            )
        return findings


class _Told(NamedTuple):
    """What a tree tells of people whom it does not know.

    Args:
        seen, chance: balanced accuracy, and what chance gives; 0 where that tells nothing.
        activities, area: those that are told alone, and the smallest area under their curves.
    """

    seen: float
    chance: float
    activities: list[str]
    area: float


def _told(values: np.ndarray, whose: np.ndarray, done: np.ndarray, alone: bool) -> _Told | None:
    """What is told beyond chance, of all activities or of single ones (`alone`).

    None where nothing is: values that are all the same, fewer than three people, or one activity.
    """
    if values.size == 0 or not np.ptp(values, axis=0).any():
        return None
    people, classes = sorted(set(whose.tolist())), sorted(set(done.tolist()))
    if len(people) < 3 or len(classes) < 2:
        return None
    group_of = {person: number % FOLDS for number, person in enumerate(people)}
    group = np.array([group_of[person] for person in whose.tolist()])
    labels = np.array([classes.index(activity) for activity in done.tolist()])
    draw = np.random.default_rng(0)
    seen, areas = _asked(values, labels, group)
    least, often = 1 / len(classes), np.bincount(labels, minlength=len(classes)) >= LEAST
    some = (areas >= SETS_APART) & often & alone
    if seen - least < TELLS * (1 - least) and not some.any():  # chance by person is no less
        return None
    dealt, their_areas = [], []
    for _ in range(DEALT):
        other = labels.copy()
        for person in people:
            own = np.flatnonzero(whose == person)
            other[own] = other[draw.permutation(own)]
        by_chance = _asked(values, other, group)
        dealt.append(by_chance[0])
        their_areas.append(by_chance[1])
    chance, sd = float(np.mean(dealt)), max(float(np.std(dealt)), 0.5 / len(labels))
    if seen - chance >= max(SURE_SD * sd, TELLS * (1 - chance)):
        return _Told(seen, chance, [], 0.0)
    some &= areas - np.mean(their_areas, axis=0) >= SURE_SD * np.std(their_areas, axis=0)
    if not some.any():
        return None
    return _Told(0.0, 0.0, [classes[place] for place in np.flatnonzero(some)], float(areas[some].min()))


def _asked(values: np.ndarray, labels: np.ndarray, group: np.ndarray) -> tuple[float, np.ndarray]:
    """How a tree does on groups of people left out.

    Returns the mean over activities of how often it is right, and the area under each activity's curve,
    `(activities,)`: in which share of pairs a label of it gets more of the tree's belief than another one.
    """
    from sklearn.tree import DecisionTreeClassifier

    count = int(labels.max()) + 1
    right, belief = np.zeros(len(labels)), np.zeros((len(labels), count))
    for number in sorted(set(group.tolist())):
        test = group == number
        tree = DecisionTreeClassifier(
            min_samples_leaf=3, max_leaf_nodes=64, class_weight="balanced", random_state=0
        )
        tree.fit(values[~test], labels[~test])
        belief[np.ix_(test, tree.classes_)] = tree.predict_proba(values[test])
        right[test] = tree.classes_[belief[test][:, tree.classes_].argmax(axis=1)] == labels[test]
    own = labels == np.arange(count)[:, None]  # (activities, labels)
    ranks = stats.rankdata(belief, axis=0).T
    n = own.sum(axis=1)
    areas = ((ranks * own).sum(axis=1) / n - (n + 1) / 2) / np.maximum(len(labels) - n, 1)
    return float(np.mean([right[one].mean() for one in own])), areas


class Resting(NamedTuple):
    """A recording's only activity, and the median of the first readings along each stream's axes."""

    activity: str
    streams: dict[str, list[float]]


@dataclass(frozen=True)
class RestTells:
    """Sensors that hang in a few ways at rest, each of which tells a group of activities.

    Of recordings of one activity, what a sensor feels before anybody has moved: gravity, and so how it is
    worn. UTD-MHAD's sensor is on the wrist for 21 activities and on the thigh for 6. Where the activity has
    begun by then (MEx: people lie), it is the posture that tells, so this is a note.
    """

    name: str = "rest-tells"

    def look(self, recording: Recording) -> Resting | None:
        """The median of the first readings of each stream's first triple of axes."""
        activities = {plain(span.activity) for span in recording.spans}
        if len(activities) != 1:
            return None
        found = {}
        for name, signal in signals(recording):
            if not len(signal.axes) or len(signal.axes) > 3:
                continue
            count = max(REST, int(np.searchsorted(signal.times - signal.times[0], REST_S)))
            first = np.nanmedian(signal.values[:count][:, signal.axes[0]], axis=0)
            if np.isfinite(first).all():
                found[name] = [round(float(one), 5) for one in first]
        return Resting(activities.pop(), found)

    def judge(self, facts: Mapping[str, Resting | None], people: Mapping[str, str]) -> list[Finding]:
        """A finding for each stream."""
        rows: dict[str, list[tuple[str, str, list[float]]]] = defaultdict(list)
        for name, resting in facts.items():
            if resting is None:
                continue
            for stream, first in resting.streams.items():
                rows[stream].append((people[name], resting.activity, first))
        findings = []
        for stream, own in rows.items():
            whose, done = (np.array([row[place] for row in own]) for place in (0, 1))
            groups = _groups(np.array([row[2] for row in own]), whose, done)
            if groups is None:
                continue
            right, several = groups
            smaller = sorted(several, key=len)[:-1]
            said = "; ".join(listed(sorted(one)) for one in smaller)
            findings.append(
                Finding(
                    self.name,
                    "note",
                    f"stream {stream}",
                    0.6,
                    f"In a recording's first {REST_S:g} s it hangs in one of {len(several)} ways, which tell "
                    f"groups of activities of people who were not learned from in {share_of(right)} of "
                    f"cases: {said}; and all {max(map(len, several))} others.",
                    "Where that is how the sensor is worn, a network reads the placement in the place of the "
                    "activity, and no accuracy says so.",
                    "Say in the paper where the sensor sits in which activity; look at accuracy within each "
                    "group.",
                )
            )
        return findings


def _groups(first: np.ndarray, whose: np.ndarray, done: np.ndarray) -> tuple[float, list[list[str]]] | None:
    """Groups of activities that a sensor's rest tells apart across people, and how often; None: it does not.

    Activities' means, whitened by how recordings of one scatter, are joined from the nearest on; people left
    out are given to the nearest group.
    """
    activities, people = sorted(set(done.tolist())), sorted(set(whose.tolist()))
    if len(activities) < 3 or len(people) < 3 or len(first) < 3 * len(activities):
        return None
    means = np.array([np.median(first[done == activity], axis=0) for activity in activities])
    rest = first - means[[activities.index(activity) for activity in done.tolist()]]
    covariance = rest.T @ rest / len(rest) + 1e-12 * np.eye(first.shape[1])
    white = np.linalg.cholesky(np.linalg.inv(covariance))
    first, tree = first @ white, linkage(pdist(means @ white), "average")
    best: tuple[float, list[list[str]]] | None = None
    for count in range(2, min(GROUPS, len(activities) - 1) + 1):
        cut = fcluster(tree, count, "maxclust")
        group_of = dict(zip(activities, cut.tolist(), strict=True))
        group = np.array([group_of[activity] for activity in done.tolist()])
        right = np.zeros(len(group))
        for person in people:
            test = whose == person
            known = sorted(set(group[~test].tolist()))
            centres = np.array([np.median(first[~test & (group == one)], axis=0) for one in known])
            distances = ((first[test][:, None] - centres) ** 2).sum(axis=2)
            right[test] = np.array(known)[distances.argmin(axis=1)] == group[test]
        balanced = float(np.mean([right[group == one].mean() for one in sorted(set(group.tolist()))]))
        several = [
            [name for name in activities if group_of[name] == one] for one in sorted(set(cut.tolist()))
        ]
        if balanced >= ALMOST and len(several) > 1:  # more groups that are told as well say more
            best = balanced, several
    return best
