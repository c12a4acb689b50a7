"""What a logger adds to a CSV file, once its line is complete."""

import threading
import time
import warnings
from contextlib import contextmanager

import numpy as np
import pytest

from plait.errors import ConfigError, DataError, PlaitWarning
from plait.live.csv_tail import Tail
from plait.live.growing import Growing
from plait.recordings.folder import Clock, write_sync

LONG_S = 60.0


def wait_for(done):
    until_s = time.monotonic() + LONG_S
    while not done():
        assert time.monotonic() < until_s
        time.sleep(0.01)


@contextmanager
def followed(source):
    """What a source gives, in a list that grows."""
    events, failed = [], []

    def take():
        try:
            for event in source:
                events.append(event)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    if source.file.exists():  # it begins at the end of what is there
        wait_for(lambda: source._growing.number)
    try:
        yield events
    finally:
        source.close()
        thread.join(LONG_S)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def values(events):
    return np.concatenate([event.values for event in events]) if events else np.empty((0, 1))


def lines(start, stop, rate_hz=50.0, sign=".", separator=","):
    """Rows of a time in milliseconds and two readings, the first of which counts them."""
    cells = [
        (f"{i * 1000 / rate_hz:.0f}", str(i), f"{np.sin(i):.4f}".replace(".", sign))
        for i in range(start, stop)
    ]
    return "".join(separator.join(row) + "\n" for row in cells)


HEADER = "t_ms,count_x,y\n"
SAID = {"columns": ("count_x", "y")}


def add(file, text):
    with file.open("a", newline="") as out:
        out.write(text)


def test_rows_are_taken_once_their_line_is_complete(tmp_path):
    file = tmp_path / "glove.csv"
    file.write_text(HEADER + lines(0, 100))
    source = Tail("left", file, SAID)
    assert source.openings[0].names == ("count_x", "y")
    assert source.openings[0].rate_hz == pytest.approx(50) and source.openings[0].clock is None
    with followed(source) as events:
        add(file, lines(100, 110) + "2200,110,0.5")
        wait_for(lambda: len(values(events)) == 10)
        add(file, "678\n\n" + HEADER + "# a comment\n" + lines(111, 112))
        wait_for(lambda: len(values(events)) == 12)
    assert values(events)[:, 0].tolist() == list(range(100, 112))
    assert values(events)[10, 1] == np.float32(0.5678)
    assert all(event.values.dtype == np.float32 for event in events)


def test_times_are_told_by_when_rows_come(tmp_path):
    file = tmp_path / "glove.csv"
    file.write_text(HEADER + lines(0, 100))
    ahead_s = 3e5
    with followed(Tail("left", file, SAID)) as events:
        for number in range(150):
            now_s = time.monotonic()
            add(file, f"{(now_s + ahead_s) * 1000:.3f},{number},0\n")
            time.sleep(0.02)
        wait_for(lambda: len(values(events)) > 100 and values(events)[-1, 0] == 149)
        offset_s = events[-1].arrived_s - events[-1].times[-1]
    times = np.concatenate([event.times for event in events])
    assert (np.diff(times) > 0).all() and offset_s > -0.1


def test_decimal_commas_blanks_and_bad_rows(tmp_path):
    file = tmp_path / "glove.csv"
    file.write_text("t_ms;count_x;y\n" + lines(0, 100, sign=",", separator=";"))
    line = r"line 103: 'oops' in column 'y', expected a number: left out"
    tail = Tail("left", file, SAID)
    with pytest.warns(PlaitWarning, match=line), followed(tail) as events:
        add(file, lines(100, 101, sign=",", separator=";") + "2020;101;oops\n2030;102\n2040;103;oops\n")
        wait_for(lambda: len(values(events)) >= 2)
        add(file, "2060;104;0,5\n")
        wait_for(lambda: len(values(events)) >= 3)
    assert values(events)[:, 0].tolist() == [100, 102, 104]
    assert tail.dropped == 2
    assert np.isnan(values(events)[1, 1]) and values(events)[2, 1] == 0.5
    file = tmp_path / "blanks.txt"
    file.write_text(f"t_ms count_x y\n{lines(0, 100, separator=' ')}")
    with followed(Tail("left", file, SAID)) as events:
        add(file, lines(100, 105, separator="  "))
        wait_for(lambda: len(values(events)) == 5)


@pytest.mark.parametrize("how", ["replaced", "cut"])
def test_a_file_that_begins_anew_is_read_from_its_start(tmp_path, how):
    file = tmp_path / "glove.csv"
    file.write_text(HEADER + lines(0, 100))
    with (
        pytest.warns(PlaitWarning, match="read from its start"),
        followed(Tail("left", file, SAID)) as events,
    ):
        add(file, lines(100, 102))
        wait_for(lambda: len(values(events)) == 2)
        if how == "replaced":
            file.rename(tmp_path / "glove.1.csv")
            time.sleep(0.1)
        file.write_text("y,t_ms,count_x\n")
        add(file, "".join(f"0.5,{2040 + 20 * i},{200 + i}\n" for i in range(5)))
        wait_for(lambda: len(values(events)) >= 7)
    assert values(events)[:, 0].tolist() == [100, 101, 200, 201, 202, 203, 204]


def test_one_that_begins_anew_with_other_columns_is_refused(tmp_path):
    file = tmp_path / "glove.csv"
    file.write_text(HEADER + lines(0, 100))
    source = Tail("left", file, SAID)
    refused = pytest.raises(DataError, match="no column 'y' any more")
    with pytest.warns(PlaitWarning) as said, refused, followed(source):
        file.write_text("t_ms,count_x,z\n" + lines(0, 5))
        wait_for(lambda: source._closed.is_set())
    assert "it was cut short" in str(said[0].message)


def test_a_file_may_appear_later(tmp_path):
    file = tmp_path / "glove.csv"
    said = {**SAID, "time": "t_ms", "time_unit": "ms"}
    with followed(Tail("left", file, said, timeout_s=0.0)) as events:
        time.sleep(0.1)
        file.write_text(HEADER + lines(0, 5))
        wait_for(lambda: len(values(events)) == 5)
    threading.Timer(0.3, lambda: file.with_name("b.csv").write_text(HEADER + lines(0, 100))).start()
    assert Tail("left", tmp_path / "b.csv", SAID, timeout_s=LONG_S).openings[0].names == ("count_x", "y")


def test_a_synchronised_file_has_its_clock(tmp_path):
    file = tmp_path / "glove.csv"
    file.write_text(HEADER + lines(50, 150))
    write_sync(tmp_path, {"left": Clock(0.75, 12.0), "right": Clock(0.0, status="unsure")})
    source = Tail("left", file, SAID, sync=tmp_path / "sync.json")
    assert source.openings[0].clock == Clock(0.75, 12.0)
    with followed(source) as events:
        add(file, lines(150, 160))
        wait_for(lambda: len(values(events)) == 110)
    times = np.concatenate([event.times for event in events])
    assert times == pytest.approx(np.arange(110) / 50)
    with pytest.raises(DataError, match="'right' is unsure"):
        Tail("right", file, SAID, sync=tmp_path / "sync.json")
    with pytest.raises(DataError, match="says nothing of log 'third', expected one of: left, right"):
        Tail("third", file, SAID, sync=tmp_path / "sync.json")
    with pytest.raises(ConfigError, match=r"expected a sync\.json"):
        Tail("left", file, SAID, sync=file)


def test_rows_without_times(tmp_path):
    file = tmp_path / "glove.csv"
    file.write_text("x,y\n" + "".join(f"{np.sin(i)},{i % 7}\n" for i in range(100)))
    with followed(Tail("left", file, {"rate_hz": 50})) as events:
        add(file, "1,2\n3,4\n")
        wait_for(lambda: len(values(events)) == 2)
    times = np.concatenate([event.times for event in events])
    assert np.diff(times) == pytest.approx([0.02], abs=1e-3)


@pytest.mark.parametrize(
    ("content", "said", "line"),
    [
        (None, {}, "no such file within 0.1 s"),
        (HEADER + "0,1,2\n", {}, "fewer than 2 rows within 0.1 s"),
        ("t,x\n" + "".join(f"{20 * i},{i % 7}\n" for i in range(100)), {}, r"may be .*\?time_unit=ms or "),
        (
            "a,b\n" + "".join(f"{i % 5},{i % 7}\n" for i in range(100)),
            {},
            r"say \?time=NAME, or \?rate_hz=HZ",
        ),
        (HEADER + lines(0, 100), {"columns": ("q",)}, "no column 'q'"),
        (
            "t_s,x\n" + "".join(f"{i // 50},{i * i % 7}\n" for i in range(200)),
            {},
            r"share \d+ times.*expected a time for each.* say .*rate_hz",
        ),
        (
            "t_s,x,sensor\n" + "".join(f"{i / 50},{i % 7},{i % 2}\n" for i in range(100)),
            {},
            r"\?where\.sensor=0",
        ),
    ],
)
def test_what_is_not_clear_is_asked(tmp_path, content, said, line):
    file = tmp_path / "glove.csv"
    if content is not None:
        file.write_text(content)
    with pytest.raises(DataError, match=line) as refused:
        Tail("left", file, said, timeout_s=0.1)
    assert str(file) in str(refused.value) and "\n" not in str(refused.value)
    assert "--set logs.left" not in str(refused.value)


def test_bytes_without_an_end_of_line_are_no_line_and_are_not_kept_for_ever(tmp_path):
    file = tmp_path / "x.csv"
    file.write_bytes(b"a\r\nb")
    growing = Growing(file)
    assert growing.read() == [(1, b"a")] and growing.read() == []
    file.write_bytes(b"a\r\nb\nc\n")
    assert growing.read() == [(2, b"b"), (3, b"c")] and growing.anew() is None
    growing.close()


def test_columns_that_are_named_again_in_another_order_are_followed(tmp_path):
    file = tmp_path / "glove.csv"
    file.write_text(HEADER + lines(0, 100))
    write_sync(tmp_path, {"left": Clock(0.0)})
    source = Tail("left", file, SAID, sync=tmp_path / "sync.json")
    turned = [row.split(",") for row in lines(150, 200).split()]
    other = "".join(f"{y},{t},{x}\n" for t, x, y in turned)
    with warnings.catch_warnings(record=True) as caught, followed(source) as events:
        warnings.simplefilter("always", PlaitWarning)
        add(file, HEADER + lines(100, 150) + "y,t_ms,count_x\n" + other + HEADER + lines(200, 250))
        wait_for(lambda: len(values(events)) == 250)
    said = [str(one.message).partition("line ")[2] for one in caught]
    assert said == [f"{number}: columns in another order: followed" for number in (153, 204)]
    np.testing.assert_array_equal(values(events)[:, 0], np.arange(250))
    np.testing.assert_allclose(values(events)[:, 1], np.sin(np.arange(250)), atol=1e-4)
    assert source.dropped == 0
