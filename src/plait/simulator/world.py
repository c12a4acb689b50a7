"""How hard a simulated world is: a few knobs, each with its unit, and what they make of a stretch of work."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np

from plait.errors import ConfigError


@dataclass(frozen=True)
class World:
    """What makes activities hard to tell; the defaults are the easy world, in which nearly all are told.

    A stretch is some six seconds of one activity, neutral included: one clip. "Mean over people" is of shares
    that differ evenly between people, from half the mean to one and a half times.

    Args:
        feel_alike: share of stretches in which the hands move as in another activity, at another place, with
            another tool: gloves feel that activity, pictures show this one.
        look_alike: share of breaks in which a hand does as if it pressed: pictures do not show that nothing
            is touched, gloves feel it.
        carried: share of stretches in which a hand holds a tool that it does not use, breaks included, in
            which it then stays before the panel.
        away: mean over people of the share of stretches in which the camera looks past the hands.
        loose: mean over people of the share of stretches in which the leading hand's glove has slipped.
        other_hand: share of stretches in which the hand leads that usually follows.
        helping: share of stretches in which the hand that follows does otherwise: it steadies where it would
            hang, and hangs where it would steady.
        swapped: share of stretches in which screws are turned with what the hammer looks like, and nails hit
            with what the screwdriver looks like; gloves feel no difference, moving pictures show one.
        place_m: SD between stretches of where on the panel work is done, to the right and down, in metres.
        camera_m: SD between people of the camera's place, to the right and down, in metres.
        camera_rad: SD between people of the camera's tilt, in radians.
        blur: mean over people of how soft the pictures are, the SD of a Gaussian in parts of the height.
        pose_rad: SD between people, about each axis, of how a hand is held, in radians.
        worn_rad: SD between gloves, about each axis, of how the sensor sits on the hand, in radians.
        gain: a channel's gain is even between 1 - gain and 1 + gain.
        saturates: the largest flexion and pressure that is read; 1 is a full bend.
        colours: how far colours of tools are a person's own, from 0 to 1.
    """

    feel_alike: float = 0.0
    look_alike: float = 0.0
    carried: float = 0.0
    away: float = 0.0
    loose: float = 0.0
    other_hand: float = 0.0
    helping: float = 0.0
    swapped: float = 0.0
    place_m: float = 0.0
    camera_m: float = 0.02
    camera_rad: float = 0.05
    blur: float = 0.0
    pose_rad: float = 0.0
    worn_rad: float = 0.0
    gain: float = 0.15
    saturates: float = 9.0
    colours: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one is out of range.
        """
        ranges = {"away": 2 / 3, "loose": 2 / 3, "camera_m": 1.0, "blur": 0.1, "gain": 0.9, "saturates": 9.0}
        ranges |= {"place_m": 1.0, "camera_rad": np.pi, "pose_rad": np.pi, "worn_rad": np.pi}
        for knob in fields(self):
            value, most = getattr(self, knob.name), ranges.get(knob.name, 1.0)
            if not 0 <= value <= most:
                raise ConfigError(f"world: {knob.name} is {value}, expected 0 to {most:.4g}")
        if self.feel_alike + self.look_alike > 1:
            both = self.feel_alike + self.look_alike
            raise ConfigError(f"world: feel_alike + look_alike is {both:.4g}, expected at most 1")


EASY = World()
HARD = World(
    feel_alike=0.18,
    look_alike=0.4,
    carried=0.7,
    away=0.18,
    loose=0.1,
    other_hand=0.25,
    helping=0.1,
    swapped=0.5,
    place_m=0.03,
    camera_m=0.03,
    camera_rad=0.06,
    blur=0.012,
    pose_rad=0.05,
    worn_rad=0.07,
    gain=0.2,
    saturates=0.9,
    colours=1.0,
)


class WorldName(StrEnum):
    """Worlds that have a name."""

    easy = "easy"
    hard = "hard"


WORLDS = {WorldName.easy: EASY, WorldName.hard: HARD}


@dataclass(frozen=True)
class Stretch:
    """Some seconds of one activity, and what is the matter with them."""

    start_s: float
    stop_s: float
    activity: str
    like: str = ""  # "feel": as another activity feels; "look": as another looks; else as itself
    away: tuple[float, float] | None = None  # where the camera looks instead, in metres to the right and down
    carried: int = 0  # what a hand holds that it does not use
    loose: bool = False  # whether the leading hand's glove has slipped
    other_hand: bool = False  # whether the other hand leads
    helping: bool = False  # whether the hand that follows does otherwise than it usually does
    swapped: bool = False  # whether hammer and screwdriver look like each other
    place: tuple[float, float] = (0.0, 0.0)  # by how much work is moved, in metres to the right and down


def troubled(
    stretches: Sequence[tuple[float, float, str]],
    world: World,
    seed: Sequence[int],
    can: dict[str, frozenset[str]],
    things: int,
) -> list[Stretch]:
    """What is the matter with each stretch of one person's.

    Args:
        stretches: start and stop in seconds, and activity, of each.
        world: how often.
        seed: of all that is drawn at random.
        can: which activities have a manner that is "feel", and one that is "look".
        things: how many things there are to hold, nothing included.
    """
    rng = np.random.default_rng(list(seed))
    away, loose = (mean * rng.uniform(0.5, 1.5) for mean in (world.away, world.loose))
    made = []
    for start_s, stop_s, activity in stretches:
        manner, past, up, side, slipped, other, keeps, helps, swaps = rng.random(9)
        thing = int(rng.integers(1, things))
        right, down = rng.normal(0, world.place_m, 2).tolist()
        like = "feel" if manner < world.feel_alike else "look"
        if manner >= world.feel_alike + world.look_alike or activity not in can[like]:
            like = ""
        by = (0.0, float(rng.uniform(-0.42, -0.32))) if up < 0.5 else (0.26 if side < 0.5 else -0.26, 0.0)
        where = by if past < away else None
        made.append(
            Stretch(
                start_s,
                stop_s,
                activity,
                like,
                where,
                thing if keeps < world.carried else 0,
                bool(slipped < loose),
                bool(other < world.other_hand),
                bool(helps < world.helping),
                bool(swaps < world.swapped) and not like,
                (right, down),
            )
        )
    return made
