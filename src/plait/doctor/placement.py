"""Placement: sensors worn turned, mirrored or on the other side, as gravity and motion say of their axes.

Of each triple of axes, the mean says where gravity points, and the covariance which axes move together. Both
are compared with other people's, of the same activity where three others did it, under each of the 48 ways to
exchange axes and turn their signs. How sure: the share of a person's recordings that say so, less one in as
many people.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from plait.doctor.axes import TURNS, Worn, distances, look, simplest
from plait.doctor.finding import Finding
from plait.doctor.peers import Seen, expected, middle, of_people, plain, seen
from plait.doctor.words import listed, recordings
from plait.types import Recording

FITS = 0.5  # the share of the distance that a turned sensor may be left with
FAR = 0.8  # of the distance of 2 that gravity the other way round has: about 50 degrees
TOGETHER = 0.4  # distance of a person's own recordings, up to which they are of one mounting
ALIKE = 2  # other recordings of one person and activity
AGREE = 0.6  # share of a person's recordings that must say the same
FEW = 3  # people of whom nobody can say which way is usual
MANY = 0.2  # share of people from which on there is no one way to wear it
TELLS, MOST = 2.0, 5.0  # of what people differ by: from where a number tells sensors apart, and counts
SIDE = re.compile(r"left|right|(?<![a-z])[lr](?![a-z])", re.IGNORECASE)
LEAST = 3  # channels: what two numbers say of one is too little to tell two sensors by
SWAPPED = 0.7  # the share of the distance that exchanged streams may be left with


def _tables(
    facts: Mapping[str, tuple[str, dict[str, Worn]]], stream: str, people: Mapping[str, str], what: str
) -> Seen | None:
    """Recordings' numbers of one kind of a stream, side by side."""
    return seen(
        {
            name: (done, np.ravel(getattr(found[stream], what)))
            for name, (done, found) in facts.items()
            if stream in found
        },
        people,
    )


@dataclass(frozen=True)
class Mounting:
    """A person wears a sensor turned or mirrored, as against the others; or everybody wears it in some way.

    A recording says so if it is 0.8 off the others (50 degrees, where gravity is most of what is measured)
    and exchanged axes or signs leave at most half of that; a person does, if 60 % of their recordings do,
    most of them by the same turn. From a fifth of people on, the finding is of the data set: there is no one
    way it is worn. A turn that mirrors (an odd number of exchanged or inverted axes) is the other side of the
    body, or an inverted axis.
    """

    name: str = "mounting"

    def look(self, recording: Recording) -> tuple[str, dict[str, Worn]]:
        """Means and covariances of each sensor's axes."""
        return look(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Turned sensors, a finding for each person and stream, or one for a stream."""
        every: dict[str, tuple[str, dict[str, Worn]]] = dict(facts)  # type: ignore[arg-type]
        findings = []
        no_one_way: dict[str, tuple[list[str], int]] = {}  # by stream: who turns it, of how many
        for stream in sorted({name for _, found in every.values() for name in found}):
            worn = self._worn(every, stream, people)
            findings += self._of_recordings(every, stream, people, set(worn))
            everyone = {people[name] for name, (_, found) in every.items() if stream in found}
            others = len(everyone) - 1
            if len(worn) > max(MANY * len(everyone), 1) and len(everyone) > FEW:
                no_one_way[stream] = list(worn), len(everyone)
                continue
            for person, (turn, share, before, after) in worn.items():
                mirrored = np.linalg.det(turn) < 0
                findings.append(
                    Finding(
                        self.name,
                        "warning",
                        f"person {person}, {stream}",
                        share * (1 - 1 / (others + 1)),
                        f"{stream} of person {person} is {plain(before)} off that of {of_people(others)} "
                        "(2: upside down), "
                        f"and {plain(after)} if {_said(turn)} are read for x, y, z, in {100 * share:.0f} "
                        "% of recordings.",
                        "This person's axes mean something else: networks that read them fail on this "
                        "person, and learn "
                        "wrong things from them.",
                        "Worn on the other side or an axis inverted: exchange the axes so when reading "
                        "this person."
                        if mirrored
                        else "Worn turned: exchange the axes so when reading this person.",
                    )
                )
        return findings + (self._of_all(no_one_way) if no_one_way else [])

    def _of_all(self, no_one_way: Mapping[str, tuple[list[str], int]]) -> list[Finding]:
        """That sensors of a data set, by name, are worn in several ways: one finding for all of them."""
        said = [
            f"{stream} by {len(who)} of {count} people ({listed([f'person {one}' for one in who])})"
            for stream, (who, count) in no_one_way.items()
        ]
        return [
            Finding(
                self.name,
                "warning",
                f"all recordings, {listed(list(no_one_way))}",
                min(1 - 1 / max(count for _, count in no_one_way.values()), 0.95),
                f"There is no one way to wear {'it' if len(said) == 1 else 'them'}: turned against the "
                f"others is {listed(said)}.",
                "Networks meet axes at test time that they have not been trained on: a sensor looks worse "
                "than it is.",
                "Turn each person's axes to one frame, or train with turned axes (an augmentation).",
            )
        ]

    def _of_recordings(
        self,
        every: Mapping[str, tuple[str, dict[str, Worn]]],
        stream: str,
        people: Mapping[str, str],
        told: set[str],
    ) -> list[Finding]:
        """Recordings in which a person wears it another way than in their others of the same activity."""
        alike: dict[tuple[str, str], list[str]] = {}
        for name, (done, found) in every.items():
            if stream in found and len(found[stream].means) and people[name] not in told:
                alike.setdefault((people[name], done), []).append(name)
        odd: dict[str, tuple[float, float, np.ndarray]] = {}
        for names in alike.values():
            for name in names if len(names) > ALIKE else ():
                others = [every[one][1][stream] for one in names if one != name]
                means = np.array([one.means[0] for one in others])
                covariances = np.array([one.covariances[0] for one in others])
                mean, covariance = np.median(means, axis=0), np.median(covariances, axis=0)
                usual = max(
                    float(distances(one, spread, mean, covariance)[0])
                    for one, spread in zip(means, covariances, strict=True)
                )
                own = every[name][1][stream]
                off = distances(np.array(own.means[0]), np.array(own.covariances[0]), mean, covariance)
                best = simplest(off)
                if usual < TOGETHER and off[0] > FAR and off[best] < FITS * off[0]:
                    odd[name] = float(off[0]), float(off[best]), TURNS[best]
        if not odd:
            return []
        worst = max(odd, key=lambda name: odd[name][0])
        before, after, turn = odd[worst]
        return [
            Finding(
                self.name,
                "warning",
                f"{recordings(list(odd))}: {stream}",
                0.7,
                f"{stream} in {worst} is {plain(before)} off this person's other recordings of the "
                f"activity (2: upside down), and {plain(after)} if {_said(turn)} are read for x, y, z.",
                "Clips of one person and activity do not look alike.",
                "Look whether the sensor was put on again; exchange the axes so when reading this recording.",
            )
        ]

    def _worn(
        self, every: Mapping[str, tuple[str, dict[str, Worn]]], stream: str, people: Mapping[str, str]
    ) -> dict[str, tuple[np.ndarray, float, float, float]]:
        """By person: the turn that fits, in which share of recordings, distances before and after."""
        means, covariances = (_tables(every, stream, people, what) for what in ("means", "covariances"))
        if means is None or covariances is None or not means.values.shape[1]:
            return {}
        mean, covariance = (expected(one) for one in (means, covariances))
        shape = len(means.names), -1, 3
        votes: dict[str, list[tuple[int, float, float]]] = {}
        for own, own_spread, others, spread, person in zip(
            means.values.reshape(shape),
            covariances.values.reshape(*shape, 3),
            mean.reshape(shape),
            covariance.reshape(*shape, 3),
            means.people,
            strict=True,
        ):
            if not np.isfinite(others).all():
                continue
            off = distances(own[0], own_spread[0], others[0], spread[0])  # the first: the accelerometer
            best = simplest(off)
            is_off = off[0] > FAR and off[best] < FITS * off[0]
            votes.setdefault(person, []).append((best if is_off else 0, float(off[0]), float(off[best])))
        worn = {}
        for person, said in votes.items():
            turned = [vote for vote in said if vote[0]]
            share = len(turned) / len(said)
            if share < AGREE:
                continue
            numbers = [vote[0] for vote in turned]
            most = max(sorted(set(numbers)), key=numbers.count)
            alike = [vote for vote in turned if vote[0] == most]
            if len(alike) >= len(turned) / 2:
                before, after = (float(np.median([vote[one] for vote in alike])) for one in (1, 2))
                worn[person] = TURNS[most], share, before, after
        return worn


def _said(turn: np.ndarray) -> str:
    """A turn in words: which of the sensor's own axes are to be read for x, y and z."""
    said = []
    for row in turn:
        axis = int(np.abs(row).argmax())
        said.append(f"{'-' if row[axis] < 0 else ''}{'xyz'[axis]}")
    return ", ".join(said)


@dataclass(frozen=True)
class Swapped:
    """Two sensors of a person are taken for each other: left for right, wrist for thigh.

    By how much the two differ in means and logarithmic spreads of their channels is compared with how they
    differ with others, in what people differ by; so a strong person is none with swapped sensors. Channels
    count the more, the better they tell the two apart. Exchanged, they must be left with 0.7 of the distance,
    in 60 % of a person's recordings. Where of a left and a right one spreads alone say so, not means, which
    are how they are worn, the person may lead with the other hand: a note. Sensors that nothing tells apart,
    or that have fewer than three channels, cannot be seen to be swapped.
    """

    name: str = "swapped"

    def look(self, recording: Recording) -> tuple[str, dict[str, Worn]]:
        """Means and spreads of each sensor's channels."""
        return look(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Swapped sensors, a finding for each person and pair."""
        every: dict[str, tuple[str, dict[str, Worn]]] = dict(facts)  # type: ignore[arg-type]
        streams = sorted({name for _, found in every.values() for name in found})
        return [
            finding
            for one, other in itertools.combinations(streams, 2)
            for finding in self._pair(one, other, every, people)
        ]

    def _pair(
        self,
        one: str,
        other: str,
        every: Mapping[str, tuple[str, dict[str, Worn]]],
        people: Mapping[str, str],
    ) -> list[Finding]:
        both = {
            name: found
            for name, found in every.items()
            if one in found[1]
            and other in found[1]
            and len(found[1][one].channels) == len(found[1][other].channels) >= 2 * LEAST
        }
        tables = [_tables(both, stream, people, "channels") for stream in (one, other)]
        if tables[0] is None or tables[1] is None or tables[0].names != tables[1].names:
            return []
        apart = tables[0]._replace(values=tables[0].values - tables[1].values)
        theirs = expected(apart)
        if not np.isfinite(theirs).any():
            return []
        unit = np.maximum(np.nan_to_num(middle(np.abs(apart.values - theirs))), 1e-9)
        weights = np.minimum(np.nan_to_num(np.abs(theirs)) / unit, MOST)
        weights = np.where(weights >= TELLS, weights, 0.0)
        straight, crossed = (_off(apart.values, sign * theirs, unit, weights) for sign in (1, -1))
        says = crossed < SWAPPED * straight
        means = weights * (np.arange(weights.shape[1]) < weights.shape[1] // 2)
        worn = [_off(apart.values, sign * theirs, unit, means) for sign in (1, -1)]
        worn_so = worn[1] < SWAPPED * worn[0]
        owners = np.array(tables[0].people)
        everyone = sorted(set(owners.tolist()))
        findings = []
        for person in everyone:
            mine = owners == person
            share = float(says[mine].mean())
            if share < AGREE:
                continue
            ratio = float(np.median(straight[mine] / np.maximum(crossed[mine], 1e-9)))
            is_worn_so = float(worn_so[mine].mean()) >= AGREE or not (SIDE.search(one) and SIDE.search(other))
            sure = share * (1 - 1 / len(everyone)) if len(everyone) > 2 else 0.5
            findings.append(
                Finding(
                    self.name,
                    "fault" if is_worn_so else "note",
                    f"person {person}, {one} and {other}",
                    sure if is_worn_so else min(sure, 0.5),
                    f"{one} and {other} of person {person} are {plain(ratio)} times nearer to the others' "
                    f"if they are exchanged, in {100 * share:.0f} % of {int(mine.sum())} recordings"
                    + ("." if is_worn_so else "; not in how they are worn, but in how much they move."),
                    "Networks see one limb in place of the other for this person.",
                    f"Exchange {one} and {other} when reading this person's recordings, once the video "
                    "agrees."
                    if is_worn_so
                    else "Ask whether this person leads with the other hand; if not, look at the video and "
                    f"exchange {one} and {other} when reading.",
                )
            )
        return findings


def _off(own: np.ndarray, theirs: np.ndarray, unit: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Distances `(recordings,)` in what people differ by; one number counts for `MOST` at most."""
    off = np.minimum(np.nan_to_num(np.abs(own - theirs)) / unit, MOST)
    return np.asarray((off * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9))
