"""Several processes at a time, within a memory: all is done, whatever is given up or refused on the way."""

import os
import signal
import sys
import time
import warnings
from pathlib import Path

import pytest

from plait.compute import crew as crews
from plait.compute.crew import Crew, free_memory, held
from plait.errors import ConfigError, DataError, PlaitError, PlaitWarning

LONG_S = 60.0  # nobody waits for so long


@pytest.fixture(autouse=True)
def _quickly(quick_workers):
    """Processes are forked from one that has loaded all."""


def begun(folder):
    """The items that have begun, in that order."""
    file = folder / "begun"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def wait_for(true):
    """Until it is so, or a long time has passed."""
    until = time.monotonic() + LONG_S
    while not true() and time.monotonic() < until:
        time.sleep(0.005)


def squared(item, more):
    more(1)
    more(item)
    return item**2, os.getpid()


def at_work(item, more):
    """How many items were in work while this one was; it ends when two were, or when all have begun."""
    folder, number, count = item
    with (folder / "begun").open("a") as file:
        file.write(f"{number}\n")
    mine = folder / f"in-work-{number}"
    mine.touch()
    more(1)
    seen = [1]

    def with_another():
        seen.append(len(list(folder.glob("in-work-*"))))
        return max(seen) > 1 or len(begun(folder)) == count

    wait_for(with_another)
    mine.unlink()
    return max(seen)


def given_up(item, more):
    """Item 1 ends only when it is begun a second time, item 0 when the process that began item 1 is gone."""
    folder, number = item
    with (folder / "begun").open("a") as file:
        if number == 1:
            (folder / "pid").write_text(str(os.getpid()))
        file.write(f"{number}\n")
    if number == 1:
        more(10)
        wait_for(lambda: begun(folder).count(1) == 2)
    more(1)
    if number == 0:
        wait_for(lambda: 1 in begun(folder) and not Path("/proc", (folder / "pid").read_text()).exists())
    return number


def failing(item, more):
    number, how = item
    if how == "warns":
        warnings.warn(f"item {number}: as it is", PlaitWarning, stacklevel=1)
    if how == "bad":
        raise DataError(f"film-{number}.mp4: damaged")
    if how == "wrong":
        raise ConfigError("encoder: no such")
    if how == "bug":
        return 1 // 0
    if how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    Path(how).touch()
    return number


def test_all_is_done_in_order():
    told = []
    done = Crew(3).each(squared, [*range(7)], told.append)
    assert [square for square, _ in done] == [number**2 for number in range(7)]
    pids = {pid for _, pid in done}
    assert os.getpid() not in pids and len(pids) <= 3
    assert sum(told) == 7 + sum(range(7))
    assert Crew(3).each(squared, []) == []


def test_as_many_are_in_work_as_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(crews, "held", lambda pid: 100)
    seen = Crew(5, memory=250).each(at_work, [(tmp_path, number, 6) for number in range(6)])
    assert max(seen) == 2
    alone = tmp_path / "alone"
    alone.mkdir()
    assert Crew(5, memory=50).each(at_work, [(alone, number, 1) for number in range(1)]) == [1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what processes hold")
def test_what_was_begun_last_is_given_up_where_all_hold_too_much(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(crews, "held", lambda pid: 200 if 1 in begun(tmp_path) else 100)
    items = [(tmp_path, number) for number in range(3)]
    assert Crew(3, memory=250).each(given_up, items, told.append) == [0, 1, 2]
    assert begun(tmp_path) == [0, 1, 1, 2]
    assert sum(told) == 1 + 11 + 1 and min(told) <= 0  # what was given up counts once


def test_a_bad_item_loses_no_other_s_work(tmp_path):
    hows = ["bad", *(str(tmp_path / str(number)) for number in range(1, 5)), "bad"]
    with pytest.raises(DataError, match=r"^film-0.mp4: damaged \(1 of the other 5 failed, too\)$"):
        Crew(2).each(failing, list(enumerate(hows)))
    assert len(list(tmp_path.iterdir())) == 4
    with pytest.raises(DataError, match=r"^film-0.mp4: damaged$"):
        Crew(2).each(failing, list(enumerate(hows[:2])))


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("wrong", ConfigError, "^encoder: no such$"),
        ("bug", PlaitError, "^a worker process failed: ZeroDivisionError: "),
        ("dies", PlaitError, "^a worker process died, perhaps for want of memory: try fewer --workers$"),
    ],
)
def test_anything_else_ends_all(how, kind, said):
    with pytest.raises(kind, match=said):
        Crew(2).each(failing, [(0, how), (1, how)])


def test_warnings_come_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.warns(PlaitWarning, match="^item 7: as it is$"):
        assert Crew(1).each(failing, [(7, "warns")]) == [7]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_memory_that_is_held_and_free(tmp_path):
    assert held(os.getpid()) > 10**6 and held(None) == 0
    assert free_memory() > 10**6
    group = crews._GROUPS[""]
    files = {"memory.max": "1000\n", "memory.current": "300\n", "memory.stat": "anon 1\ninactive_file 50\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert list(crews._left(tmp_path, group)) == [750]
    (tmp_path / "memory.max").write_text("max\n")
    assert list(crews._left(tmp_path, group)) == []
