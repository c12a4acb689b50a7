"""The formats that are known, and which of them a file is."""

from pathlib import Path

from plait.errors import ConfigError
from plait.recordings.formats.actipy import ACTIGRAPH, AXIVITY
from plait.recordings.formats.empatica import EMPATICA
from plait.recordings.formats.gopro import GOPRO
from plait.recordings.formats.mcap import MCAP
from plait.recordings.formats.sensed import Format
from plait.recordings.formats.sensor_logger import SENSOR_LOGGER
from plait.recordings.formats.shimmer import SHIMMER
from plait.recordings.formats.xdf import XDF
from plait.recordings.formats.xsens import XSENS

FORMATS = {
    each.name: each
    for each in (AXIVITY, ACTIGRAPH, EMPATICA, SHIMMER, XSENS, SENSOR_LOGGER, GOPRO, XDF, MCAP)
}


def format_of(path: Path) -> Format | None:
    """The format that a file or a folder is in; None where it is none of those that are known."""
    return next((each for each in FORMATS.values() if each.fits(path)), None)


def named(name: str, where: str) -> Format:
    """The format of a name.

    Raises:
        ConfigError: there is none.
    """
    if name not in FORMATS:
        raise ConfigError(f"{where}: {name!r}, expected module:Name or one of: {', '.join(FORMATS)}")
    return FORMATS[name]
