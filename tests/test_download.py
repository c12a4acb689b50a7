"""Downloads against a server on loopback that can break off, forget ranges, and serve another file."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from plait.download import Remote, fetch
from plait.errors import DataError

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BLOB = hashlib.sha1(f"blob {len(CONTENT)}\0".encode() + CONTENT).hexdigest()


@pytest.fixture
def server():
    """Serves CONTENT; `.breaks` the bytes after which an answer stops, `.ranges` if known, `.asked`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            served.asked.append(asked)
            if served.status:
                self.send_error(served.status)
                return
            start = int(asked[6:-1]) if asked and served.ranges else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            stop, served.breaks = served.breaks, None
            self.wfile.write(CONTENT[start:stop])

        def log_message(self, *_):
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.breaks, served.ranges, served.status, served.asked = None, True, None, []
    served.url = f"http://127.0.0.1:{served.server_port}/some.pt"
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def test_a_download_is_checked_and_made_once(server, tmp_path):
    remote = Remote(server.url, len(CONTENT), SHA256, BLOB)
    assert fetch(remote, tmp_path).read_bytes() == CONTENT
    assert fetch(remote, tmp_path) == tmp_path / "some.pt"
    assert server.asked == [None]
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_is_gone_on_with(server, tmp_path, ranges):
    server.breaks, server.ranges = 300_000, ranges
    remote = Remote(server.url, len(CONTENT), SHA256)
    with pytest.raises(DataError, match="748576 bytes short; run again") as caught:
        fetch(remote, tmp_path)
    assert "\n" not in str(caught.value) and not (tmp_path / "some.pt").exists()
    assert fetch(remote, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-"]


def test_all_of_it_may_be_there_already(server, tmp_path):
    (tmp_path / "some.pt.part").write_bytes(CONTENT)
    assert fetch(Remote(server.url, sha256=SHA256), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"size": 7}, "size 1048576, expected 7"),
        ({"sha256": "0" * 64}, f"SHA-256 {SHA256}, expected 0000"),
        ({"sha256": SHA256[:7] + "x"}, f"SHA-256 {SHA256}, expected"),
        ({"git_blob": "1" * 40}, f"git blob {BLOB}, expected 1111"),
    ],
)
def test_another_file_is_refused_and_removed(server, tmp_path, known, said):
    with pytest.raises(DataError, match=re.escape(said)) as caught:
        fetch(Remote(server.url, **known), tmp_path)
    assert "\n" not in str(caught.value) and server.url in str(caught.value)
    assert not (tmp_path / "some.pt").exists() and not (tmp_path / "some.pt.part").exists()


def test_no_network_says_where_to_put_the_file(server, tmp_path):
    server.status = 404
    with pytest.raises(DataError, match=r"cannot be downloaded \(Not Found\); put the file at .*some.pt"):
        fetch(Remote(server.url), tmp_path)
    with pytest.raises(DataError, match=r"cannot be downloaded .*; put the file at .*other.pt"):
        fetch(Remote("http://nowhere.invalid/other.pt"), tmp_path)


def test_what_somebody_put_there_is_taken(tmp_path):
    (tmp_path / "other.pt").write_bytes(b"mine")
    assert fetch(Remote("http://nowhere.invalid/other.pt", 7, "0"), tmp_path).read_bytes() == b"mine"
