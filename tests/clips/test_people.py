"""A person or a recording under two names, in whatever form the data lie; and people who are different."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.clips import People, cut, survey, tensors
from plait.clips.people import check_clips
from plait.errors import ConfigError, DataError
from plait.types import Clip, Dataset, Modality, Readings, Recording, Span
from tests import tiny

HERE = Path("data")
SPANS = (Span(0, 2, "a"), Span(2, 4, "b"))


class Lazy:
    """A stream that is read when it is asked for, and tells nothing of where from."""

    def __init__(self, readings):
        self.times, self.readings = readings.times, readings

    def at(self, seconds):
        return self.readings.at(seconds)


def readings(seed, digits=None):
    values = np.random.default_rng(seed).normal(size=(40, 3))
    return Readings(np.arange(40) / 10, values if digits is None else values.round(digits))


def recording(name, subject, seed, key=None, spans=SPANS, **streams):
    return Recording(name, subject, streams or {"a": readings(seed)}, spans, key)


def dataset(recordings, activities=("a", "b"), samples=20):
    modalities = (Modality("a", ("a",), samples, None, tiny.tensor, tiny.Linear),)
    return Dataset("own", activities, modalities, lambda data: iter(recordings), "")


def asked(recordings, people=None, **own):
    return survey(dataset(recordings, **own), HERE, ["a"], people=people or People())


@pytest.mark.parametrize("other", ["01", "Subject 1", " 1\u00a0", "１", "1\u200b.0"])
def test_one_person_under_two_names_is_asked_about_in_any_data_set(other):
    own = [recording("r1", "1", 1), recording("r2", other, 2), recording("r3", "2", 3)]
    if other.strip() == "1":
        assert {clip.subject for _, clip in asked(own).cuts} == {"1", "2"}
        return
    with pytest.raises(
        DataError, match=r"subjects .* \(recording r[12]\) and .* \(recording r[12]\) look alike"
    ) as said:
        asked(own)
    assert 'same_person = [["1", ' in str(said.value) and "--different" in str(said.value)
    merged = asked(own, People(same=(("1", other),)))
    assert [clip.subject for _, clip in merged.cuts] == ["1", "1", "1", "1", "2", "2"] and not merged.notes
    apart = asked(own, People(different=(("2", other, "1"),)))
    assert len({clip.subject for _, clip in apart.cuts}) == 3


def test_a_person_may_be_renamed_and_who_nobody_is_is_said():
    own = [recording("r1", "1", 1), recording("r2", "7", 2)]
    found = asked(own, People(same=(("anna", "7", "8"),)))
    assert [clip.subject for _, clip in found.cuts] == ["1", "1", "anna", "anna"]
    assert found.notes == [
        "same_person = ['anna', '7', '8']: nobody is called 'anna'",
        "same_person = ['anna', '7', '8']: nobody is called '8'",
    ]
    with pytest.raises(ConfigError, match="'7' is two persons"):
        People(same=(("1", "7"), ("7 ", "8")))
    with pytest.raises(ConfigError, match="expected two names or more"):
        People(different=(("1",),))


def test_names_are_composed_and_activities_are_the_data_sets():
    spans = (Span(0, 2, "de\u0301couper"), Span(2, 4, "visser "))
    own = [recording("r1", "Rene\u0301", 1, spans=spans), recording("r2", "Ren\u00e9 ", 2, spans=spans)]
    found = asked(own, activities=("d\u00e9couper", "visser"))
    assert {clip.subject for _, clip in found.cuts} == {"Ren\u00e9"}
    assert {clip.activity for _, clip in found.cuts} == {"d\u00e9couper", "visser"}


def test_activities_that_look_alike_are_asked_about():
    own = [recording("r1", "1", 1), recording("r2", "2", 2, spans=(Span(0, 4, "B"),))]
    with pytest.raises(
        DataError, match=r"activities 'B' \(recording r2\) and 'b' \(recording r1\) look alike"
    ):
        asked(own, activities=("a", "b", "B"))
    assert len(asked(own, People(different=(("B", "b"),)), activities=("a", "b", "B")).cuts) == 3


def test_nobody_is_called_nothing():
    with pytest.raises(DataError, match="recording r2: the subject is empty"):
        asked([recording("r1", "1", 1), recording("r2", "\u200b ", 2)])


NAMES = st.lists(st.text("abcdefg", min_size=2, max_size=4), min_size=2, max_size=5, unique=True)


@settings(max_examples=30, deadline=None)
@given(
    names=NAMES, copied=st.integers(0, 4), form=st.sampled_from(["values", "files", "read when asked for"])
)
def test_a_recording_that_is_copied_to_somebody_else_is_found_in_whatever_form(names, copied, form):
    def of(name, seed):
        if form == "values":
            return recording(f"r-{name}", name, seed)
        return recording(
            f"r-{name}", name, seed, f"key {seed}" if form == "files" else None, a=Lazy(readings(seed))
        )

    def ask(recordings):
        cuts = asked(recordings).cuts
        rows = torch.stack(list(tensors(dataset(recordings).modality("a"), cuts))).numpy()
        check_clips(HERE, [clip for _, clip in cuts], [("a", rows)], People())

    own = [of(name, seed) for seed, name in enumerate(names)]
    ask(own)
    original = own[copied % len(own)]
    with pytest.raises(DataError) as said:
        ask([*own, replace(original, name="zz", subject="zzz")])
    for word in (original.name, repr(original.subject), "recording zz", "'zzz'", "are the same"):
        assert word in str(said.value)


def clips_of(people, each):
    return [Clip(f"{who}/{i}", f"r{who}", who, "a", i, i + 1) for who in people for i in range(each)]


def test_clips_of_few_numbers_are_a_copy_if_half_of_them_are():
    rows = np.random.default_rng(0).normal(size=(3, 12, 4)).astype(np.float32)
    clips = clips_of("abc", 12)
    check_clips(HERE, clips, [("x", rows.reshape(36, 4))], People())
    rows[2, :6] = rows[0, 3:9]
    with pytest.raises(DataError, match="recording ra .* and recording rc .* equal values in 6 clips"):
        check_clips(HERE, clips, [("x", rows.reshape(36, 4))], People())
    check_clips(HERE, clips, [("x", rows.reshape(36, 4))], People(different=(("c", "a"),)))
    rows[2, 3:6] = 1
    check_clips(HERE, clips, [("x", rows.reshape(36, 4))], People())


def test_what_agrees_by_chance_is_no_copy():
    rng = np.random.default_rng(0)
    # a few levels, thrice a clip
    pulse = rng.integers(0, 4, size=(3, 200, 3)) + np.array([60, 66, 75])[:, None, None]
    dead = np.zeros((600, 5, 5))
    check_clips(HERE, clips_of("abc", 200), [("pulse", pulse.reshape(600, 3)), ("dead", dead)], People())
    still = Readings(np.arange(40) / 10, np.zeros((40, 3)))
    noisy = [recording(f"r{i}", str(i), i, a=readings(i), dead=still) for i in range(3)]
    assert asked(noisy).notes == []


def test_a_large_clip_is_found_by_its_parts_and_compared_as_a_whole():
    rows = np.random.default_rng(0).normal(size=(4, 60, 1000)).astype(np.float16)
    clips = clips_of("abcd", 1)
    rows[3] = rows[0]
    rows[3].flat[2000] += 1  # in no part that is looked at
    check_clips(HERE, clips, [("video", rows)], People())
    rows[3] = rows[0]
    with pytest.raises(DataError, match="recording ra .* and recording rd .* equal values in video"):
        check_clips(HERE, clips, [("video", rows)], People())


def test_a_double_of_the_same_person_is_said():
    one = recording("r1", "1", 1)
    found = asked([one, replace(one, name="r2"), recording("r3", "2", 3)])
    assert (
        found.notes == ["recordings r1 and r2 of 1 are the same (a), and count twice"]
        and len(found.cuts) == 6
    )
    copied = [one, replace(one, name="r2", subject="7"), recording("r3", "2", 3)]
    assert {clip.subject for _, clip in asked(copied, People(same=(("1", "7"),))).cuts} == {"1", "2"}


def test_people_who_take_turns_before_one_camera_are_two():
    first, second = (Span(0, 2, "a"),), (Span(2, 4, "b"),)
    turns = [recording("r1", "1", 1, "key", first), recording("r2", "2", 1, "key", second)]
    assert len(asked(turns).cuts) == 2 and asked(turns).notes == []
    with pytest.raises(DataError, match="are the same"):
        asked([*turns, recording("r3", "3", 1, "key", (Span(1.5, 2.5, "a"),))])


def test_many_people_are_told_apart():
    people = [*map(str, range(1, 21)), "a1", "a10", "anna", "anne"]
    found = asked([recording(f"r{who}", who, seed) for seed, who in enumerate(people)])
    assert len({clip.subject for _, clip in found.cuts}) == 24 and not found.notes
    assert len(cut(dataset([one for one, _ in found.cuts[::2]]), HERE, ["a"]).table) == 48
