import csv
import errno
import fcntl
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from filelock import Timeout
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from plait import store
from plait.errors import DataError


def test_a_file_takes_its_place_only_on_success(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    store.write_text(path, "one")
    with pytest.raises(RuntimeError), store.atomic(path) as made:
        made.write_text("half")
        raise RuntimeError
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_folder_takes_another_s_place(tmp_path):
    for content in ("one", "two"):
        with store.atomic(tmp_path / "folder") as made:
            made.mkdir()
            (made / "x").write_text(content)
    assert (tmp_path / "folder" / "x").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(DataError, match="table.csv: cannot be written: No space left on device"),
        store.atomic(tmp_path / "table.csv"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        store.write_text(tmp_path / "file" / "x", "")


def test_equal_values_have_equal_keys():
    assert store.content_key({"a": 1, "b": [2]}) == store.content_key({"b": [2], "a": 1})
    assert store.content_key({"a": 1}) != store.content_key({"a": 2})


def test_the_cache_folder_can_be_set(monkeypatch, tmp_path):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path))
    assert store.cache_folder("clips") == tmp_path / "clips"
    monkeypatch.delenv("PLAIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    found = store.cache_folder("clips")
    assert found.parts[-2:] == ("plait", "clips")
    if found.is_relative_to(tmp_path):  # on Linux
        assert found.parent.stat().st_mode & 0o777 == 0o700


KILLED = """
import os, signal
from pathlib import Path
from plait import store
with store.atomic(Path("made")) as making:
    making.mkdir()
    (making / "x").write_text("new")
    if {late}:  # where a folder has made room for another
        Path("made").replace(making.parent / "old")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_kill_leaves_takes_no_folder(tmp_path):
    """Who was killed at the first write goes on there, as after a kill at any other."""
    with store.locked(tmp_path / ".lock"):
        subprocess.run([sys.executable, "-c", KILLED.format(late=False)], cwd=tmp_path)
    assert list(tmp_path.glob(".making-*")) and not store.taken(tmp_path)
    for name in ("made", ".hidden", "making-1"):
        (tmp_path / name).touch()
        assert store.taken(tmp_path) and not store.taken(tmp_path, besides=(name,))
        assert store.taken(tmp_path / name)
        (tmp_path / name).unlink()
    assert not store.taken(tmp_path / "none")


@pytest.mark.parametrize("late", [False, True])
def test_what_a_kill_leaves_is_swept_by_the_next_who_writes_there(tmp_path, late):
    with store.atomic(tmp_path / "made") as making:
        making.mkdir()
        (making / "x").write_text("old")
    subprocess.run([sys.executable, "-c", KILLED.format(late=late)], cwd=tmp_path)
    assert list(tmp_path.glob(".making-*"))
    time.sleep(2 * store.FRESH_S)
    with store.atomic(tmp_path / "other") as making:
        making.write_text("")
        with store.atomic(tmp_path / "third") as beside:  # leaves what is in work alone
            beside.write_text("")
            assert making.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "other", "third"]
    assert (tmp_path / "made" / "x").read_text() == ("new" if late else "old")


WRITES = """
import os, sys
from pathlib import Path
os.umask(0o027)
import torch
from safetensors.torch import save_file
from plait import store
with store.atomic(Path("job")) as made:
    (made / "deep").mkdir(parents=True)
    save_file({"x": torch.zeros(3)}, made / "deep" / "weights.safetensors")
store.write_text(Path("text"), "x")
"""


def test_whoever_may_read_new_files_may_read_these(tmp_path):
    subprocess.run([sys.executable, "-c", WRITES], cwd=tmp_path, check=True)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"job": 0o750, "deep": 0o750, "weights.safetensors": 0o640, "text": 0o640}


def test_what_takes_a_place_is_on_the_disk_before(tmp_path, monkeypatch, on_disk):
    """Each file and folder is written out before the name changes, and the name after."""
    seen, replace = [], Path.replace
    monkeypatch.setattr(
        os, "fsync", lambda one: (seen.append(Path(f"/dev/fd/{one}").resolve().name), on_disk(one))
    )
    monkeypatch.setattr(Path, "replace", lambda one, to: (seen.append("replaced"), replace(one, to))[1])
    with store.atomic(tmp_path / "job") as made:
        made.mkdir()
        (made / "a").touch()
        (made / "b").touch()
    assert sorted(seen[:3]) == ["a", "b", "job"] and seen[3:] == ["replaced", tmp_path.name]


@given(text=st.one_of(st.text(max_size=8), st.from_regex(r"[=+\-@\t\r].{0,5}", fullmatch=True)))
def test_no_text_of_a_csv_file_is_a_formula(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "formula.csv"
    store.write_csv(path, pl.DataFrame({"name": [text, "b"], "number": [-1.5, 2.0]}))
    with path.open(newline="", encoding="utf-8") as file:
        name = list(csv.reader(file))[1][0]
    number = re.fullmatch(r"[+-]?[\d.eE+-]+|[+-]?(inf|nan|infinity)", name, re.IGNORECASE)
    assert name in (text, "'" + text) and (number or not name.startswith(tuple("=+-@\t\r")))


def test_a_file_is_made_once_over_what_a_killed_process_left(tmp_path):
    path = tmp_path / "deep" / "array"
    path.parent.mkdir()
    for left_over in (".making-array", "array"):
        (path.parent / left_over).write_text("half")
        with store.made_once(path) as making:
            if left_over == "array":
                assert making is None
                continue
            assert making.read_text() == "half"
            making.write_text("whole")
        assert path.read_text() == "whole"
        path.unlink()
    assert not list(path.parent.glob(".making-*"))


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("x"), ""),
        (OSError(errno.ENOSPC, "No space left on device"), "written"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "film.mp4"), "made: film.mp4"),
    ],
)
def test_an_error_leaves_a_half_made_file_only_to_whom_goes_on_with_it(tmp_path, resumed, error, said):
    with (
        pytest.raises((RuntimeError, DataError)) as caught,
        store.made_once(tmp_path / "array", resumed) as making,
    ):
        making.write_text("half")
        raise error
    if isinstance(error, OSError):
        assert str(caught.value) == f"{tmp_path / 'array'}: cannot be {said}: {error.strerror}"
    assert (tmp_path / ".making-array").exists() == resumed and not (tmp_path / "array").exists()


def test_a_lock_that_is_held_is_not_had(tmp_path):
    held = store.locked(tmp_path / "locks" / "one")
    with held, pytest.raises(Timeout), store.locked(tmp_path / "locks" / "one", wait=False):
        pass
    with store.locked(tmp_path / "locks" / "one", wait=False):
        pass


def test_a_file_system_without_locks_that_die_with_their_holder_is_refused(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", none)
    held = store.locked(tmp_path / "locks" / "one")
    with pytest.raises(DataError, match="locks: cannot be locked: Function not implemented"), held:
        pass


FULL = Path("/dev/full")


def fails(error):
    raise error


WRITERS = {
    "polars, parquet": lambda path: pl.DataFrame({"a": range(100_000)}).write_parquet(path),
    "polars, csv": lambda path: pl.DataFrame({"a": range(100_000)}).write_csv(path),
    "safetensors": lambda path: fails(SafetensorError("I/O error: No space left on device (os error 28)")),
    "bytes": lambda path: path.write_bytes(bytes(100_000)),
}


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("who", WRITERS)
def test_a_full_disk_is_one_line_whoever_writes(tmp_path, who):
    (tmp_path / "made").write_text("stands")
    full = pytest.raises(DataError, match=r"made: cannot be written: No space left on device")
    with full, store.atomic(tmp_path / "made") as made:
        made.symlink_to(FULL)
        WRITERS[who](made)
    assert (tmp_path / "made").read_text() == "stands" and [*tmp_path.iterdir()] == [tmp_path / "made"]


@pytest.mark.parametrize("name", ["gone", "x" * 300])
def test_what_is_refused_of_a_file_elsewhere_is_said_of_that_file(tmp_path, name):
    (tmp_path / "made").mkdir()
    with pytest.raises(DataError) as told, store.scratch(tmp_path / "made", "a table"):
        (tmp_path / name).read_bytes()
    assert str(told.value).startswith(f"{tmp_path / name}: ") and "a table" not in str(told.value)
    refused = pytest.raises(DataError, match=r"a table: cannot be written")
    with refused, store.scratch(tmp_path / "made", "a table") as made:
        (made / "not there" / "file").write_bytes(b"")


def test_what_a_library_says_else_passes(tmp_path):
    with pytest.raises(pl.exceptions.ComputeError, match="another thing"), store.atomic(tmp_path / "made"):
        raise pl.exceptions.ComputeError("another thing (error 28)")


def test_a_folder_of_thousands_is_not_looked_through_at_every_write(tmp_path, monkeypatch):
    """A study of 1,350 jobs spent half its time in looking through its cache."""
    looks = []
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: looks.append(folder) or iterdir(folder))
    for number in range(20):
        store.write_text(tmp_path / "few" / f"{number}", "x")
    assert len(looks) == 20
    (tmp_path / "many").mkdir()
    for number in range(1001):
        (tmp_path / "many" / f"{number}").touch()
    looks.clear()
    for number in range(20):
        store.write_text(tmp_path / "many" / f"new {number}", "x")
    assert len(looks) == 1
