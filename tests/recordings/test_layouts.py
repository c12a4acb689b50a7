"""Text files as loggers write them: what stands around the names of the columns, separators, encodings."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.errors import DataError
from plait.recordings.tables import numbers, read_table

ROWS = [(i / 50, np.sin(i), 9.8, i % 3) for i in range(40)]


def written(folder, text, encoding="utf-8", name="log.csv"):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return file


def lines(separator=",", names=("time", "x", "y", "k"), form="{:.5f}"):
    head = [separator.join(names)] if names else []
    return "\n".join([*head, *(separator.join(form.format(cell) for cell in row) for row in ROWS)]) + "\n"


RULE = "-" * 20
FILES = {
    "plain": lines(),
    "tabs": lines("\t"),
    "bars": lines("|"),
    "blanks": lines(" "),
    "wide blanks": lines("   "),
    "decimal commas": lines(";").replace(".", ","),
    "excel's first line": "sep=;\n" + lines(";").replace(".", ","),
    "excel's, quoted": '"sep=\t"\n' + lines("\t"),
    "comments": "# logger 1.2\n# subject: 7, left\n" + lines(),
    "names in a comment": "# made by hand\n# time x y k\n" + lines(" ", names=()),
    "xsens": "// Start Time: Unknown\n// Update Rate: 50.0Hz\n// Flags: AHS Disabled\n" + lines("\t"),
    "actigraph": f"{RULE} Data File Created By X date format M/d/yyyy at 50 Hz {RULE}\nSerial Number: XXX\n"
    f"Start Time 12:00:00\nStart Date 5/6/2024\nCurrent Battery Voltage: 4.2     Mode = 12\n{RULE}\n"
    + lines(),
    "settings above": "Device,IMU-7\nFirmware,1.0\nRate,50 Hz\n\n" + lines(),
    "units below": lines().replace("\n", "\ns,m/s^2,m/s^2,-\n", 1),
    "shimmer": '"sep=\t"\n' + lines("\t").replace("\n", "\nms\tm/(s^2)\tm/(s^2)\tno\t\n", 1),
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_loggers_own_layouts_are_read(tmp_path, text, encoding):
    table = read_table(written(tmp_path, text, encoding), logger=True)
    assert table.frame.columns == ["time", "x", "y", "k"] and len(table.frame) == len(ROWS)
    for name, column in zip(table.frame.columns, np.array(ROWS).T, strict=True):
        np.testing.assert_allclose(numbers(table, name), column, atol=1e-5)
    place = next(
        i for i, line in enumerate(text.split("\n"), 1) if line.strip().startswith(("0.00000", "0,00000"))
    )
    assert table.at(0).endswith(f"line {place}")
    if place > 3:
        assert (
            any("not read" in note or "units" in note for note in table.notes)
            or "sep=" in text
            or "by hand" in text
        )
    assert (table.rate_hz == 50) == ("50 Hz" in text or "50.0Hz" in text)


def test_units_below_the_names_are_told(tmp_path):
    assert read_table(written(tmp_path, FILES["units below"]), logger=True).units["time"] == "s"
    with pytest.raises(DataError, match="line 2: 's' in column 'time', expected a number"):
        numbers(read_table(written(tmp_path, FILES["units below"])), "time")


def test_western_letters_are_read_and_said_for_loggers_only(tmp_path):
    file = written(tmp_path, "time,acc (m/s²),temp (°C)\n0,1,2\n1,2,3\n", "latin-1")
    table = read_table(file, logger=True)
    assert table.frame.columns == ["time", "acc (m/s²)", "temp (°C)"]
    assert table.notes == ("line 1 is no UTF-8: read as Windows-1252 (Latin-1)",)
    with pytest.raises(DataError, match="line 1: expected text in UTF-8"):
        read_table(file)


def test_a_file_without_names_says_what_to_say(tmp_path):
    file = written(tmp_path, lines(names=()))
    with pytest.raises(
        DataError, match=re.escape('line 1: numbers, expected the names of the columns; say names = ["c1"')
    ):
        read_table(file)
    table = read_table(file, names=["time", "x", "y", "k"])
    assert len(table.frame) == 40 and table.at(0).endswith("line 1")
    empatica = written(tmp_path, "1715000000.0, 1715000000.0, 1715000000.0\n32.0, 32.0, 32.0\n1,2,3\n4,5,6\n")
    asked = (
        "lines 1 and 2 hold a start (1715000000.0) and a rate (32.0), "
        "expected the names of the columns; say names = "
    )
    with pytest.raises(
        DataError, match=re.escape(asked) + r'\["c1", "c2", "c3"\], first_line = 3, rate_hz = 32$'
    ):
        read_table(empatica)


def test_the_line_of_the_names_can_be_said(tmp_path):
    file = written(tmp_path, "a,b,c,d\nw,v,u,t\n" + lines())
    assert read_table(file, header_line=3).frame.columns == ["time", "x", "y", "k"]
    assert read_table(file, header_line=3, names=["p", "q", "r", "s"]).at(0).endswith("line 4")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    above=st.lists(st.text(alphabet="abcXYZ -:/.#%()=0123456789", max_size=40), max_size=12),
    separator=st.sampled_from([",", ";", "\t"]),
)
def test_what_stands_above_never_shifts_a_column(tmp_path, above, separator):
    text = "\n".join([*above, lines(separator)])
    try:
        table = read_table(written(tmp_path, text), logger=True)
    except DataError as error:
        assert "\n" not in str(error)
        return
    assert table.frame.columns == ["time", "x", "y", "k"]
    np.testing.assert_allclose(numbers(table, "x"), np.array(ROWS)[:, 1], atol=1e-5)


def test_a_start_and_a_rate_above_one_column_are_no_names(tmp_path):
    file = written(tmp_path, "1715000000.0\n64.0\n" + "".join(f"{i % 7}\n" for i in range(640)))
    asked = (
        "lines 1 and 2 hold a start (1715000000.0) and a rate (64.0), "
        "expected the names of the columns; say names = "
    )
    with pytest.raises(DataError, match=re.escape(asked) + r'\["c1"\], first_line = 3, rate_hz = 64$'):
        read_table(file)


@pytest.mark.parametrize("row", ["{0}.25,walk,3\n", "{0},imu,-3\n", "-0.{0}\n", "0.{0}\n"])
def test_the_first_row_of_a_log_without_names_is_none(tmp_path, row):
    file = written(tmp_path, "".join(row.format(i) for i in range(1, 40)))
    with pytest.raises(
        DataError, match=r"line 1: numbers, expected the names of the columns; say names = \[\"c1\""
    ):
        read_table(file, logger=True)


def test_names_that_are_numbers_are_names_above_numbers(tmp_path):
    file = written(tmp_path, "time,1,2,3\n" + "".join(f"{i},4,5,{i % 3}\n" for i in range(40)))
    assert read_table(file, logger=True).frame.columns == ["time", "1", "2", "3"]


def test_names_in_a_comment_above_rows_that_hold_text_too(tmp_path):
    rows = "".join(f"{10**16 + i},{i},imu,{i % 5}\n" for i in range(40))
    table = read_table(written(tmp_path, "%time,seq,frame_id,x\n" + rows), logger=True)
    assert table.frame.columns == ["time", "seq", "frame_id", "x"] and len(table.frame) == 40


def test_comments_among_the_rows_and_the_names_again_are_no_rows(tmp_path):
    rows = lines().split("\n")
    text = "\n".join([*rows[:10], "# battery low", *rows[10:20], rows[0], *rows[20:-1], "# end", ""])
    table = read_table(written(tmp_path, text), logger=True)
    np.testing.assert_allclose(numbers(table, "time"), [row[0] for row in ROWS], atol=1e-5)
    assert table.notes == ("line 22, the names again: left out", "lines 11, 44, comments: left out")
    assert table.at(39).endswith("line 43")
    signs = read_table(written(tmp_path, "tag,x\n" + "".join(f"#{i},{i}\n" for i in range(20))), logger=True)
    assert len(signs.frame) == 20


@pytest.mark.parametrize("separator", [",", "\t", " "])
def test_names_that_come_again_in_another_order_are_refused(tmp_path, separator):
    names, again = separator.join("txyk"), separator.join("tykx")
    rows = "\n".join(separator.join(f"{cell:.5f}" for cell in row) for row in ROWS)
    same = f"# {names}\n{rows}\n# {names}\n{rows}\n"
    assert len(read_table(written(tmp_path, same), logger=True).frame) == 2 * len(ROWS)
    with pytest.raises(
        DataError, match=r"line 42: the names of the columns again, in another order \(t, y, k"
    ):
        read_table(written(tmp_path, f"# {names}\n{rows}\n# {again}\n{rows}\n"), logger=True)
