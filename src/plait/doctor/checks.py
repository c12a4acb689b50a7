"""Every check there is, in the order in which findings are said."""

from collections.abc import Sequence
from dataclasses import replace

from plait.clips import People, Side
from plait.doctor.clocks import ClockEnds, ClockJumps, ClockRates
from plait.doctor.copies import Copies
from plait.doctor.finding import Check
from plait.doctor.frames import DarkVideo, MirroredVideo, RepeatedFrames
from plait.doctor.labels import LabelsOutside, Lacking, Overlaps
from plait.doctor.levels import DeadChannels, Frozen, Levels, Saturation
from plait.doctor.metadata import Metadata, RestTells
from plait.doctor.persons import Names, SamePerson
from plait.doctor.placement import Mounting, Swapped
from plait.doctor.units import Units
from plait.errors import ConfigError
from plait.names import plain
from plait.patterns import matching

OF_PICTURES = (RepeatedFrames, DarkVideo, MirroredVideo)


def all_checks(people: People | None = None, by: Side = "subject") -> tuple[Check, ...]:
    """The checks.

    Args:
        people: what the user says of names.
        by: what a study keeps apart.
    """
    groups = people.different if people else ()
    apart = frozenset(
        frozenset((plain(one), plain(other)))
        for names in groups
        for one in names
        for other in names
        if one != other
    )
    return (
        Names(apart),
        Copies(by, apart),
        SamePerson(),
        Overlaps(),
        LabelsOutside(),
        Lacking(),
        Metadata(),
        RestTells(),
        ClockJumps(),
        ClockRates(),
        ClockEnds(),
        Units(),
        DeadChannels(),
        Frozen(),
        Saturation(),
        Levels(),
        Mounting(),
        Swapped(),
        RepeatedFrames(),
        DarkVideo(),
        MirroredVideo(),
    )


def chosen(checks: Sequence[Check], patterns: Sequence[str]) -> tuple[Check, ...]:
    """The checks whose names match one of `patterns` (`*`, `?`); all without any.

    Raises:
        ConfigError: a pattern matches none.
    """
    names = [check.name for check in checks]
    for pattern in patterns:
        if not matching(pattern, names):
            raise ConfigError(f"--only {pattern}: no such check, expected some of: {', '.join(names)}")
    wanted = {name for pattern in patterns for name in matching(pattern, names)}
    return tuple(check for check in checks if not patterns or check.name in wanted)


def quick(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Those that decode no pictures, and those that can do without."""
    return tuple(
        replace(check, decoded=False) if isinstance(check, Units | Levels) else check
        for check in checks
        if not isinstance(check, OF_PICTURES)
    )


def about(checks: Sequence[Check]) -> dict[str, str]:
    """What each check looks for, in a sentence, by its name."""
    return {check.name: (type(check).__doc__ or "").strip().partition("\n\n")[0] for check in checks}
