"""What a session saw, as `plait predict` leaves it of a recording."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from plait.errors import ConfigError, DataError
from plait.live.events import Event
from plait.live.session import Scored, Session
from plait.recogniser.predict import SESSION, Whole, row_of, write_prediction
from plait.recogniser.timeline import WINDOWS, write_timeline
from plait.store import taken, write_json

EVERY_S = 5.0  # after which the timeline is written again


def check_new(out: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        ConfigError: it does.
    """
    if taken(out):
        raise ConfigError(f"{out}: holds files, expected a new folder for what is seen live")


class Keeper:
    """A listener that writes `timeline.parquet` as it grows, and at the end all that a prediction leaves.

    A session that is killed leaves the windows of a few seconds before.

    Args:
        out: the folder, which must be new or empty.
        session: which is listened to.
        name: of the recording.

    Raises:
        ConfigError: the folder holds something.
        DataError: it cannot be made.
    """

    def __init__(self, out: Path, session: Session, name: str) -> None:
        check_new(out)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{out}: cannot be made: {error.strerror}") from error
        self.out, self.session, self.name = out, session, name
        self._tables = [pl.DataFrame(schema=WINDOWS)]
        self._rows: list[tuple[Any, ...]] = []
        self._written_s = -math.inf

    def arrived(self, event: Event) -> None:
        """Nothing is kept of readings."""

    def scored(self, scored: Scored) -> None:
        """Keep a window."""
        activities = self.session.recogniser.activities
        window = scored.start_s, scored.stop_s
        self._rows.append(row_of(self.name, window, activities, scored.scores, scored.seen))
        if time.monotonic() - self._written_s > EVERY_S:
            write_timeline(self._table(), self.out)
            self._written_s = time.monotonic()

    def tell(self) -> None:
        """Write what the session says of itself, once it is over.

        Raises:
            DataError: the folder cannot be written.
        """
        write_json(self.out / SESSION, self.session.told())

    def finish(self, whole: Whole | None = None, key: str = "") -> None:
        """Write what windows come to.

        Args:
            whole: what the recording is, where it is known; else, and where the session did not come
                `through` it, it is what has been seen of it.
            key: of all that decided it; none is written of a session that did not come through.

        Raises:
            DataError: the folder cannot be written.
        """
        table = self._table()
        if whole is None:
            start_s, stop_s = table["start_s"].min() or 0.0, table["stop_s"].max() or 0.0
            assert isinstance(start_s, float)
            assert isinstance(stop_s, float)
            whole = Whole(start_s, stop_s)
        elif not self.session.through:
            key, whole = "", _until(whole, table["stop_s"].max())
        facts = self.session.recogniser.facts
        write_prediction(self.out, facts, self.session.sliding, table, {self.name: whole}, key)

    def _table(self) -> pl.DataFrame:
        self._tables.append(pl.DataFrame(self._rows, schema=WINDOWS, orient="row"))
        self._rows.clear()
        self._tables = [pl.concat(self._tables)]
        return self._tables[0]


def _until(whole: Whole, seen_s: Any) -> Whole:
    """A recording up to a moment; None: up to its start."""
    stop_s = whole.start_s if seen_s is None else min(seen_s, whole.stop_s)
    labels = tuple((start, min(stop, stop_s), what) for start, stop, what in whole.labels if start < stop_s)
    return replace(whole, stop_s=stop_s, labels=labels)
