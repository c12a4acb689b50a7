"""Whether what sources give is what a model knows."""

from collections.abc import Sequence
from dataclasses import replace

from plait.errors import ConfigError
from plait.live.events import Opening
from plait.recogniser.model import ModelFacts
from plait.recordings.between import LINEAR
from plait.recordings.same_columns import Columns


def check_openings(facts: ModelFacts, openings: Sequence[Opening], recorded: bool) -> None:
    """Refuse streams that are not what a model knows.

    Args:
        facts: of the model.
        openings: of the streams.
        recorded: they are a recording's, which may hold more than is looked at.

    Raises:
        ConfigError: a stream that is no sensor's; pictures in the place of readings, or the other way round.
        DataError: more or fewer columns, or others' order.
    """
    known = list(dict.fromkeys(name for sensor in facts.sensors.values() for name in sensor.streams))
    columns = Columns(facts.columns, "what the model was trained on")
    for opening in openings:
        name = opening.stream
        if name not in known:
            if recorded:
                continue
            raise ConfigError(f"live: no sensor has a stream {name!r}, expected some of: {', '.join(known)}")
        if name in facts.columns and not opening.names:
            expected = f"expected readings of {', '.join(facts.columns[name])}"
            raise ConfigError(f"live: {name} gives pictures, {expected}")
        if facts.columns and name not in facts.columns and opening.names:
            raise ConfigError(f"live: {name} gives readings of {', '.join(opening.names)}, expected pictures")
        if opening.names:
            columns.check({name: opening.names}, "live", known)


def completed(facts: ModelFacts, openings: Sequence[Opening]) -> tuple[Opening, ...]:
    """Streams, with what a model knows of columns that are not linear, where nobody has spoken of them."""
    return tuple(
        replace(opening, between=opening.between.joined(facts.between.get(opening.stream, LINEAR)))
        for opening in openings
    )
