"""A table whose last line was cut off with its file: no number and no name of it is taken for a whole one."""

import codecs
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plait.datasets import worn
from plait.datasets.log import columns_of
from plait.errors import DataError, PlaitWarning
from plait.recordings.formats.archive import Archive
from plait.recordings.formats.empatica import EMPATICA
from plait.recordings.labels import read_labels
from plait.recordings.layouts import text_of
from plait.recordings.logs import Log, read_log
from plait.recordings.tables import read_table
from plait.recordings.unended import check_end, doubt

XYZ = Log(("x", "y", "z"), "t")
FORMS = {
    "decimals": "{:.4f}".format,
    "all digits": repr,
    "whole": lambda x: str(round(1000 * x)),
    "exponents": "{:.3e}".format,
    "comma": lambda x: f"{x:.3f}".replace(".", ","),
}


def log_of(form, separator, end, seed):
    values = np.random.default_rng(seed).normal(scale=3, size=(30, 3)).tolist()
    rows = [[f"{n / 50:.3f}", *map(FORMS[form], row)] for n, row in enumerate(values)]
    return end.join(map(separator.join, [["t", "x", "y", "z"], *rows]))


@given(
    form=st.sampled_from([*FORMS]),
    separator=st.sampled_from(["\t", ";", ",", "  "]),
    end=st.sampled_from(["\n", "\r\n"]),
    seed=st.integers(0, 999),
    cut=st.integers(0, 10**6),
)
def test_a_log_cut_off_anywhere_holds_only_what_was_written(
    tmp_path_factory, form, separator, end, seed, cut
):
    assume((form == "comma") <= (separator != ","))
    text = log_of(form, separator, end, seed)
    file = tmp_path_factory.mktemp("cut") / "log.csv"
    file.write_bytes((text + end).encode())
    whole = read_log(file, XYZ)
    last = text.rindex("\n", 0, text.rindex("\n")) + 1  # of two lines, so that a cut between them is tried
    at = last + cut % (len(text) - last + 1)
    file.write_bytes(text[:at].encode())
    said: list[str] = []
    log = read_log(file, XYZ, said)
    count = len(log.times)
    assert count >= text.count("\n", 0, at) - 1
    np.testing.assert_array_equal(log.times, whole.times[:count])
    np.testing.assert_array_equal(log.values, whole.values[:count])
    lines = len(text[:at].split("\n")) - (text[at - 1] == "\n")
    if count < lines - 1:  # the names stand in the first
        (note,) = [one for one in said if "no line break" in one]
        assert note.startswith(f"line {lines}, the last") and note.endswith("end it with a line break")


def test_a_log_whose_writer_ends_no_last_line_keeps_what_is_surely_whole(tmp_path):
    file = tmp_path / "log.csv"
    file.write_text(log_of("decimals", ",", "\n", 0))
    said: list[str] = []
    assert len(read_log(file, XYZ, said).times) == 30 and not said
    quoted = re.sub(r"([^,\n]+)", r'"\1"', log_of("whole", ",", "\n", 0))
    file.write_text(quoted)
    assert len(read_log(file, XYZ, said).times) == 30 and not said
    file.write_text("t,x\n0,1\n1,2")
    assert len(read_log(file, Log(("x",), "t"), said).times) == 1
    file.write_text("t,x\n0,1")
    assert len(read_log(file, Log(("x",), "t"), said).times) == 1  # nothing stands above it


LABELS = [
    (0.5, 2.25, "walk"),
    (2.5, 4.75, "sit"),
    (5.0, 7.5, "walk"),
    (8.25, 9.5, "turn left"),
    (10.0, 12.0, "sit"),
]
TABLES = {
    "table": ("labels.csv", "start,stop,activity\n", "{:.2f},{:.2f},{}"),
    "its times last": ("labels.csv", "activity,start,stop\n", "{2},{0:.2f},{1:.2f}"),
    "other decimals": ("labels.csv", "activity;start;stop\n", "{2};{0};{1}"),
    "of the day": ("labels.tsv", "activity\tstart\tstop\n", "{2}\t00:00:{0:05.2f}\t00:00:{1:05.2f}"),
    "in ms": ("labels.csv", "activity,start_ms,stop_ms\n", "{2},{3:.0f},{4:.0f}"),
    "Audacity": ("labels.txt", "", "{:.6f}\t{:.6f}\t{}"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_labels_cut_off_anywhere_are_those_that_were_written_or_an_error_or_said(tmp_path, kind):
    name, head, form = TABLES[kind]
    text = head + "\n".join(form.format(*one, 1e3 * one[0], 1e3 * one[1]) for one in LABELS)
    file = tmp_path / name
    file.write_text(f"{text}\n")
    whole = read_labels(file).spans
    file.write_text(text)  # whole, by a writer that ends no last line
    assert read_labels(file).spans == whole
    for at in range(text.index("\n", len(head)) + 2, len(text)):
        file.write_text(text[:at])
        try:
            labels = read_labels(file)
        except DataError as error:
            assert str(error).startswith(f"{file}: ")
            continue
        written = all(span in whole for span in labels.spans)
        assert written or any("nothing shows that it is whole" in note for note in labels.told), text[:at]


STOPS = "activity,start,stop\n" + "".join(
    f"{name},{2 * n},{2 * n + 0.5}\n" for n, name in enumerate("abcdefg")
)
GOOD = {  # without a last line break, and whole
    "a stop without decimals": (f"{STOPS}h,20,22", 8),
    "a time of the day without": (
        "activity\tstart\tstop\n"
        + "".join(f"a\t0:0{n}.2\t0:0{n}.5\n" for n in range(1, 7))
        + "a\t0:10.5\t0:12",
        7,
    ),
    "a word that others begin with": ("activity,start,stop\nwalk fast,1,2\nsit down,3,4\nwalk,5,6", 3),
    "the same in its last column": ("start,stop,activity\n1,2,walk fast\n3,4,sit down\n5,6,walk", 3),
    "no note": ("start,stop,activity,note\n1,2,walk,good\n3,4,sit,bad\n5,6,walk,", 3),
    "no comma for it": ("start,stop,activity,note\n1,2,walk,good\n3,4,sit,bad\n5,6,walk", 3),
    "a row without a spreadsheet's padding": ("start,stop,activity,,\n1,2,walk,,\n3,4,sit,,\n5,6,walk", 3),
    "a row of nothing": ("start,stop,activity\n1,2,walk\n3,4,sit\n,,", 2),
    "no probability": ("start,stop,activity,p\n1,2,walk,0.9\n3,4,sit,0.8\n5,6,walk,NA", 3),
}


@pytest.mark.parametrize("kind", GOOD)
def test_labels_whose_writer_ends_no_last_line_are_read(tmp_path, kind):
    text, count = GOOD[kind]
    file = tmp_path / ("labels.tsv" if "\t" in text else "labels.csv")
    file.write_text(text)
    found = read_labels(file).spans
    file.write_text(f"{text}\n")
    assert len(found) == count and found == read_labels(file).spans


def rows_of(lines):
    return "\n".join(lines), [(number, line.split(",")) for number, line in enumerate(lines, 1)]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["1,walking", "2,sitting", "3,walki"], "'walki' is the beginning of 'walking'"),
        (["1,walking,a", "2,sitting,b", "3,walki"], "'walki' is the beginning of 'walking'"),
        (["walk,-1.25", "sit,-2.50", "sit,-7."], "'-7.' is not written like '-2.50' above"),
        (["walk,1.25", "sit,2.50", "sit,7."], "'7.' is not written like '2.50' above"),
        (["walk,0:01:25", "sit,0:02:50", "sit,0:0:"], "'0:0:' is not written like '0:02:50' above"),
        ([f"walk,{n}.25" for n in range(50)] + ["sit,7.2"], "'7.2' is not written like '49.25' above"),
    ],
)
def test_what_looks_cut_off(lines, why):
    assert doubt(*rows_of(lines)) == (len(lines), True, why)


@pytest.mark.parametrize(
    "lines",
    [
        ["1,walking", "2,sitting", "3,walking"],
        ["1.25", "2.50", "3.75"],
        ["1,0:01", "2,0:02"],
        ["1,2,", "3,,", "4,5,"],
        ['1,"2"', '3,"45"', '6,"7"'],
        [f"{n},{n % 2}" for n in range(40)],
        ["1,2"],
        ["1,2", "# the end"],
        ["1,2", ","],
    ],
)
def test_what_is_whole(lines):
    text, rows = rows_of(lines)
    assert doubt(text, [row for row in rows if not row[1][0].startswith("#")]) is None


@pytest.mark.parametrize(
    "lines",
    [
        ["1,2", "3,4"],
        ["a,sit", "b,sitting", "c,sit"],
        ["a,walk fast", "b,sit", "c,walk"],
        ["1,walk", "2,run"],
        ["1.5", "2.25", "3.5"],
        ["1,walking", "2,sitting", "3"],
        ["1,walking", "2,sitting", "3,"],
        ["0,1", "1,", "2,5", "3,"],
        ['"0","1","2"', '"1","2","3"', '"2"'],
        ["walk,1", "sit,12", "walk,-"],
        [*(f"{n},{n}" for n in range(20)), "20,NA", "21,9"],
        [f"walk,{n}.25" for n in range(5)] + ["sit,7.2"],
    ],
)
def test_where_nothing_shows_it_that_is_said(lines):
    found = doubt(*rows_of(lines))
    assert found is not None and not found.strong and found.line == len(lines)


def test_of_a_quoted_row_that_was_cut_between_two_cells_no_reading_is_made(tmp_path):
    text = re.sub(r"([^,\n]+)", r'"\1"', log_of("decimals", ",", "\n", 0))
    file = tmp_path / "log.csv"
    for cut in range(1, text.count(",", text.rindex("\n")) + 1):
        file.write_text(text.rsplit(",", cut)[0])
        said: list[str] = []
        assert len(read_log(file, XYZ, said).times) == 29 and "line 31, the last" in said[-1]


@pytest.mark.parametrize("end", ["# end of log", "t,x,y,z"])
def test_a_last_line_that_is_no_row_costs_none(tmp_path, end):
    file = tmp_path / "log.csv"
    file.write_text(f"{log_of('whole', ',', chr(10), 0)}\n{end}")
    said: list[str] = []
    assert len(read_log(file, XYZ, said).times) == 30 and not any("no line break" in one for one in said)
    labels = tmp_path / "labels.txt"
    labels.write_text("1.0\t2.0\twalking\n3.0\t4.0\twalk\n\\\t100.0\t200.0")
    assert len(read_labels(labels).spans) == 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8"])
def test_a_letter_may_be_cut(tmp_path, encoding):
    file = tmp_path / "log.csv"
    lines = ["t,x,in m/s\u00b2", *(f"{n},{n}.25,\u00b2" for n in range(30))]
    content = "\n".join(lines).encode(encoding)
    for cut in (1, 2, 3, 4):
        file.write_bytes(content[:-cut])
        log = read_log(file, Log(("x",), "t"))
        assert len(log.times) >= 29 and log.values[-1, 0] % 1 == 0.25
        assert "in m/s\u00b2" in read_table(file, logger=True).frame.columns


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_half_a_letter_is_no_word_of_labels_nor_of_a_log(tmp_path, mark):
    file = tmp_path / "labels.csv"
    for rows in (
        "start,stop,activity\n0,1,caf\u00e9",
        "start,stop,activity\n0,1,\u00e9t\u00e9\n1,2,caf\u00e9",
    ):
        file.write_bytes(mark + rows.encode()[:-1])
        with pytest.raises(DataError, match=r"line \d: (ends within a letter: cut off|expected text)"):
            read_labels(file)
    rows = ["t,x,where", *(f"{n},{n}.25,\u00e9t\u00e9" for n in range(30))]
    file.write_bytes(mark + "\n".join(rows).encode()[:-1])
    said: list[str] = []
    log = read_log(file, Log(("x",), "t", where={"where": "\u00e9t\u00e9"}), said)
    assert len(log.times) == 29 and "cut off" in said[0]


@given(
    st.text("ab1,\n\u00e9\u6f22\U0001f600", min_size=1, max_size=12),
    st.sampled_from([(b"", "utf-8"), (codecs.BOM_UTF8, "utf-8"), (b"", "utf-16")]),
    st.integers(0, 5),
)
def test_of_a_text_cut_off_anywhere_no_letter_is_another(text, written, cut):
    mark, encoding = written
    content = mark + text.encode(encoding)
    content = content[: len(content) - cut]
    with suppress(DataError):
        assert text.startswith(text_of(Path("a.csv"), content, legacy=False)[0])
    found, notes = text_of(Path("a.csv"), content, legacy=True)
    assert text.startswith(found.removesuffix("\ufffd")) or "Windows-1252" in notes[0]


def test_a_letter_of_windows_at_the_end_is_whole(tmp_path):
    file = tmp_path / "log.csv"
    file.write_bytes(
        "\n".join(["t,x,where", *(f"{n},{n}.25,abc" for n in range(9)), "9,9.25,ab\u00e9"]).encode("cp1252")
    )
    table = read_table(file, logger=True)
    assert "Windows-1252" in table.notes[0] and len(table.frame) >= 9
    file.write_bytes(b"0.0\t1.0\tmarch\xe9")
    with pytest.raises(DataError, match="expected text in UTF-8"):
        read_labels(file)


def test_a_published_file_that_was_cut_off_is_refused_by_its_line_or_warned_of(tmp_path):
    rows = [f"{n} {n / 7:.5f}" for n in range(60)]
    text = "\n".join(rows).encode()
    assert len(worn.number_table(text, "a.dat", 2, [0, 1])) == 60
    for cut in range(1, 6):
        with pytest.raises(
            DataError, match=r"^a\.dat: line 60, the last, has no line break, and .* cut off\?"
        ):
            worn.number_table(text[:-cut], "a.dat", 2, [0, 1])
    with pytest.warns(PlaitWarning, match="^codes: line 3, the last, .* '40' may go on, nothing shows"):
        check_end("codes", b"name,code\na,40512\nb,40", ",", header=True)
    long = b"\n".join([b"0.125," * 9 + b"0.125"] * 20_000)  # more than is looked at
    check_end("long", long, ",", header=True)
    with pytest.raises(DataError, match=r"^long: line 20000, the last, .* '0\.12' is not written like"):
        check_end("long", long[:-1], ",", header=True)


def test_the_names_of_a_published_file_are_no_row(tmp_path):
    file = tmp_path / "wrist.csv"
    text = "unixtime,acc_x\n" + "\n".join(f"{n},{n / 7:.4f}" for n in range(200))
    kinds = {"unixtime": pl.Int64, "acc_x": pl.Float64}
    file.write_text(text)
    assert len(columns_of(file, kinds)[0]) == 200
    for cut in (1, 2, 3):
        file.write_text(text[:-cut])
        with pytest.raises(DataError, match=r"wrist\.csv: line 201, the last, .* is not written like"):
            columns_of(file, kinds)


def test_a_session_of_an_e4_and_a_table_in_an_archive_leave_a_last_line_out(tmp_path):
    folder = tmp_path / "session"
    folder.mkdir()
    rows = ["1500000000.000000", "4.000000", *(f"{n / 3:.6f}" for n in range(40))]
    (folder / "EDA.csv").write_text("\n".join(rows))
    (sensed,) = EMPATICA.read(folder / "EDA.csv")
    assert len(sensed.values) == 40
    (folder / "EDA.csv").write_text("\n".join(rows)[:-3])
    (sensed,) = EMPATICA.read(folder / "EDA.csv")
    assert len(sensed.values) == 39 and any("line 42 may be cut off" in note for note in sensed.notes)
    (folder / "Log.csv").write_text(log_of("whole", ",", "\n", 0)[:-1])
    table = Archive(folder).table("log.csv")
    assert len(table.frame) == 29 and "line 31, the last" in table.notes[-1]
