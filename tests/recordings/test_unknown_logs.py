"""What ingest makes of a logger's file that nobody described: times, units, readings, sensors."""

from fractions import Fraction

import av
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.errors import DataError
from plait.recordings.folder import read_description, read_logs
from plait.recordings.ingest import ingest
from plait.recordings.logs import read_log
from plait.recordings.time_units import guess_unit
from plait.recordings.unknown_logs import describe_log

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIZES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0}
EPOCH_S = 1_715_000_000


@pytest.fixture
def film():
    """A function that writes a small grey film."""

    def write(path, seconds):
        path.parent.mkdir()
        with av.open(str(path), "w") as out:
            stream = out.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            for number in range(10 * seconds):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number % 200, np.uint8), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 10)
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        return path

    return write


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
    log, _ = described(tmp_path, {"": t, "Unnamed: 0": t, "timestamp": 10 * t + EPOCH_S * 1000, "gyr_x": v["x"]})
    assert (log.time, log.time_unit, log.columns) == ("timestamp", "ms", ("gyr_x",))


def test_what_is_named_a_reading_is_one(tmp_path):
    t = np.arange(100)
    with pytest.raises(DataError, match=r"no column of numbers beside 'time' is a reading, .*columns=\["):
        described(tmp_path, {"time": t / 5, "way": t * 1.5})
    log, _ = described(tmp_path, {"time": t / 5, "way": t * 1.5}, columns=["way"])
    assert log.columns == ("way",)
    log, told = described(tmp_path, {"time": t / 5, "x": noise(100), "activity": t // 50, "battery": 90 - t // 40})
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
    asked = f"rows of several sensors, told apart by column 'sensor' .*--set logs.wrist.where.sensor={min(named)}"
    with pytest.raises(DataError, match=asked):
        described(tmp_path, columns)
    log, _ = described(tmp_path, columns, where={"sensor": named[1]})
    assert log.columns == ("x",) and log.where == {"sensor": named[1]}
    columns["k"] = columns.pop("sensor")  # a name that says nothing
    if turns != "at random" or not named[0].isdigit():
        with pytest.raises(DataError, match="told apart by column 'k'"):
            described(tmp_path, columns)


def test_buttons_states_and_packets_are_no_sensors(tmp_path):
    rng, rows = np.random.default_rng(1), 800
    t = np.arange(rows) / 40
    columns = {
        "time": t, "x": noise(rows), "button": rng.integers(0, 2, rows), "level": rng.integers(0, 5, rows),
        "state": np.where(np.arange(rows) % 100 < 50, "idle", "busy"), "cycle": np.arange(rows) % 8,
    }  # fmt: skip
    assert described(tmp_path, columns)[0].columns == ("x", "button", "level")


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
        "no reading for 3600.02 s (60 minutes) before line 502 (at 9.98 s): windows there" in line for line in told
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
    columns = {"hour": 12 + row // 180_000, "minute": row // 3000, "second": row // 50 % 60, "ms": 20 * row % 1000}
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
    (source.parent / "wrist.csv").write_text("time,x\n" + "\n".join(f"{t},{i % 7}" for i, t in enumerate(times)))
    with pytest.raises(
        DataError, match=r"line 52: the clock jumps .*clock_set = \[52\] \(--set logs.wrist.KEY=VALUE\)"
    ):
        ingest([source.parent], tmp_path / "out")
    folder, told = ingest([source.parent], tmp_path / "out", answers={"logs.wrist.clock_set": "[52]"})
    assert read_description(folder).logs["wrist"].clock_set == (52,) and any("7.98 s at 50 Hz" in t for t in told)


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
    log = describe_log(file, "wrist", 20.0, {"decimal": ".", "columns": ["force", "y"]}, [])
    np.testing.assert_allclose(read_log(file, log.log()).values, [[v, float(beside)] for v in values], rtol=1e-6)


def test_decimal_commas_that_can_be_nothing_else_are_not_asked_about(tmp_path):
    file = tmp_path / "wrist.csv"
    file.write_text("time;x\n" + "".join(f"{i / 50:.3f};{9 + i % 7 / 8:.3f}\n" for i in range(1000)).replace(".", ","))
    log = describe_log(file, "wrist", 20.0, {}, [])
    np.testing.assert_allclose(read_log(file, log.log()).values[:, 0], 9 + np.arange(1000) % 7 / 8, atol=1e-6)
