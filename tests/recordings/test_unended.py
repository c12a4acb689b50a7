"""A table whose last line was cut off with its file: no number and no name of it is taken for a whole one."""

import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plait.datasets import worn
from plait.errors import DataError
from plait.recordings.formats.archive import Archive
from plait.recordings.formats.empatica import EMPATICA
from plait.recordings.labels import read_labels
from plait.recordings.logs import Log, read_log
from plait.recordings.unended import refuse_cut_bytes, unended

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
    text = head + "\n".join(form.format(*one, 1e3 * one[0], 1e3 * one[1]) for one in LABELS) + "\n"
    file = tmp_path / name
    file.write_text(text)
    whole = read_labels(file).spans
    for at in range(text.index("\n", len(head)) + 2, len(text)):
        file.write_text(text[:at])
        try:
            labels = read_labels(file)
        except DataError as error:
            assert str(error).startswith(f"{file}: ")
            continue
        written = all(span in whole for span in labels.spans)
        assert written or any("nothing tells whether it is whole" in note for note in labels.told), text[:at]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (["1,walking", "2,sitting", "3,walki"], "'walki' is the beginning of 'walking'"),
        (["1,walking", "2,sitting", "3"], "it has 1 of 2 cells"),
        (["1,walking", "2,sitting", "3,"], "its last cell is empty"),
        (["walk,1", "sit,12", "walk,-"], "'-' is no number"),
        ([f"walk,{n}.25" for n in range(5)] + ["sit,7.2"], "'7.2' is not written like '4.25' above"),
        (
            [f"walk,0:00:0{n}" for n in range(5)] + ["sit,0:00:"],
            "'0:00:' is not written like '0:00:04' above",
        ),
    ],
)
def test_what_shows_that_a_line_was_cut_off(rows, why):
    odd = unended([row.split(",") for row in rows])
    assert odd == (True, why)


@pytest.mark.parametrize(
    "rows",
    [
        ["1,walking", "2,sitting", "3,walking"],
        ["1.25", "2.50", "3.75"],
        ["1,0:01", "2,0:02"],
        ["1,2,", "3,,", "4,5,"],
        [f"{n},{n % 2}" for n in range(40)],
        ["1,2"],
        [],
    ],
)
def test_what_shows_that_a_line_is_whole(rows):
    assert unended([row.split(",") for row in rows]) is None


@pytest.mark.parametrize(
    "rows", [["1,2", "3,4"], ["a,sit", "b,sitting", "c,sit"], ["1,walk", "2,run"], ["1.5", "2.25", "3.5"]]
)
def test_where_nothing_shows_it_that_is_said(rows):
    odd = unended([row.split(",") for row in rows])
    assert odd is not None and not odd.sure and "may go on" in odd.why


def test_a_published_file_that_was_cut_off_is_refused_by_its_line(tmp_path):
    rows = [f"{n} {n / 7:.5f}" for n in range(40)]
    text = "\n".join(rows).encode()
    assert len(worn.number_table(text, "a.dat", 2, [0, 1])) == 40
    for cut in range(1, 6):
        with pytest.raises(DataError, match=r"^a\.dat: line 40, the last, was cut off: "):
            worn.number_table(text[:-cut], "a.dat", 2, [0, 1])
    long = b"\n".join([b"0.125," * 9 + b"0.125"] * 20_000)  # more than is looked at
    refuse_cut_bytes("long", long, ",")
    with pytest.raises(
        DataError, match=r"^long: line 20000, the last, was cut off: '0\.12' is not written like"
    ):
        refuse_cut_bytes("long", long[:-1], ",")


def test_a_session_of_an_e4_and_a_table_in_an_archive_leave_a_last_line_out(tmp_path):
    folder = tmp_path / "session"
    folder.mkdir()
    rows = ["1500000000.000000", "4.000000", *(f"{n / 3:.6f}" for n in range(40))]
    (folder / "EDA.csv").write_text("\n".join(rows)[:-3])
    (sensed,) = EMPATICA.read(folder / "EDA.csv")
    assert len(sensed.values) == 39 and any("line 42 is cut off" in note for note in sensed.notes)
    (folder / "Log.csv").write_text(log_of("whole", ",", "\n", 0)[:-1])
    table = Archive(folder).table("log.csv")
    assert len(table.frame) == 29 and "line 31, the last" in table.notes[-1]
