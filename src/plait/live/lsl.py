"""Outlets of the Lab Streaming Layer as sources: found by name, on the session's clock."""

import time
from collections.abc import Iterator, Sequence
from threading import Event as Flag
from typing import Any, Literal

from plait.errors import ConfigError, DataError, quote
from plait.live.events import Event, Opening
from plait.live.inlets import CHECK_S, Inlet, library
from plait.live.placing import warn
from plait.patterns import matching

TIMEOUT_S = 10.0  # for an outlet to be found, and to tell its clock
TOGETHER_S = 0.5  # for others of the same name to be found
SILENT_S = 3.0  # after which it is looked up whether the outlet is another one


class Outlet:
    """The readings of an outlet; one that is lost is looked for until it is there again.

    Times are the sender's, on LSL's clock there, corrected by what LSL measures every two seconds of the
    difference to LSL's clock here; drift is followed. With `clock = "arrival"`, they are on any clock, which
    is told by when readings come.

    Args:
        stream: what it is called.
        name: of the outlet.
        source_id: of the outlet, where several have the name.
        columns: names or patterns of its channels; all by default. Channels that the outlet does not
            describe are called 1, 2, ...
        clock: `"lsl"` or `"arrival"`.
        timeout_s: how long it is looked for.

    Raises:
        ConfigError: pylsl is not installed, or a column or the clock is none that there is.
        DataError: there is no such outlet in time, or several; it holds text; or it does not tell its clock.
    """

    def __init__(
        self,
        stream: str,
        name: str,
        *,
        source_id: str | None = None,
        columns: Sequence[str] = (),
        clock: Literal["lsl", "arrival"] = "lsl",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.name, self.source_id, self.columns, self.clock = name, source_id, columns, clock
        self.where = f"--stream {stream}=lsl:{name}"
        if clock not in ("lsl", "arrival"):
            raise ConfigError(f"{self.where}: clock is {quote(clock)}, expected lsl or arrival")
        self._lsl = library()
        self._closed = Flag()
        self._resolver: Any = None  # while the outlet is silent
        self._refused: set[str] = set()
        self._left_out = 0  # of connections before
        found = self._find(timeout_s)
        if found is None:
            raise DataError(f"{self.where}: no such outlet within {timeout_s:g} s; there are: {self._others}")
        connection = Inlet(self._lsl, found, stream, clock, self.where)
        try:
            connection.open(timeout_s, self._closed)
            names, self._taken = self._chosen(connection.names)
        except BaseException:
            connection.close()
            raise
        self._connection: Inlet | None = connection
        self.following = connection.placing.following
        # Not at the rate that it names, but at the one that is seen: as in a recording.
        self.openings = (Opening(stream, names),)

    def __iter__(self) -> Iterator[Event]:
        """What arrives, without end; nothing while the outlet is lost."""
        stream = self.openings[0].stream
        try:
            while not self._closed.is_set():
                if self._connection is None:
                    self._return(stream)
                    continue
                lost = "has begun anew" if self._is_another(self._connection) else None
                try:
                    own_s, values, arrived_s = self._connection.pull()
                except RuntimeError:  # all of liblsl's
                    lost = "is lost"
                else:
                    if len(own_s):
                        yield from self._connection.placing.events(own_s, values[:, self._taken], arrived_s)
                if lost:
                    warn(f"live: {stream}: outlet {self.name!r} {lost}: looked for")
                    self._let_go()
        finally:
            self.close()
            self._let_go()

    @property
    def dropped(self) -> int:
        """How many readings were left out, for they have no time."""
        return self._left_out + self.following.left_out

    def close(self) -> None:
        """End it."""
        self._closed.set()
        if self._connection is not None:
            self._connection.close()

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._resolver = None

    def _return(self, stream: str) -> None:
        """Look for the outlet, and connect if it has returned."""
        found = self._find(SILENT_S)
        if found is None:
            return
        connection = Inlet(self._lsl, found, stream, self.clock, self.where)
        try:
            connection.open(SILENT_S, self._closed)
            names, taken = self._chosen(connection.names)
            if names != self.openings[0].names:
                before = _listed(self.openings[0].names)
                raise ConfigError(
                    f"{self.where}: columns {_listed(names)}, expected those of before, {before}"
                )
        except (DataError, RuntimeError):  # lost again
            connection.close()
            self._closed.wait(CHECK_S)
        except ConfigError as error:
            connection.close()
            self._refused.add(found.uid())
            warn(f"live: {stream}: outlet {self.name!r} has returned otherwise, and is left out: {error}")
        else:
            self._connection, self._taken = connection, taken
            self._left_out += self.following.left_out
            self.following = connection.placing.following
            warn(f"live: {stream}: outlet {self.name!r} has returned")

    def _chosen(self, names: Sequence[str]) -> tuple[tuple[str, ...], list[int]]:
        """The columns that are asked for, and their places."""
        if not self.columns:
            return tuple(names), list(range(len(names)))
        chosen = dict.fromkeys(name for wanted in self.columns for name in self._called(wanted, names))
        return tuple(chosen), [list(names).index(name) for name in chosen]

    def _called(self, wanted: str, names: Sequence[str]) -> list[str]:
        found = matching(wanted, names)
        if not found:
            raise ConfigError(f"{self.where}: no column {wanted!r}, expected one of: {_listed(names)}")
        return found

    def _is_another(self, connection: "Inlet") -> bool:
        """Whether an outlet is there in the place of one that has been silent for long."""
        if connection.silent_s < SILENT_S:
            self._resolver = None
        elif self._resolver is None:
            self._resolver = self._lsl.ContinuousResolver()
        else:
            found = {info.uid() for info in self._resolver.results() if self._is_meant(info)}
            return bool(found) and connection.uid not in found
        return False

    def _find(self, timeout_s: float) -> Any | None:
        """The outlet, None if it is not there in time; of several the newest, once it has been found before.

        Raises:
            DataError: several outlets have the name.
        """
        resolver = self._lsl.ContinuousResolver()
        until_s, found = time.monotonic() + timeout_s, list[Any]()
        while not self._closed.is_set():
            infos = resolver.results()
            self._others = _listed(sorted({info.name() for info in infos}))
            already, found = bool(found), [info for info in infos if self._is_meant(info)]
            if found and not already:
                until_s = time.monotonic() + TOGETHER_S
            if time.monotonic() >= until_s:
                break
            self._closed.wait(CHECK_S)
        if len(found) > 1 and self.source_id is None and not hasattr(self, "openings"):
            ids = _listed(sorted(info.source_id() for info in found))
            raise DataError(
                f"{self.where}: {len(found)} outlets have that name, expected one; their source_id: {ids}; "
                f"say lsl:{self.name}?source_id=..."
            )
        return max(found, key=lambda info: float(info.created_at()), default=None)

    def _is_meant(self, info: Any) -> bool:
        named = info.name() == self.name and self.source_id in (None, info.source_id())
        return named and info.uid() not in self._refused


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:30])) + (" ..." if names[30:] else "") or "none"
