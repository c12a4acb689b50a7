"""The columns of sensor logs: every recording, and whoever looks at one, must have them in one order."""

import re
import unicodedata
import warnings
from collections.abc import Container, Iterator, Mapping

from plait.errors import DataError, PlaitWarning
from plait.recordings.between import Between
from plait.recordings.folder import unsynced
from plait.recordings.sensors import SensorLog
from plait.types import Stream

Names = tuple[str, ...]
UNITS = {  # how files write them, without blanks, brackets and signs of multiplication and power
    "g": "g gn g's",
    "mg": "mg",
    "m/s2": "m/s2 m/s/s ms-2 mps2 m/sec2 meter/s2 meters/s2 metre/s2 metres/s2",
    "deg/s": "deg/s °/s dps degs-1 °s-1 deg/sec °/sec degree/s degrees/s degree/sec degrees/sec "
    "degrees/second degpersecond degreespersecond",
    "mdeg/s": "mdeg/s mdps",
    "rad/s": "rad/s rads-1 rad/sec radian/s radians/s radians/second radpersecond radianspersecond",
    "mrad/s": "mrad/s",
    "deg": "deg ° degree degrees",
    "rad": "rad radian radians",
    "uT": "ut microtesla microteslas",
    "mT": "mt millitesla",
    "nT": "nt nanotesla",
    "gauss": "gauss",
    "mgauss": "mgauss milligauss",
    "V": "v volt volts",
    "mV": "mv millivolt millivolts",
    "uV": "uv microvolt microvolts",
    "degC": "°c degc c celsius",
    "degF": "°f degf f fahrenheit",
    "K": "k kelvin",
    "Pa": "pa pascal",
    "hPa": "hpa mbar",
    "kPa": "kpa",
    "m": "m meter meters metre metres",
    "cm": "cm",
    "mm": "mm",
}
WRITTEN = {form: unit for unit, forms in UNITS.items() for form in forms.split()}


def unit_of(text: str) -> str | None:
    """The unit that a file's words say, however it writes it; None of what is not known as one."""
    plain = unicodedata.normalize("NFKC", text.replace("º", "°")).casefold().replace("μ", "u")
    return WRITTEN.get(re.sub(r"[\s()\[\]{}^*·⋅._]", "", plain.replace("−", "-")))


def columns_of(streams: Mapping[str, Stream]) -> dict[str, Names]:
    """What the columns of those streams are called that are logs."""
    return {name: tuple(log.names) for name, log in _logs(streams)}


def between_of(streams: Mapping[str, Stream]) -> dict[str, Between]:
    """Which columns of those streams are not linear between readings that are logs."""
    return {name: log.between for name, log in _logs(streams)}


def _logs(streams: Mapping[str, Stream]) -> Iterator[tuple[str, SensorLog]]:
    for name, stream in streams.items():
        log = unsynced(stream)
        if isinstance(log, SensorLog):
            yield name, log


def units_of(streams: Mapping[str, Stream]) -> dict[str, Mapping[str, str]]:
    """The units of the columns of those streams that are logs, where files say them."""
    return {name: getattr(streams[name], "units", {}) for name, _ in _logs(streams)}


class Columns:
    """What the columns of each log are called, by whoever was looked at first, and their units.

    Networks tell columns by their places. Columns of the same names in another order would be taken for each
    other without a word, so they are refused; columns of other names may be the same, and are said once, as
    are those in another unit.

    Args:
        known: what they are called, by stream.
        whose: who says so, for errors.
    """

    def __init__(self, known: Mapping[str, Names] | None = None, whose: str = "") -> None:
        self.known = {name: (columns, whose) for name, columns in (known or {}).items()}
        self._said: set[tuple[str, Names]] = set()
        self._units: dict[tuple[str, str], tuple[str, str]] = {}  # by stream and column: a unit, and whose

    def check(self, columns: Mapping[str, Names], where: str, streams: Container[str]) -> None:
        """Look at somebody's columns, and remember those of streams that nobody had before.

        Args:
            columns: by stream.
            where: whose they are, for errors.
            streams: those that somebody looks at; others may be as they like.

        Raises:
            DataError: they are those that are known, in another order, or more or fewer.
        """
        for stream, own in columns.items():
            if stream not in streams:
                continue
            known, whose = self.known.setdefault(stream, (own, where))
            if own == known:
                continue
            line = f"{where}: the columns of {stream} are {', '.join(own)}; of {whose}, {', '.join(known)}"
            if sorted(own) == sorted(known) or len(own) != len(known):
                how = "`columns` of a recording's log, or ?columns= of a live one, choose and order them"
                raise DataError(f"{line}: expected the same in the same order: {how}")
            if (stream, own) not in self._said:
                self._said.add((stream, own))
                warnings.warn(f"{line}: taken for the same, by their places", PlaitWarning, stacklevel=2)

    def compare_units(self, streams: Mapping[str, Stream], where: str, read: Container[str]) -> None:
        """Say, once of a stream, where a file has another unit of a column than the first that says one.

        Args:
            streams: of a recording.
            where: whose they are.
            read: those that somebody looks at.
        """
        for stream, units in units_of(streams).items():
            for column, unit in units.items() if stream in read else ():
                if (own := unit_of(unit)) is None:
                    continue
                known, whose = self._units.setdefault((stream, column), (unit, where))
                if own != unit_of(known) and (stream, ()) not in self._said:
                    self._said.add((stream, ()))
                    line = f"{where}: {column} of {stream} is in {unit}; of {whose}, in {known}"
                    expected = "expected one unit: `scale` of a recording's log converts"
                    warnings.warn(f"{line}: taken as they are, {expected}", PlaitWarning, stacklevel=2)
