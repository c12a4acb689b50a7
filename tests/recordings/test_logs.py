import io
import itertools
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import ConfigError, DataError, PlaitError
from plait.recordings.logs import Log, SensorLog, read_log
from plait.types import Stream

X = Log(("x",), "t")


def written(folder, text, name="log.csv"):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def sine(times, frequency_hz, names=("x",)):
    return SensorLog(times, np.sin(2 * np.pi * frequency_hz * times)[:, None].astype(np.float32), names)


def amplitude_and_phase(seconds, values, frequency_hz):
    wave = 2 * np.pi * frequency_hz * seconds
    a, b = np.linalg.lstsq(np.stack([np.sin(wave), np.cos(wave)], 1), values, rcond=None)[0]
    return np.hypot(a, b), np.arctan2(b, a)


def irregular(kind, rate_hz=200.0, stop_s=20.0):
    times = np.arange(0, stop_s, 1 / rate_hz)
    jitter = np.random.default_rng(0).uniform(-0.4, 0.4, len(times)) / rate_hz
    return times + jitter if kind == "jittered" else times


@pytest.mark.parametrize("clock", ["regular", "jittered"])
@pytest.mark.parametrize("rate_hz", [25.0, 30.0])
@pytest.mark.parametrize("frequency_hz", [0.5, 5.0, 9.5])
def test_what_the_new_rate_can_show_survives(clock, rate_hz, frequency_hz):
    seconds = 3.0 + np.arange(134) / rate_hz
    values = sine(irregular(clock), frequency_hz).at(seconds)
    amplitude, phase = amplitude_and_phase(seconds, values[:, 0], frequency_hz)
    assert amplitude == pytest.approx(1.0, abs=0.02)
    assert phase == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("clock", ["regular", "jittered"])
@pytest.mark.parametrize("frequency_hz", [13.0, 20.0, 37.0])
def test_what_the_new_rate_cannot_show_is_kept_out(clock, frequency_hz):
    seconds = 3.0 + np.arange(134) / 25.0
    values = sine(irregular(clock), frequency_hz).at(seconds)
    assert np.abs(values).max() < 0.1
    if clock == "regular":
        assert np.sqrt(np.mean(values**2)) < 0.01


def test_a_constant_stays_itself_up_to_the_ends_however_slow_the_new_rate():
    times = irregular("jittered")
    log = SensorLog(times, np.full((len(times), 2), 3.5, np.float32), ("a", "b"))
    for rate_hz in (1.0, 7.3, 25.0, 150.0):
        np.testing.assert_allclose(log.at(np.arange(times[0], times[-1], 1 / rate_hz)), 3.5, rtol=1e-6)
    np.testing.assert_allclose(log.at(np.array([0.0, 15.0])), 3.5, rtol=1e-6)


def test_a_higher_or_nearly_equal_rate_is_plain_interpolation():
    times, rng = irregular("jittered"), np.random.default_rng(1)
    log = SensorLog(times, rng.normal(size=(len(times), 1)).astype(np.float32), ("x",))
    for rate_hz in (log.rate_hz, 0.97 * log.rate_hz, 500.0):
        seconds = 2.0 + np.arange(50) / rate_hz
        np.testing.assert_allclose(
            log.at(seconds)[:, 0], np.interp(seconds, times, log.values[:, 0]), atol=1e-5
        )


def test_a_window_reads_the_same_whatever_is_asked_with_it():
    log = sine(irregular("regular"), 5.0)
    seconds = 2.0 + np.arange(200) / 25.0
    np.testing.assert_allclose(log.at(seconds)[50:90], log.at(seconds[50:90]), atol=1e-5)


def test_epoch_times_and_dense_bursts_are_read_like_any(tmp_path):
    start_s = 1_700_000_000.0
    seconds = 3.0 + np.arange(20) / 10
    epoch = SensorLog(irregular("regular") + start_s, sine(irregular("regular"), 2.0).values, ("x",))
    np.testing.assert_allclose(
        epoch.at(seconds + start_s), sine(irregular("regular"), 2.0).at(seconds), atol=1e-4
    )
    bursts = (np.arange(20)[:, None] / 10 + np.arange(5) * 1e-8).ravel()
    for shift_s in (0.0, start_s):
        times = np.unique(bursts + shift_s)
        log = SensorLog(times, np.ones((len(times), 1), np.float32), ("x",))
        np.testing.assert_allclose(log.at(times[0] + np.arange(4) / 4), 1.0, rtol=1e-5)
    with pytest.raises(DataError, match="3 rows share 1 times, expected a time for each"):
        read_log(written(tmp_path, "t,x\n0,1\n5e-324,2\n1e-12,3\n"), X)


def test_it_is_a_stream_with_the_rate_of_its_times():
    log = sine(irregular("regular"), 1.0)
    assert isinstance(log, Stream)
    assert log.rate_hz == pytest.approx(200.0)
    assert log.at(np.array([])).shape == (0, 1)
    assert SensorLog(np.array([1.0]), np.ones((1, 1), np.float32), ("x",)).rate_hz == 0.0


def test_gaps_are_unknown_and_the_ends_hold_for_as_long_as_a_gap_may_be():
    times = np.concatenate([np.arange(0, 2.01, 0.1), np.arange(4, 6.01, 0.1)])
    log = SensorLog(times, times[:, None].astype(np.float32), ("x",), max_gap_s=0.5)
    seconds = np.array([-0.6, -0.4, 1.05, 2.05, 3.0, 3.9, 4.05, 6.4, 6.6, np.nan, np.inf])
    known = [np.nan, 0.0, 1.05, np.nan, np.nan, np.nan, 4.05, 6.0, np.nan, np.nan, np.nan]
    read = [log.at(np.array([second]))[0, 0] for second in seconds]
    np.testing.assert_allclose(read, known, rtol=1e-5)
    slow = log.at(np.arange(0.0, 6.0, 0.25))[:, 0]
    assert np.isnan(slow[9:16]).all() and np.isfinite(slow[:9]).all() and np.isfinite(slow[16:]).all()


def test_a_hole_in_one_column_leaves_the_others_alone(tmp_path):
    rows = [f"{i / 10},{'' if 10 <= i < 40 or i == 50 else i},{i}" for i in range(100)]
    log = read_log(written(tmp_path, "t,a,b\n" + "\n".join(rows)), Log(("a", "b"), "t", max_gap_s=0.5))
    assert np.isnan(log.values[10:40, 0]).all() and np.isfinite(log.values[:, 1]).all()
    assert log.values[50, 0] == 50
    np.testing.assert_allclose(log.at(log.times), log.values, atol=1e-4)
    assert np.isnan(log.at(np.array([2.0, 2.07]))[:, 0]).all()


def test_spellings_of_one_log_read_the_same(tmp_path):
    start = 1_700_000_000
    ticks = [0, 40, 81, 120]
    values = ["1.5", "-2", "0.25", "1e1"]
    spelled = {
        "s": [f"{start + t / 1000:.3f}" for t in ticks],
        "ms": [str(start * 1000 + t) for t in ticks],
        "us": [str((start * 1000 + t) * 1000) for t in ticks],
        "ns": [str((start * 1000 + t) * 1_000_000) for t in ticks],
        "iso": [f"2023-11-14T22:13:20.{t:03}Z" for t in ticks],
    }
    spelled["iso "] = [f"2023-11-15 00:13:20.{t:03}+02:00" for t in ticks]
    count = itertools.count()
    for unit, times in spelled.items():
        rows = list(zip(times, values, strict=True))
        tables = [
            "t,x\n" + "".join(f"{t},{x}\n" for t, x in rows),
            "\ufeff t , x ,\r\n\r\n" + "\r\n".join(f"{t}, {x},,\r\n" for t, x in rows),
            "t\tx\n" + "".join(f"{t}\t{x}\n" for t, x in rows),
            "x;t;\n" + "\n".join(f"{x};{t};".replace(".", ",") for t, x in rows) + "\n;;\n;;\n",
            '"t","x"\n' + "\n".join(f'"{t}","{x}"' for t, x in rows),
        ]
        for table in tables:
            file = written(tmp_path, table, f"{next(count)}.csv")
            log = read_log(file, Log(("x",), "t", unit.strip(), absolute=True))
            np.testing.assert_allclose(log.times - start, [0, 0.04, 0.081, 0.12], atol=1e-6, err_msg=table)
            np.testing.assert_array_equal(log.values[:, 0], np.float32([1.5, -2, 0.25, 10]))
            np.testing.assert_allclose(
                read_log(file, Log(("x",), "t", unit.strip())).times, [0, 0.04, 0.081, 0.12], atol=1e-6
            )


def test_parquet_of_numbers_times_or_text(tmp_path):
    ms = np.array([0, 40, 81]) + 1_700_000_000_000
    frames = {
        "ms": pl.DataFrame({"t": ms, "x": [1, None, 3]}),
        "iso": pl.DataFrame({"t": pl.Series(ms).cast(pl.Datetime("ms")), "x": [1.0, float("nan"), 3.0]}),
        "s": pl.DataFrame({"t": [str(t / 1000) for t in ms], "x": ["1", "", "3"]}),
    }
    for unit, frame in frames.items():
        frame.write_parquet(tmp_path / f"{unit}.parquet")
        log = read_log(tmp_path / f"{unit}.parquet", Log(("x",), "t", unit))
        np.testing.assert_allclose(log.times, [0, 0.04, 0.081], atol=1e-6)
        np.testing.assert_allclose(log.values[:, 0], [1, 1 + 2 * 40 / 81, 3], rtol=1e-5)


def test_without_a_column_of_times_the_rate_says_when(tmp_path):
    log = read_log(written(tmp_path, "x,y\n1,2\n,\n3,4\n"), Log(("y", "x"), rate_hz=4.0, scale=10))
    np.testing.assert_allclose(log.times, [0, 0.25, 0.5])
    np.testing.assert_allclose(log.values, [[20, 10], [30, 20], [40, 30]])
    assert log.names == ("y", "x")


def test_columns_come_as_named_or_as_the_file_has_them(tmp_path):
    file = written(tmp_path, ",t,flex2,acc[0],flex1,note\n0,0,1,2,3,hi\n1,1,4,5,6,ho\n")
    assert read_log(file, Log(("acc[0]", "flex*"), "t")).names == ("acc[0]", "flex2", "flex1")
    assert read_log(file, Log(("flex1", "flex*"), "t")).names == ("flex1", "flex2")


def test_readings_of_one_instant_are_averaged_where_that_is_asked_for(tmp_path):
    rows = [f"{burst / 10},{burst + k}\n" for burst in range(5) for k in (-1, 0, 1)]
    said: list[str] = []
    log = read_log(written(tmp_path, "t,x\n0,\n" + "".join(rows)), Log(("x",), "t", same_time="mean"), said)
    np.testing.assert_allclose(log.times, np.arange(5) / 10)
    np.testing.assert_allclose(log.values[:, 0], np.arange(5))
    assert said == ["16 of 16 rows share 5 times: averaged"]


def test_rows_swapped_within_one_sample_are_sorted_and_a_few_without_a_time_dropped(tmp_path):
    rows = [f"{i},{i}\n" for i in range(200)]
    rows[7], rows[8], rows[50] = rows[8], rows[7], ",50\n"
    log = read_log(written(tmp_path, "t,x\n" + "".join(rows)), X)
    np.testing.assert_array_equal(log.times, log.values[:, 0])
    assert len(log.times) == 199


BAD = {
    "": "empty",
    "\n \n": "empty",
    "t,x\n": "no rows",
    "t,x\n,\n,\n": "every row is empty",
    "t,x\n0,1\n\n0.1,abc\n": "line 4: 'abc' in column 'x', expected a number",
    "t,x\ns,g\nms,1\n": "line 3: 'ms' in column 't', expected a number",
    "t,x\n0,inf\n": "line 2: 'inf' in column 'x', expected a number",
    "t,x\n0,1e40\n": "line 2: '1e40' in column 'x', expected a number of at most 1e+30",
    "t,x\n0,1,5\n": "line 2: more cells than the 2 that the header names; the separator seems to be ','",
    "t;x\n0;1,5\n1;2.5\n": "line 3: '2.5' in column 'x', expected decimal commas or decimal points",
    "t;x\n0;1.234,5\n": "line 2: '1.234,5' in column 'x'",
    't,x\n0,"1\n': "line 2: a quote is open",
    "t,X1\n0,1\n": "no column 'x' (did you mean 'X1'?), expected one of: 'X1'",
    "time,x\n0,1\n": "no column 't', expected one of: 'time', 'x'",
    "t,x,x\n0,1,2\n": "two columns are called 'x'",
    ",,\n0,1,2\n": "no names of columns",
    "t,x\n0,1\n1,2\n2,3\n0.5,4\n": "line 5: the clock runs backwards from 2.000000 s to 0.500000 s",
    "t,x\n0,1\n1,2\n0.6,3\n0.2,4\n-0.2,5\n": "line 6: the clock runs backwards from 1.000000 s to -0.200000 s",  # noqa: E501
    "t,x\n2,1\n1,2\n": "line 3: the clock runs backwards",
    "t,x\n0,1\n,2\n": "1 of 2 rows have no time in 't'",
    "t,x\n,1\n,2\n": "2 of 2 rows have no time in 't'",
    "t,x\n1700000000000,1\n": "line 2: 1700000000000 in column 't' is no time in s: is time_unit right?",
    "t,x\n0,\n1,nan\n": "column 'x' holds no number",
    b"t,x\n0,1\n1,\xff\n": "line 3: 'ÿ' in column 'x', expected a number",
    b"t,x\n0,1\n1,\xff\0\n": "line 3: expected text in UTF-8",
}


@pytest.mark.parametrize(("text", "message"), BAD.items())
def test_a_bad_file_gets_one_line(tmp_path, text, message):
    file = written(tmp_path, text)
    with pytest.raises(DataError, match=re.escape(message)) as raised:
        read_log(file, X)
    assert str(raised.value).startswith(str(file)) and "\n" not in str(raised.value)


def test_files_that_are_no_logs(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_log(tmp_path / "none.csv", X)
    with pytest.raises(DataError, match="dir.csv: a folder, expected a file"):
        (tmp_path / "dir.csv").mkdir()
        read_log(tmp_path / "dir.csv", X)
    with pytest.raises(DataError, match="expected to be one of .csv, .tsv, .txt or .parquet"):
        read_log(written(tmp_path, "t,x\n0,1\n", "log.xlsx"), X)
    with pytest.raises(DataError, match="expected a parquet file"):
        read_log(written(tmp_path, "t,x\n0,1\n", "log.parquet"), X)
    with pytest.raises(DataError, match="line 2: 'noon' in column 't', expected an ISO 8601 time"):
        read_log(written(tmp_path, "t,x\nnoon,1\n"), Log(("x",), "t", "iso"))
    pl.DataFrame({"t": [1], "x": [[1, 2]]}).write_parquet(tmp_path / "list.parquet")
    with pytest.raises(DataError, match=re.escape("column 'x' is of type List(Int64), expected numbers")):
        read_log(tmp_path / "list.parquet", X)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": ()}, "columns is empty"),
        ({"time": None}, "neither time nor rate_hz"),
        (
            {"time_unit": "week"},
            "time_unit is 'week', expected one of s, ms, us, ns, min, h, d, ticks, iso, timecode, or how",
        ),
        ({"time_unit": 0}, "time_unit is 0, expected"),
        ({"same_time": "first"}, "same_time is 'first', expected spread or mean"),
        ({"rate_hz": 0.0}, "rate_hz is 0.0"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"max_gap_s": -1.0}, "max_gap_s is -1.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Log(**{"columns": ("x",), "time": "t"} | settings)


def test_a_sensor_log_that_is_no_stream_is_refused():
    with pytest.raises(DataError, match="one column for 2 names"):
        SensorLog(np.arange(2.0), np.ones((2, 1), np.float32), ("a", "b"))
    with pytest.raises(DataError, match="strictly increase"):
        SensorLog(np.zeros(2), np.ones((2, 1), np.float32), ("a",))


def data_or_error(file, log):
    try:
        read = read_log(file, log)
    except PlaitError as error:
        assert "\n" not in str(error)
        return
    assert (np.diff(read.times) > 0).all() and read.values.shape == (len(read.times), len(read.names))
    step_s = max(float(read.times[-1] - read.times[0]) / 7, 1e-3)
    assert read.at(read.times[0] + np.arange(8) * step_s).shape == (8, len(read.names))


CELL = st.one_of(
    st.text("0123456789.,-+eENan:TZ \"';\t", max_size=8), st.floats().map(str), st.integers().map(str)
)
ROWS = st.lists(st.lists(CELL, max_size=4), max_size=8)
UNITS = st.sampled_from(["s", "ms", "ns", "iso"])


@given(st.one_of(st.binary(), st.text().map(str.encode)), st.sampled_from([".csv", ".tsv", ".parquet"]))
def test_any_bytes_are_data_or_an_error(tmp_path_factory, content, suffix):
    folder = tmp_path_factory.getbasetemp()
    data_or_error(written(folder, content, f"bytes{suffix}"), X)
    data_or_error(written(folder, content, f"bytes{suffix}"), Log(("*",), rate_hz=10.0))
    data_or_error(written(folder, b"t,x\n" + content, f"bytes{suffix}"), X)


@given(ROWS, st.sampled_from([",", ";", "\t"]), UNITS, st.booleans())
def test_any_cells_are_data_or_an_error(tmp_path_factory, rows, separator, unit, absolute):
    text = "\n".join(separator.join(row) for row in [["t", "x", "y"], *rows])
    file = written(tmp_path_factory.getbasetemp(), text, "cells.csv")
    data_or_error(file, Log(("*",), "t", unit, absolute=absolute))


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6), st.integers(0, 10_000))
def test_any_damaged_parquet_is_data_or_an_error(tmp_path_factory, changes, cut):
    buffer = io.BytesIO()
    pl.DataFrame({"t": [0.0, 0.1, 0.2], "x": [1, None, 3]}).write_parquet(buffer)
    content = bytearray(buffer.getvalue())
    for place, byte in changes:
        content[place % len(content)] = byte
    if not changes:
        del content[cut % len(content) :]
    data_or_error(written(tmp_path_factory.getbasetemp(), bytes(content), "damaged.parquet"), X)
