"""A hub on loopback: as much of the Hugging Face hub's protocol as pushing and fetching a model takes."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_secret"


class Hub(ThreadingHTTPServer):
    """Repositories by name, each a list of commits: what files hold by their names.

    `failing` gives requests whose path holds a text the status there; `breaks` is how many bytes of a file
    are sent before the connection ends, `longer` how many come after what was announced; `asked` are requests
    as method, path, and whether a token came with them.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories, self.private, self.large = {}, set(), {}
        self.failing, self.breaks, self.longer, self.asked, self.messages = {}, None, b"", [], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, name, files):
        """Add files to a repository; gives the commit."""
        commits = self.repositories.setdefault(name, [])
        commits.append({**(commits[-1] if commits else {}), **files})
        return identity(name, len(commits))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.begin()
        if path is None:
            return
        if path.startswith("/large/"):
            self.file(self.server.large[path.removeprefix("/large/")])
            return
        if path.startswith("/api/models/"):
            name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            if (files := self.files(name, revision or "main")) is not None:
                sha = self.commits(name)[-1] if revision in ("", "main") else revision
                private = name in self.server.private
                self.answer({"id": name, "sha": sha, "private": private, "siblings": siblings(files)})
            return
        name, _, rest = path[1:].partition("/resolve/")
        revision, _, file = rest.partition("/")
        if (files := self.files(name, revision)) is not None:
            data = files[file]
            if is_large(file):  # elsewhere, as at the Hugging Face hub
                self.server.large[sha256(data)] = data
                self.send_response(302)
                elsewhere = f"http://localhost:{self.server.server_port}/large/{sha256(data)}"
                self.send_header("Location", elsewhere)
                self.end_headers()
            else:
                self.file(data)

    def do_POST(self):
        path = self.begin()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path is None:
            return
        if not self.authorised():
            self.refuse(401, "Invalid username or password.")
        elif path == "/api/repos/create":
            self.create(json.loads(body))
        elif path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            modes = {True: "lfs", False: "regular"}
            files = [file["path"] for file in json.loads(body)["files"]]
            told = [{"path": p, "uploadMode": modes[is_large(p)], "shouldIgnore": False} for p in files]
            self.answer({"files": told})
        elif path.endswith(".git/info/lfs/objects/batch"):
            wanted = json.loads(body)["objects"]
            told = [
                {**o, "actions": {"upload": {"href": f"{self.server.url}/large/{o['oid']}"}}} for o in wanted
            ]
            self.answer({"transfer": "basic", "objects": told})
        else:
            self.commit(path.split("/commit/")[0].removeprefix("/api/models/"), body)

    def do_PUT(self):
        path = self.begin()
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if path is not None:
            assert sha256(data) == path.removeprefix("/large/")
            self.server.large[sha256(data)] = data
            self.answer({})

    def create(self, wanted):
        name = f"{wanted['organization']}/{wanted['name']}"
        if name in self.server.repositories:
            self.answer({"url": f"{self.server.url}/{name}"}, 409)
            return
        self.server.commit(name, {".gitattributes": b""})
        if wanted.get("visibility") == "private" or wanted.get("private"):
            self.server.private.add(name)
        self.answer({"url": f"{self.server.url}/{name}"})

    def commit(self, name, body):
        header, *changes = [json.loads(line) for line in body.splitlines()]
        files = {}
        for change in changes:
            value = change["value"]
            files[value["path"]] = (
                base64.b64decode(value["content"])
                if change["key"] == "file"
                else self.server.large[value["oid"]]
            )
        self.server.messages.append(header["value"]["summary"])
        oid = self.server.commit(name, files)
        self.answer({"commitOid": oid, "commitUrl": f"{self.server.url}/{name}/commit/{oid}"})

    def files(self, name, revision):
        """The files of a commit, or None where the request has been refused."""
        if name not in self.server.repositories or (name in self.server.private and not self.authorised()):
            self.refuse(*((404, "Not Found") if self.authorised() else (401, "Unauthorized")), "RepoNotFound")
        elif revision != "main" and revision not in self.commits(name):
            self.refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        else:
            at = -1 if revision == "main" else self.commits(name).index(revision)
            return self.server.repositories[name][at]
        return None

    def commits(self, name):
        return [identity(name, i + 1) for i in range(len(self.server.repositories[name]))]

    def authorised(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def begin(self):
        """What is asked for, or None where it is to fail."""
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path, "Authorization" in self.headers))
        for part, status in self.server.failing.items():
            if part in path:
                self.refuse(status, "it is\nas it is")
                return None
        return path

    def refuse(self, status, why, code=None):
        self.answer({"error": why}, status, {"X-Error-Code": code} if code else {})

    def answer(self, told, status=200, headers=()):
        data = json.dumps(told).encode()
        self.send_response(status)
        for name, value in {**dict(headers), "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def file(self, data):
        self.send_response(200)
        if not self.server.longer:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: self.server.breaks] + self.server.longer)

    def log_message(self, *_):
        pass


def siblings(files):
    told = []
    for name, data in files.items():
        large = {"lfs": {"sha256": sha256(data), "size": len(data), "pointerSize": 134}}
        told.append(
            {"rfilename": name, "size": len(data), "blobId": blob(data), **(large if is_large(name) else {})}
        )
    return told


def is_large(name):
    return name.endswith((".safetensors", ".bin"))


def identity(name, number):
    return hashlib.sha1(f"{name} {number}".encode()).hexdigest()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def serving():
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()
