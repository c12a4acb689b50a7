"""What a hand does in each activity: one cycle of it as keys, which the motion runs through again and again.

Metres, seconds and radians in the camera's axes, as in `plait.simulator.motion`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

PANEL_Z = 0.60
NONE, PLUG, CAP, DRIVER, HAMMER = range(5)  # what a hand holds
SWAPPED = {DRIVER: HAMMER, HAMMER: DRIVER}
TRAY = np.array([0.16, 0.17, 0.50])
SOCKETS = np.array([[-0.06, -0.06, 0.57], [0.02, -0.06, 0.57], [0.10, -0.06, 0.57]])
BUTTONS = np.array([[-0.12, 0.05, 0.57], [0.00, 0.05, 0.57], [0.12, 0.05, 0.57]])
SCREWS = np.array([[-0.16, -0.13, 0.57], [0.16, -0.13, 0.57], [0.16, 0.12, 0.57]])
NAIL = np.array([0.05, 0.14, 0.55])
REST = np.array([0.16, 0.48, 0.32])
READY = np.array([0.13, 0.14, 0.44])
OPEN, LOOSE, GRIP, FIST = 0.05, 0.3, 0.65, 0.9
# A key is: position (3), pitch, yaw, roll, five flexions from 0 to 1 (thumb first), pressure from 0 to 1.
Key = np.ndarray


@dataclass(frozen=True)
class Person:
    """What differs between subjects."""

    size: float  # of the hand, as a multiple
    pace: float  # how fast movements are, as a multiple
    left_handed: bool  # whether the left hand leads
    reach: float  # how far movements go, as a multiple
    held: tuple[float, float, float] = (0.0, 0.0, 0.0)  # a hand, always: yaw, pitch, roll in radians


# Keys, things held and strengths of hits, each at a phase from 0 to 1.
Keys = list[tuple[float, Key]]
Cycle = tuple[Keys, list[tuple[float, int]], list[tuple[float, float]]]
MakeCycle = Callable[[Person, Generator], Cycle]
Activity = tuple[MakeCycle, float, bool]  # its cycle, the seconds that it lasts, whether it takes both hands


def key(
    at: np.ndarray,
    flexion: Sequence[float] | float = LOOSE,
    *,
    pitch: float = 0.6,
    yaw: float = 0.0,
    roll: float = 0.0,
    pressure: float = 0.0,
) -> Key:
    """One key of a hand.

    Args:
        at: `(3,)`, the wrist's position in metres.
        flexion: of each finger, thumb first, or of all, from 0 to 1.
        pitch: the hand's rotation about its axis across, in radians.
        yaw: about its vertical.
        roll: about its fingers' direction.
        pressure: from 0 to 1.
    """
    return np.concatenate([at, [pitch, yaw, roll], np.broadcast_to(flexion, 5), [pressure]])


def _press(person: Person, rng: Generator) -> Cycle:
    button, finger = BUTTONS[rng.integers(3)] + [0, 0.05, -0.07], [GRIP, OPEN, GRIP, FIST, FIST]
    away = button - [0, -0.03, 0.07 * person.reach]
    keys = [
        (0.05, key(away, finger)),
        (0.40, key(button, finger)),
        (0.50, key(button + [0, 0, 0.012], finger, pressure=0.8)),
        (0.60, key(button, finger)),
        (0.95, key(away, LOOSE)),
    ]
    return keys, [(0.0, NONE)], [(0.5, 0.15)]


def _plug(person: Person, rng: Generator) -> Cycle:
    socket, tray = SOCKETS[rng.integers(3)] + [0.0, 0.05, -0.05], TRAY + rng.normal(0, 0.015, 3)
    lift = (socket + tray) / 2 - [0, 0.03, 0.04 * person.reach]
    keys = [
        (0.03, key(tray, LOOSE)),
        (0.15, key(tray, GRIP, pressure=0.35)),
        (0.35, key(lift, GRIP, pressure=0.35)),
        (0.52, key(socket - [0, 0, 0.02], GRIP, pressure=0.4)),
        (0.62, key(socket + [0, 0, 0.01], GRIP, pressure=0.95)),
        (0.70, key(socket, LOOSE)),
        (0.85, key(lift, LOOSE)),
        (0.97, key(tray - [0, 0.02, 0], LOOSE)),
    ]
    return keys, [(0.0, NONE), (0.13, PLUG), (0.67, NONE)], [(0.62, 0.35)]


def _assemble(person: Person, rng: Generator) -> Cycle:
    button = BUTTONS[rng.integers(3)] + [0.01, 0.05, -0.06]
    tray = TRAY + rng.normal(0, 0.015, 3)
    keys = [
        (0.03, key(tray, LOOSE)),
        (0.12, key(tray, GRIP, pressure=0.3)),
        (0.3, key(button, GRIP, pressure=0.3)),
    ]
    for turn in range(3):  # fingers turn clockwise closed, and back open
        start = 0.32 + turn * 0.17
        keys.append((start, key(button, GRIP, roll=-0.5, pressure=0.5)))
        keys.append((start + 0.10, key(button + [0, 0, 0.004], GRIP, roll=0.7, pressure=0.6)))
        keys.append((start + 0.14, key(button, LOOSE, roll=0.6)))
    keys.append((0.97, key(tray, LOOSE)))
    return keys, [(0.0, NONE), (0.11, CAP), (0.76, NONE)], []


def _reverse(make: MakeCycle) -> MakeCycle:
    """The same seen backwards: what was held before a moment is held after it."""

    def make_reversed(person: Person, rng: Generator) -> Cycle:
        keys, held, hits = make(person, rng)
        ends = [phase for phase, _ in held[1:]] + [1.0]
        holds = sorted((1 - end, thing) for end, (_, thing) in zip(ends, held, strict=True))
        return [(1 - p, k) for p, k in reversed(keys)], holds, [(1 - p, s) for p, s in reversed(hits)]

    return make_reversed


def _screw(person: Person, rng: Generator) -> Cycle:
    screw = SCREWS[rng.integers(3)] + [0.02, 0.07, -0.16]
    keys = [(0.05, key(screw, FIST, roll=-0.6, pressure=0.5))]
    for turn in range(4):
        start = 0.12 + turn * 0.21
        keys.append((start + 0.09, key(screw + rng.normal(0, 0.003, 3), FIST, roll=0.9, pressure=0.7)))
        keys.append((start + 0.18, key(screw + rng.normal(0, 0.003, 3), FIST, roll=-0.6, pressure=0.45)))
    return keys, [(0.0, DRIVER)], []


def _hammer(person: Person, rng: Generator) -> Cycle:
    down = NAIL + [0.07, 0.02, -0.10]
    up = down - [0, 0.14 * person.reach, 0.03]
    keys = [
        (0.02, key(down - [0, 0.02, 0], FIST, pitch=0.5, pressure=0.5)),
        (0.50, key(up, FIST, pitch=1.3, pressure=0.5)),
        (0.80, key(down, FIST, pitch=0.35, pressure=0.8)),
        (0.86, key(down, FIST, pitch=0.38, pressure=0.6)),
    ]
    return keys, [(0.0, HAMMER)], [(0.80, 0.9)]


CYCLES: dict[str, Activity] = {
    "pressing a button": (_press, 1.5, False),
    "plugging the cables": (_plug, 3.4, True),
    "unplugging the cables": (_reverse(_plug), 3.4, True),
    "assembling a button": (_assemble, 4.0, True),
    "disassembling a button": (_reverse(_assemble), 4.0, True),
    "using a screwdriver": (_screw, 2.2, True),
    "using a hammer": (_hammer, 0.8, False),
}


# Activities that are easily taken for each other.


def _elsewhere(activity: str, by: np.ndarray, holds: dict[int, int]) -> Activity:
    """Another activity's cycle, moved in metres, with another thing held: gloves feel no difference."""
    cycle, lasts_s, two_hands = CYCLES[activity]

    def make(person: Person, rng: Generator) -> Cycle:
        keys, held, hits = cycle(person, rng)
        moved = [(phase, value + np.concatenate([by, np.zeros(9)])) for phase, value in keys]
        return moved, [(phase, holds.get(thing, thing)) for phase, thing in held], hits

    return make, lasts_s, two_hands


def _drive(person: Person, rng: Generator) -> Cycle:
    """A screwdriver with a motor: the hand is as still as in a break."""
    screw = SCREWS[rng.integers(3)] + [0.02, 0.07, -0.16]
    places = [screw + rng.normal(0, 0.01, 3) for _ in range(2)]
    keys = [(phase, key(at, LOOSE)) for phase, at in zip((0.1, 0.7), places, strict=True)]
    return keys, [(0.0, DRIVER)], []


def _hover(person: Person, rng: Generator) -> Cycle:
    """Pressing without touching."""
    keys, held, _ = _press(person, rng)
    for _, value in keys:
        value[-1] = 0.0
    return keys, held, []


_UP, _LOW = SOCKETS[1] - BUTTONS[1], REST - SCREWS[2]
FEEL_ALIKE: dict[str, Activity] = {
    "plugging the cables": _elsewhere("assembling a button", _UP, {CAP: PLUG}),
    "assembling a button": _elsewhere("plugging the cables", -_UP, {PLUG: CAP}),
    "unplugging the cables": _elsewhere("disassembling a button", _UP, {CAP: PLUG}),
    "disassembling a button": _elsewhere("unplugging the cables", -_UP, {PLUG: CAP}),
    "pressing a button": _elsewhere("using a hammer", BUTTONS[1] - NAIL, {HAMMER: NONE}),
    "using a hammer": _elsewhere("pressing a button", NAIL - BUTTONS[1], {NONE: HAMMER}),
    "using a screwdriver": (_drive, 2.0, False),
    "neutral": _elsewhere("using a screwdriver", _LOW, {DRIVER: NONE}),
}
LOOK_ALIKE: dict[str, Activity] = {
    "pressing a button": CYCLES["pressing a button"],
    "neutral": (_hover, CYCLES["pressing a button"][1], False),
}
