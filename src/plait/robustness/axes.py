"""What the axes x, y, z of a worn sensor measure, and which streams are of one sensor."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from plait.robustness.streams import Native, channels, is_picture
from plait.types import Stream

IMU = (3, 6)  # numbers of a reading without names that are taken for axes x, y, z: of one kind, or of two
KIND = re.compile(
    r"acc(el(eration|erometer)?)?|gyr(o(scope)?)?|mag(net(ic([ _.-]?field)?|ometer)?)?|omega"
    r"|(angular|rotation)[ _.-]?(rate|velocity|speed)"
)
TURNING = re.compile(
    r"gyr|omega|angular|rotation(?![ _.-]?vec)|(?<![a-z])(ang|rot)(?!(?!rate|vel)[a-z])|^[gw]$"
)
HELD = re.compile(  # how a sensor is held, and what is said in a frame that is not the sensor's
    r"quat|euler|orient|angle|heading|compass|azimuth|rotation[ _.-]?vec"
    r"|(?<![a-z])(roll|pitch|yaw|room|world|earth|global)(?![a-z])|(?<![a-z])q[ _.-]?[wxyz]?$"
)


def triples(own: Native) -> list[list[int]]:
    """Which numbers of a reading, laid out in a row, are axes x, y, z of one kind."""
    shape = own.values.shape[1:]
    if own.names is not None:
        places = {name.lower(): place for place, name in enumerate(own.names)}
        stems = [name[:-1] for name in places if name.endswith("x")]
        return [
            [places[stem + axis] for axis in "xyz"]
            for stem in stems
            if all(stem + axis in places for axis in "yz")
        ]
    if (shape and shape[-1] == 3) or shape in [(count,) for count in IMU]:
        return np.arange(channels(shape)).reshape(-1, 3).tolist() if not is_picture(shape) else []
    return []


def can_turn(stream: str, own: Native) -> bool:
    """Whether a stream has axes, and nothing that would change in another way if they are turned.

    Quaternions and angles say how the sensor is held, and some logs have vectors in the room's frame.
    """
    said = [stream, *(own.names or ())]
    return bool(triples(own)) and not any(HELD.search(name.lower()) for name in said)


def turning(stream: str, own: Native) -> list[bool]:
    """Of each of `triples`, whether it is an angular rate, which a mirror changes in another way.

    Names of columns say so, or else the stream's; without either the second of two kinds is.
    """
    found = triples(own)
    stems = [own.names[columns[0]].lower()[:-1].strip(" _.-") if own.names else "" for columns in found]
    if any(TURNING.search(stem) or KIND.search(stem) for stem in stems):
        return [bool(TURNING.search(stem)) for stem in stems]
    if len(found) == 1:
        return [bool(TURNING.search(stream.lower()))]
    return [bool(number % 2) for number in range(len(found))]


def sensors(streams: Sequence[str] | Mapping[str, Stream]) -> dict[str, str]:
    """By stream, the first one of the same sensor: their names differ in what is measured, and only in that.

    `wrist_acc` and `wrist_gyr` are one sensor's, `left` and `right`, or `left_acc` and `right_acc`, are two.
    """
    first: dict[str, str] = {}
    return {name: first.setdefault(KIND.sub("", name.lower()), name) for name in streams}
