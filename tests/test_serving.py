"""Who is answered, what browsers are told, and that a page elsewhere comes to nothing."""

import http.client
import socket
from contextlib import ExitStack

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from plait.errors import ConfigError
from plait.serving import Listening

EVERYWHERE = "0.0.0.0"


async def _talk(websocket):
    await websocket.accept()
    async for said in websocket.iter_text():
        await websocket.send_text(said[::-1])


async def _flood(websocket):
    await websocket.accept()
    while True:
        await websocket.send_bytes(bytes(1 << 16))


APP = Starlette(
    routes=[
        Route("/", lambda _: PlainTextResponse("answered")),
        WebSocketRoute("/talk", _talk),
        WebSocketRoute("/flood", _flood),
    ]
)


def ask(listening, path="/", at="127.0.0.1", **headers):
    connection = http.client.HTTPConnection(at, listening.port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, answer.headers


def test_browsers_are_told_to_load_nothing_from_elsewhere():
    with Listening(APP, port=0) as listening:
        status, body, headers = ask(listening)
        assert (status, body) == (200, "answered") and listening.token is None
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        policy = dict(
            part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";")
        )
        assert "'self'" in policy["default-src"] and "http" not in headers["Content-Security-Policy"]
        assert policy["frame-ancestors"] == "'none'"
        assert ask(listening, "/nothing")[2]["X-Content-Type-Options"] == "nosniff"
        assert ask(listening, Host="evil.example")[0] == 404
        assert ask(listening, Host=f"localhost:{listening.port}")[0] == 200
        assert ask(listening, Host="[")[0] == 400


def test_elsewhere_than_on_this_machine_a_token_is_asked_for():
    with Listening(APP, EVERYWHERE, 0) as listening:
        assert listening.token and listening.address.endswith(f"/?token={listening.token}")
        cookie = f"plait-{listening.port}"
        for path, headers in (
            ("/", {}),
            ("/?token=", {}),
            ("/?token=wrong", {}),
            ("/?token=%C3%A9", {}),
            ("/", {"Cookie": f"{cookie}=wrong"}),
            ("/", {"Cookie": f"{cookie}="}),
            ("/", {"Cookie": f"plait-1={listening.token}"}),
            ("/", {"Cookie": ";;=,\x7f[]"}),
        ):
            status, body, _ = ask(listening, path, **headers)
            assert status == 403 and "answered" not in body
        status, body, headers = ask(listening, f"/?token={listening.token}")
        assert status == 200 and "answered" not in body and 'url=/"' in body
        kept, *rules = headers["Set-Cookie"].split("; ")
        assert kept == f"{cookie}={listening.token}" and {"HttpOnly", "SameSite=strict"} <= set(rules)
        assert ask(listening, Cookie=kept)[1] == "answered"
        _, body, _ = ask(listening, f'//evil.example/"<?token={listening.token}')
        assert 'url=/evil.example/%22%3C"' in body  # no way to elsewhere, and no markup
        with Listening(APP, EVERYWHERE, 0) as other:
            assert other.token != listening.token


def test_a_websocket_is_for_this_page_alone():
    with Listening(APP, port=0) as listening:
        at = f"ws://127.0.0.1:{listening.port}/talk"
        for origin in (None, f"http://127.0.0.1:{listening.port}"):
            with connect(at, origin=origin) as websocket:
                websocket.send("abc")
                assert websocket.recv() == "cba"
        for origin in ("http://evil.example", f"http://localhost:{listening.port}", "null", "http://["):
            with pytest.raises(InvalidStatus) as refused:
                connect(at, origin=origin)
            assert refused.value.response.status_code in (400, 403)
        with (
            pytest.raises(InvalidStatus) as refused,
            socket.create_connection(("127.0.0.1", listening.port)) as own,
        ):
            connect(f"ws://evil.example:{listening.port}/talk", sock=own)
        assert refused.value.response.status_code == 404
    with Listening(APP, EVERYWHERE, 0) as listening:
        at = f"ws://127.0.0.1:{listening.port}/talk"
        for path in (at, f"{at}?token={listening.token}"):
            with pytest.raises(InvalidStatus) as refused:
                connect(path)
            assert refused.value.response.status_code == 403
        cookie = {"Cookie": f"plait-{listening.port}={listening.token}"}
        with connect(at, additional_headers=cookie) as websocket:
            websocket.send("abc")
            assert websocket.recv() == "cba"


def test_a_websocket_that_takes_nothing_is_hung_up_on(capsys):
    with Listening(APP, port=0, patience_s=0.2) as listening, ExitStack() as stack:
        asleep = stack.enter_context(socket.create_connection(("127.0.0.1", listening.port), 30))
        asleep.sendall(
            b"GET /flood HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert asleep.recv(12) == b"HTTP/1.1 101"
        with connect(f"ws://127.0.0.1:{listening.port}/talk") as other:
            while listening.connections > 1:
                other.send("abc")
                assert other.recv() == "cba"  # however slow the other one is
    assert capsys.readouterr().err == ""


def test_the_end_waits_for_nobody():
    listening = Listening(APP, port=0)
    with connect(f"ws://127.0.0.1:{listening.port}/talk") as websocket:
        websocket.send("abc")
        assert websocket.recv() == "cba"
        listening.close()
        with pytest.raises(ConnectionClosed):
            websocket.recv()
    with pytest.raises(ConnectionRefusedError):
        ask(listening)


def test_this_machine_has_an_address_in_ipv6_too():
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    try:
        listening = Listening(APP, "::1", 0)
    except ConfigError as error:
        pytest.skip(str(error))
    with listening:
        assert listening.address == f"http://[::1]:{listening.port}/" and listening.token is None
        assert ask(listening, at="::1")[1] == "answered"
        assert ask(listening, at="::1", Host="evil.example")[0] == 404
