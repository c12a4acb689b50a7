"""The cache: what lies in it is said and removed by what it is; nothing else is touched."""

import hashlib
import os
import re
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from plait import cache, store
from plait.cache import State, clean, entries, older, useless
from plait.clips import cut
from plait.errors import ConfigError, PlaitWarning
from plait.features import Extraction
from plait.store import cache_folder, made_once, sealing, write_json
from tests import test_features


@pytest.fixture
def filled(tmp_path, monkeypatch):
    """A cache that is used, with what earlier versions, a stopped run, and somebody else have left there."""
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    cut(test_features.keyed(), None, ["b"])
    test_features.of(Extraction("tests.test_features:Summed"), test_features.keyed()).written()
    features = cache_folder("features")
    for ending in ("npy", "json", "parquet"):  # as they were kept, all clips in one file
        (features / f"{'a' * 32}.{ending}").write_bytes(b"{}")
    (cache_folder("clips") / f"b-{'b' * 32}.json").write_text(
        '{"array": "' + "c" * 32 + '.npy", "shape": [1]}'
    )
    np.save(cache_folder("clips") / f"{'c' * 32}.npy", np.zeros(3))
    (features / f".making-{'d' * 32}.npy").write_bytes(b"begun")
    (features / "mine.npy").write_bytes(b"somebody's")
    (features / "notes.json").write_bytes(b"somebody's")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / f"{'e' * 32}.npy").write_bytes(b"somebody's")
    (features / "link").symlink_to(tmp_path / "elsewhere")
    (features / f"{'f' * 32}.npy").symlink_to(tmp_path / "elsewhere" / f"{'e' * 32}.npy")
    cache_folder("grids").symlink_to(tmp_path / "elsewhere")
    cache_folder("weights").mkdir()
    (cache_folder("weights") / "i3d.pt").write_bytes(b"weights")
    return tmp_path


def counted(found):
    told = {}
    for entry in found:
        told[entry.stage, entry.state.value] = told.get((entry.stage, entry.state.value), 0) + 1
    return told


def aged(entry, days):
    for path in entry.files:
        os.utime(path, (time.time() - days * 86_400,) * 2)


def others(folder):
    names = ("mine.npy", "notes.json", "link", f"{'e' * 32}.npy", f"{'f' * 32}.npy")
    return {path for path in folder.rglob("*") if path.name in names}


def test_entries_are_told_by_what_they_are(filled):
    found = entries()
    assert counted(found) == {
        ("clips", "whole"): 4,
        ("clips", "old"): 1,
        ("features", "whole"): 5,
        ("features", "old"): 1,
        ("features", "unfinished"): 1,
        ("weights", "whole"): 1,
    }
    [all_clips] = [entry for entry in found if entry.owner.name.startswith("all-")]
    assert len(all_clips.files) == 3
    assert all_clips.size == sum(path.stat().st_size for path in all_clips.files)
    whole = [entry for entry in found if entry.stage == "clips" and entry.state is State.whole]
    assert {entry.made for entry in whole} == {"clips of b"}
    with pytest.raises(
        ConfigError,
        match="stage 'feature', expected one of: clips, features, grids, weights, models, doctor, sent",
    ):
        entries(["feature"])


def test_what_no_run_finds_goes_and_nothing_else(filled):
    kept = {path: path.read_bytes() for path in (filled / "elsewhere").iterdir()}
    mine = others(filled)
    gone, left = clean(useless(entries()))
    assert counted(gone) == {("clips", "old"): 1, ("features", "old"): 1} and not left
    assert counted(entries()) == {
        ("clips", "whole"): 4,
        ("features", "whole"): 5,
        ("features", "unfinished"): 1,
        ("weights", "whole"): 1,
    }
    for entry in entries():
        aged(entry, 2)
    assert counted(useless(entries())) == {("features", "unfinished"): 1}
    clean(entries())
    assert entries() == [] and others(filled) == mine
    assert {path: path.read_bytes() for path in (filled / "elsewhere").iterdir()} == kept
    assert not list(cache_folder("clips").iterdir())


def test_what_is_being_made_stays(filled):
    path = cache_folder("features") / f"{'d' * 32}.npy"
    with made_once(path, said={}) as making:
        making.write_bytes(b"going on")
        [entry] = [one for one in entries(["features"]) if one.state is State.unfinished]
        assert clean([entry]) == ([], [entry]) and making.read_bytes() == b"going on"
    assert path.exists()


def test_what_is_old_is_told_by_when_it_was_used(filled):
    one, *rest = entries(["features"])
    aged(one, 40)
    assert [entry.owner for entry in older(entries(["features"]), 30)] == [one.owner]
    assert len(older(entries(["features"]), 0)) == len(rest) + 1


def test_the_verb_says_and_removes(filled, capsys):
    from plait.cli import app

    def told(*args):
        app(["cache", *args], standalone_mode=False)
        return capsys.readouterr().out

    said = told()
    assert said.startswith(str(filled / "cache")) and "clips, old" in said and "features, unfinished" in said
    assert "removed: 2 entries" in told("--clean")
    assert "i3d.pt" in told("--each", "--stage", "weights")
    assert "nothing" in told("--older-than", "1", "--clean")
    assert "removed: 10 entries" in told("--older-than", "0", "--clean")
    assert (cache_folder("weights") / "i3d.pt").exists()  # which somebody may have put there
    assert "removed: 1 entry," in told("--stage", "weights", "--clean") and "nothing" in told()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b"\0" * path.stat().st_size),
        lambda path: path.write_bytes(b""),
        lambda path: sealing(path).unlink(),
        lambda path: sealing(path).write_bytes(b"[]"),
        lambda path: sealing(path).write_bytes(b"\xff{"),
        lambda path: write_json(sealing(path), {"form": 0}),
        lambda path: write_json(sealing(path), {"form": store.FORM, "size": None, "sha256": None}),
        lambda path: path.unlink(),
    ],
)
def test_what_is_not_as_it_was_left_is_made_again_in_a_word(tmp_path, monkeypatch, spoil):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path))
    how = Extraction("tests.test_features:Summed", {"scale": 9.0})
    clips, made = cut(test_features.keyed(), None, ["a"]), test_features.of(how, test_features.keyed())
    for path in (clips.arrays["a"].files[1], made.rows.files[2]):
        whole, gone = path.read_bytes(), None
        spoil(path)
        gone = not path.exists()
        with warnings.catch_warnings(record=True, action="always", category=PlaitWarning) as words:
            again = cut(test_features.keyed(), None, ["a"]), test_features.of(how, test_features.keyed())
        assert (again[0], again[1].rows) == (clips, made.rows) and path.read_bytes() == whole
        assert len(words) == (not gone) and all(str(word.message).startswith(f"{path}: ") for word in words)


def test_an_entry_that_cannot_be_read_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path))
    clips = cut(test_features.keyed(), None, ["a"])
    for entry, text in zip(
        cache_folder("clips").glob("of-*.json"), ("", "[]", '{"array": 1}', "null"), strict=True
    ):
        entry.write_text(text)
    assert cut(test_features.keyed(), None, ["a"]) == clips


def test_a_file_is_read_once_as_long_as_it_stays_as_it_is(tmp_path, monkeypatch):
    path, read = tmp_path / "file", []
    path.write_bytes(b"one")
    os.utime(path, (0, 0))
    digest = store.hashlib.file_digest
    monkeypatch.setattr(store.hashlib, "file_digest", lambda *a: read.append(1) or digest(*a))
    monkeypatch.setattr(store, "SETTLED_S", -1.0)  # as if it lay there for long
    first = store.checksum(path)
    assert store.checksum(path) == first and len(read) == 1
    (tmp_path / "other").write_bytes(b"two")
    os.utime(tmp_path / "other", (0, 0))
    (tmp_path / "other").replace(path)  # of one size and one time
    assert store.checksum(path) != first and len(read) == 2
    monkeypatch.setattr(store, "SETTLED_S", 2.0)
    path.write_bytes(b"six")  # within one tick of the clock, perhaps
    assert store.checksum(path) == hashlib.sha256(b"six").hexdigest()


def test_stages_are_those_that_plait_keeps_things_in():
    stages = {
        name
        for file in Path(cache.__file__).parent.rglob("*.py")
        for name in _stages(file.read_text("utf-8"))
    }
    assert stages == set(cache.STAGES)


def _stages(text):
    return re.findall(r'cache_folder\("(\w+)"\)', text)
