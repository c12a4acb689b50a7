"""A run's folder over HTTP: its files and nothing else, read only, on this machine alone."""

import http.client
import os
import signal
import socket
import time
from contextlib import ExitStack

import pytest
from tests.commands import started
from tests.report.test_report import make_run

from plait.errors import ConfigError, DataError
from plait.report.serve import HOST, server


@pytest.fixture
def served(tmp_path):
    """A served folder beside a secret, and a way to ask for paths as they are."""
    run = tmp_path / "run"
    (run / "cases").mkdir(parents=True)
    (run / "index.html").write_text("<p>page</p>")
    (run / "cases" / "a.mp4").write_bytes(bytes(range(256)) * 4)
    (run / ".hidden").write_text("hidden")
    (tmp_path / "secret").write_text("secret")
    (run / "way-out").symlink_to(tmp_path / "secret")
    with server(run, port=0) as listening:

        def ask(path, method="GET", **headers):
            connection = http.client.HTTPConnection(HOST, listening.port, timeout=10)
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            return answer.status, body, answer.headers

        yield ask


def test_a_strange_name_for_this_machine_is_not_answered(served):
    """Somebody else's page, whose name was made to mean this machine, reads nothing."""
    assert served("/", Host="evil.example")[0] == 404
    assert served("/", Host="localhost:8000")[0] == 200


def test_files_are_served_whole(served):
    status, body, headers = served("/")
    assert (status, body) == (200, b"<p>page</p>") and headers.get_content_type() == "text/html"
    status, body, headers = served("/cases/a.mp4?again=1")
    assert status == 200 and body == bytes(range(256)) * 4 and headers["Content-Type"] == "video/mp4"
    status, body, headers = served("/cases/a.mp4", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", "1024")


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=1000-", 1000, 1023),
        ("bytes=-24", 1000, 1023),
        ("bytes=5-9999", 5, 1023),
    ],
)
def test_a_player_may_ask_for_a_part(served, asked, first, last):
    status, body, headers = served("/cases/a.mp4", Range=asked)
    assert status == 206 and body == (bytes(range(256)) * 4)[first : last + 1]
    assert headers["Content-Range"] == f"bytes {first}-{last}/1024"


def test_a_part_beyond_the_end_is_refused(served):
    assert served("/cases/a.mp4", Range="bytes=2000-")[0] == 416
    assert served("/cases/a.mp4", Range="bytes=9-3")[0] == 416
    assert served("/cases/a.mp4", Range="pages=1-2")[0] == 200
    assert served("/cases/a.mp4", Range=f"bytes={'9' * 5000}-")[0] == 200  # no number


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/cases/../../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "//etc/passwd",
        "/way-out",
        "/.hidden",
        "/cases",
        "/cases/",
        "/nothing",
        "/a%00b",
        "/" + "a" * 300,
        "/" + "a/" * 5000,
        "/%ff%fe",
        "/cases/a.mp4/b",
    ],
)
def test_there_is_no_way_out_and_no_listing(served, path):
    status, body, _ = served(path)
    assert status == 404 and b"secret" not in body and b"hidden" not in body


def _raw(port, sent):
    """Everything that comes back for these bytes, until the server closes the connection."""
    with socket.create_connection((HOST, port), timeout=10) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("host", ["[", "]", "[::1", "[a", "http://[/", "\u2100", "a" * 3000])
@pytest.mark.parametrize("path", ["/", "http://[/", "//[", "http://[::1/", "*"])
def test_an_address_that_cannot_be_read_gets_an_answer(tmp_path, capsys, host, path):
    (tmp_path / "index.html").write_text("page")
    with server(tmp_path, port=0) as listening:
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        answer = _raw(listening.port, head.encode())
    assert (
        answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 "))
        and b"page" not in answer.partition(b"\r\n\r\n")[2]
    )
    assert capsys.readouterr().err == ""


def test_the_slow_are_hung_up_on(tmp_path, capsys):
    """Whoever says nothing, drips a head, or does not take an answer is closed; others are answered."""
    (tmp_path / "index.html").write_text("page")
    (tmp_path / "film.mp4").write_bytes(bytes(64 << 20))
    with server(tmp_path, port=0, patience_s=0.2) as listening, ExitStack() as stack:
        address = (HOST, listening.port)
        silent, dripping, asleep = (
            stack.enter_context(socket.create_connection(address, 30)) for _ in range(3)
        )
        dripping.sendall(b"GET / HTTP/1.1\r\n")
        asleep.sendall(b"GET /film.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert silent.recv(1) == b""
        with pytest.raises(ConnectionError):
            for _ in range(10_000):
                dripping.sendall(b"X: y\r\n")
                time.sleep(0.01)
        others = _raw(listening.port, b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert others.endswith(b"page")
        while listening.connections:
            time.sleep(0.05)  # until nobody is being answered any more
        taken = sum(map(len, iter(lambda: _received(asleep), b"")))
        assert 0 < taken < 64 << 20
    assert capsys.readouterr().err == ""


def _received(connection):
    try:
        return connection.recv(1 << 20)
    except ConnectionError:
        return b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_reading_is_all_there_is(served, method):
    assert served("/", method)[0] == 405


def test_mistakes_are_one_line(tmp_path):
    with pytest.raises(DataError, match=r"index.html: no such file"):
        server(tmp_path)
    (tmp_path / "index.html").touch()
    with (
        server(tmp_path, port=0) as taken,
        pytest.raises(ConfigError, match="cannot listen there: Address already"),
    ):
        server(tmp_path, port=taken.port)
    with pytest.raises(ConfigError, match="--host nowhere.invalid"):
        server(tmp_path, "nowhere.invalid")
    with server(tmp_path, port=0) as listening:
        assert listening.address == f"http://127.0.0.1:{listening.port}/"


def test_the_command_serves_until_it_is_interrupted(tmp_path):
    run = make_run(tmp_path)
    serving = started("report", run, "--serve", "--port", 0)
    while len(told := serving.said[0].read_text().splitlines() if serving.said[0].exists() else []) < 2:
        assert serving.process.is_alive(), serving.ended()
        time.sleep(0.05)
    assert told[0] == str(run / "index.html") and told[1].startswith("http://127.0.0.1:")
    address = told[1].split()[0].removeprefix("http://").strip("/")
    connection = http.client.HTTPConnection(*address.split(":"), timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().read() == (run / "index.html").read_bytes()
    connection.close()
    os.kill(serving.process.pid, signal.SIGINT)
    code, _, said = serving.ended()
    assert code == 0 and said.strip() == ""
