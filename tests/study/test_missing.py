"""Clips that lack a modality: refused, dropped, or trained around and tested with what they have."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plait.cli import main
from plait.clips import Clips, Rows, stored, survey
from plait.clips.dropped import AFTER, BEFORE, GAP
from plait.config import Protocol
from plait.errors import ConfigError, DataError
from plait.fusion import average_scores
from plait.recordings.sensors import SensorLog
from plait.report import write_report
from plait.results import UNSEEN, read_facts, read_lacking
from plait.study.finished import FinishedRun
from plait.study.folds import folds, folds_of
from plait.study.run import run_study
from plait.trust import Trust
from plait.types import Clip, Readings, Span
from tests import less, tiny

FAST = {"train": {"max_epochs": 1, "args": {"lr": 0.01}}, "seeds": [0], "dataset": "tests.less:TINY"}
ONE_FOLD = {"kind": "fixed", "train": ["2", "10"], "val": ["3"], "test": ["1"]}
PEOPLE = [f"r{subject}" for subject in tiny.SUBJECTS]


def run(out, data, missing="without", only=(), **settings):
    """Predictions, and what was said."""
    said = []
    study = tiny.study(**{**FAST, "missing": missing, **settings})
    run_study(study, data, out, only=only, say=said.append)
    return pl.read_parquet(out / "predictions.parquet"), said


def of(table, method, clips=None):
    rows = table.filter(pl.col("method") == method)
    return rows if clips is None else rows.filter(pl.col("clip").is_in(clips))


def scores(rows):
    return np.array(rows["scores"].to_list(), dtype=np.float32)


def finished(out):
    return FinishedRun.open(out, trust=Trust(frozenset({"tests.less", "tests.tiny"})))


def drawn(seed):
    """Who lacks what from when on, by chance; everybody has a whole clip of each activity."""
    rng = np.random.default_rng(seed)
    absent = {}
    for name in PEOPLE:
        for stream in "ab":
            if rng.random() < 0.6:
                absent.setdefault(name, {})[stream] = float(rng.uniform(9, 31))
    return absent


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_absent_complete_clips_are_as_if_the_others_were_not(tmp_path, seed):
    data = less.put(tmp_path / "data", drawn(seed))
    kept, said = run(tmp_path / "without", data)
    dropped, _ = run(tmp_path / "drop", data, "drop")
    whole = sorted(set(dropped["clip"]))
    assert 0 < len(whole) < kept["clip"].n_unique()
    assert any("lack a sensor and are kept" in line for line in said)
    for method in ("a-led", "concat"):
        assert of(kept, method, whole).equals(of(dropped, method))  # bytes of the scores, too

    found = finished(tmp_path / "without")
    lacks = {clip.name: set(clip.lacks) for _, clip in found.cuts}
    for method in found.methods:
        assert set(of(kept, method)["clip"]) == set(lacks)
    clips = found.clips("a-led")
    for row, (_, clip) in enumerate(found.cuts):
        if clip.lacks == ("b",):  # the lead's encoder and the head alone: eq. 6 without a term
            network = found.network("a-led", f"{clip.subject}/0", clips)
            with torch.inference_mode():
                grid = network.encoders["a"](clips.batch(["a"], np.array([row]))["a"])
                expected = network.method.head([grid]).softmax(1)[0].numpy()
            np.testing.assert_allclose(scores(of(kept, "a-led", [clip.name]))[0], expected, atol=1e-6)
    needs = {"a": {"a"}, "b": {"b"}, "concat": {"a", "b"}, "a-led": {"a"}}
    for method, needed in needs.items():
        for name, predicted, given_scores in (
            of(kept, method).select("clip", "predicted", "scores").iter_rows()
        ):
            unseen = bool(lacks[name] & needed)
            assert (predicted == UNSEEN) == unseen
            assert not unseen or given_scores == [0.25] * 4
    for name, absent in lacks.items():
        both = [scores(of(kept, method, [name]))[0] for method in "ab" if method not in absent]
        average = scores(of(kept, "average", [name]))[0]
        np.testing.assert_allclose(average, np.mean(both, axis=0), atol=1e-7)
        assert of(kept, "average", [name])["predicted"][0] == tiny.ACTIVITIES[average.argmax()]


def test_where_nothing_is_missing_the_three_are_one(tmp_path):
    data = less.put(tmp_path / "data", {})
    content, keys = set(), set()
    for missing in ("refuse", "drop", "without"):
        out = tmp_path / missing
        run(out, data, missing, protocol=ONE_FOLD)
        files = [out / name for name in ("predictions.parquet", "validation.parquet", "table.csv")]
        content.add(tuple(file.read_bytes() for file in files[:2]))
        keys.add(tuple(sorted(path.name for path in (out / "jobs").iterdir())))
        assert not (out / "lacking.parquet").exists() and not (out / "lacking.csv").exists()
    assert len(content) == len(keys) == 1


def test_a_key_changes_with_what_clips_lack(tmp_path):
    keys = []
    for number, absent in enumerate(({}, {"r2": {"b": 12.0}}, {"r2": {"b": 20.0}}, {"r2": {"b": 12.0}})):
        out = tmp_path / str(number)
        run(out, less.put(tmp_path / f"data-{number}", absent), only=["a-led", "a"], protocol=ONE_FOLD)
        facts = read_facts(out)
        keys.append({name: row.keys for name, row in facts.methods.items()})
    led = [tuple(key["a-led"].values()) for key in keys]
    assert led[1] == led[3] and len(set(led)) == 3
    assert len({tuple(key["a"].values()) for key in keys}) == 1  # reads nothing of b, and of all clips


def test_refused_before_anything_is_trained_in_one_line(tmp_path, monkeypatch, capsys):
    data = less.put(tmp_path / "data", {"r2": {"b": 12.0}, "r3": {"b": 0}, "r10": {"a": 5.0}})
    with pytest.raises(DataError) as error:
        run(tmp_path / "run", data, "refuse")
    text = str(error.value)
    assert "recording r2: 10 windows lack a sensor: after the last reading of b at 12.00 s" in text
    assert "and so do some of 2 more recordings" in text and "missing = 'drop'" in text
    assert len(text.splitlines()) == 1 and not (tmp_path / "run").exists()
    run(tmp_path / "alone", less.put(tmp_path / "one", {"r2": {"b": 0}}), "refuse", only=["a"])  # needs no b
    study = tmp_path / "study.toml"
    study.write_text(
        'name = "s"\ndataset = "tests.less:TINY"\nmodalities = ["a", "b"]\nmissing = "refuse"\n'
        '[methods.concat]\nuse = "plait.fusion:Concat"\n'
    )
    arguments = ["plait", "run", str(study), "--data", str(data), "--out", str(tmp_path / "cli")]
    for said in ("after the last reading of b", "missing: got 'ask'"):
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as stopped:
            main()
        told = capsys.readouterr().err
        assert stopped.value.code == 2 and said in told and told.count("\n") == 1
        study.write_text(study.read_text().replace('"refuse"', '"ask"'))


def test_a_sensor_that_stops_half_way_and_a_recording_without_it(tmp_path):
    data = less.put(tmp_path / "data", {"r1": {"b": 16.0}, "r3": {"b": 0}})
    table, said = run(tmp_path / "run", data)
    lacking = read_lacking(tmp_path / "run")
    assert set(lacking["modality"]) == {"b"} and lacking.height == 8 + 16
    assert any(line.startswith("24 of 64 clips lack a sensor and are kept") for line in said)
    [line] = [line for line in said if line.startswith("concat")]
    assert "plait.fusion:Concat" in line and "24 of 64 clips, for want of b" in line
    assert not any(line.startswith(("a-led", "a (")) for line in said)
    assert of(table, "a-led").filter(pl.col("predicted") == UNSEEN).is_empty()
    facts = read_facts(tmp_path / "run")
    assert set(facts.methods) == {"a", "b", "average", "concat", "a-led"}
    # Nobody validates who lacks b altogether: the next one does.
    parts = folds_of(Protocol(val_subjects=1), [clip for _, clip in finished(tmp_path / "run").cuts])
    assert [fold.val for fold in parts] == [("2",), ("10",), ("10",), ("1",)]
    dropped, _ = run(tmp_path / "drop", data, "drop", only=["concat"])
    assert dropped["clip"].n_unique() == 40
    right = of(table, "concat").select(pl.col("predicted") == pl.col("activity")).sum().item()
    write_report(tmp_path / "run")
    main = pl.read_csv(tmp_path / "run" / "table.csv")
    assert main.filter(pl.col("method") == "concat")["clips"].item() == 64  # all of them, unseen ones wrong
    by_lack = pl.read_csv(tmp_path / "run" / "lacking.csv")
    rows = by_lack.filter(pl.col("method") == "concat")
    assert rows["lacks"].to_list() == ["nothing", "b"] and rows["unseen"].to_list() == [0, 24]
    assert rows["clips"].to_list() == [40, 24] and rows["accuracy"][1] == 0
    assert round(rows["accuracy"][0] * 40) == right
    page = (tmp_path / "run" / "index.html").read_text()
    assert '<section id="lacking">' in page and "concat 24 of 64" in page
    assert "## Where sensors are missing" in (tmp_path / "run" / "table.md").read_text()
    run(tmp_path / "run", less.put(tmp_path / "data", {}), only=["concat"])  # mended: nothing is left of it
    write_report(tmp_path / "run")
    assert not list((tmp_path / "run").glob("lacking.*"))


def test_a_modality_that_nobody_has_is_one_line(tmp_path):
    nobody = less.put(tmp_path / "data", {name: {"b": 0} for name in PEOPLE})
    with pytest.raises(DataError, match="no stream 'b'"):
        run(tmp_path / "run", nobody)
    silent = less.put(tmp_path / "silent", {name: {"b": 0.5} for name in PEOPLE})
    with pytest.raises(DataError, match="no clip has anything of b: 64 after the last reading of b"):
        run(tmp_path / "run", silent)
    run(tmp_path / "a", nobody, only=["a"])


def test_who_has_nothing_has_no_fold_and_who_has_half_is_tested(tmp_path):
    data = less.put(tmp_path / "data", {"r1": {"a": 0, "b": 0}, "r2": {"b": 0}})
    methods = {**tiny.study()["methods"], "b-led": {"use": "plait.fusion:Led", "args": {"lead": "b"}}}
    train = {**FAST["train"], "choose": "last"}
    table, said = run(tmp_path / "run", data, methods=methods, train=train)
    assert "1: no clip at all" in said
    assert set(table["fold"]) == {"2", "3", "10"}
    two = table.filter(pl.col("subject") == "2")
    assert (two.filter(pl.col("method").is_in(["b", "concat", "b-led"]))["predicted"] == UNSEEN).all()
    assert (two.filter(pl.col("method").is_in(["a", "a-led", "average"]))["predicted"] != UNSEEN).all()


def test_methods_that_nothing_can_teach_are_one_line(tmp_path):
    rare = {name: {"b": 3.9} for name in PEOPLE}  # of b only the first two activities
    with pytest.raises(
        ConfigError, match=r"fold 1: activity 'hi lo' has no training clip that holds a and b"
    ):
        run(tmp_path / "run", less.put(tmp_path / "data", rare), only=["concat"])
    one = less.put(tmp_path / "one", {name: {"b": 0} for name in PEOPLE[1:]})
    with pytest.raises(ConfigError, match=r"protocol.val_subjects: 1 in fold 1, where 0 subjects have clips"):
        run(tmp_path / "run", one)
    fixed = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"]}
    three = less.put(tmp_path / "three", {"r3": {"b": 0}})
    with pytest.raises(
        ConfigError, match="no clip of 3, who validate in fold fixed, holds all that it reads"
    ):
        run(tmp_path / "run", three, protocol=fixed)
    run(tmp_path / "last", three, protocol=fixed, train={**FAST["train"], "choose": "last"})


def test_features_frozen_donors_refit_and_the_control_follow(tmp_path):
    data = less.put(tmp_path / "data", {"r1": {"b": 16.0}, "r3": {"b": 20.0}})
    methods = {
        "a": {"use": "plait.fusion:Single", "args": {"modality": "a"}},
        "b": {"use": "plait.fusion:Single", "args": {"modality": "b"}},
        "led": {
            "use": "plait.fusion:Led",
            "args": {"lead": "a"},
            "encoders": {"a": {"from": "a", "frozen": True}, "b": {"from": "b", "frozen": True}},
        },
        "features": {
            "use": "plait.fusion:Led",
            "args": {"lead": "a"},
            "encoders": {"b": {"features": {"use": "tests.less:Doubled"}, "use": "tests.tiny:Linear"}},
        },
    }
    refit = {**ONE_FOLD, "refit": True}
    table, _ = run(tmp_path / "run", data, methods=methods, protocol=refit)
    half, _ = run(tmp_path / "drop", data, "drop", methods=methods, protocol=refit)
    whole = sorted(set(half["clip"]))
    assert of(table, "features", whole).equals(of(half, "features"))
    found = finished(tmp_path / "run")
    clips = found.clips("led")
    row = next(row for row, (_, clip) in enumerate(found.cuts) if clip.lacks)
    name = found.cuts[row][1].name
    network = found.network("led", "fixed/0", clips)
    with torch.inference_mode():
        grid = network.encoders["a"](clips.batch(["a"], np.array([row]))["a"]).half().float()
        expected = network.method.head([grid]).softmax(1)[0].numpy()
    np.testing.assert_allclose(scores(of(table, "led", [name]))[0], expected, atol=1e-6)
    validated = pl.read_parquet(tmp_path / "run" / "validation.parquet")
    assert set(of(validated, "b")["clip"]) == set(of(validated, "a")["clip"])  # all methods on the same clips

    control, said = run(tmp_path / "control", data, methods=methods, protocol={"shuffle_labels": 1})
    assert control["clip"].n_unique() == 64 and any(line.startswith("control") for line in said)


def clip(name, *lacks, subject="1", activity="run"):
    return Clip(name, name, subject, activity, 0.0, 1.0, lacks=lacks)


@given(st.lists(st.booleans(), min_size=1, max_size=12).filter(any), st.randoms(use_true_random=False))
def test_rows_that_are_nowhere_stay_nowhere(held, random):
    at = [row for row, has in enumerate(held) if has]
    rows = Rows((Path("x"),), tuple((0, place) for place in range(len(at)))).spread(at, len(held))
    assert [rows.has(row) for row in range(len(held))] == held
    chosen = random.sample(range(len(held)), random.randint(1, len(held)))
    some = rows.among(chosen)
    assert [some.places[i] for i in range(len(chosen))] == [rows.places[row] for row in chosen]
    assert len(some.files) == any(held[row] for row in chosen)
    table = tuple(clip(str(row), *(() if has else ("m",))) for row, has in enumerate(held))
    clips = Clips(table, {"m": rows}, {"m": ()})
    assert clips.holding(["m"], np.array(chosen)).tolist() == [row for row in chosen if held[row]]
    groups = dict(clips.alike(["m", "n"], np.array(chosen)))
    assert {place for places in groups.values() for place in places.tolist()} == set(range(len(chosen)))
    for present, places in groups.items():
        assert present <= {"m", "n"} and all(held[chosen[place]] == ("m" in present) for place in places)


def test_rows_that_are_nowhere_are_not_read(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(6, dtype="<f4").reshape(2, 3))
    rows = Rows.of(tmp_path / "x.npy").spread([0, 2], 3)
    assert rows.read(np.array([0, 2])).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert rows[1].shape == (0,) and rows[2].tolist() == [3, 4, 5]
    with pytest.raises(DataError, match="lack a modality"):
        rows.read(np.array([0, 1]))
    clips = Clips((clip("p"), clip("q", "m"), clip("r")), {"m": rows}, {"m": (3,)})
    assert clips.batch(["m"], np.array([1])) == {} and set(clips.batch(["m"], np.array([0, 2]))) == {"m"}


def test_an_average_takes_who_says_something():
    about = {"study": "s", "fold": "1", "seed": 0, "subject": "1", "activity": "run"}
    said = {"x": [("p", "run", [0.75, 0.25]), ("q", "", [0.5, 0.5]), ("r", "", [0.5, 0.5])],
            "y": [("p", "sit", [0.25, 0.75]), ("q", "sit", [0.25, 0.75]), ("r", "", [0.5, 0.5])]}  # fmt: skip
    table = pl.DataFrame(
        [
            {**about, "method": method, "clip": name, "predicted": predicted, "scores": given_scores}
            for method, rows in said.items()
            for name, predicted, given_scores in rows
        ]
    )
    averaged = average_scores(table, ["x", "y"], "mean", ["run", "sit"])
    assert averaged["scores"].to_list() == [[0.5, 0.5], [0.25, 0.75], [0.5, 0.5]]
    assert averaged["predicted"].to_list() == ["run", "sit", ""]


def test_who_may_validate_is_who_lacks_nothing():
    made = folds(Protocol(val_subjects=1), ["1", "2", "3", "4"], {"1", "4"})
    assert [fold.val for fold in made] == [("4",), ("4",), ("4",), ("1",)]
    assert [fold.train for fold in made] == [("2", "3"), ("1", "3"), ("1", "2"), ("2", "3")]
    everybody = folds(Protocol(val_subjects=1), ["1", "2", "3", "4"])
    assert everybody == folds(Protocol(val_subjects=1), ["1", "2", "3", "4"], {"1", "2", "3", "4"})


def test_readings_that_are_no_number_are_missing_to_who_asks_and_bad_data_to_who_does_not(tmp_path):
    data = less.put(tmp_path / "data", {"r2": {"b": -12.0}})
    table, _ = run(tmp_path / "run", data, only=["b"])
    assert (table["predicted"] == UNSEEN).sum() == 0 and table["clip"].n_unique() == 64 - 10  # all it reads
    both, _ = run(tmp_path / "both", data, only=["concat"])
    assert (both["predicted"] == UNSEEN).sum() == 10
    with pytest.raises(
        DataError, match="recording r2: 10 windows lack a sensor: no reading of b from 12.00 s"
    ):
        run(tmp_path / "refused", data, "refuse", only=["b"])
    with pytest.raises(DataError, match="recording r2, modality b: values that are not finite"):
        run(tmp_path / "drop", data, "drop", only=["b"])


STARTS = (0.0, 10.0, 20.0, 29.9)
SLOW = tuple(Span(start, start + 10.0, name) for start, name in zip(STARTS, tiny.ACTIVITIES, strict=True))


@pytest.mark.parametrize(
    "stream, spans, lost",
    [
        # One reading that is no number, at a moment that a clip is read at; too short to be seen from afar.
        (Readings(np.arange(4100) / 100, np.where(np.arange(4100) == 114, np.nan, 0.0)), None, GAP),
        # A log that holds for a second before its first reading, where clips are read every two seconds.
        (SensorLog(np.arange(15, 420) / 10, np.zeros((405, 1), "f4"), ("x",)), SLOW, BEFORE),
        (SensorLog(np.arange(0, 384) / 10, np.zeros((384, 1), "f4"), ("x",)), SLOW, AFTER),
    ],
    ids=["no number", "begins late", "ends early"],
)
def test_what_a_clip_would_read_as_no_number_is_missing_however_short(stream, spans, lost):
    recording = next(iter(tiny.recordings(None)))
    recording = replace(recording, spans=spans or recording.spans, streams={**recording.streams, "b": stream})
    dataset = replace(tiny.TINY, recordings=lambda data: iter([recording]))
    found = survey(dataset, Path("data"), ["a", "b"], missing="without")
    assert found.lacking and {lack.why.reason for lack in found.lacking} == {lost}
    stored(dataset, found.cuts, ["a", "b"])  # reads all that is said to be there
    with pytest.raises(DataError, match="windows lack a sensor"):
        survey(dataset, Path("data"), ["a", "b"], missing="refuse")


@given(st.floats(2.5, 39), st.sampled_from([-1, 1]))
def test_a_clip_lacks_what_stops_before_its_last_sample(stop_s, sign):
    recording = less.without(next(iter(tiny.recordings(None))), {"b": sign * stop_s})
    dataset = less.replace(tiny.TINY, recordings=lambda data: iter([recording]))
    found = survey(dataset, Path("data"), ["a", "b"], missing="without")
    step_s = 1.9 / 5 if sign > 0 else 0.0  # a sixth sample may be the stream's end, held
    for _, one in found.cuts:
        ends_s = float(recording.streams["b"].times[-1]) + 0.1 if sign > 0 else stop_s
        if abs(ends_s - (one.stop_s - step_s)) > 0.21:
            assert one.lacks == (("b",) if ends_s < one.stop_s - step_s else ())
    assert len(found.lacking) == sum(len(one.lacks) for _, one in found.cuts)
    same = survey(dataset, Path("data"), ["a", "b"])
    assert sign < 0 or [one for _, one in same.cuts] == [one for _, one in found.cuts if not one.lacks]
