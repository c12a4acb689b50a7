"""Rows of files as readings: which of them are any, and columns of tables by name."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from plait.datasets.log import Log, columns_of, kept
from plait.errors import DataError
from plait.recordings.sensors import SensorLog
from plait.types import Readings

SOME = st.floats(width=32) | st.sampled_from([0.0, 1.0, 2.0, float("nan"), float("inf")])


@given(st.data(), st.integers(0, 6), st.sampled_from([(), (3,), (2, 2)]))
def test_readings_are_the_finite_rows_in_order_one_a_moment(data, rows, reading):
    times = data.draw(arrays.arrays(np.float64, rows, elements=SOME))
    values = data.draw(arrays.arrays(np.float32, (rows, *reading), elements=SOME))
    found = kept(times, values)
    assert np.isfinite(values[found.rows]).all() and (np.diff(found.times) > 0).all()
    np.testing.assert_array_equal(times[found.rows], found.times)
    whole = [
        time
        for time, row in zip(times.tolist(), values, strict=True)
        if np.isfinite([time, *row.ravel()]).all()
    ]
    assert found.times.tolist() == sorted(set(whole)) and found.lost == rows - len(found.times)
    assert found.moved == (whole != sorted(whole))


def test_columns_go_by_their_names(tmp_path):
    file = tmp_path / "log.csv"
    types = {"time": pl.Int64, "x": pl.Float32}
    file.write_bytes(b'\xef\xbb\xbfx,"note",time\r\n1.5,a,3\r\n,b,4\r\n')
    table, others = columns_of(file, types)
    assert table.rows() == [(3, 1.5), (4, None)] and table.columns == ["time", "x"] and others == ["note"]
    for text, said in (
        ("x,time,x\n1,2,3\n", "column 'x' 2 times, expected time, x"),
        ("x\n1\n", "no column 'time', expected time, x"),
        ("", "no column 'time'"),
        ("x,time\n1,2.5\n", "cannot be read, expected numbers and names: could not parse"),
        ("x,time\n1,2,3\n", "cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=said) as refused:
            columns_of(file, types)
        assert "\n" not in str(refused.value)


def of_array(file):
    return np.load(file)


def log_of(folder, times, values):
    file = folder / f"{len(times)}.npy"
    np.save(file, values)
    return Log(file, of_array, times, np.arange(len(times)), 1.0)


@pytest.mark.parametrize("rate_hz", [90.0, 100.0, 210.0, 500.0])
def test_what_a_lower_rate_cannot_show_is_kept_out_as_of_any_log(tmp_path, rate_hz):
    """An accelerometer of 100 to 500 Hz cut at 50: a tremor of 45 Hz came out as one of 5, as strong."""
    times = np.arange(0, 12, 1 / rate_hz)
    waves = np.sin(2 * np.pi * np.outer(times, [2.0, min(45.0, 0.45 * rate_hz)]))
    log = log_of(tmp_path, times, waves.astype(np.float32))
    seconds = 4 + np.arange(200) / 50
    found = log.at(seconds)
    np.testing.assert_allclose(found[:, 0], np.sin(4 * np.pi * seconds), atol=0.01)
    assert found[:, 1].std() < 0.05  # 0.7 of the tremor
    around = np.concatenate([seconds, 0.05 + np.arange(20) / 50, 11.5 + np.arange(26) / 50])  # and both ends
    like = SensorLog(times, waves.astype(np.float32), ("slow", "fast"))
    for some in np.split(around, [200, 220]):
        np.testing.assert_allclose(log.at(some), like.at(some), atol=1e-4)
    posed = np.repeat(waves[:, None], 3, axis=1).astype(np.float32)
    bodies = log_of(tmp_path, times, posed).at(seconds)
    assert bodies.shape == (200, 3, 2)
    np.testing.assert_allclose(bodies, np.repeat(found[:, None], 3, axis=1), atol=1e-6)


@pytest.mark.parametrize("rate_hz", [10.0, 48.0, 50.0, 52.0])
def test_readings_of_the_rate_that_is_asked_for_are_joined_by_straight_lines(tmp_path, rate_hz):
    times = np.arange(0, 12, 1 / rate_hz)
    values = np.random.default_rng(3).normal(size=(len(times), 2)).astype(np.float32)
    log, whole = log_of(tmp_path, times, values), Readings(times, values)
    for seconds in (2 + np.arange(100) / 50, np.array([3.3]), np.array([2.0, 2.01])):
        np.testing.assert_array_equal(log.at(seconds), whole.at(seconds))
    assert log.at(np.empty(0)).shape == (0, 2)
