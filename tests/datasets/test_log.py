"""Rows of files as readings: which of them are any, and columns of tables by name."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from plait.datasets.log import columns_of, kept
from plait.errors import DataError

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
