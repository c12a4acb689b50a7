"""Two articulated gloved hands at work: one motion, which the camera sees and the gloves feel.

Metres, seconds and radians. The axes are the camera's: x to the right, y down, z away from the chest. A
hand's own axes are the same when its fingers point away and its palm faces down.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from scipy.interpolate import PchipInterpolator, make_interp_spline
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from plait.simulator.cycles import (
    BUTTONS,
    CYCLES,
    FEEL_ALIKE,
    FIST,
    GRIP,
    LOOK_ALIKE,
    LOOSE,
    NONE,
    OPEN,
    READY,
    REST,
    SWAPPED,
    Activity,
    Key,
    Keys,
    Person,
    key,
)
from plait.simulator.world import Stretch
from plait.types import Span

FINE_HZ = 200
SMOOTH_S = 0.05  # muscles do not jerk


@dataclass
class Hand:
    """One hand's keys at `times`, what it holds from when on, and when it hits something, how strongly."""

    times: list[float] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    holds: list[tuple[float, int]] = field(default_factory=lambda: [(-np.inf, NONE)])
    hits: list[tuple[float, float]] = field(default_factory=list)

    def add(self, time_s: float, key: Key) -> None:
        """Be there then, unless that is not later than the last key."""
        if not self.times or time_s > self.times[-1] + 0.02:
            self.times.append(time_s)
            self.keys.append(key)


@dataclass(frozen=True, eq=False)
class Pose:
    """A hand at `n` moments."""

    position: np.ndarray  # `(n, 3)`, of the wrist, in metres
    rotation: Rotation  # `n` of them, from the hand's own axes
    flexion: np.ndarray  # `(n, 5)`, thumb first, from 0 to 1
    pressure: np.ndarray  # `(n,)`, from 0 to 1
    holds: np.ndarray  # `(n,)`, the number of the thing it holds


@dataclass(frozen=True, eq=False)
class Motion:
    """Both hands as functions of time, what they hit (seconds, strength, by hand), and what is heard."""

    hands: dict[str, Callable[[np.ndarray], Pose]]
    hits: dict[str, list[tuple[float, float]]]
    heard: list[tuple[float, float]]


def move(
    spans: Sequence[Span | Stretch],
    claps: Sequence[float],
    stop_s: float,
    person: Person,
    seed: Sequence[int],
) -> Motion:
    """The motion of a recording; hands are idle where nothing else is said.

    Args:
        spans: the labels, or stretches, neutral ones too.
        claps: when hands clap, in seconds.
        stop_s: when the recording stops.
        person: who moves.
        seed: of all that is drawn at random.
    """
    rng = np.random.default_rng(list(seed))
    main, other = Hand(), Hand()
    for hand in (main, other):
        hand.add(-5.0, key(REST))
    work = [s if isinstance(s, Stretch) else Stretch(s.start_s, s.stop_s, s.activity) for s in spans]
    events = [stretch for stretch in work if stretch.carried or _cycle(stretch) is not None]
    events += [Stretch(at - 0.9, at + 0.7, "clap") for at in claps]
    before = -1.0
    for event in [*sorted(events, key=lambda event: event.start_s), Stretch(stop_s, stop_s, "end")]:
        _idle(main, other, before + 0.6, event.start_s - 0.45, person, rng)
        before = event.stop_s
        if event.activity == "clap":
            _clap(main, other, event.start_s + 0.9)
        elif (activity := _cycle(event)) is not None:
            leads, follows = (other, main) if event.other_hand else (main, other)
            follows.holds.append((event.start_s, event.carried))
            _repeat(activity, leads, follows, event, person, rng)
            follows.holds.append((event.stop_s, NONE))
        elif event.carried:
            _idle(main, other, event.start_s, event.stop_s, person, rng, event.carried)
    for hand in (main, other):
        hand.add(stop_s + 6.0, key(REST))
    left, right = (main, other) if person.left_handed else (other, main)
    poses = {side: _pose(hand, side, person) for side, hand in (("left", left), ("right", right))}
    heard = sorted({*main.hits, *other.hits})  # both hands clap, which is heard once
    return Motion(poses, {"left": sorted(left.hits), "right": sorted(right.hits)}, heard)


def _cycle(stretch: Stretch) -> Activity | None:
    """What a stretch repeats; None where hands are idle."""
    manner = {"feel": FEEL_ALIKE, "look": LOOK_ALIKE}.get(stretch.like, CYCLES)
    return manner.get(stretch.activity)


def _pose(hand: Hand, side: str, person: Person) -> Callable[[np.ndarray], Pose]:
    """A hand's pose as a function of time; keys are for the right hand, the left is its mirror."""
    fine = np.arange(hand.times[0], hand.times[-1], 1 / FINE_HZ)
    keys = PchipInterpolator(hand.times, np.array(hand.keys))(fine)
    path = make_interp_spline(fine, gaussian_filter1d(keys, SMOOTH_S * FINE_HZ, axis=0), k=1)
    times = np.array([at for at, _ in hand.holds])
    things = np.array([thing for _, thing in hand.holds])
    mirror = 1.0 if side == "right" else -1.0

    def at(seconds: np.ndarray) -> Pose:
        values = path(np.clip(seconds, fine[0], fine[-1]))
        position = values[:, :3] * [mirror, 1.0, 1.0]
        angles = values[:, 3:6] * [1.0, mirror, mirror]
        rotation = Rotation.from_euler("YXZ", angles[:, [1, 0, 2]])
        if any(person.held):
            rotation = rotation * Rotation.from_euler("YXZ", np.array(person.held) * [mirror, 1.0, mirror])
        holds = things[np.searchsorted(times, seconds, side="right") - 1]
        return Pose(position, rotation, np.clip(values[:, 6:11], 0, 1), np.clip(values[:, 11], 0, 1), holds)

    return at


def _idle(
    main: Hand,
    other: Hand,
    start: float,
    stop: float,
    person: Person,
    rng: Generator,
    carried: int = NONE,
) -> None:
    """Hands are lowered, wander, now and then hover before the panel as if to press, and touch nothing.

    With something in its hand, the first stays before the panel.
    """
    main.holds.append((start, carried))
    other.holds.append((start, NONE))
    rest = REST if carried == NONE else READY
    time = start
    while time < stop:
        if rng.random() < 0.35 and stop - time > 1.5:
            near = BUTTONS[rng.integers(3)] - [0, -0.05, 0.06] + rng.normal(0, 0.02, 3)
            main.add(time + 0.4 / person.pace, key(near, [GRIP, OPEN, GRIP, FIST, FIST]))
            main.add(time + rng.uniform(0.7, 1.1) / person.pace, key(near + rng.normal(0, 0.02, 3), LOOSE))
        for hand in (main, other):
            place = (rest if hand is main else REST) + rng.normal(0, [0.03, 0.03, 0.03])
            later = min(time + rng.uniform(1.2, 1.6), stop)
            hand.add(later, key(place, rng.uniform(0.1, 0.4), roll=rng.normal(0, 0.2)))
        time += rng.uniform(1.2, 2.2)


def _clap(main: Hand, other: Hand, at: float) -> None:
    for hand in (main, other):
        hand.holds.append((at - 0.9, NONE))
        hand.add(at - 0.35, key(np.array([0.22, 0.03, 0.45]), OPEN, roll=-1.2))
        hand.add(at, key(np.array([0.022, 0.03, 0.45]), OPEN, roll=-1.4))
        hand.add(at + 0.10, key(np.array([0.022, 0.035, 0.45]), OPEN, roll=-1.4))
        hand.add(at + 0.55, key(READY, LOOSE))
        hand.hits.append((at, 1.2))


def _repeat(
    activity: Activity, main: Hand, other: Hand, stretch: Stretch, person: Person, rng: Generator
) -> None:
    """One stretch: the activity's cycle again and again, each a little different."""
    make, lasts_s, two_hands = activity
    time, stop, two_hands = stretch.start_s, stretch.stop_s, two_hands != stretch.helping
    looks = SWAPPED if stretch.swapped else {}
    while stop - time > 0.3:
        seconds = min(lasts_s / person.pace * rng.uniform(0.85, 1.15), stop - time)
        keys, held, hits = make(person, rng)
        keys = [(phase, value + np.array([*stretch.place, *[0.0] * 10])) for phase, value in keys]
        jitter = rng.normal(0, 0.006, 3)
        for phase, value in keys:
            main.add(time + phase * seconds, value + np.concatenate([jitter, np.zeros(9)]))
        for phase, thing in held:
            main.holds.append((time + phase * seconds, looks.get(thing, thing)))
        for phase, strength in hits:
            main.hits.append((time + phase * seconds, strength))
        _follow(other, keys, time, seconds, two_hands, rng)
        time += seconds
    main.holds.append((stop, NONE))


def _follow(other: Hand, keys: Keys, start: float, seconds: float, two_hands: bool, rng: Generator) -> None:
    """The other hand steadies what the first works on, or hangs; the body's motion reaches it in part."""
    places = np.array([value[:3] for _, value in keys])
    centre = places.mean(axis=0)
    if two_hands:
        steady = np.array([abs(0.9 * centre[0] + 0.02) + 0.04, centre[1] + 0.03, centre[2]])
        share, grip, pressure = 0.7, GRIP, 0.25
    else:
        steady, share, grip, pressure = REST, 0.5, LOOSE, 0.0
    for (phase, _), place in zip(keys, places, strict=True):
        at = steady + share * (place - centre) * [-1, 1, 1] + rng.normal(0, 0.008, 3)
        other.add(start + phase * seconds, key(at, grip, roll=rng.normal(0, 0.08), pressure=pressure))


_SIDEWAYS = np.array([-0.042, -0.028, -0.009, 0.010, 0.028])  # thumb to little finger, right hand
_KNUCKLE = np.array([0.030, 0.090, 0.095, 0.090, 0.080])
_SEGMENTS = np.array([0.040, 0.028, 0.022])


def joints(pose: Pose, side: str, size: float) -> np.ndarray:
    """Positions (n, 21, 3): the wrist, then for each finger its knuckle and three further joints."""
    n = len(pose.position)
    mirror = 1.0 if side == "right" else -1.0
    local = np.zeros((n, 21, 3))
    for finger in range(5):
        point = np.tile([mirror * _SIDEWAYS[finger], 0.0, _KNUCKLE[finger]], (n, 1))
        local[:, 1 + 4 * finger] = point
        bend = np.zeros(n)
        spread = mirror * (-0.9 if finger == 0 else 0.08 * (finger - 2.5))
        for segment in range(3):
            bend = bend + pose.flexion[:, finger] * (0.6 if finger == 0 else 1.35)
            x, y, z = np.sin(spread) * np.cos(bend), np.sin(bend), np.cos(spread) * np.cos(bend)
            point = point + _SEGMENTS[segment] * np.stack([x, y, z], axis=1)
            local[:, 2 + 4 * finger + segment] = point
    turned = np.einsum("nij,nkj->nki", pose.rotation.as_matrix(), local * size)
    points: np.ndarray = pose.position[:, None] + turned
    return points
