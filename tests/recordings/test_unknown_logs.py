"""What ingest makes of a logger's file that nobody described: times, units, readings, sensors."""

import json
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.errors import ConfigError, DataError
from plait.recordings.columns import acceleration
from plait.recordings.folder import read_description, read_logs
from plait.recordings.ingest import ingest
from plait.recordings.logs import read_log
from plait.recordings.time_units import guess_unit, written_clock
from plait.recordings.unknown_logs import describe_log

quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIZES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0}
EPOCH_S = 1_715_000_000
EPOCH = datetime(2024, 5, 6, tzinfo=UTC)


def described(folder, table, video_s=20.0, stream="wrist", **said):
    """What is made of a file with these columns, and what is told."""
    file = folder / f"{stream}.csv"
    pl.DataFrame({name: pl.Series(list(map(str, cells))) for name, cells in table.items()}).write_csv(file)
    told = []
    return describe_log(file, stream, video_s, said, told), told


def noise(rows, seed=0):
    return np.random.default_rng(seed).normal(size=rows).round(4)


def counters(rows, rng):
    """Clocks and counters that loggers write beside their readings, under names that do not say so."""
    row, elapsed = np.arange(rows), np.arange(rows) / 50 + rng.uniform(0, 1e4)
    lost = np.cumsum(rng.choice([1, 1, 1, 1, 2, 3], rows))
    return {
        "row numbers": row + int(rng.integers(0, 1000)),
        "seconds": elapsed.round(4),
        "jittered": (elapsed + rng.uniform(0, 0.05, rows)).round(4),
        "minutes": (elapsed / 60).round(6),
        "nanoseconds": (1e9 * elapsed).astype(np.int64),
        "days": (45000 + elapsed / 86400).round(9),
        "counting down": 10_000 - row,
        "packets of 256": (row + 200) % 256,
        "packets of 16": row % 16,
        "packets of several rows": row // 8 % 256,
        "lost packets": lost % 65536,
        "lost packets, wrapping": lost % 128,
        "many lost packets, wrapping": np.cumsum(rng.choice([1, 1, 1, 7, 40], rows)) % 256,
        "number within its packet": row % 4,
        "second of the minute": row // 10 % 60,
        "milliseconds of the second": 20 * row % 1000,
        "distance": np.cumsum(np.abs(rng.normal(size=rows))).round(3),
        "a charge": 100 - row // 20,
    }


@settings(quick, max_examples=15)
@given(st.integers(0, 10_000), st.integers(120, 700))
def test_clocks_and_counters_are_no_readings_and_readings_are(tmp_path, seed, rows):
    rng = np.random.default_rng(seed)
    found = counters(rows, rng)
    names = {f"c{i}": name for i, name in enumerate(found)}
    readings = {
        "noise": rng.normal(size=rows).round(3),
        "few": rng.integers(0, 4, rows),
        "wave": np.sin(np.arange(rows) / rng.uniform(2, 30)).round(4),
        "pushed": (np.arange(rows) // 30 % 2) * 0.5,
        "acc_x": np.linspace(0, 1, rows),
        "pressure": np.zeros(rows),
    }
    columns = {"time": np.arange(rows) / 50, **{c: found[name] for c, name in names.items()}, **readings}
    log, told = described(tmp_path, columns, rows / 50)
    assert log.columns == tuple(readings), [names.get(c, c) for c in log.columns]
    said = next(line for line in told if "no readings, left out: " in line)
    assert all(f"'{name}'" in said for name in names)
    assert any("'acc_x' rises throughout" in line and "kept as a reading" in line for line in told)


def test_a_phone_s_file_gives_its_three_readings(tmp_path):
    rows = 2000
    t, v = np.arange(rows), {axis: noise(rows, i) for i, axis in enumerate("zyx")}
    columns = {"time": 10_000_000 * t + EPOCH_S * 10**9, "seconds_elapsed": t / 100 + 0.143, **v}
    log, told = described(tmp_path, columns, stream="Accelerometer")
    assert (log.time, log.time_unit, log.columns) == ("time", "ns", ("z", "y", "x"))
    assert log.acceleration == ("z", "y", "x")
    assert any("'seconds_elapsed' (rises throughout, like a clock or a counter)" in line for line in told)
    log, _ = described(
        tmp_path, {"": t, "Unnamed: 0": t, "timestamp": 10 * t + EPOCH_S * 1000, "gyr_x": v["x"]}
    )
    assert (log.time, log.time_unit, log.columns) == ("timestamp", "ms", ("gyr_x",))


@quick
@given(
    name=st.sampled_from(["battery", "battVoltage", "Vbat", "battery_level", "soc (%)", "Vbatt [mV]"]),
    noise_mv=st.floats(0, 50),
    seed=st.integers(0, 99),
)
def test_a_battery_tells_how_late_it_is_however_noisily(tmp_path, name, noise_mv, seed):
    volts = 4100 - np.arange(300) / 15 + noise_mv * noise(300, seed)
    log, told = described(tmp_path, {"time": np.arange(300) / 15, name: volts.round(), "x": noise(300)})
    assert log.columns == ("x",) and any(f"no readings, left out: '{name}'" in line for line in told)
    log, _ = described(tmp_path, {"time": np.arange(300) / 15, name: volts.round()}, columns=[name])
    assert log.columns == (name,)


def test_what_is_named_a_reading_is_one(tmp_path):
    t = np.arange(100)
    with pytest.raises(DataError, match=r"no column of numbers beside 'time' is a reading, .*columns=\["):
        described(tmp_path, {"time": t / 5, "way": t * 1.5})
    log, _ = described(tmp_path, {"time": t / 5, "way": t * 1.5}, columns=["way"])
    assert log.columns == ("way",)
    log, told = described(
        tmp_path, {"time": t / 5, "x": noise(100), "activity": t // 50, "battery": 90 - t // 40}
    )
    assert log.columns == ("x",)
    assert "'activity' (labels by its name)" in " ".join(told) and "'battery'" in " ".join(told)
    hand = {name: noise(100) for name in ("thumb", "middle", "ring")}
    assert "index" in described(tmp_path, {"time": t / 5, "index": np.zeros(100), **hand})[0].columns


@quick
@given(
    unit=st.sampled_from(["s", "ms", "us", "ns"]),
    rate_hz=st.floats(0.5, 400),
    share=st.floats(0.3, 5),
    video_s=st.floats(15, 3600),
    since=st.one_of(st.just(0.0), st.floats(1, 1e5), st.floats(EPOCH_S - 5e8, EPOCH_S + 5e8)),
    name=st.sampled_from(["time", "timestamp", "t"]),
)
def test_a_unit_is_right_or_asked_for(unit, rate_hz, share, video_s, since, name):
    times = since + np.arange(0, min(share * video_s, 4000 / rate_hz), 1 / rate_hz)
    video_s = (times[-1] - times[0]) / share
    decimals = {"s": 6, "ms": 3, "us": 0, "ns": 0}[unit]
    guess = guess_unit(name, np.round(times / SIZES[unit], decimals), video_s)
    assert guess.unit == unit or (guess.unit is None and unit in guess.possible), guess
    if since > 1e5 and share > 0.6 and rate_hz > 1:
        assert guess.unit == unit  # a date leaves no doubt


@quick
@given(
    unit=st.sampled_from(["min", "h", "d"]),
    rate_hz=st.floats(2, 300),
    share=st.floats(0.6, 1.8),
    video_s=st.floats(15, 600),
)
def test_rare_units_are_asked_for_unless_the_name_or_a_date_says_so(unit, rate_hz, share, video_s):
    values = np.arange(0, share * video_s, 1 / rate_hz) / SIZES[unit]
    guess = guess_unit("time", values, video_s)
    assert guess.unit is None and unit in guess.possible
    assert guess_unit(f"Time_{unit}", values, video_s).unit == unit
    assert guess_unit(f"time ({unit})", values, video_s).unit == unit
    assert guess_unit("time", values, video_s, below=unit).unit == unit
    if unit == "d":
        assert guess_unit("time", 45418.5 + values, video_s).unit == "d"
        assert guess_unit("time", 739_000 + values, video_s).unit == "d"


def test_slow_sensors_beside_a_video_of_two_minutes(tmp_path):
    t = np.arange(0, 120, 10)
    for name, written, unit in (
        ("time", 1000 * (EPOCH_S + t), "ms"),
        ("time", EPOCH_S + t, "s"),
        ("Timestamp (ms)", 1000 * (EPOCH_S + t), "ms"),
        ("time", t, "s"),
    ):
        log, told = described(tmp_path, {name: written, "degrees": 20 + t / 10}, 119.0, stream="temp")
        assert (log.time_unit, log.columns, log.max_gap_s) == (unit, ("degrees",), 30.0)
        assert f"temp.csv: times in '{name}' ({unit}), 1 columns" in told[0]


def test_two_units_that_are_possible_are_both_named(tmp_path):
    t = np.arange(0, 20, 0.02)
    with pytest.raises(
        DataError, match=r"may be min \(19.98 s, 50 Hz\) or s \(0.333 s, 3e\+03 Hz\), beside a video of"
    ):
        described(tmp_path, {"time": (t / 60).round(7), "x": noise(1000)})
    ns = 1_700_000_000_000_000 + (t * 1e9).astype(np.int64)  # 20 days after a start, or in 2023 and very slow
    with pytest.raises(DataError, match=r"time_unit=(us|ns) or --set logs.wrist.time_unit=(us|ns)"):
        described(tmp_path, {"time": ns, "x": noise(1000)})
    with pytest.raises(DataError, match="time_unit=s"):  # the name and the numbers do not agree
        described(tmp_path, {"time_s": (1000 * (EPOCH_S + t)).astype(np.int64), "x": noise(1000)})
    assert described(tmp_path, {"time": ns, "x": noise(1000)}, time_unit="ns")[0].time_unit == "ns"


@pytest.mark.parametrize("turns", ["each in turn", "at random", "one after the other"])
@pytest.mark.parametrize("named", [("1", "4"), ("Accelerometer", "Gyroscope"), ("left", "right")])
def test_rows_of_several_sensors_are_never_one_stream(tmp_path, turns, named):
    rng, rows = np.random.default_rng(0), 800
    which = {
        "each in turn": np.arange(rows) % 2,
        "at random": rng.integers(0, 2, rows),
        "one after the other": np.arange(rows) // (rows // 2),
    }[turns]
    t = np.arange(rows) / 40 if turns != "one after the other" else np.arange(rows) % (rows // 2) / 20
    columns = {"sensor": [named[i] for i in which], "time": t, "x": np.where(which, 100, 1) + noise(rows)}
    asked = (
        f"rows of several sensors, told apart by column 'sensor' .*--set logs.wrist.where.sensor={min(named)}"
    )
    with pytest.raises(DataError, match=asked):
        described(tmp_path, columns)
    log, _ = described(tmp_path, columns, where={"sensor": named[1]})
    assert log.columns == ("x",) and log.where == {"sensor": named[1]}
    columns["k"] = columns.pop("sensor")  # a name that says nothing
    if turns != "at random" or not named[0].isdigit():
        with pytest.raises(DataError, match="told apart by column 'k'"):
            described(tmp_path, columns)


def together(kinds, every, name, rng, apart_s=0.003):
    """Sensors that write into one table at 50 Hz, all but the first once in `every` rows; they read alike."""
    rows = []
    for number, kind in enumerate(kinds):
        t = np.arange(0, 1000, every if number else 1) / 50
        wave = np.sin(7 * t + rng.uniform(0, 6)) + 0.05 * rng.normal(size=len(t))
        rows += [(s + apart_s * number, kind, x, y) for s, x, y in zip(t, wave, wave[::-1], strict=True)]
    rows.sort(key=lambda row: row[0])
    written = dict(zip(("time", name, "x", "y"), map(list, zip(*rows, strict=True)), strict=True))
    return {**written, "time": np.round(written["time"], 4), "x": np.round(written["x"], 4)}


@quick
@given(
    kinds=st.sampled_from(
        [(0, 1), (1, 2, 3), (101, 202), ("ACC", "BARO"), ("0x68", "0x69"), ("L", "R", "head")]
    ),
    every=st.sampled_from([1, 2, 5, 20, 50]),
    name=st.sampled_from(["sensor", "k", "unit", "addr", "which"]),
    seed=st.integers(0, 99),
)
def test_sensors_alike_and_slow_beside_fast_ones_are_told_apart(tmp_path, kinds, every, name, seed):
    table = together(kinds, every, name, np.random.default_rng(seed))
    if kinds == (0, 1) and every > 1 and name in ("k", "which"):
        return  # 1 now and then may as well mark what happens
    with pytest.raises(DataError, match=f"rows of several sensors, told apart by column '{name}'"):
        described(tmp_path, table)
    log, _ = described(tmp_path, table, where={name: str(kinds[0])})
    assert log.columns == ("x", "y")


@pytest.mark.parametrize("name", ["unit", "k"])
def test_blocks_of_several_sensors_rows_are_no_clock_that_was_set(tmp_path, name):
    row = np.arange(2000)
    t = (row // 50 * 25 + row % 25) / 50
    with pytest.raises(DataError, match=f"rows of several sensors, told apart by column '{name}'"):
        described(tmp_path, {"time": t, name: 7 + row // 25 % 2, "x": noise(2000)})


def test_sensors_and_kinds_of_rows_are_told_apart_one_after_the_other(tmp_path):
    row = np.arange(2000)
    table = {
        "time": row // 4 / 25,
        "mac": np.array(["1A", "1B"])[row % 2],
        "type": np.array(["acc", "gyr"])[row // 2 % 2],
    }
    table["x"] = noise(2000)
    with pytest.raises(DataError, match="told apart by column 'mac'"):
        described(tmp_path, table)
    with pytest.raises(DataError, match="told apart by column 'type' .*where.type=acc"):
        described(tmp_path, table, where={"mac": "1A"})
    log, told = described(tmp_path, table, where={"mac": "1A", "type": "acc"})
    assert log.columns == ("x",) and any(
        "20 s at 25 Hz" in line or "19.96 s at 25 Hz" in line for line in told
    )


def test_what_names_with_blanks_are_asked_for_can_be_pasted(tmp_path):
    table = together(("Left wrist", "Right wrist"), 1, "Sensor Id", np.random.default_rng(0))
    with pytest.raises(
        DataError, match="--set 'logs.wrist.where.Sensor Id=Left wrist', .*'logs.NAME.where.Sensor Id=...'"
    ):
        described(tmp_path, table)


@quick
@given(
    rates=st.tuples(st.sampled_from([50, 100]), st.sampled_from([1, 10, 40, 70])),
    names=st.sampled_from([("L", "R"), ("acc", "hr"), ("left", "right"), ("Chest", "Wrist")]),
    form=st.sampled_from(["{}_time", "time_{}", "{}_timestamp_s", "{}Time"]),
)
def test_sensors_side_by_side_with_times_of_their_own_are_two_streams(tmp_path, rates, names, form):
    times = [np.arange(0, 20, 1 / rate) + number * 0.003 for number, rate in enumerate(rates)]
    rows = max(map(len, times))
    table = {}
    for name, t, own in zip((form.format(name) for name in names), times, names, strict=True):
        padding = [""] * (rows - len(t))
        table |= {name: [*t.round(4), *padding], f"{own}_x": [*noise(len(t)), *padding]}
    clocks, readings = list(table)[::2], list(table)[1::2]
    with pytest.raises(
        DataError, match="times of their own beside .*; for each a stream of its own, say --set"
    ) as error:
        described(tmp_path, table)
    assert all(f'columns=["{reading}"]' in str(error.value) for reading in readings)
    for clock, reading, t in zip(clocks, readings, times, strict=True):
        log, _ = described(tmp_path, table, time=clock, columns=[reading], time_unit="s")
        read = read_log(tmp_path / "wrist.csv", log.log())
        np.testing.assert_allclose(read.times, t - t[0], atol=1e-3)


def test_a_second_column_of_times_for_the_same_rows_is_no_second_sensor(tmp_path):
    t = np.arange(1000) / 50
    table = {
        "time": t,
        "acc_x": noise(1000),
        "acc_timestamp_ms": (1000 * t + 7000).round(),
        "gyr_time": (t * 1.001).round(4),
    }
    log, _ = described(tmp_path, {**table, "gyr_x": noise(1000, 1)})
    assert log.columns == ("acc_x", "gyr_x")


def test_two_columns_of_times_without_a_row_in_common_are_two_clocks(tmp_path):
    rows = 300
    table = {"left_time": [0.5, *[""] * (rows - 1)], "left_x": noise(rows), "right_x": noise(rows, 1)}
    table["right_time"] = ["", 0.7, *[""] * (rows - 2)]
    with pytest.raises(DataError):
        described(tmp_path, table)


@quick
@given(
    rate_hz=st.sampled_from([5, 25, 50, 128]),
    start_s=st.integers(0, 80_000),
    unit=st.sampled_from(["s", "ms"]),
    dated=st.booleans(),
    video_s=st.sampled_from([70.0, 400.0]),
)
def test_times_of_day_as_numbers_are_no_seconds(tmp_path, rate_hz, start_s, unit, dated, video_s):
    t = np.arange(0, 70, 1 / rate_hz)
    at = [EPOCH + timedelta(seconds=start_s + round(s, 3)) for s in t]
    written = [
        f"{one:{'%Y%m%d' if dated else ''}%H%M%S}{'.' if unit == 's' else ''}{one.microsecond // 1000:03d}"
        for one in at
    ]
    asked = "are dates and times of day" if dated else "are times of day"
    with pytest.raises(DataError, match=f"numbers in 'time' {asked}") as error:
        described(tmp_path, {"time": written, "x": noise(len(t))}, video_s)
    if dated:
        return
    lines = json.loads(re.search(r"clock_set=(\[.*?\])", str(error.value))[1])
    assert f"time_unit={unit}" in str(error.value)
    log, _ = described(
        tmp_path, {"time": written, "x": noise(len(t))}, video_s, clock_set=lines, time_unit=unit
    )
    read = read_log(tmp_path / "wrist.csv", log.log())
    np.testing.assert_allclose(read.times, t, atol=0.003)


@quick
@given(
    rate_hz=st.floats(0.2, 400),
    since=st.one_of(st.floats(0, 1e5), st.floats(1.6e9, 1.8e9)),
    unit=st.sampled_from(list(SIZES)),
)
def test_seconds_are_no_times_of_day(rate_hz, since, unit):
    times = (since + np.arange(2000) / rate_hz) / SIZES[unit]
    assert written_clock(times.round(4)) is None


def test_buttons_states_and_packets_are_no_sensors(tmp_path):
    rng, rows = np.random.default_rng(1), 800
    t = np.arange(rows) / 40
    columns = {
        "time": t, "x": noise(rows), "button": rng.integers(0, 2, rows), "level": rng.integers(0, 5, rows),
        "state": np.where(np.arange(rows) % 100 < 50, "idle", "busy"), "cycle": np.arange(rows) % 8,
        "touch": np.where(rng.uniform(size=rows) < 0.5, "True", "False"),
        "led": np.where(np.arange(rows) % 2, "on", "off"),
    }  # fmt: skip
    assert described(tmp_path, columns)[0].columns == ("x", "button", "level")


@pytest.mark.parametrize("fps", [24, 25, 30, 60])
def test_time_codes_are_asked_about_and_read_as_labels_read_them(tmp_path, fps):
    count = 60 * fps
    first = 86400 * fps - count // 2  # half of it after midnight
    frames = (first + np.arange(count)) % (86400 * fps)
    codes = [
        f"{n // fps // 3600:02d}:{n // fps // 60 % 60:02d}:{n // fps % 60:02d}:{n % fps:02d}" for n in frames
    ]
    columns = {"time": codes, "x": noise(count)}
    with pytest.raises(
        DataError, match=rf"may be time codes .*time_unit=timecode and .*rate_hz={fps} .*=iso"
    ):
        described(tmp_path, columns)
    log, _ = described(tmp_path, columns, time_unit="timecode", rate_hz=fps)
    file = next(tmp_path.glob("*.csv"))
    np.testing.assert_allclose(read_log(file, log.log()).times, np.arange(count) / fps, atol=1e-6)
    with pytest.raises(DataError, match="expected a time code hh:mm:ss:ff at 20 frames a second"):
        described(tmp_path, columns, time_unit="timecode", rate_hz=20)
    with pytest.raises(ConfigError, match="expected rate_hz, its frames in a second"):
        described(tmp_path, columns, time_unit="timecode")


def test_hundredths_after_a_colon_are_hundredths(tmp_path):
    hundredths = 2 * np.arange(1000)
    written = [f"00:00:{n // 100:02d}:{n % 100:02d}" for n in hundredths]
    log, _ = described(tmp_path, {"time": written, "x": noise(1000)})
    assert log.time_unit == "iso"
    slow = [f"00:{n // 60:02d}:{n % 60:02d}:00" for n in range(100)]
    assert described(tmp_path, {"time": slow, "x": noise(100)})[0].time_unit == "iso"


def test_a_clock_set_by_an_hour_is_asked_about(tmp_path):
    t = np.arange(0, 20, 0.02)
    columns = {"time": (t + 3600 * (t >= 10)).round(3), "acc_x": noise(1000)}
    with pytest.raises(
        DataError, match=r"jumps forward by 3600.02 s before line 502, .*clock_set=\[502\] if it was set"
    ):
        described(tmp_path, columns)
    log, told = described(tmp_path, columns, clock_set=[502])
    assert log.clock_set == (502,) and not any("no reading for" in line for line in told)
    _, told = described(tmp_path, columns, clock_set=[])
    assert any(
        "no reading for 3600.02 s (60 minutes) before line 502 (at 9.98 s): windows there" in line
        for line in told
    )
    _, told = described(tmp_path, columns, video_s=4000.0)  # a pause, for all that the video tells
    assert any("no reading for 3600.02 s" in line for line in told)


def test_of_several_columns_of_times_the_finest_is_taken(tmp_path):
    t = np.arange(0, 20, 0.02)
    columns = {
        "date": ["2024-05-06"] * 1000,
        "time": EPOCH_S + t.astype(int),
        "epoch (ms)": (1000 * (EPOCH_S + t)).astype(int),
    }
    log, _ = described(tmp_path, {**columns, "x": noise(1000)})
    assert (log.time, log.time_unit, log.columns) == ("epoch (ms)", "ms", ("x",))


def test_without_times_the_way_out_is_said(tmp_path):
    with pytest.raises(
        DataError, match=r"no column of times known by its name \('n' may be one\).*logs.wrist.rate_hz=HZ"
    ):
        described(tmp_path, {"n": np.arange(100), "x": noise(100)})
    log, told = described(tmp_path, {"n": np.arange(100), "x": noise(100)}, rate_hz=5)
    assert (log.time, log.rate_hz, log.columns) == (None, 5.0, ("x",))
    assert "rows evenly spaced, 1 columns" in told[0]
    with pytest.raises(DataError, match="no column 'when' of times"):
        described(tmp_path, {"n": np.arange(100), "x": noise(100)}, time="when")


def test_parts_of_times_are_no_times(tmp_path):
    row = np.arange(7000)
    columns = {
        "hour": 12 + row // 180_000,
        "minute": row // 3000,
        "second": row // 50 % 60,
        "ms": 20 * row % 1000,
    }
    with pytest.raises(DataError, match="no column of times known by its name"):
        described(tmp_path, {**columns, "x": noise(7000)}, 140.0)
    log, _ = described(tmp_path, {**columns, "x": noise(7000), "time": row / 50}, 140.0)
    assert (log.time, log.columns) == ("time", ("x",))


def test_bursts_are_said(tmp_path):
    t = (np.arange(1000) // 10 * 0.2 + np.arange(1000) % 10 * 0.001).round(4)
    _, told = described(tmp_path, {"time": t, "x": noise(1000)})
    assert any("times come in bursts, one every 0.001 s within them" in line for line in told)


def test_one_file_of_two_sensors_becomes_two_streams_when_told(tmp_path, film):
    source = film(tmp_path / "s1" / "cam.mp4", seconds=8)
    rows = [f"{k},{i / 40},{i % 7 * k},{i % 5}" for i in range(320) for k in (1, 4)]
    (source.parent / "phone.csv").write_text("sensor,time,x,y\n" + "\n".join(rows) + "\n")
    with pytest.raises(DataError, match="told apart by column 'sensor'"):
        ingest([source.parent], tmp_path / "out")
    answers = {"logs.phone.where.sensor": "1", "logs.gyr.file": "phone.csv", "logs.gyr.where.sensor": "4"}
    folder, _ = ingest([source.parent], tmp_path / "out", answers=answers)
    logs = read_logs(folder, read_description(folder))
    assert {name: float(log.values[6, 0]) for name, log in logs.items()} == {"phone": 6.0, "gyr": 24.0}
    template = tmp_path / "mine.toml"
    template.write_text((folder / "recording.toml").read_text())
    again, _ = ingest([source.parent], tmp_path / "again", template=str(template))
    assert read_description(again).logs == read_description(folder).logs


def test_what_reading_asks_for_names_where_to_answer(tmp_path, film):
    source = film(tmp_path / "s1" / "cam.mp4", seconds=8)
    times = [1000 * i // 50 + (0 if i < 50 else 1_715_000_000_000) for i in range(400)]
    (source.parent / "wrist.csv").write_text(
        "time,x\n" + "\n".join(f"{t},{i % 7}" for i, t in enumerate(times))
    )
    with pytest.raises(
        DataError, match=r"line 52: the clock jumps .*clock_set = \[52\] \(--set logs.wrist.KEY=VALUE\)"
    ):
        ingest([source.parent], tmp_path / "out")
    folder, told = ingest([source.parent], tmp_path / "out", answers={"logs.wrist.clock_set": "[52]"})
    assert read_description(folder).logs["wrist"].clock_set == (52,) and any(
        "7.98 s at 50 Hz" in t for t in told
    )


def split_times(seconds, unit, form):
    """Times in two columns: whole seconds, and what is left in `unit`."""
    ticks = np.round(np.asarray(seconds) / SIZES[unit]).astype(np.int64)
    second = round(1 / SIZES[unit])
    whole = ticks // second
    if form == "written":
        clock = [f"{10 + s // 3600}:{s // 60 % 60:02}:{s % 60:02}" for s in whole]
        return {"Time": clock, "rest": ticks % second}
    named = {"ns": "nsecs", "us": "micros", "ms": "msec"}[unit]
    return {"stamp.secs" if form == "dotted" else "secs": whole + EPOCH_S, named: ticks % second}


@quick
@given(
    unit=st.sampled_from(["ms", "us", "ns"]),
    form=st.sampled_from(["plain", "dotted", "written"]),
    rate_hz=st.floats(5, 300),
    seed=st.integers(0, 99),
    gap_s=st.floats(0, 5),
)
def test_seconds_and_their_fractions_in_two_columns_are_one_time(tmp_path, unit, form, rate_hz, seed, gap_s):
    rng = np.random.default_rng(seed)
    t = 0.3 + np.cumsum(rng.uniform(0.2, 1.8, int(20 * rate_hz)) / rate_hz)
    t[len(t) // 2 :] += gap_s
    columns = {**split_times(t, unit, form), "x": noise(len(t)), "latency_ms": rng.integers(0, 900, len(t))}
    file = tmp_path / "wrist.csv"
    log, told = described(tmp_path, columns, 20.0)
    assert log.columns == ("x", "latency_ms") and any("the fraction of the second" in line for line in told)
    read = read_log(file, log.log())
    assert len(read.times) == len(t)
    np.testing.assert_allclose(read.times, t - t[0], atol=0.0011 + 2 * (unit == "ms") / rate_hz)


def test_a_fraction_that_lacks_in_a_row_and_slow_sensors(tmp_path):
    t = np.sort(np.random.default_rng(0).uniform(0, 60, 120))
    columns = split_times(t, "ns", "plain")
    columns["nsecs"] = [*columns["nsecs"][:-1], ""]
    log, _ = described(tmp_path, {**columns, "bpm": 60 + noise(120)}, 60.0)
    assert (log.columns, log.fraction, log.fraction_unit) == (("bpm",), "nsecs", "ns")
    np.testing.assert_allclose(read_log(tmp_path / "wrist.csv", log.log()).times, t[:-1] - t[0], atol=1e-6)
    delays = {"time": np.arange(60), "delay_ms": np.arange(60) * 7 % 90, "bpm": 60 + noise(60)}
    assert described(tmp_path, delays, 60.0)[0].fraction is None


@quick
@given(
    separator=st.sampled_from([";", "\t", ","]),
    values=st.lists(st.integers(1000, 999_999), min_size=20, max_size=40),
    beside=st.sampled_from(["9", "9.81"]),
)
def test_thousands_are_asked_about_and_never_taken_for_decimals(tmp_path, separator, values, beside):
    quote = '"' if separator == "," else ""
    rows = [separator.join((str(i), f"{quote}{v:,}{quote}", beside)) for i, v in enumerate(values)]
    file = tmp_path / "wrist.csv"
    file.write_text("\n".join([separator.join(("time_s", "force", "y")), *rows, ""]))
    with pytest.raises(DataError, match=r"in column 'force' may be .*logs.wrist.decimal=\. or .*decimal=,"):
        describe_log(file, "wrist", 20.0, {}, [])
    log = describe_log(file, "wrist", 20.0, {"missing": [], "decimal": ".", "columns": ["force", "y"]}, [])
    np.testing.assert_allclose(
        read_log(file, log.log()).values, [[v, float(beside)] for v in values], rtol=1e-6
    )


@quick
@given(
    values=st.lists(st.integers(100, 99_999), min_size=20, max_size=40), large=st.integers(1000, 9_999_999)
)
def test_points_before_three_digits_are_asked_about_beside_numbers_without(tmp_path, values, large):
    values = [998, large, 1_234_567, *values]
    file = tmp_path / "wrist.csv"
    rows = [f"{i};{f'{v:,}'.replace(',', '.')};9" for i, v in enumerate(values)]
    file.write_text("\n".join(["time_s;force;y", *rows, ""]))
    with pytest.raises(DataError, match=r"in column 'force' may be .*logs.wrist.decimal=\. or .*decimal=,"):
        describe_log(file, "wrist", 20.0, {}, [])
    log = describe_log(file, "wrist", 20.0, {"missing": [], "decimal": ",", "columns": ["force", "y"]}, [])
    np.testing.assert_allclose(read_log(file, log.log()).values, [[v, 9] for v in values], rtol=1e-6)


def test_three_decimals_are_decimals(tmp_path):
    file = tmp_path / "wrist.csv"
    file.write_text(
        "time_s,x,y\n" + "".join(f"{i / 50:.3f},{36 + i % 7 / 8:.3f},{i % 5}\n" for i in range(1000))
    )
    log = describe_log(file, "wrist", 20.0, {}, [])
    np.testing.assert_allclose(
        read_log(file, log.log()).values[:, 0], 36 + np.arange(1000) % 7 / 8, atol=1e-6
    )


def test_decimal_commas_that_can_be_nothing_else_are_not_asked_about(tmp_path):
    file = tmp_path / "wrist.csv"
    file.write_text(
        "time;x\n" + "".join(f"{i / 50:.3f};{9 + i % 7 / 8:.3f}\n" for i in range(1000)).replace(".", ",")
    )
    log = describe_log(file, "wrist", 20.0, {}, [])
    np.testing.assert_allclose(read_log(file, log.log()).values[:, 0], 9 + np.arange(1000) % 7 / 8, atol=1e-6)


FILLED = ["-9999", "-999", "-999.99", "9999", "99999"]
FILLED += ["-32768", "32767", "65535", "-2147483648", "1e20", "-1e10"]


@quick
@given(
    fill=st.sampled_from(FILLED),
    rows=st.sets(st.integers(5, 190), min_size=1, max_size=30),
    seed=st.integers(0, 99),
)
def test_a_value_that_stands_for_no_reading_is_asked_about(tmp_path_factory, fill, rows, seed):
    folder = tmp_path_factory.mktemp("log")
    ax = [fill if row in rows else cell for row, cell in enumerate(noise(200, seed).tolist())]
    table = {"time": np.arange(200) / 10, "ax": ax, "ay": noise(200, seed + 1)}
    with pytest.raises(
        DataError, match=rf"{len(rows)} rows of column 'ax'.*--set logs.wrist.missing=\["
    ) as refused:
        described(folder, table)
    answer = json.loads(re.search(r"missing=(\[.*?\])", str(refused.value))[1])
    log, _ = described(folder, table, missing=tuple(answer))
    read = read_log(folder / "wrist.csv", log.log()).values[:, 0]
    known = [row for row in range(200) if row not in rows]
    np.testing.assert_allclose(read[known], [ax[row] for row in known], rtol=1e-6)
    assert np.nanmax(np.abs(read)) < 10  # what is missing is bridged, or unknown
    log, _ = described(folder, table, missing=())
    assert read_log(folder / "wrist.csv", log.log()).values[min(rows), 0] == np.float32(fill)


@pytest.mark.parametrize(
    ("name", "value", "low", "high"),
    [("heart_rate", 0, 60, 90), ("spo2", -1, 94, 99), ("flex_1", -1, 300, 700), ("temperature", 0, 20, 24)],
)
def test_a_value_that_a_sensor_cannot_read_is_asked_about(tmp_path, name, value, low, high):
    cells = np.random.default_rng(0).integers(low, high, 200).tolist()
    cells[20:30] = [value] * 10
    with pytest.raises(
        DataError, match=rf"{value} in 10 rows of column '{name}', whose others are .*missing=\[{value}\]"
    ):
        described(tmp_path, {"time": np.arange(200) / 10, name: cells})


@pytest.mark.parametrize(
    "values",
    [
        # a sensor at its end
        np.clip(np.random.default_rng(0).normal(size=200) * 30000, -32768, 32767).round(),
        np.where(np.arange(200) % 50 < 25, 0, 1023),  # a switch
        np.append(np.random.default_rng(0).integers(0, 5, 199), 1023),  # one press
        np.random.default_rng(0).integers(-2, 3, 200),
        np.full(200, 9999),
        np.random.default_rng(0).integers(9000, 11000, 200),
        np.append(np.random.default_rng(0).normal(size=197), [40.0, 41.5, -39.0]),  # a blow
    ],
    ids=["at its end", "switch", "press", "small", "constant", "around", "blow"],
)
def test_readings_that_are_far_from_the_others_are_not_asked_about(tmp_path, values):
    described(tmp_path, {"time": np.arange(200) / 10, "level": values, "ay": noise(200)})


def test_words_that_stand_for_no_reading(tmp_path):
    table = {"time": np.arange(200) / 10, "ax": [*noise(199).tolist(), "ERR"], "ay": noise(200, 1)}
    with pytest.raises(DataError, match="line 201: 'ERR' in column 'ax', expected a number"):
        described(tmp_path, table)
    log, _ = described(tmp_path, table, missing=("err ",))
    assert np.isfinite(read_log(tmp_path / "wrist.csv", log.log()).values[:-1]).all()


@pytest.mark.parametrize("time", [0.0, 9.95, 1999.5])
def test_a_summary_below_a_log_is_advised_about(tmp_path, time):
    table = {"time": [*(np.arange(200) / 10).tolist(), time], "ax": [*noise(200).tolist(), 0.1]}
    if time > 1000:
        with pytest.raises(DataError, match="the clock jumps"):
            described(tmp_path, table)
        return
    with pytest.raises(
        DataError, match="clock_set = .*; if what follows is no reading but a summary, last_line = 201"
    ):
        described(tmp_path, table)
    log, _ = described(tmp_path, table, last_line=201)
    assert len(read_log(tmp_path / "wrist.csv", log.log()).times) == 200


AXES = ["acc_{}", "{sensor}acc_{}", "acc_{}{sensor}", "{sensor}Accel {} (m/s2)", "Acc-{}{sensor} [g]", "a{}"]


@pytest.mark.parametrize("form", AXES)
@pytest.mark.parametrize("order", ["xyz", "zxy", "XYZ"])
@pytest.mark.parametrize("turns", [False, True])
def test_axes_of_acceleration_are_one_sensor_s(form, order, turns):
    """Of two sensors whose axes stand in turn, x of both and y of one were taken for a sensor's three."""
    sensors = ["L_", "R_"] if form.startswith("{sensor}") else ["_left", "_right"]
    sensors = sensors if "{sensor}" in form else [""]
    called = [[form.format(axis, sensor=sensor) for axis in order] for sensor in sensors]
    stand = zip(*called, strict=True) if turns else called
    names = [name for some in stand for name in some]
    assert acceleration(["t", *names, "gyr_x", "gyr_y", "gyr_z"], "log") == tuple(called[0])


def test_axes_of_acceleration_may_be_numbered_but_not_of_two_sensors():
    numbered = ("acc_x_ch1", "acc_y_ch2", "acc_z_ch3")
    assert acceleration(numbered, "log") == numbered
    for names in (["L_acc_x", "R_acc_x", "L_acc_y"], ["acc_x", "acc_y"], ["acc1_x", "acc2_x", "acc3_x"]):
        assert acceleration(names, "log") == ()


def test_a_line_of_units_is_kept(tmp_path):
    rows = [f"{i / 50:.2f},{i % 7 / 8},{(i * 3) % 5 / 4},{(i * 5) % 11}" for i in range(100)]
    file = tmp_path / "imu.csv"
    file.write_text("\n".join(["time,acc_x,acc_y,note", "[s],m/s^2,(m/s²),", *rows]) + "\n", encoding="utf-8")
    assert describe_log(file, "imu", 2.0, {}, []).units == {"acc_x": "m/s^2", "acc_y": "m/s²"}
    file.write_text("\n".join(["time,acc_x,acc_y,note", *rows]) + "\n", encoding="utf-8")
    assert describe_log(file, "imu", 2.0, {}, []).units == {}
