"""A session: what arrives is scored as soon as it can be, and whoever listens is told."""

import math
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from threading import Condition, Thread
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from plait.clips.windows import prepared
from plait.compute.machine import give_back
from plait.errors import ConfigError, PlaitError
from plait.live.cutter import FIRST_S, PATIENCE_S, Cutter
from plait.live.events import Dropping, Ended, Event, Opening, Source
from plait.live.latency import Latencies, Latency, stopwatch
from plait.live.likeness import Likeness
from plait.live.notices import Notices
from plait.live.openings import check_openings, completed
from plait.live.pace import Pace
from plait.live.placing import warn
from plait.recogniser.recogniser import Recogniser
from plait.recogniser.windows import Seen, Sliding
from plait.types import Modality

LAGS = 1000  # arrivals whose lag is kept
TIDY = 32  # windows, after which free memory is given back
CHECK_S = 0.1  # between two looks at who has been silent
BEHIND_S = 0.5  # that a window may wait for others before it
WAITING = 256  # events that may wait to be taken; then sources wait, and leave out what they must
CLOSING_S = 5.0  # for which sources may take to end once they are closed


class Scored(NamedTuple):
    """A window that was scored.

    Args:
        start_s, stop_s: on the recording's clock.
        predicted: the activity of the highest score.
        scores: of all activities, `(activities,)` float32.
        seen: the modalities that were there.
        tensors: what was looked at, by modality.
        latency: how long that took, and what of it.
    """

    start_s: float
    stop_s: float
    predicted: str
    scores: np.ndarray
    seen: tuple[str, ...]
    tensors: dict[str, Tensor]
    latency: Latency


class Due(NamedTuple):
    """A window that is to be looked at.

    Args:
        window: start and stop on the recording's clock.
        taken_s: when its last reading was taken, on the machine's clock.
        arriving_s: how long that took from its arrival.
    """

    window: tuple[float, float]
    taken_s: float
    arriving_s: float = 0.0


class Listener(Protocol):
    """Who is told what happens, in the session's own threads, so that it must be taken quickly."""

    def arrived(self, event: Event) -> None:
        """Readings have arrived, or a stream has ended."""
        ...

    def scored(self, scored: Scored) -> None:
        """A window has been scored."""
        ...


class Session:
    """Sources, a recogniser, and who listens.

    Where time does not pass by itself (`Pace.waits`), every window is scored. Else one that becomes ready
    while another is looked at waits, for half a second at most: then it is `skipped`, unless it is the last.

    A replay has a patience of the longest gap that a log bridges, too: nobody waits for it.

    Args:
        recogniser: who looks.
        sources: where readings come from.
        pace: the session's clock.
        stride_s: from one window's start to the next one's; by default the model's.
        patience_s: how long a sensor that is silent, or behind, is waited for.
        listeners: who is told.
        say: takes a line for a person: who falls silent, returns or ends; that nothing can be recognised. By
            default nobody does.

    Raises:
        ConfigError: the sources give too little for the recogniser, or what it does not know, or the model
            has no windows.
        DataError: a log has other columns than the model knows.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        sources: Sequence[Source],
        pace: Pace,
        *,
        stride_s: float | None = None,
        patience_s: float = PATIENCE_S,
        listeners: Sequence[Listener] = (),
        say: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.recogniser, self.sources, self.pace = recogniser, list(sources), pace
        self.openings: tuple[Opening, ...] = tuple(o for source in sources for o in source.openings)
        facts = recogniser.facts
        check_openings(facts, self.openings, pace.recorded)
        if not pace.recorded:
            self.openings = completed(facts, self.openings)
        self.sliding = Sliding(facts.seconds, stride_s or facts.stride_s)
        if self.sliding.between is not None:
            warn(f"live: {self.sliding.between}")
        if pace.recorded:
            gaps_s = [opening.max_gap_s for opening in self.openings if opening.names]
            patience_s = max([patience_s, *(gap_s + BEHIND_S for gap_s in gaps_s)])
        modalities = list(recogniser.modalities.values())
        self.cutter = Cutter(modalities, self.openings, self.sliding, patience_s, pace.recorded)
        present = recogniser.present([opening.stream for opening in self.openings])
        if not recogniser.can_see(present):
            raise ConfigError(f"live: {recogniser.lacks(present)}; say --stream NAME=ADDRESS for each sensor")
        self.listeners, self.notices = list(listeners), Notices(self.cutter, say)
        self._likeness = Likeness(facts.streams, self.openings, modalities, facts.seconds)
        early = {front.modality for front in recogniser.fronts.values() if front.by_frame}
        self._early = [modality for modality in self.cutter.modalities if modality.name in early]
        self._looked: dict[str, tuple[float, int]] = {}
        self.latencies, self._watch = Latencies(), stopwatch(recogniser)
        self.scored = self.skipped = self.unseen = 0
        self._lags_s: deque[float] = deque(maxlen=LAGS)
        self._failed: BaseException | None = None
        self.through = False  # whether each source has come to its end, and no window was skipped
        self._stopping, self._until_s, self._unheard_at_s = False, math.inf, math.inf
        self._changed = Condition()
        self._due: deque[Due] = deque()

    def stop(self) -> None:
        """End the session soon, from any thread."""
        self._stopping = True
        for source in self.sources:
            source.close()

    def told(self) -> dict[str, Any]:
        """What it has to say of itself: windows by what became of them, readings that came too late, latency.

        `left_out` is what sources had to leave out of what was sent to them.

        `lag_ms` is how long the last readings waited until they were taken, on the session's clock.
        """
        shares = {"median": 0.5, "99th": 0.99}
        quantiles = {name: self.latencies.quantile(share)._asdict() for name, share in shares.items()}
        lags_s = np.array(self._lags_s or [0.0])
        return {
            "windows": {"scored": self.scored, "skipped": self.skipped, "unseen": self.unseen},
            "late": {name: ring.late for name, ring in self.cutter.rings.items()},
            "left_out": {
                source.openings[0].stream: source.dropped
                for source in self.sources
                if isinstance(source, Dropping)
            },
            "latency_ms": {
                name: {part.removesuffix("_s"): 1e3 * seconds for part, seconds in parts.items()}
                for name, parts in quantiles.items()
            },
            "lag_ms": {"median": 1e3 * float(np.median(lags_s)), "most": 1e3 * float(lags_s.max())},
        }

    def run(self, seconds: float | None = None) -> None:
        """Go on until every stream has ended, `stop` is called, or so many seconds of its clock have passed.

        Raises:
            PlaitError: a source or a listener fails.
        """
        self._warm()
        self.pace.begin()
        self._until_s = math.inf if seconds is None else self.pace.now() + seconds
        self.cutter.begin(self.pace.now())
        if not self.pace.recorded:
            self._unheard_at_s = self.pace.now() + max(FIRST_S, self.cutter.patience_s)
        try:
            if self.pace.waits:
                self._follow()
            else:
                for event in _in_order(self.sources):
                    for window in self._feed(event):
                        due = Due(window, time.monotonic())
                        self._score(due, self.cutter.cut(window), due.taken_s)
                        self.cutter.forget(window)
                    if self._stopping:
                        break
        finally:
            for source in self.sources:
                source.close()
        if self._failed is not None:
            raise self._failed
        for line in self._likeness.rest():
            warn(f"live: {line}")
        self.through = not self._stopping and not self.skipped

    def _warm(self) -> None:
        """Look at nothing once, so that the first window need not wait for networks to be made ready."""
        present = self.recogniser.present([opening.stream for opening in self.openings])
        sensors = self.recogniser.facts.sensors
        if self.pace.waits:
            self.recogniser({name: torch.zeros(sensors[name].shape) for name in present})

    def _feed(self, event: Event | None) -> list[tuple[float, float]]:
        """Take an event, and say which windows are ready."""
        if event is not None:
            self.cutter.feed(event)
            self._lags_s.append(self.pace.now() - event.arrived_s)
            for line in self._likeness.heard(event):
                warn(f"live: {line}")
            for listener in self.listeners:
                listener.arrived(event)
        now_s = self.pace.now()
        if now_s > self._until_s and not self._stopping:
            self.stop()
        if now_s > self._unheard_at_s:
            self._unheard_at_s = math.inf
            self.notices.unheard(FIRST_S)
        if event is None:
            found = [] if self.pace.recorded else self.cutter.ready(now_s)
        else:
            found = self.cutter.ready(event.arrived_s)  # not by now: others may wait to be taken, too
        if self.pace.waits:
            self.notices.heard(event)
        return found

    def _follow(self) -> None:
        """Threads for the sources, one that takes what arrives, and this one, which looks."""
        arrivals: queue.Queue[Event | None] = queue.Queue(WAITING)
        readers = [Thread(target=self._read, args=(source, arrivals), daemon=True) for source in self.sources]
        taker = Thread(target=self._take, args=(arrivals, len(readers)), daemon=True)
        for thread in (*readers, taker):
            thread.start()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due or not taker.is_alive(), CHECK_S / 4)
                if not self._due and not taker.is_alive():
                    break
                begun = [] if self._due else [(m, self._begun(m)) for m in self._early]
            looked = [self._look_ahead(modality, arrays) for modality, arrays in begun if arrays]
            if any(looked):
                continue
            with self._changed:
                if not self._due:
                    continue
                begun_s = time.monotonic()
                while len(self._due) > 1 and begun_s - self._due[0].taken_s > BEHIND_S:
                    self._due.popleft()
                    self.skipped += 1
                due = self._due.popleft()
                seen = self.cutter.cut(due.window)
                self.cutter.forget(due.window)
            self._score(due, seen, begun_s)
        for thread in readers:
            thread.join(timeout=CHECK_S)  # whoever takes what arrives has waited already

    def _begun(self, modality: Modality) -> list[np.ndarray]:
        """The first reading of the next window that has not been looked at yet."""
        start_s, looked = self._looked.get(modality.name, (math.nan, 0))
        looked = looked if start_s == self.cutter.coming else 0
        if looked == modality.samples or not (arrays := self.cutter.begun(modality, looked)):
            return []
        self._looked[modality.name] = self.cutter.coming, looked + 1
        return arrays

    def _look_ahead(self, modality: Modality, arrays: list[np.ndarray]) -> bool:
        """Look at a reading of a window that is not over; whether that is possible."""
        try:
            tensor = prepared(modality, arrays)
        except PlaitError:  # it wants whole windows
            self._early.remove(modality)
            return False
        self.recogniser.ahead(modality.name, tensor)
        return True

    def _read(self, source: Source, arrivals: "queue.Queue[Event | None]") -> None:
        given = False
        try:
            for event in source:
                arrivals.put(event)
                given = True
        except PlaitError as error:
            if not given or len(self.sources) == 1:
                self._fail(error)
            else:  # the others go on
                warn(f"live: {error}: goes on without")
                for opening in source.openings:
                    arrivals.put(Ended(opening.stream, None, self.pace.now()))
        except BaseException as error:
            self._fail(error)
        finally:
            arrivals.put(None)

    def _take(self, arrivals: "queue.Queue[Event | None]", readers: int) -> None:
        """Take what arrives until all readers have ended, or have been closed for a while."""
        closed_s: float | None = None
        try:
            while readers:
                if self._stopping:
                    closed_s = closed_s or time.monotonic()
                    if time.monotonic() - closed_s > CLOSING_S:
                        return
                event = None
                with suppress(queue.Empty):
                    event = arrivals.get(timeout=CHECK_S)
                    if event is None:
                        readers -= 1
                        continue
                with self._changed:
                    if ready := self._feed(event):
                        taken_s = time.monotonic()
                        now_s = self.pace.now()
                        arriving_s = 0.0 if event is None else (now_s - event.arrived_s) / self.pace.speed
                        self._due += [Due(window, taken_s, max(arriving_s, 0.0)) for window in ready]
                        self._changed.notify()
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failed = self._failed or error
        self.stop()

    def _score(self, due: "Due", seen: Seen, begun_s: float) -> None:
        """Score a window at which somebody has begun to look, and tell."""
        cut_s = time.monotonic()
        blind = not self.recogniser.can_see(seen.tensors)
        if self.pace.waits:
            self.notices.window(due.window[1], self.recogniser.lacks(seen.tensors) if blind else None)
        if blind:
            self.unseen += 1
            return
        self._watch.reset()
        features = self.recogniser.features(seen.tensors)
        features_s = time.monotonic()
        scores = self.recogniser.scores(seen.tensors, features)
        if not np.isfinite(scores).all():
            self.unseen += 1
            self.notices.no_numbers(due.window[0])
            return
        latency = Latency(
            due.arriving_s + time.monotonic() - due.taken_s,
            due.arriving_s,
            begun_s - due.taken_s,
            cut_s - begun_s,
            features_s - cut_s,
            self._watch.spent_s["encoders"],
            self._watch.spent_s["fusion"],
        )
        self.latencies.add(latency)
        self.scored += 1
        if self.scored % TIDY == 0:
            give_back()
        predicted = self.recogniser.activities[int(scores.argmax())]
        found = Scored(*due.window, predicted, scores, tuple(seen.tensors), seen.tensors, latency)
        for listener in self.listeners:
            listener.scored(found)


def _in_order(sources: Sequence[Source]) -> Iterator[Event]:
    """The events of a source that does not wait.

    Raises:
        ConfigError: there are several.
    """
    if len(sources) > 1:
        raise ConfigError("live: as fast as possible, expected a single replay: of everything it has")
    for source in sources:
        yield from source
