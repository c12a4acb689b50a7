"""The times of a log's rows: clocks coarser than the rate, clocks that were set, ways to write a time."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from plait.errors import DataError
from plait.recordings.logs import Log, read_log

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
X = Log(("x",), "t")


def log_of(folder, times, values, how=X, name="log.csv"):
    """What is read of a file with a row for each time, and what is said of it."""
    file = folder / name
    file.write_text("t,x\n" + "".join(f"{t},{v}\n" for t, v in zip(times, values, strict=True)))
    said = []
    return read_log(file, how, said), said


def test_thirty_readings_a_second_survive_a_clock_of_whole_seconds(tmp_path):
    t = np.arange(600) / 30 + 0.4
    start = datetime(2024, 5, 6, 12, tzinfo=UTC)
    written = [(start + timedelta(seconds=int(s))).strftime("%Y-%m-%dT%H:%M:%S") for s in t]
    log, said = log_of(tmp_path, written, np.sin(2 * np.pi * 3 * t), Log(("x",), "t", "iso"))
    assert len(log.times) == 600 and log.rate_hz == pytest.approx(30)
    assert log.at(np.arange(0.5, 18, 1 / 60)).std() == pytest.approx(0.707, abs=0.03)
    assert log.times[0] == 0 and np.abs(log.times - (t - t[0])).max() < 1 / 30
    assert said == ["600 of 600 rows share 21 times: spread evenly until the next time, 30 readings a second"]


@quick
@given(
    rate_hz=st.floats(3, 2000),
    quantum_s=st.sampled_from([1.0, 0.5, 0.1, 0.01, 0.001]),
    phase=st.floats(0, 1),
    kept=st.floats(0.97, 1),
    seed=st.integers(0, 99),
)
def test_no_reading_is_averaged_away_however_coarse_its_clock(
    tmp_path, rate_hz, quantum_s, phase, kept, seed
):
    count = 400 if rate_hz * quantum_s < 40 else round(10 * rate_hz * quantum_s)
    true_s = (phase + np.arange(count)) / rate_hz
    true_s = true_s[np.random.default_rng(seed).uniform(size=count) < kept]
    stamps = np.floor(true_s / quantum_s + 1e-9) * quantum_s
    log, said = log_of(tmp_path, [f"{s:.6f}" for s in stamps], np.arange(len(stamps)))
    assert len(log.times) == len(stamps) and (np.diff(log.times) > 0).all()
    np.testing.assert_array_equal(log.values[:, 0], np.arange(len(stamps)))
    shift = log.times - true_s
    assert np.ptp(shift) < 2 * quantum_s + 1 / rate_hz
    assert any("spread evenly" in line for line in said) == (len(set(stamps)) < len(stamps))


def test_packets_that_share_an_irregular_arrival_were_taken_before_it(tmp_path):
    rng = np.random.default_rng(0)
    taken = np.arange(500) / 50
    arrival = np.repeat(taken[9::10] + np.sort(rng.uniform(0, 0.03, 50)) + rng.uniform(0, 0.02, 50), 10)
    log, said = log_of(tmp_path, arrival, np.arange(500))
    assert len(log.times) == 500 and "as packets come, 49.8" in said[0]
    assert np.std(log.times - taken) < 0.02
    crowd = np.concatenate([np.full(200, 1.0), 1.02 + np.arange(400) / 50])
    with pytest.raises(
        DataError, match=r"log.csv: line 2: 200 rows share this time, at .* readings a second"
    ):
        log_of(tmp_path, crowd, np.arange(600))


def test_rows_that_repeat_others_are_dropped_and_rows_of_other_columns_joined(tmp_path):
    twice = np.repeat(np.arange(20) / 10, 2)
    log, said = log_of(tmp_path, twice, np.repeat(np.arange(20), 2))
    np.testing.assert_array_equal(log.values[:, 0], np.arange(20))
    assert said == ["20 rows repeat the one before them, times and all: left out"]
    (tmp_path / "joined.csv").write_text(
        "t,x,y\n" + "".join(f"{i / 10},{i},\n{i / 10},,{-i}\n" for i in range(20))
    )
    said = []
    log = read_log(tmp_path / "joined.csv", Log(("x", "y"), "t"), said)
    np.testing.assert_array_equal(log.values, np.stack([np.arange(20), -np.arange(20)], 1))
    assert said == ["40 of 40 rows share 20 times: each fills other columns, so they are joined"]


def test_times_that_went_through_float32_are_refused(tmp_path):
    t = np.arange(0, 200, 0.02)
    pl.DataFrame({"t": (1.715e9 + t).astype(np.float32), "x": t}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"10000 rows share 2 times, 128 s apart, expected a time for each"):
        read_log(tmp_path / "log.parquet", X)


def test_a_clock_that_starts_in_1970_is_refused_with_its_line_and_can_be_told(tmp_path):
    times = [int(1000 * s + (4000 if s < 1 else 1_715_000_000_000)) for s in np.arange(0, 20, 0.02)]
    message = (
        r"log.csv: line 52: the clock jumps forward by 54.3 years \(1714999996 s\), .* say clock_set = \[52\]"
    )
    with pytest.raises(DataError, match=message):
        log_of(tmp_path, times, np.arange(1000), Log(("x",), "t", "ms"))
    log, said = log_of(tmp_path, times, np.arange(1000), Log(("x",), "t", "ms", clock_set=(52,)))
    np.testing.assert_allclose(log.times, np.arange(1000) * 0.02, atol=1e-6)
    assert not said
    with pytest.raises(DataError, match="clock_set names line 5000, expected a later row than the first"):
        log_of(tmp_path, times, np.arange(1000), Log(("x",), "t", "ms", clock_set=(5000,)))


@quick
@given(
    jumps=st.lists(
        st.tuples(st.integers(1, 199), st.floats(-1e10, 1e10)),
        min_size=1,
        max_size=4,
        unique_by=lambda j: j[0],
    ),
    rate_hz=st.floats(0.5, 200),
)
def test_a_jump_is_said_or_refused_with_its_line_and_costs_no_memory(tmp_path, jumps, rate_hz):
    times = np.arange(200) / rate_hz
    for row, size in jumps:
        times[row:] += size
    try:
        log, said = log_of(
            tmp_path, [f"{t:.6f}" for t in times], np.arange(200), Log(("x",), "t", max_gap_s=3 / rate_hz)
        )
    except DataError as error:
        assert any(f"line {row + 2}:" in str(error) for row, _ in jumps) or "is no time in s" in str(error)
    else:
        assert np.isnan(log.at(np.linspace(-9e9, 9e9, 50))).any()
        for row, size in jumps if len(jumps) <= 3 else []:
            if size > 4 / rate_hz:
                assert (
                    f"before line {row + 2}" in said[-1]
                    and f"{times[row] - times[row - 1]:.6g} s" in said[-1]
                )


def test_a_clock_set_by_less_than_a_gap_is_said_too(tmp_path):
    times = np.arange(1000) / 50 + 0.35 * (np.arange(1000) >= 500)
    _, said = log_of(tmp_path, times.round(4), np.arange(1000))
    assert said == [
        "readings are bridged over 0.37 s before line 502 (at 9.98 s): usually they are 0.02 s apart"
    ]


@quick
@given(
    st.lists(
        st.tuples(st.integers(2, 198), st.floats(-1e9, 1e9)), min_size=1, max_size=3, unique_by=lambda j: j[0]
    )
)
def test_a_clock_that_is_told_to_have_been_set_goes_on(tmp_path, jumps):
    times = np.arange(200) / 50
    for row, size in jumps:
        times[row:] += size
    how = Log(("x",), "t", clock_set=tuple(row + 2 for row, _ in jumps))
    log, _ = log_of(tmp_path, [f"{t:.6f}" for t in times], np.arange(200), how)
    np.testing.assert_allclose(log.times, np.arange(200) / 50, atol=2e-5)


@pytest.mark.parametrize(
    "cells",
    [
        ["5/6/2024 11:59:59.50", "5/6/2024 12:00:00.00", "5/6/2024 12:00:00.75"],
        ["05/06/2024 11:59:59.50 AM", "05/06/2024 12:00:00.00 PM", "05/06/2024 12:00:00.75 PM"],
        ["31.12.2024 23:59:59,50", "01.01.2025 00:00:00,00", "01.01.2025 00:00:00,75"],
        ["12/31/2024 23:59:59.50", "1/1/2025 00:00:00.00", "1/1/2025 00:00:00.75"],
        ["23:59:59.50", "00:00:00.00", "00:00:00.75"],
        ["59:59.50", "00:00.00", "00:00.75"],
        ["2024-05-06 11:59:59:500", "2024-05-06 12:00:00:000", "2024-05-06 12:00:00:750"],
        [
            "2024-05-06T11:59:59.500000000Z",
            "2024-05-06T12:00:00.000000000Z",
            "2024-05-06T12:00:00.750000000Z",
        ],
        ["2024-05-06 11:59:59.5 UTC", "2024-05-06 12:00:00 UTC", "2024-05-06 12:00:00.75 UTC"],
    ],
)
def test_written_times_are_read_as_people_and_loggers_write_them(tmp_path, cells):
    file = tmp_path / "log.csv"
    file.write_text("t;x\n" + "".join(f"{cell};1\n" for cell in cells))
    np.testing.assert_allclose(read_log(file, Log(("x",), "t", "iso")).times, [0, 0.5, 1.25], atol=1e-6)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["5/6/2024 12:00:00", "8/6/2024 12:00:00"], "may be day or month first"),
        (["12:00", "12:01"], "line 2: '12:00' in column 't' may be minutes or hours"),
        (["12:00:00", "soon"], "line 3: 'soon' in column 't', expected an ISO 8601 time"),
        (["12:00:00", "2024-05-06 12:00:00"], "expected an ISO 8601 time"),
        (["12:75:00", "12:76:00"], "line 2: '12:75:00'"),
    ],
)
def test_written_times_that_may_be_several_are_refused(tmp_path, cells, message):
    with pytest.raises(DataError, match=message):
        log_of(tmp_path, cells, np.arange(len(cells)), Log(("x",), "t", "iso"))


@pytest.mark.parametrize(
    ("unit", "times"),
    [
        ("d", [45418.5, 45418.5 + 0.5 / 86400, 45418.5 + 1.25 / 86400]),
        ("min", [0, 0.5 / 60, 1.25 / 60]),
        ("h", [0, 0.5 / 3600, 1.25 / 3600]),
        ("ticks", [638_506_080_000_000_000, 638_506_080_005_000_000, 638_506_080_012_500_000]),
        (32768, [0, 16384, 40960]),
    ],
)
def test_units_of_spreadsheets_and_counters(tmp_path, unit, times):
    log, _ = log_of(tmp_path, times, [1, 2, 3], Log(("x",), "t", unit))
    np.testing.assert_allclose(log.times, [0, 0.5, 1.25], atol=1e-4)


def test_only_the_rows_that_are_meant(tmp_path):
    file = tmp_path / "log.csv"
    file.write_text("s,t,x\n" + "".join(f"{k},{i / 10},{i * k}\n" for i in range(20) for k in (1, 4)))
    for value in (4, 4.0, "4"):
        log = read_log(file, Log(("x",), "t", where={"s": value}, first_line=12, last_line=31))
        np.testing.assert_array_equal(log.values[:, 0], 4 * np.arange(5, 15))
    with pytest.raises(DataError, match="no row where s = 7, expected some"):
        read_log(file, Log(("x",), "t", where={"s": 7}))
    with pytest.raises(DataError, match="no column 'k'"):
        read_log(file, Log(("x",), "t", where={"k": 7}))


def answer(error):
    """The lines that a refusal proposes; something else may be proposed behind them."""
    lines, _ = json.JSONDecoder().raw_decode(str(error.value).split("clock_set = ")[1])
    return tuple(lines)


@quick
@given(
    bits=st.sampled_from([14, 16]),
    start=st.integers(0, 10**6),
    rate_hz=st.floats(5, 200),
    seed=st.integers(0, 99),
)
@example(bits=14, start=15813, rate_hz=11.0, seed=1)
def test_a_clock_that_wraps_is_asked_about_once_and_the_answer_works(tmp_path, bits, start, rate_hz, seed):
    true = np.cumsum(np.random.default_rng(seed).uniform(0.5, 1.5, 2000)) / rate_hz
    ms = (start + (1000 * true).astype(np.int64)) % 2**bits
    wraps = np.flatnonzero(np.diff(ms) < 0)
    assume(1 <= len(wraps) <= 12)
    with pytest.raises(DataError, match=r"line \d+: the clock runs backwards .* say clock_set = ") as error:
        log_of(tmp_path, ms, np.arange(2000), Log(("x",), "t", "ms"))
    lines = answer(error)
    assert lines == tuple(wraps + 3)
    log, _ = log_of(tmp_path, ms, np.arange(2000), Log(("x",), "t", "ms", clock_set=lines))
    assert len(log.times) == 2000 or rate_hz > 50
    assert np.abs(log.times[-1] - (true[-1] - true[0])) < len(lines) / rate_hz + 0.01
    # what was answered in part is asked with the rest
    with pytest.raises(DataError, match=r"clock_set = ") as error:
        log_of(tmp_path, ms, np.arange(2000), Log(("x",), "t", "ms", clock_set=lines[1:]))
    assert answer(error) == lines


def test_what_runs_backwards_again_and_again_is_no_clock_that_was_set(tmp_path):
    unpadded = [f"10:00:{i // 50:02d}.{20 * i % 1000}" for i in range(1000)]  # .20 for .020
    with pytest.raises(
        DataError, match=r"line 7: .*it does so 20 times, .*fractions lack their zeros.*say rate_hz"
    ):
        log_of(tmp_path, unpadded, np.arange(1000), Log(("x",), "t", "iso"))


def test_padding_below_a_shorter_log_is_left_out(tmp_path):
    t = np.arange(300) / 50
    log, said = log_of(tmp_path, [*t, *[""] * 200], [*range(300), *[""] * 200])
    np.testing.assert_allclose(log.times, t)
    assert said == ["200 rows hold neither a time nor a reading: left out"]
    with pytest.raises(DataError, match="200 of 500 rows have no time"):
        log_of(tmp_path, [*t, *[""] * 200], range(500))


def test_a_log_that_is_slower_than_its_longest_gap_is_said_with_what_helps(tmp_path):
    slow = np.arange(50) * 2.0
    _, said = log_of(tmp_path, slow, range(50))
    assert len(said) == 1
    assert said[0].startswith("no reading for 49 times, 98 s in all")
    assert said[0].endswith("usually readings are 2 s apart, expected a longer max_gap_s")
    assert not log_of(tmp_path, slow, range(50), Log(("x",), "t", "s", max_gap_s=6.0))[1]


def written_clock(count, sets, rng):
    """Seconds of `count` readings, 0.02 s apart and a millisecond off, by a clock that is set at `sets`."""
    written = 0.02 * np.arange(count) + rng.integers(-3, 4, count) / 1000
    for row, by_s in sets:
        written[row:] += by_s
    return written.round(3)


def packets(count, row, kind, size):
    """In which order rows arrive: at `row`, a packet of `size` comes again, late, or among the next one's."""
    before, first, second = np.arange(row), np.arange(row, row + size), np.arange(row + size, row + 2 * size)
    among = np.stack([second, first], 1).ravel()
    arrive = {"again": [first, first, second], "late": [second, first], "among": [among]}[kind]
    return np.concatenate([before, *arrive, np.arange(row + 2 * size, count)])


@quick
@given(
    kind=st.sampled_from(["again", "late", "among"]),
    size=st.integers(3, 40),
    row=st.integers(100, 500),
    sets=st.lists(
        st.tuples(st.sampled_from([50, 700, 850]), st.floats(-9, -0.1) | st.floats(0.5, 9)),
        max_size=2,
        unique_by=lambda one: one[0],
    ),
    seed=st.integers(0, 99),
)
def test_packets_that_come_again_or_late_are_no_clock_that_was_set(tmp_path, kind, size, row, sets, seed):
    rng = np.random.default_rng(seed)
    stamps, values = written_clock(1000, sorted(sets), rng), rng.normal(size=1000).round(6)
    clean = [f"{t:.3f}" for t in stamps]
    order = packets(1000, row, kind, size)
    arrived = stamps[order], values[order]
    try:
        expected, _ = log_of(tmp_path, clean, values, name="clean.csv")
    except DataError as asked:  # of the true sets, and of nothing else
        lines = json.loads(str(asked).split("clock_set = ")[1].split(";")[0])
        with pytest.raises(DataError, match="if it was set there, say clock_set = ") as error:
            log_of(tmp_path, [f"{t:.3f}" for t in arrived[0]], arrived[1])
        at = json.loads(str(error.value).split("clock_set = ")[1].split(";")[0])
        where = [int(np.flatnonzero(order == line - 2)[0]) + 2 for line in lines]
        assert at == where
        expected, _ = log_of(tmp_path, clean, values, Log(("x",), "t", clock_set=tuple(lines)), "clean.csv")
        how = Log(("x",), "t", clock_set=tuple(at))
    else:
        how = X
    log, said = log_of(tmp_path, [f"{t:.3f}" for t in arrived[0]], arrived[1], how)
    np.testing.assert_array_equal(log.values, expected.values)
    np.testing.assert_allclose(log.times, expected.times, atol=2e-3)
    word = "rows were sent again" if kind == "again" else "rows came late and fill holes exactly"
    assert any(word in line for line in said)


@quick
@given(seed=st.integers(0, 99), back=st.integers(3, 300), levels=st.sampled_from([2, 3, 10, 10**6]))
def test_a_clock_that_was_set_back_is_asked_about_however_little_its_readings_say(
    tmp_path, seed, back, levels
):
    values = np.random.default_rng(seed).integers(0, levels, 1000)
    stamps = np.arange(1000) * 0.02
    stamps[500:] -= back * 0.02
    with pytest.raises(DataError, match=r"line 502: the clock runs backwards .*clock_set = \[502\]"):
        log_of(tmp_path, [f"{t:.3f}" for t in stamps], values)
