"""Recognisers are pushed to a hub on loopback and fetched from it: three files, and nothing else."""

import builtins
import os
import re

import pytest

from plait.cache import State, clean, entries
from plait.errors import ConfigError, DataError
from plait.recogniser import hub as hubs
from plait.recogniser.hub import fetched, push
from plait.store import cache_folder
from tests.recogniser.hub import TOKEN

FILES = {
    "model.toml": b'activities = ["sit", "walk"]\n',
    "model.safetensors": bytes(range(256)) * 1000,
    "README.md": "---\nlibrary_name: plait\n---\n# A recogniser – of two\n".encode(),
}
NAME = "lab/walks"
WEIGHTS = "model.safetensors"
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of httpx, by the library


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return folder


def held(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")}


def refused(action, *args, **kwargs):
    with pytest.raises(DataError) as caught:
        action(*args, **kwargs)
    assert "\n" not in str(caught.value) and TOKEN not in str(caught.value)
    return str(caught.value)


def left():
    """What a download has left in the cache, besides locks."""
    return [path for path in cache_folder("models").rglob("*") if path.suffix != ".lock"]


def test_what_was_pushed_is_fetched(hub, model):
    (model / "notes.txt").write_text("stay here")
    address = push(model, NAME, message="Of two people")
    created, committed = hub.repositories[NAME]
    assert committed == {**created, **FILES} and hub.messages == ["Of two people"] and not hub.private
    name, commit = address.removeprefix("hf://").split("@")
    assert (name, len(commit)) == (NAME, 40)
    for asked in (address, f"hf://{NAME}", f"hf://{NAME}@main"):
        folder = fetched(asked)
        assert held(folder) == FILES and folder.name == f"lab--walks--{commit}"
    assert folder.parent == cache_folder("models")
    assert sum(path.endswith(f"/resolve/{commit}/{WEIGHTS}") for _, path, _ in hub.asked) == 1


def test_each_push_is_one_commit_and_each_commit_has_its_folder(hub, model):
    first = push(model, NAME)
    (model / "model.toml").write_bytes(b"activities = []\n")
    second = push(model, NAME)
    assert first != second and len(hub.messages) == 2
    assert held(fetched(first)) == FILES
    assert held(fetched(f"hf://{NAME}"))["model.toml"] == b"activities = []\n"


def test_a_commit_that_is_there_needs_no_hub(hub, model, monkeypatch):
    address = push(model, NAME)
    folder = fetched(address)
    asked = len(hub.asked)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert fetched(address) == folder and len(hub.asked) == asked
    said = refused(fetched, f"hf://{NAME}")
    assert "cannot be fetched from http://127.0.0.1:1 (" in said and said.endswith(f"; at hand: {address}")
    assert "at hand" not in refused(fetched, "hf://lab/other")
    assert "cannot be pushed to http://127.0.0.1:1 (" in refused(push, model, NAME)


def test_a_path_is_taken_as_it_is(tmp_path):
    assert fetched(str(tmp_path)) == tmp_path and str(fetched("models/mine")) == os.path.normpath(
        "models/mine"
    )


def test_other_files_are_never_fetched(hub):
    others = {
        "evil.py": b"raise SystemExit",
        "pytorch_model.bin": b"cos\nsystem",
        "sub/model.toml": b"",
        "../x": b"",
    }
    hub.commit(NAME, {**others, **FILES})
    assert held(fetched(f"hf://{NAME}")) == FILES
    files = [path.split("/", 5)[5] for _, path, _ in hub.asked if "/resolve/" in path]
    assert sorted(files) == sorted(FILES)


def test_a_token_stays_with_the_hub(hub, model):
    fetched(push(model, NAME, private=True))
    tokens = {(path.split("/")[1] == "large"): token for method, path, token in hub.asked if method == "GET"}
    assert hub.private == {NAME} and tokens == {False: True, True: False}


@pytest.mark.parametrize("missing", FILES)
def test_what_is_no_model_is_neither_pushed_nor_fetched(hub, model, missing):
    hub.commit(NAME, {name: data for name, data in FILES.items() if name != missing})
    said = f"no {missing}, expected a MODEL: model.toml, model.safetensors, README.md"
    assert refused(fetched, f"hf://{NAME}") == f"hf://{NAME}: {said}"
    (model / missing).unlink()
    (model / missing).mkdir()
    assert refused(push, model, NAME) == f"{model}: {said}"
    assert [method for method, *_ in hub.asked] == ["GET"] and not left()


@pytest.mark.parametrize("file", FILES)
def test_what_is_too_large_is_neither_pushed_nor_fetched(hub, model, monkeypatch, file):
    monkeypatch.setitem(hubs.LIMITS, file, len(FILES[file]) - 1)
    size = len(FILES[file])
    hub.commit(NAME, FILES)
    said = f"{file}: {size} bytes, expected at most {size - 1}"
    assert refused(push, model, NAME) == f"{model}/{said}"
    assert refused(fetched, f"hf://{NAME}").endswith(f"/{said}")
    assert [path for _, path, _ in hub.asked if "/resolve/" in path] == [] and not left()


@pytest.mark.parametrize("known", [True, False])
def test_what_does_not_end_is_stopped(hub, monkeypatch, known):
    hub.commit(NAME, FILES)
    hub.longer = bytes(3 << 20)
    if not known:
        monkeypatch.setattr("tests.recogniser.hub.siblings", lambda files: [{"rfilename": f} for f in files])
    most = len(FILES["model.toml"]) if known else 1 << 20
    assert re.search(rf"model.toml: \d+ bytes, expected at most {most}$", refused(fetched, f"hf://{NAME}"))
    assert not left()


@pytest.mark.parametrize("spoilt", [b"activities = ['sit', 'fall']\n", b""])
def test_another_file_than_was_listed_is_refused(hub, monkeypatch, spoilt):
    listed = hub.commit(NAME, FILES)
    monkeypatch.setattr("tests.recogniser.hub.Handler.file", lambda self, data: _send(self, spoilt))
    said = refused(fetched, f"hf://{NAME}")
    assert f"/resolve/{listed}/model.toml: " in said and "; the download was removed" in said and not left()


def _send(handler, data):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def test_a_download_that_breaks_off_leaves_nothing(hub):
    commit = hub.commit(NAME, FILES)
    hub.breaks = 1000  # in the weights, the other files are whole by then
    assert f"/resolve/{commit}/{WEIGHTS}: cannot be fetched (" in refused(fetched, f"hf://{NAME}")
    assert not left()
    hub.breaks = None
    assert held(fetched(f"hf://{NAME}")) == FILES


def test_what_is_half_there_is_fetched_again(hub):
    commit = hub.commit(NAME, FILES)
    (fetched(f"hf://{NAME}@{commit}") / WEIGHTS).unlink()
    assert held(fetched(f"hf://{NAME}@{commit}")) == FILES


PATHS = ["../x", "/x", "/etc/passwd", "x", "", "a/b/c", "a/..", "a/../b", "..", "a\\b/c", "C:/x", "~/b"]


@pytest.mark.parametrize(
    "name",
    [
        *PATHS,
        "a/b\n",
        "a /b",
        "é/b",
        "-a/b",
        "a/b.",
        "a--b/c",
        "a/.hidden",
        "a/b?c",
        "a/%2e%2e",
        "a/" + 97 * "b",
        "hf://a/b",
    ],
)
def test_a_name_that_cannot_be_is_refused(hub, model, name):
    assert "no name of a repository, expected ORG/NAME" in refused(push, model, name)
    said = refused(fetched, f"hf://{name}")
    assert said.endswith("no address of a MODEL, expected hf://ORG/NAME[@REVISION]")
    assert hub.asked == [] and not cache_folder("models").exists()


@pytest.mark.parametrize("revision", ["", "..", "../x", "/x", "a..b", "a b", "-x", "a@b", "a\n", 201 * "a"])
def test_a_revision_that_cannot_be_is_refused(hub, revision):
    assert "expected hf://ORG/NAME[@REVISION]" in refused(fetched, f"hf://{NAME}@{revision}")
    assert hub.asked == []


@pytest.mark.parametrize("said", ["../../x", "", None, "main", 39 * "a", 40 * "A", 40 * "b"])
def test_a_commit_that_is_none_or_another_is_refused(hub, monkeypatch, said):
    answer = {"id": NAME, "sha": said, "siblings": [{"rfilename": file} for file in FILES]}
    monkeypatch.setattr("tests.recogniser.hub.Handler.do_GET", lambda self: self.answer(answer))
    assert "the hub says commit" in refused(fetched, f"hf://{NAME}@{40 * 'a'}") and not left()


def test_what_is_not_there_is_said(hub, model):
    assert re.search(r"\(404: no such repository.*a token in \$HF_TOKEN", refused(fetched, "hf://lab/other"))
    hub.commit(NAME, FILES)
    for revision in ("v2", 40 * "0", "refs/pr/1"):
        assert "404: no such revision, expected a branch" in refused(fetched, f"hf://{NAME}@{revision}")


@pytest.mark.parametrize("token", [None, "hf_another"])
def test_who_may_not_is_told_so(hub, model, monkeypatch, token):
    hub.commit(NAME, FILES)
    hub.private.add(NAME)
    monkeypatch.delenv("HF_TOKEN") if token is None else monkeypatch.setenv("HF_TOKEN", token)
    for said in (refused(fetched, f"hf://{NAME}"), refused(push, model, NAME)):
        assert "(401: not there, or not for you; expected a repository that you may use, with a token" in said
    assert hub.repositories == {NAME: [FILES]} and not left()


def test_a_public_repository_does_not_become_the_place_of_a_private_model(hub, model):
    hub.commit(NAME, {})
    assert (
        refused(push, model, NAME, private=True)
        == f"hf://{NAME}: a public repository, expected a private one"
    )
    assert hub.repositories == {NAME: [{}]} and not hub.large


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 500])
@pytest.mark.parametrize(
    "place", ["/repos/create", "/validate-yaml", "/preupload/", "/objects/batch", "/large/", "/commit/"]
)
def test_a_push_that_fails_says_so_in_one_line(hub, model, monkeypatch, status, place):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # before it tries again
    hub.failing = {place: status}
    said = refused(push, model, NAME)
    assert said.startswith(f"hf://{NAME}: cannot be pushed to {hub.url} (")
    assert str(status) in said or place == "/validate-yaml"
    assert not hub.messages


@pytest.mark.parametrize("status", [400, 401, 403, 404, 416, 429, 500])
@pytest.mark.parametrize("place", ["/api/models/", "/resolve/", "/large/"])
def test_a_fetch_that_fails_says_so_in_one_line(hub, status, place):
    hub.commit(NAME, FILES)
    hub.failing = {place: status}
    said = refused(fetched, f"hf://{NAME}")
    assert f": cannot be fetched{f' from {hub.url}' if place == '/api/models/' else ''} ({status}: " in said
    assert not left()


@pytest.mark.parametrize("told", [{}, [], {"id": NAME}, {"id": NAME, "sha": 40 * "a", "siblings": None}])
def test_an_answer_of_another_form_is_one_line(hub, monkeypatch, told):
    monkeypatch.setattr("tests.recogniser.hub.Handler.do_GET", lambda self: self.answer(told))
    assert refused(fetched, f"hf://{NAME}").startswith(f"hf://{NAME}: ") and not left()


def test_without_the_library_an_extra_is_named(model, monkeypatch):
    actual = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return actual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for action in (lambda: push(model, NAME), lambda: fetched(f"hf://{NAME}")):
        with pytest.raises(ConfigError, match=re.escape("pip install 'plait[huggingface]'")):
            action()


def test_the_cache_tells_models_and_removes_them_whole(hub, model):
    folder = fetched(push(model, NAME))
    begun = cache_folder("models") / ".making-x" / folder.name
    begun.mkdir(parents=True)
    (begun / "model.toml").write_bytes(b"")
    (cache_folder("models") / "mine").mkdir()
    (cache_folder("models") / "mine" / "model.toml").write_bytes(b"mine")
    whole, unfinished = sorted(entries(["models"]), key=lambda entry: entry.state is State.unfinished)
    assert (whole.owner, whole.made, whole.state) == (folder, folder.name, State.whole)
    assert whole.size == sum(map(len, FILES.values())) and {path.name for path in whole.files} == set(FILES)
    assert (unfinished.owner, unfinished.state) == (begun, State.unfinished)
    assert clean([whole, unfinished]) == ([whole], [unfinished])  # somebody may be at work on it
    os.utime(begun / "model.toml", (0, 0))
    assert clean(entries(["models"]))[1] == [] and entries(["models"]) == []
    assert sorted(path.name for path in left()) == ["mine", "model.toml"]
