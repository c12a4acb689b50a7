"""One session left out after the other; one content on both sides of a split, in any data set."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from plait.config import Protocol, known_of
from plait.errors import ConfigError, DataError
from plait.recordings.folder import described_by
from plait.report import write_report
from plait.report.captions import split
from plait.report.figures import accuracy_plot
from plait.report.tables import main_table, subject_table
from plait.results import read_results
from plait.study.folds import check_strangers, folds
from plait.study.run import run_study
from plait.types import Clip, Dataset, Fold, Modality, Readings, Recording, Span
from tests import tiny
from tests.datasets.test_utd_mhad import write


def of_person(subject, session, seed, name=None):
    """Noise, labelled: nothing can be learned, but what is known already."""
    rng = np.random.default_rng(seed)
    streams = {"a": Readings(np.arange(160) / 10, rng.normal(size=(160, 3)))}
    spans = tuple(Span(i * 2.0, i * 2.0 + 1.9, "xy"[i % 2]) for i in range(8))
    return Recording(name or f"{subject}-{session}", subject, streams, spans, session=session)


PEOPLE = [
    of_person(who, day, f) for f, (who, day) in enumerate((w, d) for w in "123" for d in ("Mon", "Tue"))
]
ALL = list(PEOPLE)
NOISE = Dataset(
    "noise",
    ("x", "y"),
    (Modality("a", ("a",), 8, None, tiny.tensor, tiny.Linear),),
    lambda data: iter(ALL),
    "",
)
STUDY = {
    "name": "noise",
    "dataset": f"{__name__}:NOISE",
    "modalities": ["a"],
    "protocol": {"kind": "leave-one-session-out"},
    "train": {"choose": "last", "max_epochs": 1},
    "methods": {"a": {"use": "plait.fusion:Single", "args": {"modality": "a"}}},
}


@pytest.fixture
def recordings(monkeypatch):
    found = list(PEOPLE)
    monkeypatch.setitem(globals(), "ALL", found)
    return found


def test_everybodys_session_is_tested_once_and_the_page_says_who_is_known(recordings, tmp_path):
    run_study(STUDY, tmp_path, tmp_path / "run")
    table = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert set(table["fold"]) == {"Mon", "Tue"} and table["clip"].n_unique() == len(table) == 48
    for fold, subject, clip in table.select("fold", "subject", "clip").iter_rows():
        assert clip.startswith(f"{subject}-{fold}/")
    facts = read_results(tmp_path / "run").facts
    assert split(facts.protocol).startswith("leave one session out, of everybody, whose other sessions train")


def test_one_session_under_two_names_is_refused_unless_it_is_two(recordings, tmp_path):
    recordings[:] = [replace(one, session={"Mon": "1", "Tue": "2"}[one.session]) for one in PEOPLE]
    for spelled in ("01", "Session 1", "ses-01", "1.0"):
        recordings[0] = replace(recordings[0], session=spelled)
        with pytest.raises(DataError, match="sessions '.*' .*look alike, expected one spelling") as error:
            run_study(STUDY, tmp_path, tmp_path / "run")
        assert "1-Mon" in str(error.value) and "different = " in str(error.value)
        run_study({**STUDY, "protocol": {"kind": "fixed", "train": ["1", "2"], "test": ["3"]}}, tmp_path,
                  tmp_path / "people", doctor=False)  # fmt: skip
    several = {**STUDY["protocol"], "different": [["1", spelled]]}
    run_study({**STUDY, "protocol": several}, tmp_path, tmp_path / "several")
    assert len(read_results(tmp_path / "several").facts.methods["a"].keys) == 3


def test_who_is_tested_as_a_stranger_and_what_is_in_no_part_is_said(recordings, tmp_path):
    recordings.remove(PEOPLE[-1])
    said = []
    run_study(STUDY, tmp_path, tmp_path / "run", say=said.append)
    assert "of 3 there is one session alone: where it is tested, nobody knows them" in said
    fixed = {"kind": "fixed-sessions", "train": ["Mon"], "test": ["Tue"]}
    said.clear()
    run_study({**STUDY, "protocol": fixed}, tmp_path, tmp_path / "fixed", say=said.append)
    assert not [line for line in said if "in no part" in line]
    recordings[0] = replace(recordings[0], session="Wed")
    run_study({**STUDY, "protocol": fixed}, tmp_path, tmp_path / "fixed", say=said.append)
    assert "8 of 40 clips are in no part of the split: sessions Wed of 1" in said


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("leave-one-session-out", "known from other sessions"),
        ("leave-one-subject-out", "not in the training"),
    ],
)
def test_page_and_picture_say_what_is_known_of_who_is_tested(recordings, tmp_path, kind, words):
    run_study({**STUDY, "protocol": {"kind": kind}}, tmp_path, tmp_path / "run")
    page = write_report(tmp_path / "run").read_text()
    assert f"of 3 people who were {words}" in " ".join(page.split())
    results = read_results(tmp_path / "run")
    made = [table(results.facts, results.predictions) for table in (main_table, subject_table)]
    axes = accuracy_plot(*made, known_of(results.facts.protocol)).findobj(Text)
    assert any(f"accuracy on people {words}" in text.get_text() for text in axes)


def test_a_fixed_split_of_sessions_is_as_it_is_named():
    protocol = Protocol("fixed-sessions", train=("Mon", "Wed"), val=("Thu",), test=("Tue",))
    [fold] = folds(protocol, ["Mon", "Thu", "Tue", "Wed", "Fri"])
    assert fold == Fold("fixed", ("Mon", "Wed"), ("Thu",), ("Tue",), "session")
    assert split(vars(protocol)).startswith(
        "fixed sessions: training on Mon, Wed; validation on Thu; test on Tue"
    )
    for wrong, expected in (
        ({"test": ("Sun",)}, "protocol.test: unknown session 'Sun', expected some of: Fri, Mon"),
        ({"test": ("Mon",)}, "session 'Mon' stands in train and in test, expected one part only"),
        ({"train": ()}, "protocol.train: empty, expected at least one session of: Fri"),
        ({"subjects": ("1",)}, "protocol.subjects: a list for the other kinds"),
    ):
        with pytest.raises(ConfigError, match=expected):
            folds(replace(protocol, **wrong), ["Mon", "Thu", "Tue", "Wed", "Fri"])


def test_whole_recordings_are_of_people_of_whom_nothing_is_trained_on(recordings, tmp_path):
    clips = [Clip(one.name, one.name, one.subject, "x", 0, 1, one.name) for one in PEOPLE]
    fold = Fold("fixed", ("1-Mon", "1-Tue"), ("2-Mon",), ("3-Mon", "3-Tue"), "session")
    check_strangers(fold, clips)
    for known, who in ((("2-Tue", "3-Mon"), "2"), (("3-Mon", "2-Tue"), "2")):
        with pytest.raises(ConfigError, match=f"evaluate.continuous: .* but {who} is tested in fold fixed"):
            check_strangers(replace(fold, test=known), clips)
    recordings[:] = [replace(one, session=one.name) for one in PEOPLE]
    protocol = {"kind": "fixed-sessions", "train": ["1-Mon", "2-Mon"], "test": ["1-Tue"]}
    with pytest.raises(ConfigError, match="but 1 is tested in fold fixed and trains or validates there"):
        run_study(
            {**STUDY, "protocol": protocol, "evaluate": {"continuous": True}}, tmp_path, tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()


@given(st.sets(st.text("ab12", min_size=1, max_size=3), min_size=2, max_size=8), st.integers(0, 3))
def test_sessions_stand_in_one_part_of_each_fold(sessions, validating):
    protocol = Protocol("leave-one-session-out", validating)
    if len(sessions) < validating + 2:
        with pytest.raises(ConfigError, match=r"sessions \(.*expected at least"):
            folds(protocol, sorted(sessions))
        return
    made = folds(protocol, sorted(sessions))
    assert sorted(fold.test for fold in made) == [(session,) for session in sorted(sessions)]
    for fold in made:
        assert fold.by == "session" and sorted((*fold.train, *fold.val, *fold.test)) == sorted(sessions)


@pytest.mark.parametrize("copy", ["as it is", "later", "of another person"])
def test_a_recording_copied_into_another_session_is_refused_by_both_names(recordings, tmp_path, copy):
    later = 100.0 if copy == "later" else 0.0
    original = recordings[0]
    stream = original.streams["a"]
    recordings.append(
        replace(
            original,
            name="copied",
            subject="3" if copy == "of another person" else "1",
            session="Wed",
            streams={"a": Readings(stream.times + later, stream.values)},
            spans=tuple(Span(s.start_s + later, s.stop_s + later, s.activity) for s in original.spans),
        )
    )
    with pytest.raises(DataError, match=r"recording 1-Mon .* and recording copied .* are the same"):
        run_study(STUDY, tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    if copy == "as it is":  # the same occasion under two names: both are on one side, and said
        recordings[-1] = replace(recordings[-1], session="Mon")
        said = []
        run_study(STUDY, tmp_path, tmp_path / "run", say=said.append)
        assert "recordings 1-Mon and copied of 1 are the same (a), and count twice" in said


def test_what_sessions_cannot_do_is_one_line(recordings, tmp_path):
    for protocol, said in (
        ({"subjects": ["1", "2"]}, "protocol.subjects: a list for the other kinds"),
        ({"val": ["Sun"]}, "protocol.val: unknown session 'Sun', expected some of: Mon, Tue"),
        ({"val_subjects": 1}, r"protocol: 2 sessions \(Mon, Tue\), expected at least 3"),
        ({"folds": 2}, "protocol.folds: of kind = 'subject-folds'"),
    ):
        study = {**STUDY, "protocol": {"kind": "leave-one-session-out", **protocol}}
        with pytest.raises(ConfigError, match=said):
            run_study(study, tmp_path, tmp_path / "run")
    recordings[2] = replace(recordings[2], session=" ")
    with pytest.raises(DataError, match="recording 2-Mon: names no session, expected one"):
        run_study(STUDY, tmp_path, tmp_path / "run")
    recordings[2:] = []
    recordings[1] = replace(recordings[1], spans=recordings[1].spans[::2])
    with pytest.raises(ConfigError, match="fold Mon: activity 'y' has no clip of the training sessions Tue"):
        run_study(STUDY, tmp_path, tmp_path / "run")


@pytest.mark.parametrize("kind", ["leave-one-subject-out", "subject-folds", "leave-n-out", "fixed"])
@pytest.mark.parametrize("later", [0.0, 100.0])
def test_noise_under_two_names_of_people_is_refused_in_every_protocol(recordings, tmp_path, kind, later):
    """With its copy in training, pure noise scored 100 %."""
    for original in PEOPLE:
        stream = original.streams["a"]
        streams = {"a": Readings(stream.times + later, stream.values)}
        spans = tuple(Span(s.start_s + later, s.stop_s + later, s.activity) for s in original.spans)
        name = f"copy-of-{original.name}"
        recordings.append(
            replace(original, name=name, subject=f"{original.subject}9", streams=streams, spans=spans)
        )
    settings = {
        "leave-one-subject-out": {},
        "subject-folds": {"folds": 3},
        "leave-n-out": {"leave": 2},
        "fixed": {"train": ["1", "2", "3"], "test": ["19", "29", "39"]},
    }
    study = {**STUDY, "protocol": {"kind": kind, **settings[kind]}}
    with pytest.raises(DataError, match=r"recording (\d-\w+) .* and recording copy-of-\1 .* are the same"):
        run_study(study, tmp_path, tmp_path / "run")


def test_a_subject_of_utd_mhad_under_another_number_is_refused_by_both_recordings(tmp_path):
    for subject in (1, 2, 3):
        for trial in (1, 2):
            write(tmp_path / "data", f"a1_s{subject}_t{trial}", frames=8 + 2 * subject + trial)
    for file in sorted((tmp_path / "data").rglob("a1_s1_*.mat")):
        file.with_name(file.name.replace("_s1_", "_s7_")).write_bytes(file.read_bytes())
    study = {
        **STUDY,
        "dataset": "plait.datasets.utd_mhad:UTD_MHAD",
        "modalities": ["inertial"],
        "protocol": {},
        "methods": {"one": {"use": "plait.fusion:Single", "args": {"modality": "inertial"}}},
    }
    with pytest.raises(DataError, match=r"recording a1_s1_t1 \(subject '1'\) and .*a1_s7_t1 \(subject '7'\)"):
        run_study(study, tmp_path / "data", tmp_path / "run")


def test_a_recordings_file_names_its_session():
    table = {"subject": "anna", "video": "film.mp4"}
    assert described_by({**table, "session": 2}, Path("recording.toml")).session == "2"
    assert described_by(table, Path("recording.toml")).session is None


def test_folds_of_people_stay_folds_of_people():
    assert folds(Protocol(), ["1", "2", "3"])[0] == Fold("1", ("2", "3"), (), ("1",), "subject")
