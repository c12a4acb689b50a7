import errno

import pytest

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
    assert store.cache_folder("clips").parts[-2:] == ("plait", "clips")
