"""An app over HTTP: who may ask, what browsers are told, and that nobody keeps the server waiting."""

import asyncio
import html
import ipaddress
import secrets
import socket
from http.cookies import CookieError, SimpleCookie
from threading import Thread
from typing import Any, Self
from urllib.parse import quote, urlsplit

import uvicorn
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from plait.errors import ConfigError

HOST, PORT = "127.0.0.1", 8000
PATIENCE_S = 20.0  # within which a request must be there, and each piece of an answer be taken
POLICY = (
    "default-src 'self' 'unsafe-inline' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
FAREWELL_S = 2  # for answers that are under way when the server ends
MESSAGE_BYTES = 1 << 16  # at most, of what a page says over a WebSocket
HERE = ("localhost", "127.0.0.1", "::1")


class Guard:
    """Around an app: strangers are refused, and browsers load nothing from elsewhere.

    Where a connection came to this machine's own address (127.0.0.1), it must be asked for by a name of this
    machine: somebody else's page whose name was made to mean this machine asks by that name. A WebSocket of
    another page is refused. Where there is a token, it is asked for: once in the address, then in a cookie,
    which other pages cannot send.

    Args:
        app: what answers.
        token: what everybody must know; None: there is none.
        cookie: what the cookie is called.
        policy: the Content-Security-Policy.
    """

    def __init__(self, app: ASGIApp, token: str | None, cookie: str, policy: str = POLICY) -> None:
        self.app, self.token, self.cookie = app, token, cookie
        self.headers = HEADERS | {"Content-Security-Policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""

        async def told(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        guarded = scope["type"] in ("http", "websocket")
        refusal = self._refusal(scope, Headers(scope=scope)) if guarded else None
        await (refusal or self.app)(scope, receive, told)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """What is answered instead of the app; None: the app answers."""
        host = headers.get("host", "")
        try:
            name, origin = urlsplit(f"//{host}").hostname, urlsplit(headers.get("origin", f"//{host}"))
        except ValueError:  # "Host: [", "GET http://[/"
            return PlainTextResponse("no address that can be read\n", 400)
        bound = (scope.get("server") or ("",))[0]
        if is_loopback(bound) and name not in (*HERE, bound):
            return PlainTextResponse("nothing of that name here\n", 404)
        if scope["type"] == "websocket" and origin.netloc != host:
            return PlainTextResponse("asked for by another page\n", 403)
        return None if self.token is None else self._stranger(scope, headers, self.token)

    def _stranger(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        """The answer to who has no cookie yet."""
        if secrets.compare_digest(_cookie(headers, self.cookie).encode(), token.encode()):
            return None
        said = QueryParams(scope["query_string"]).get("token", "")
        if scope["type"] != "http" or not secrets.compare_digest(said.encode(), token.encode()):
            return PlainTextResponse("open the address that the server said, with its token\n", 403)
        # A page that goes on by itself, and no redirection: after a link on another site that would come
        # without the cookie.
        path = html.escape(quote("/" + scope["path"].lstrip("/")))
        answer = HTMLResponse(f'<!doctype html><meta http-equiv="refresh" content="0;url={path}">plait')
        answer.set_cookie(self.cookie, token, httponly=True, samesite="strict")
        answer.headers["Cache-Control"] = "no-store"
        return answer


class Listening:
    """An app that answers at `address`, in a thread of its own, until it is closed.

    Args:
        app: what answers.
        host: the address to listen at; any but this machine's own asks for a token, which is in `address`.
        port: the port; 0 takes any that is free.
        patience_s: how long a request may take to arrive, and a piece of an answer to be taken.
        policy: the Content-Security-Policy.

    Raises:
        ConfigError: the address cannot be had.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str = HOST,
        port: int = PORT,
        patience_s: float = PATIENCE_S,
        policy: str = POLICY,
    ) -> None:
        listener = _listener(host, port)
        bound, self.port = listener.getsockname()[:2]
        self.token = None if is_loopback(bound) else secrets.token_urlsafe(16)
        name = _outward(host, bound)
        name = f"[{name}]" if ":" in name else name
        self.address = f"http://{name}:{self.port}/" + (f"?token={self.token}" if self.token else "")
        http, websockets = _patient(patience_s)
        settings: dict[str, Any] = {
            "loop": "asyncio",
            "http": http,
            "ws": websockets,
            "ws_max_size": MESSAGE_BYTES,
            "ws_per_message_deflate": False,
            "lifespan": "off",
            "log_config": None,
            "log_level": "critical",
            "access_log": False,
            "proxy_headers": False,
            "server_header": False,
            "timeout_graceful_shutdown": FAREWELL_S,
        }
        guard = Guard(app, self.token, f"plait-{self.port}", policy)
        self._server = Server(uvicorn.Config(guard, **settings))
        self._thread = Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()

    @property
    def connections(self) -> int:
        """How many are connected now."""
        return len(self._server.server_state.connections)

    def wait(self) -> None:
        """Wait for its end."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """End it, and whatever it is answering."""
        self._server.should_exit = True
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Server(uvicorn.Server):
    """A server that waits for nobody in the end."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Hang up on everybody, and end."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own, as is what is none."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return True


def _patient(patience_s: float) -> tuple[type[H11Protocol], type[WebSocketsSansIOProtocol]]:
    """Connections that are closed where the other side keeps them waiting for longer."""

    class Patience:
        """Waits for the other side, for so long."""

        loop: asyncio.AbstractEventLoop
        transport: asyncio.Transport
        late: asyncio.TimerHandle | None = None

        def expect(self) -> None:
            self.content()
            self.late = self.loop.call_later(patience_s, self.transport.abort)

        def content(self) -> None:
            if self.late is not None:
                self.late.cancel()
                self.late = None

    class Requests(Patience, H11Protocol):
        """A request's head must come whole in time, however steadily it drips; so must answers be taken."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.expect()

        def handle_events(self) -> None:
            super().handle_events()
            if self._answering() and not self.flow.write_paused:
                self.content()

        def on_response_complete(self) -> None:
            self.expect()
            super().on_response_complete()

        def handle_websocket_upgrade(self, event: Any) -> None:
            self.content()
            super().handle_websocket_upgrade(event)

        def pause_writing(self) -> None:
            super().pause_writing()
            self.expect()

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._answering():
                self.content()

        def connection_lost(self, exc: Exception | None) -> None:
            self.content()
            super().connection_lost(exc)

        def _answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

    class WebSockets(Patience, WebSocketsSansIOProtocol):
        """What is sent must be taken in time."""

        def pause_writing(self) -> None:
            super().pause_writing()
            self.expect()

        def resume_writing(self) -> None:
            super().resume_writing()
            self.content()

        def keepalive_timeout(self) -> None:
            self.transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            self.content()
            super().connection_lost(exc)

    return Requests, WebSockets


def _listener(host: str, port: int) -> socket.socket:
    """A socket that listens already."""
    if not host.strip():
        raise ConfigError(
            "--host: empty, which is every address of this machine; say 0.0.0.0 if that is meant"
        )
    try:
        flags = socket.AI_PASSIVE
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)[0]
        return socket.create_server(address, family=family)
    except (OSError, OverflowError, TypeError, UnicodeError) as error:
        why = str(getattr(error, "strerror", None) or error).partition(" (while ")[0]
        raise ConfigError(f"--host {host} --port {port}: cannot listen there: {why}") from error


def _outward(host: str, bound: str) -> str:
    """The name by which others reach what listens at every address; nothing is sent to find it."""
    if not ipaddress.ip_address(bound.partition("%")[0]).is_unspecified:
        return host
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as asking:
                asking.connect((somewhere, 9))
                return str(asking.getsockname()[0])
        except OSError:  # there is no way out
            continue
    return socket.gethostname()


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""
