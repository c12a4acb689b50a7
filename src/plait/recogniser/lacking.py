"""Which of a model's sensors a recording lacks, or has in a part of its windows only.

Many methods do without a sensor by design, and are worse for it: who predicts is to know.
"""

from collections import Counter
from collections.abc import Collection, Iterable

from plait.names import alike
from plait.recogniser.model import SensorFacts

LESS = 0.9  # of the windows that another sensor saw


def absent(sensors: dict[str, SensorFacts], streams: Collection[str]) -> str | None:
    """What a recording lacks, and what it may be called there; None: it lacks nothing.

    Args:
        sensors: of the model, by modality.
        streams: of the recording.
    """
    lacks = {name: [s for s in sensor.streams if s not in streams] for name, sensor in sensors.items()}
    lacks = {name: lacked for name, lacked in lacks.items() if lacked}
    if not lacks:
        return None
    said = [name if lacked == [name] else f"{name} ({', '.join(lacked)})" for name, lacked in lacks.items()]
    line = f"has no {', '.join(said)}, and is predicted without"
    used = {stream for sensor in sensors.values() for stream in sensor.streams}
    unread = [stream for stream in streams if stream not in used]
    if unread:
        line += f"; nobody reads its {', '.join(unread)}"
    wanted = {stream for lacked in lacks.values() for stream in lacked}
    for one, other in alike([*wanted, *unread], person=False):
        if (one in wanted) != (other in wanted):
            line += f"; {one!r} looks like {other!r}"
    return line


def fewer(sensors: Iterable[str], seen: Iterable[Collection[str]], windows: int) -> str | None:
    """Which sensors saw fewer of a recording's windows than others did; None: about as many.

    Args:
        sensors: that the recording has, by modality.
        seen: the modalities that were there, of each window that was looked at.
        windows: how many there are.
    """
    counts = Counter(modality for modalities in seen for modality in modalities)
    most = max(counts.values(), default=0)
    few = [f"{name} saw {counts[name]}" for name in sensors if counts[name] < LESS * most]
    return f"{', '.join(few)} of {windows} windows, and the rest is predicted without" if few else None
