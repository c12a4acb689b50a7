"""What was written for many clips gives what the plain loops over clips, people and pairs gave."""

import json
import pickle
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

import scale
from plait.analysis import signflips
from plait.analysis.metrics import by_activity, confusion
from plait.clips import Clips, Rows
from plait.clips.people import _sharing
from plait.clips.windows import _Timeline
from plait.doctor import copies, persons
from plait.doctor.copies import Sketch, Sketched
from plait.doctor.persons import Traits
from plait.errors import ConfigError, DataError
from plait.study.folds import check_classes, doers
from plait.types import Clip, Fold, Readings, Recording, Span, Windows

NAMES = st.sampled_from(["a", "b", "c", "d"])
LACKS = st.sampled_from([(), ("x",), ("y",), ("y", "x")])
CLIPS = st.lists(st.tuples(NAMES, NAMES, LACKS, st.sampled_from(["run", "sit"])), max_size=12)


def clips_of(rows):
    table = tuple(
        Clip(str(n), "r", who, activity, 0.0, 1.0, session, lacks)
        for n, (who, session, lacks, activity) in enumerate(rows)
    )
    return Clips(table, {}, {})


@given(CLIPS, st.lists(NAMES), st.sampled_from(["subject", "session"]), st.data())
def test_clips_of_people_and_with_sensors_are_those_of_plain_loops(rows, names, by, data):
    clips = clips_of(rows)
    of = clips.of(names, by)
    assert of.tolist() == [n for n, clip in enumerate(clips.table) if getattr(clip, by) in names]
    at = np.array(data.draw(st.lists(st.sampled_from(range(len(rows))))) if rows else [], dtype=np.int64)
    wanted = data.draw(st.lists(st.sampled_from(["x", "y", "z"])))
    held = clips.holding(wanted, at)
    assert held.tolist() == [row for row in at.tolist() if clips.table[row].holds(wanted)]
    groups: dict = {}
    for place, row in enumerate(at.tolist()):
        groups.setdefault(frozenset(wanted).difference(clips.table[row].lacks), []).append(place)
    found = [(who, places.tolist()) for who, places in clips.alike(wanted, at)]
    assert found == list(groups.items())
    assert {of.dtype, held.dtype} == {np.dtype(np.int64)}


@given(CLIPS, st.lists(NAMES, unique=True))
def test_a_fold_is_refused_where_nobody_who_trains_does_an_activity(rows, train):
    table, fold = clips_of(rows).table, Fold("f", tuple(train), (), ())
    trained = {clip.activity for clip in table if clip.subject in train}
    if {"run", "sit"} <= trained:
        check_classes(fold, doers(table, "subject"), ["run", "sit"])
        return
    with pytest.raises(ConfigError, match="sit" if "run" in trained else "run"):
        check_classes(fold, doers(table, "subject"), ["run", "sit"])


@given(
    st.dictionaries(
        st.text("abcdef", max_size=2), st.dictionaries(st.binary(max_size=1), st.integers()), max_size=6
    )
)
def test_what_each_two_people_share_is_found_in_their_order(held):
    shared = {pair: held[pair[0]].keys() & held[pair[1]].keys() for pair in combinations(held, 2)}
    found = _sharing(held)
    assert list(found) == [pair for pair, digests in shared.items() if digests]
    assert all(set(found[pair]) == shared[pair] and len(found[pair]) == len(shared[pair]) for pair in found)


@pytest.mark.parametrize("people", [21, 22, 23, 40])
def test_random_subsets_by_blocks_are_those_drawn_at_once(people, monkeypatch):
    monkeypatch.setattr(signflips, "DRAWS", 1001)
    monkeypatch.setattr(signflips, "BLOCK", 1 + 17 * people)
    column = np.random.default_rng(0).integers(-8, 8, people) / 8.0  # whose sums are exact
    chosen = np.random.default_rng(0).integers(0, 2, (1001, people), dtype=np.int8)
    sums, counts = signflips._subset_sums(column, np.ones(people))
    assert np.array_equal(sums, np.append(0.0, chosen @ column))
    assert np.array_equal(counts, np.append(0.0, chosen.sum(axis=1)))


def test_pairs_that_are_counted_give_what_rows_give():
    rng, names = np.random.default_rng(0), ["run", "sit", "lie", "never"]
    truth, predicted = (rng.choice([*names[:3], *extra], 500).tolist() for extra in ((), ("",)))
    table = pl.DataFrame(
        {"method": "m", "seed": 0, "activity": truth, "predicted": predicted, "subject": "1"}
    )
    table = table.with_row_index("clip")
    precision, recall, f1, clips = precision_recall_fscore_support(
        truth, predicted, labels=names, zero_division=0
    )
    found = by_activity(table, names)
    assert found["precision"].to_list() == precision.tolist() and found["f1"].to_list() == f1.tolist()
    assert found["recall"].to_list() == [*recall.tolist()[:3], None]
    assert found["clips"].to_list() == clips.tolist()
    matrix = confusion(table, "m", names)
    assert np.array_equal(matrix, confusion_matrix(truth, predicted, labels=names))
    assert matrix.dtype == np.int64


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30), NAMES), min_size=1, max_size=12),
    st.integers(1, 20),
)
def test_windows_are_of_what_fills_most_of_them(spans, length):
    spans = tuple(Span(start, start + lasts, name) for start, lasts, name in spans)
    readings = Readings(np.arange(0.0, 71.0), np.arange(71.0)[:, None])
    recording = Recording("r", "s", {"x": readings}, spans)
    timeline = _Timeline(recording, Windows(float(length), purity=0.6), None)
    for start in np.arange(0.0, 60.0, 3.7):
        filled: Counter = Counter()
        for span in timeline.spans:
            inside = min(span.stop_s, start + length) - max(span.start_s, start)
            if inside > 0:
                filled[span.activity] += inside
        most = max(filled, key=filled.__getitem__) if filled else None
        share = min(filled[most] / ((start + length) - start), 1.0) if filled else 0.0
        assert timeline._most(start, start + length) == (most, share)


def test_people_who_are_each_other_s_nearest_are_found_among_all_pairs(monkeypatch):
    rng = np.random.default_rng(0)
    facts, people = {}, {}
    for person in range(9):
        like = rng.normal(size=3) * 20 if person != 4 else like  # the fifth is the fourth again
        for part in "ab":
            rows = [Traits("run", {"wrist": (like + rng.normal(size=3)).tolist()}) for _ in range(10)]
            facts[f"{person}{part}"], people[f"{person}{part}"] = rows, f"p{person}"
    (found,) = persons._each_other_s(facts, people, "wrist")
    (one, other), (there, back, others) = found
    assert (one, other) == ("p3", "p4") and others == 1.0
    whose = np.repeat([f"p{n}" for n in range(9)], 20)
    traits = np.array([own.streams["wrist"] for rows in facts.values() for own in rows])
    nearest = whose[persons._nearest(traits, whose, np.array(["run"] * 180))]
    assert there == np.mean(nearest[whose == "p3"] == "p4") > 0.2
    assert back == np.mean(nearest[whose == "p4"] == "p3") > 0.2


def test_streams_compared_by_blocks_are_those_compared_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    phases = rng.uniform(-3, 3, (7, 2, 48))
    phases[5], phases[6] = phases[1], phases[2]
    facts = {
        f"r{n}": Sketched(f"r{n}", "", {"x": Sketch("", [], [], one.tolist())})
        for n, one in enumerate(phases)
    }
    sketches = {(name, "x"): one.streams["x"] for name, one in facts.items()}
    whole = list(copies._in_phase(sketches))
    assert [(one[0], other[0]) for one, other, _ in whole] == [("r1", "r5"), ("r2", "r6")]
    monkeypatch.setattr(copies, "AT_ONCE", 2)
    assert [pair[:2] for pair in copies._in_phase(sketches)] == [pair[:2] for pair in whole]


def test_fits_are_a_line_or_a_power():
    sizes = (1000, 3000, 10000)
    line = scale.fitted(sizes, [2 + 0.5 * n for n in sizes])
    assert line.power == 1 and line(1e7) == pytest.approx(5e6 + 2) and line.off == pytest.approx(0, abs=1e-9)
    power = scale.fitted(sizes, [1e-6 * n**2 for n in sizes])
    assert power.power == pytest.approx(2) and power(1e7) == pytest.approx(1e8)
    near = scale.fitted(sizes, [1.0, 3.3, 10.0])
    assert 0 < near.off < 0.1


@given(st.lists(st.none() | st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=12), st.data())
def test_some_of_the_rows_are_in_the_files_that_hold_them_as_they_are_met(places, data):
    files = tuple(Path(name) for name in "abcd")
    rows = Rows(files, places)
    chosen = data.draw(st.lists(st.sampled_from(range(len(places))))) if places else []
    numbers: dict = {}
    for found in (places[row] for row in chosen):
        if found:
            numbers.setdefault(found[0], len(numbers))
    some = rows.among(chosen)
    assert some.files == tuple(files[number] for number in numbers)
    assert some.places == [places[row] and (numbers[places[row][0]], places[row][1]) for row in chosen]
    again = pickle.loads(pickle.dumps(some))
    assert again == some and hash(again) == hash(some) and some != Rows(files, [None] * (len(chosen) + 1))
    assert [some.has(at) for at in range(len(chosen))] == [places[row] is not None for row in chosen]
    assert json.dumps(rows.names) == json.dumps([list("abcd"), places])


def test_more_files_than_can_be_mapped_are_not_called_damaged(tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", np.zeros((2, 3), np.float32))

    def refuse(*args, **kwargs):
        raise RuntimeError("unable to mmap 152 bytes from file <rows.npy>: Cannot allocate memory (12)")

    monkeypatch.setattr("torch.UntypedStorage.from_file", refuse)
    with pytest.raises(DataError, match="cannot be mapped.*vm.max_map_count"):
        Rows.of(tmp_path / "rows.npy")
