"""Checks of people, labels and copies: what is planted into a clean world is found, and nothing before."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from plait.clips import People
from plait.doctor.checks import all_checks, chosen
from plait.doctor.examine import examine
from plait.types import Readings, Recording, Span

OURS = ["names", "copies", "same-person", "overlaps", "labels-outside", "lacking", "metadata", "rest-tells"]
ACTIVITIES = ("wave", "walk", "rest")


def imu(own, rng, activity, seconds, rate_hz=50.0):
    """Three axes of acceleration and three of rotation; a person has a gain, a mounting and a pace."""
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    pace = {"wave": 2.2, "walk": 1.6, "rest": 0.4}[activity] * own["pace"]
    swing = np.sin(2 * np.pi * pace * times[:, None] + rng.uniform(0, 6, 6)) * own["gain"]
    drift = np.cumsum(rng.normal(0, 0.05, (len(times), 6)), axis=0)
    return Readings(times, (own["rest"] + swing + drift + rng.normal(0, 0.1, (len(times), 6))).astype("f4"))


def skeleton(own, rng, seconds, rate_hz=20.0):
    """Twelve joints, whose bones are as long as a person's are."""
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    turn = rng.normal(0, 1, (1, 11, 3)) + 0.3 * np.sin(times[:, None, None] * rng.uniform(1, 3, (11, 3)))
    bones = own["bones"][:, None] * turn / np.linalg.norm(turn, axis=2, keepdims=True)
    places = np.concatenate([np.zeros((len(times), 1, 3)), np.cumsum(bones, axis=1)], axis=1)
    return Readings(times, (places + rng.normal(0, 0.004, places.shape)).astype("f4"))


def world(seed=0, people=6, repeats=2):
    """A recording of each person, activity and repeat, all of it labelled, some longer than others."""
    found = []
    for person in range(people):
        rng = np.random.default_rng([seed, person])
        own = {
            "gain": rng.uniform(0.6, 1.6, 6),
            "pace": rng.uniform(0.8, 1.2),
            "rest": rng.normal([0, 0, 1, 0, 0, 0], 0.15),
            "bones": rng.uniform(0.2, 0.5, 11),
        }
        for activity in ACTIVITIES:
            for repeat in range(repeats):
                seconds = rng.uniform(6, 9)
                streams = {
                    "left": imu(own, rng, activity, seconds),
                    "right": imu(own, rng, activity, seconds),
                    "body": skeleton(own, rng, seconds),
                }
                span = Span(0.0, seconds, activity)
                found.append(Recording(f"{person}-{activity}-{repeat}", f"p{person}", streams, (span,)))
    return found


def findings(recordings, only=OURS, people=None, by="subject"):
    return examine(recordings, chosen(all_checks(people, by), only), people).findings


def planted(index, **changes):
    """The world with one recording changed."""
    recordings = world()
    recordings[index] = replace(recordings[index], **changes)
    return recordings


def added(recording):
    return [*world(people=2), recording]


def retimed(stream, times, values=None):
    return Readings(times, (stream.values if values is None else values).astype("f4"))


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_found_in_a_clean_world(seed):
    assert findings(world(seed)) == ()


def of(recordings, index=0):
    return recordings[index]


def test_one_person_under_two_spellings():
    recordings = [replace(r, subject="Person 0" if r.name.endswith("-1") else r.subject) for r in world()]
    [found] = findings(recordings, ["names"])
    assert (found.severity, found.where) == ("fault", "people 'Person 0' and 'p0'")
    told = People(different=(("p0", "Person 0"),))
    assert findings(recordings, ["names"], told) == ()
    assert findings(recordings, ["names"], People(same=(("p0", "Person 0"),))) == ()


def test_one_activity_under_two_spellings():
    recordings = world()
    recordings[0] = replace(recordings[0], spans=(replace(recordings[0].spans[0], activity="Wave "),))
    [found] = findings(recordings, ["names"])
    assert found.severity == "fault" and "'Wave' and 'wave'" in found.where


def copy(change, subject="p5", name="copy"):
    """The first recording again, each signal changed."""
    first = of(world())
    streams = {stream: change(readings) for stream, readings in first.streams.items() if stream != "body"}
    stop_s = min(float(readings.times[-1]) for readings in streams.values())
    return added(Recording(name, subject, streams, (Span(0.0, stop_s, "wave"),)))


def resampled(readings):
    times = np.arange(0, readings.times[-1], 1 / 80)
    noise = np.random.default_rng(1).normal(0, 0.02, (len(times), 6))
    return Readings(times, (readings.at(times) + noise).astype("f4"))


COPIES = {
    "as it is": (lambda r: r, "equal readings"),
    "on another clock": (lambda r: retimed(r, r.times + 100.0), "equal readings"),
    "its second half": (lambda r: Readings(r.times[:150], r.values[150:300]), "equal readings"),
    "in m/s2, shifted": (
        lambda r: Readings(r.times[:200], r.values[90:290] * 9.81 + 0.25),
        "another unit",
    ),
    "turned over": (lambda r: Readings(r.times, -r.values[:, ::-1]), "another unit"),
    "at another rate, with noise": (resampled, "another rate"),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_recording_under_two_peoples_names(how):
    change, said = COPIES[how]
    [found] = findings(copy(change), ["copies"])
    assert found.severity == "fault" and "people 'p0' and 'p5'" in found.where
    assert "0-wave-0 and copy" in found.where and said in found.what
    assert findings(copy(change), ["copies"], People(different=(("p0", "p5"),))) == ()


def test_a_recording_of_one_person_twice_is_a_warning_and_between_sessions_a_fault():
    recordings = copy(lambda r: r, subject="p0")
    [found] = findings(recordings, ["copies"])
    assert found.severity == "warning" and "recordings 0-wave-0 and copy" in found.where
    recordings[-1] = replace(recordings[-1], session="second")
    [found] = findings(recordings, ["copies"], by="session")
    assert found.severity == "fault"


@pytest.mark.parametrize("number", [0.0, 1.5, np.nan])
@pytest.mark.parametrize("readings", [1, 2, 400])
def test_silence_is_no_copy(number, readings):
    """Sensors that say nothing agree with all others that do: dead ones were one recording twice."""
    silent = {"left": Readings(np.arange(readings) / 50, np.full((readings, 3), number))}
    recordings = [replace(one, streams=silent) for one in world()]
    assert {one.check for one in findings(recordings)} <= {"labels-outside"}


def test_half_of_a_recording_again_is_no_copy_within_a_person():
    assert findings(copy(COPIES["its second half"][0], subject="p0"), ["copies"]) == ()


def test_two_streams_with_one_sensors_readings():
    recordings = world()
    recordings = planted(4, streams={**recordings[4].streams, "right": recordings[4].streams["left"]})
    [found] = findings(recordings, ["copies"])
    assert found.severity == "fault" and found.where == "streams left and right: recordings 0-rest-0"


def test_one_person_with_two_names():
    recordings = [
        replace(r, subject="quite another") if r.name.startswith("2-") and r.name[-1] in "345" else r
        for r in world(people=5, repeats=6)
    ]
    [found] = findings(recordings, ["same-person"])
    assert found.severity == "warning" and "people 'p2' and 'quite another': body" in found.where


def turns(second_start_s):
    """Two people of one recording."""
    first = of(world())
    halves = (Span(0.0, 3.0, "wave"),), (Span(second_start_s, 5.5, "walk"),)
    return [replace(first, spans=halves[0]), replace(first, subject="p5", spans=halves[1])]


def test_clips_of_two_people_that_share_moments():
    [found] = findings(turns(2.0), ["overlaps"])
    assert found.severity == "fault" and "people 'p0' and 'p5'" in found.where
    assert findings(turns(3.0), ["overlaps", "copies"]) == ()


@dataclass(frozen=True, eq=False)
class Film:
    """Pictures in a file."""

    times = np.arange(60) / 10
    content_key: str

    def at(self, seconds):
        return np.zeros((len(seconds), 24, 32), np.uint8)


def test_two_people_may_take_turns_before_one_camera_but_not_share_its_file():
    streams = {"camera": Film("one.mp4")}
    both = [replace(one, streams=streams) for one in turns(3.0)]
    assert findings([*world(), *both], ["copies"]) == ()
    [found] = findings([*world(), both[0], replace(both[1], name="copy")], ["copies"])
    assert found.severity == "fault" and "camera" in found.what


def test_labels_of_two_activities_at_once():
    spans = Span(0.0, 4.0, "wave"), Span(1.0, 3.5, "walk")
    [found] = findings(planted(0, spans=spans), ["overlaps"])
    assert found.severity == "warning" and "1 pairs" in found.what
    windows = tuple(
        Span(at, at + 2.0, activity) for at, activity in ((0, "wave"), (0.5, "walk"), (1, "walk"))
    )
    assert findings(planted(0, spans=windows), ["overlaps"]) == ()


@pytest.mark.parametrize(
    ("spans", "severity", "said"),
    [
        ((Span(0.0, 3.0, "wave"), Span(40.0, 43.0, "walk")), "fault", "1 of them wholly outside"),
        ((Span(0.0, 12.0, "wave"),), "warning", "0 of them wholly outside"),
        (
            (Span(0.0, 2000.0, "wave"), Span(3000.0, 5500.0, "walk")),
            "fault",
            "as milliseconds they would fit",
        ),
        ((Span(0.0, 60.0, "wave"), Span(90.0, 165.0, "walk")), "fault", "as frames, 30 a second they"),
    ],
)
def test_labels_outside_their_recording(spans, severity, said):
    [found] = findings(planted(0, spans=spans), ["labels-outside"])
    assert found.severity == severity and said in found.what


def test_activities_that_people_lack():
    recordings = [r for r in world() if not r.name.startswith("3-walk")]
    [found] = findings(recordings, ["lacking"])
    assert found.severity == "warning" and found.where == "activity 'walk'" and "(p3)" in found.what
    recordings = [r for r in world() if "walk" not in r.name or r.name.startswith("3-")]
    [found] = findings(recordings, ["lacking"])
    assert found.severity == "fault" and "'p3' is tested" in found.harm


def test_activities_that_the_same_people_lack_are_one_finding():
    recordings = [r for r in world() if r.name.split("-")[:2] not in (["3", "walk"], ["3", "rest"])]
    [found] = findings(recordings, ["lacking"])
    assert found.where == "activities 'rest', 'walk'" and "never show them (p3)" in found.what


@pytest.mark.parametrize("how", ["rate", "sensors"])
def test_metadata_that_tells_a_few_activities_of_many(how):
    names = [f"activity {number:02}" for number in range(24)]
    recordings = []
    for person in range(6):
        for name in names:
            rng = np.random.default_rng([person, int(name[-2:])])
            odd = name in names[:3]
            left, right = np.arange(0, 4, 0.04 if odd and how == "rate" else 0.02), np.arange(0, 4, 0.02)
            streams = {
                key: Readings(times, rng.normal(size=(len(times), 3)))
                for key, times in (("left", left), ("right", right))
            }
            for again in range(3):
                own = {"left": streams["left"]} if odd and how == "sensors" else streams
                span = Span(0.0, 3.9, name)
                recordings.append(Recording(f"{person}-{name}-{again}", f"p{person}", own, (span,)))
    [found] = findings(recordings, ["metadata"])
    assert (
        found.where == f"all labels: {how}" and "tells activity 00, activity 01, activity 02 of" in found.what
    )
    clean = [
        replace(r, streams={"left": r.streams["left"]}) for r in recordings if r.spans[0].activity > names[2]
    ]
    assert findings(clean, ["metadata"]) == ()


def test_labels_outside_several_recordings_are_one_finding():
    late = [replace(r, spans=(replace(r.spans[0], stop_s=12.0 + i),)) for i, r in enumerate(world()[:3])]
    [found] = findings([*late, *world()[3:]], ["labels-outside"])
    assert found.where == "recordings 0-wave-0, 0-wave-1, 0-walk-0"
    assert "beyond 0-walk-0 ('p0')" in found.what and "in 2 more, less far" in found.what


def test_one_stream_of_several_that_looks_like_another_s_is_no_copy():
    recordings = copy(resampled)
    recordings[-1].streams["right"] = world(3)[-1].streams["right"]
    assert findings(recordings, ["copies"]) == ()


def altered(change):
    return [change(recording, recording.spans[0]) for recording in world()]


def longer(recording, span):
    lasts_s = {"wave": 2.0, "walk": 3.5, "rest": 5.0}[span.activity] + 0.1 * (int(recording.subject[1]) % 3)
    return replace(recording, spans=(Span(0.0, lasts_s, span.activity),))


def slower(recording, span):
    if span.activity == "rest":
        left = recording.streams["left"]
        recording.streams["left"] = Readings(left.times[::2], left.values[::2])
    return recording


def fewer(recording, span):
    streams = {n: s for n, s in recording.streams.items() if n != "right" or span.activity != "walk"}
    return replace(recording, streams=streams)


@pytest.mark.parametrize(
    ("change", "where", "severity"),
    [(longer, "duration", "note"), (slower, "rate", "warning"), (fewer, "sensors", "warning")],
)
def test_labels_that_metadata_tells(change, where, severity):
    [found] = findings(altered(change), ["metadata"])
    assert (found.severity, found.where) == (severity, f"all labels: {where}")


def test_a_sensor_that_is_worn_elsewhere_in_some_activities():
    def elsewhere(recording, span):
        if span.activity == "walk":
            left = recording.streams["left"]
            recording.streams["left"] = Readings(left.times, left.values[:, [2, 0, 1, 3, 4, 5]] + 0)
        return recording

    def still(recording, span):  # at rest when a recording begins
        left = recording.streams["left"]
        left.values[:20] = left.values[:20] * 0.05 + [0, 0, 1, 0, 0, 0]
        return recording

    recordings = [still(r, r.spans[0]) for r in world(repeats=4)]
    assert findings(recordings, ["rest-tells"]) == ()
    recordings = [elsewhere(r, r.spans[0]) for r in recordings]
    [found] = findings(recordings, ["rest-tells"])
    assert (
        found.severity == "note" and found.where == "stream left" and ": walk; and all 2 others" in found.what
    )


def test_a_network_s_features_have_times_and_copies_but_no_channels():
    """Dead, cut off and resting numbers are what a rectifier leaves; who has somebody else's is found."""
    clean, rng = world(), np.random.default_rng(0)
    plain = findings(clean, ["*"])
    maps = [np.maximum(rng.normal(-0.5, 1, (20, 7, 7, 16)), 0).astype("f4") for _ in clean]
    for grid in maps:
        grid[..., 0] = 0
    with_maps = [
        replace(one, streams={**one.streams, "grid": Readings(np.arange(20) / 4, grid)})
        for one, grid in zip(clean, maps, strict=True)
    ]
    assert findings(with_maps, ["*"]) == plain
    copied = [*with_maps[:-1], replace(with_maps[-1], streams={"grid": with_maps[0].streams["grid"]})]
    assert "copies" in {found.check for found in findings(copied, ["*"])}
