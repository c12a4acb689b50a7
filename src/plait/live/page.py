"""The page of a session: what it sees, while it sees it, in any browser; several may look at once."""

import asyncio
import contextlib
import json
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from plait.live.events import Arrived, Event
from plait.live.light import Light
from plait.live.session import Scored, Session
from plait.live.shown import SHOWN_S, Picture, Trace
from plait.report.drawing import COLOURS
from plait.report.timeline import PALETTE
from plait.serving import HOST, PORT, Listening

FPS = 15.0  # at most, of pictures and of all else
AHEAD = 2  # messages that a client need not have seen yet
BANDS_S = 30.0  # of scores
MOST_WINDOWS = 2000  # of them, and of latencies
FAREWELL_S = 1.0
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass
class Client:
    """How far somebody who looks has been told; nothing waits for one who does not keep up."""

    sent: int = 0
    got: int = 0
    lit: bool = False  # wants to see what is attended to
    light: int = 0
    window: int = 0
    pictures: dict[str, int] = field(default_factory=dict)
    traces: dict[str, int] = field(default_factory=dict)
    heard: asyncio.Event = field(default_factory=asyncio.Event)


class Page:
    """A listener that keeps the last state of a session, and a page that shows it.

    Over a WebSocket come, as JSON, `opening` (what there is), `now` (what is new since the last one; the
    client answers with its `n`) and `ended`; and pictures: the number of the video, one byte, its time on the
    recording's clock, a little-endian double, and a JPEG.

    Args:
        session: which is listened to.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.clients: list[Client] = []
        self.ended: str | None = None
        self._lock = Lock()
        openings = session.openings
        self._videos = [opening.stream for opening in openings if not opening.names]
        self._traces = {o.stream: Trace(len(o.names)) for o in openings if o.names}
        self._pictures: dict[str, Picture] = {}
        self._jpegs: dict[str, tuple[int, bytes]] = {}
        self._heard_s: dict[str, float] = {}
        self._closed: set[str] = set()
        self._windows: deque[Scored] = deque(maxlen=MOST_WINDOWS)
        self._latencies_s: deque[float] = deque(maxlen=MOST_WINDOWS)
        self._count = 0
        modalities = session.recogniser.modalities.values()
        pictures = [m.name for m in modalities if len(m.streams) == 1 and m.streams[0] in self._videos]
        self._light = Light(session.recogniser, pictures)
        self._lit: tuple[int, dict[str, Any] | None] = 0, None
        self._looked_at = 0

    def arrived(self, event: Event) -> None:
        """Keep the last of what has arrived."""
        name = event.stream
        with self._lock:
            self._heard_s[name] = event.arrived_s
            if not isinstance(event, Arrived):
                self._closed.add(name)
                return
            clock = self.session.cutter.rings[name].clock
            if clock is None or not len(event.times):  # the recording has not begun
                return
            if name in self._traces:
                self._traces[name].add(clock.video_s(event.times), event.values)
            else:
                number = self._pictures[name].number + 1 if name in self._pictures else 1
                time_s = float(clock.video_s(event.times[-1:])[0])
                self._pictures[name] = Picture(number, time_s, event.values[-1])

    def scored(self, scored: Scored) -> None:
        """Keep a window's scores."""
        self._light.scored(scored)
        with self._lock:
            self._count += 1
            self._latencies_s.append(scored.latency.total_s)
            self._windows.append(scored._replace(tensors={}))
            while self._windows[0].stop_s < scored.stop_s - BANDS_S:
                self._windows.popleft()

    def opening(self) -> dict[str, Any]:
        """What is said first: what there is."""
        session, facts = self.session, self.session.recogniser.facts
        return {
            "kind": "opening",
            "model": facts.study,
            "method": facts.method,
            "activities": list(facts.activities),
            "palette": PALETTE,
            "sensors": {name: list(m.streams) for name, m in session.recogniser.modalities.items()},
            "videos": self._videos,
            "logs": {o.stream: list(o.names) for o in session.openings if o.names},
            "shown_s": SHOWN_S,
            "bands_s": BANDS_S,
            "patience_s": session.cutter.patience_s,
            "window_s": session.cutter.seconds,
            "speed": session.pace.speed if session.pace.waits else 0.0,
            "attention": self._light.there,
        }

    def now(self, client: Client) -> tuple[dict[str, Any], list[bytes]]:
        """What is new to a client: the message, and pictures."""
        now_s = self.session.pace.now()
        with self._lock:
            signals = {name: trace.since(client.traces.get(name, 0)) for name, trace in self._traces.items()}
            client.traces = {name: trace.version for name, trace in self._traces.items()}
            fresh = min(self._count - client.window, len(self._windows))
            windows = list(self._windows)[len(self._windows) - fresh :]
            client.window = self._count
            streams = {
                opening.stream: {
                    "silent_s": round(now_s - self._heard_s[opening.stream], 2) if heard else None,
                    "ended": opening.stream in self._closed,
                }
                for opening in self.session.openings
                for heard in (opening.stream in self._heard_s,)
            }
            latencies_s = np.array(self._latencies_s)
            pictures = dict(self._pictures)
        latency_ms = (
            (1000 * np.quantile(latencies_s, [0.5, 0.99])).round(1).tolist() if len(latencies_s) else None
        )
        client.sent += 1
        message = {
            "kind": "now",
            "n": client.sent,
            "clock_s": self._clock_s(now_s),
            "streams": streams,
            "signals": {name: trace for name, trace in signals.items() if trace},
            "windows": [_window(window) for window in windows],
            "latency_ms": latency_ms,
            "scored": self.session.scored,
            "skipped": self.session.skipped,
        }
        if client.lit and client.light != self._lit[0]:
            client.light, message["light"] = self._lit
        return message, self._fresh(client, pictures)

    def _clock_s(self, now_s: float) -> float | None:
        """Seconds of the recording; None before it begins."""
        cutter = self.session.cutter
        if any(ring.clock is None for ring in cutter.rings.values()):
            return None
        return round(now_s - (cutter.origin_s or 0.0), 3)

    def _fresh(self, client: Client, pictures: dict[str, Picture]) -> list[bytes]:
        """Pictures that a client has not seen, each written once for all."""
        found = []
        for index, name in enumerate(self._videos):
            picture = pictures.get(name)
            if picture is None or client.pictures.get(name) == picture.number:
                continue
            client.pictures[name] = picture.number
            number, jpeg = self._jpegs.get(name, (0, b""))
            if number != picture.number:
                jpeg = picture.jpeg()
                self._jpegs[name] = picture.number, jpeg
            found.append(struct.pack("<Bd", index, picture.time_s) + jpeg)
        return found

    async def talk(self, websocket: WebSocket) -> None:
        """Tell one client, as fast as it takes it, until it goes or the session ends."""
        await websocket.accept()
        client = Client()
        self.clients.append(client)
        listening = asyncio.create_task(self._listen(websocket, client))
        try:
            await websocket.send_text(_text(self.opening()))
            while not listening.done():
                begun_s = time.monotonic()
                await self._illuminate()
                message, pictures = self.now(client)
                for picture in pictures:
                    await websocket.send_bytes(picture)
                await websocket.send_text(_text(message))
                if self.ended is not None:
                    await websocket.send_text(_text({"kind": "ended", "why": self.ended}))
                    await websocket.close()
                    return
                await asyncio.sleep(max(0.0, 1 / FPS - (time.monotonic() - begun_s)))
                while client.sent - client.got >= AHEAD and not listening.done() and self.ended is None:
                    client.heard.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(client.heard.wait(), 0.5)
        except WebSocketDisconnect:
            return
        finally:
            listening.cancel()
            self.clients.remove(client)
            self._light.wanted = any(other.lit for other in self.clients)

    async def _listen(self, websocket: WebSocket, client: Client) -> None:
        """Take what a client says: how far it is, and whether it wants to see what is attended to."""
        with contextlib.suppress(WebSocketDisconnect, ValueError, KeyError, AttributeError, RuntimeError):
            while True:
                said = json.loads(await websocket.receive_text())
                if isinstance(got := said.get("got"), int):
                    client.got = got
                    client.heard.set()
                if isinstance(lit := said.get("attention"), bool):
                    client.lit, client.light = lit, 0
                    self._light.wanted = any(other.lit for other in self.clients)

    async def _illuminate(self) -> None:
        """Find out what is attended to in the newest window, once for all who want to know."""
        if self._light.wanted and self._looked_at != (count := self._count):
            self._looked_at = count
            self._lit = count, await asyncio.to_thread(self._light.latest)


class Serving:
    """A page that is served, at `address`, in a thread of its own."""

    def __init__(self, page: Page, listening: Listening) -> None:
        self.page, self._listening = page, listening
        self.address = listening.address

    def close(self, why: str = "The session has ended.") -> None:
        """Tell everybody that it has ended, and end."""
        self.page.ended = why
        until_s = time.monotonic() + FAREWELL_S
        while self.page.clients and time.monotonic() < until_s:
            time.sleep(0.02)
        self._listening.close()


def serve_page(session: Session, host: str = HOST, port: int = PORT) -> Serving:
    """Show a session that has not begun, at an address.

    Args:
        session: which; the page becomes one of its listeners.
        host: the address to listen at; any but this machine's own asks for a token.
        port: the port; 0 takes any that is free.

    Raises:
        ConfigError: the address cannot be had.
    """
    page = Page(session)
    serving = Serving(page, Listening(app(page), host, port, policy=POLICY))
    session.listeners.append(page)
    return serving


def app(page: Page) -> Starlette:
    """The files of a page, and its WebSocket."""
    loader = ChoiceLoader([PackageLoader("plait.live", "."), PackageLoader("plait.report", ".")])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    known = {"colours": COLOURS, "title": page.session.recogniser.facts.study}

    def answers(content: str, kind: str) -> Callable[[Request], Response]:
        return lambda _: Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    templates = {"/": ("live.html.j2", "text/html"), "/live.css": ("live.css.j2", "text/css")}
    files = {
        path: (environment.get_template(name).render(known), kind) for path, (name, kind) in templates.items()
    }
    for name in ("draw.js", "live.js"):
        files[f"/{name}"] = Path(__file__).with_name(name).read_text(encoding="utf-8"), "text/javascript"
    routes = [Route(path, answers(*file)) for path, file in files.items()]
    return Starlette(routes=[*routes, WebSocketRoute("/live", page.talk)])


def _text(message: dict[str, Any]) -> str:
    """As strict JSON: a number that is none is a mistake."""
    return json.dumps(message, allow_nan=False)


def _window(window: Scored) -> dict[str, Any]:
    return {
        "start_s": round(window.start_s, 3),
        "stop_s": round(window.stop_s, 3),
        "scores": [round(score, 3) for score in window.scores.tolist()],
        "predicted": window.predicted,
        "seen": list(window.seen),
    }
