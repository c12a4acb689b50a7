"""Faults of units, levels and placement, planted at several sizes: from which on are they found?"""

import re
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from plait.doctor.levels import DeadChannels, Frozen, Levels, Saturation
from plait.doctor.placement import Mounting, Swapped
from plait.doctor.sampled import WIDEST, signals
from plait.doctor.units import Units
from plait.recordings.sensors import SensorLog
from plait.robustness.faults import FAULTS, Occasion
from plait.types import Readings, Recording, Span
from tests.doctor.world import NAMES, planted, verdict, with_times, with_values, world

PERSON, RECORDING = "3", "3-walk-1"
SEED = 3


@lru_cache
def clean(people=6):
    return world(SEED, "steady", people, repeats=2)


def found(check, who, change, people=6):
    """What a check says of who got a fault; it must not say anything of anybody else."""
    findings = verdict([check], planted(clean(people), who, change))
    for finding in findings:
        assert finding.check == check.name and 0 < finding.sure < 1
        assert finding.what.endswith(".") and finding.harm.endswith(".") and finding.remedy.endswith(".")
        assert who in finding.where, finding
    return findings


def streamwise(name, change):
    return lambda streams: {**streams, name: change(streams[name])}


def times_of(name, change):
    return streamwise(name, lambda stream: with_times(stream, change))


def times_scaled(name, by, columns=slice(None)):
    def change(values):
        values[:, columns] *= by
        return values

    return streamwise(name, lambda stream: with_values(stream, change))


def without(name, start_s, stop_s):
    def change(log):
        kept = (log.times < start_s) | (log.times > stop_s)
        return SensorLog(log.times[kept], log.values[kept], log.names)

    return streamwise(name, change)


def robust(name, fault, severity):
    """A fault of `plait robustness`."""
    at = Occasion("r", "c", 0.0, 16.0, "planted")
    return lambda streams: {**streams, **FAULTS[fault].worsen({name: streams[name]}, severity, at)}


def standing(name, seconds, columns=slice(None)):
    def change(stream):
        inside = (stream.times >= 5) & (stream.times < 5 + seconds)

        def hold(values):
            values[np.ix_(inside, np.arange(values.shape[1])[columns])] = values[inside][0, columns]
            return values

        return with_values(stream, hold)

    return streamwise(name, change)


def turned(name, degrees):
    turn = Rotation.from_euler("z", degrees, degrees=True)

    def change(values):
        return np.concatenate(
            [turn.apply(values[:, at : at + 3]) for at in range(0, values.shape[1], 3)], axis=1
        )

    return streamwise(name, lambda stream: with_values(stream, change))


@pytest.mark.parametrize("factor", [9.80665, 1 / 9.80665, 1000.0, 1e-3])
def test_a_person_in_other_units_of_gravity(factor):
    [finding] = found(Units(), PERSON, times_scaled("thigh", factor))
    assert finding.severity == "fault" and finding.sure > 0.75


def test_gravity_ten_times_as_long_is_m_s2():
    """With a gain that makes the factor 10, of a sensor whose channels have no names."""
    [finding] = found(Units(), PERSON, times_scaled("thigh", 10.0))
    assert "g and m/s2" in finding.what


@pytest.mark.parametrize("factor", [180 / np.pi, np.pi / 180])
@pytest.mark.parametrize("who", [PERSON, RECORDING])
def test_degrees_for_radians(factor, who):
    [finding] = found(Units(), who, times_scaled("left", factor, slice(3, 6)))
    assert "degrees and radians" in finding.what and "gyr_x" in finding.what


@pytest.mark.parametrize(("factor", "units"), [(1000.0, "mm and m"), (100.0, "cm and m")])
def test_a_skeleton_in_millimetres(factor, units):
    def change(streams):
        joints = streams["skeleton"]
        return {**streams, "skeleton": Readings(joints.times, joints.values * np.float32(factor))}

    [finding] = found(Units(), PERSON, change)
    assert units in finding.what


@pytest.mark.parametrize("people", [2, 3])
def test_of_few_people_either_may_be_wrong(people):
    who = str(people - 1)
    change = times_scaled("thigh", 9.80665)
    findings = verdict([Units()], planted(clean(people), who, change))
    sure = {one.where: one.sure for one in findings}
    assert f"person {who}, thigh" in sure and max(sure.values()) < 0.7
    [many] = found(Units(), PERSON, change)
    assert many.sure > max(sure.values())


@pytest.mark.parametrize(("factor", "is_told"), [(1.0, False), (1 / 9.80665, True), (9.80665, True)])
def test_gravity_that_no_unit_gives(factor, is_told):
    one = [
        Recording(
            name, name, {"wrist": Readings(log.times, log.values * np.float32(factor))}, (Span(0, 1, "a"),)
        )
        for name, log in (("1", clean()[0].streams["thigh"]), ("2", clean()[4].streams["thigh"]))
    ]
    told = [finding.what for finding in verdict([Units()], one)]
    assert any("no unit gives" in what for what in told) == (factor < 1)
    ms2 = [
        Recording(
            r.name, r.subject, {"wrist": with_values(r.streams["wrist"], lambda v: v * 9.80665)}, r.spans
        )
        for r in one
    ]
    told = [finding.what for finding in verdict([Units()], ms2)]
    assert any("no unit gives" in what for what in told) == (factor > 1)


def test_columns_are_held_to_the_units_in_their_names():
    times = np.arange(400) / 50
    values = np.tile([0.6, 0.0, 0.8, 300.0, 0.0, 0.0], (400, 1)) + 0.01 * np.sin(times)[:, None]
    names = tuple(
        f"{kind}_{axis} ({unit})" for kind, unit in (("acc", "m/s2"), ("gyr", "rad/s")) for axis in "xyz"
    )
    right = values * np.repeat([9.80665, np.pi / 180], 3)
    for numbers, count in ((values, 2), (right, 0)):
        log = SensorLog(times, numbers.astype(np.float32), names)
        assert len(verdict([Units()], [Recording("a", "1", {"wrist": log}, ())])) == count


@pytest.mark.parametrize(
    ("names", "length", "said"),
    [
        ("acc_{} (mg)", 1000, None),
        ("acc_{}_mg", 1000, None),
        ("acc_{} [mg]", 1, "not 1e.03 as mg would be"),
        ("acc_{} (g)", 1, None),
        ("acc_{} (g)", 1000, "not 1 as g would be"),
        ("linear acc {} (m/s2)", 1e-4, None),
        ("userAcceleration{} (g)", 1e-4, None),
        ("FreeAcc_{}_g", 1e-4, None),
    ],
)
def test_what_a_name_claims_is_its_own_unit(names, length, said):
    def measured(person, turn):
        rng = np.random.default_rng(person)
        times = np.arange(0, 20, 0.02)
        values = length * (np.tile([0, 0, 1.0], (len(times), 1)) + rng.normal(0, 0.02, (len(times), 3)))
        turning = rng.normal(0, turn, (len(times), 3))
        axes = [names.format(axis) for axis in "XYZ"] + [f"gyr_{axis}_mrad" for axis in "xyz"]
        log = SensorLog(times, np.concatenate([values, turning], axis=1).astype(np.float32), tuple(axes))
        return Recording(str(person), str(person), {"wrist": log}, (Span(0, 20, "a"),))

    findings = verdict([Units()], [measured(person, 1500.0) for person in range(5)])
    assert len(findings) == (said is not None) and all(re.search(said, one.what) for one in findings)


@pytest.mark.parametrize(("factor", "is_found"), [(1.0, False), (2.0, False), (25.0, True), (0.1, True)])
def test_a_person_far_stronger_than_the_others(factor, is_found):
    assert bool(found(Levels(), PERSON, times_scaled("left", factor, slice(3, 6)))) == is_found


@pytest.mark.parametrize(("factor", "is_found"), [(1.05, False), (1.4, True), (3.0, True)])
def test_a_gain_that_gravity_shows(factor, is_found):
    assert bool(found(Levels(), PERSON, times_scaled("thigh", factor))) == is_found


@pytest.mark.parametrize(("lost", "is_found"), [(0.0, False), (0.4, True), (0.6, True), (0.8, True)])
def test_a_range_that_is_too_small(lost, is_found):
    assert bool(found(Saturation(), RECORDING, robust("left", "saturated", lost))) == is_found


@pytest.mark.parametrize(("times", "is_found"), [(1, False), (2, False), (3, True)])
@pytest.mark.parametrize("apart", [False, True])
def test_a_range_is_too_small_if_it_is_met_again(times, is_found, apart):
    def blow(first):
        """Eight readings beyond what the sensor can say."""

        def change(values):
            values[first : first + 10, 0] = [3.0, *[5.0] * 8, 3.0]
            return values

        return streamwise("left", lambda log: with_values(log, change))

    recordings = clean()
    for number in range(times):
        who = f"{number}-walk-0" if apart else RECORDING
        recordings = planted(recordings, who, blow(100 + 150 * number))
    findings = verdict([Saturation()], recordings)
    assert len(findings) == is_found and all("acc_x" in one.what for one in findings)


def test_a_stretch_that_stands_still_at_its_end_is_not_cut_off():
    def hold(values):
        for first in (200, 400, 600):
            values[first : first + 6] = values.max(axis=0)
        return values

    assert not found(Saturation(), RECORDING, streamwise("left", lambda log: with_values(log, hold)))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_dead_channels(count):
    recordings = planted(clean(), RECORDING, robust("left", "dead-channel", float(count)))
    [finding] = verdict([DeadChannels()], recordings)
    [log] = [one.streams["left"] for one in recordings if one.name == RECORDING]
    dead = [name for name, column in zip(NAMES, log.values.T, strict=True) if not np.ptp(column)]
    assert len(dead) == count and finding.severity == "fault"
    assert RECORDING in finding.where and ", ".join(dead) in finding.what


def test_a_sensor_that_is_dead_or_unknown_is_said_once():
    for number in (0.0, np.nan):
        [finding] = found(DeadChannels(), RECORDING, times_scaled("left", number))
        assert "Every channel" in finding.what


def test_a_channel_that_never_moves_is_a_note():
    def change(recording):
        log = with_values(recording.streams["thigh"], lambda v: v * [1, 0, 1])
        return Recording(recording.name, recording.subject, {"thigh": log}, recording.spans)

    [finding] = verdict([DeadChannels()], [change(one) for one in clean()])
    assert finding.severity == "note" and "all recordings" in finding.where


def switches(rests, seed=0):
    """Recordings of a switch that is 0 for a share of the time, in one of them throughout."""
    rng, times, recordings = np.random.default_rng(seed), np.arange(0, 40, 0.05), []
    for person in range(6):
        for repeat in range(4):
            wave = 0.5 + 0.5 * np.sin(times + rng.uniform(0, 6))
            pressed = (wave > np.quantile(wave, rests)) & ((person, repeat) != (2, 0))
            switch = Readings(times, pressed[:, None].astype(np.float32))
            spans = (Span(0, 20, "a"), Span(20, 40, "b"))
            recordings.append(Recording(f"{person}-{repeat}", str(person), {"switch": switch}, spans))
    return recordings


@pytest.mark.parametrize(("rests", "severity"), [(0.05, "fault"), (0.3, "note"), (0.9, "note")])
def test_a_switch_that_nobody_pressed_is_a_note(rests, severity):
    [finding] = verdict([DeadChannels()], switches(rests))
    assert finding.severity == severity and "2-0" in finding.where
    assert ("where most others rest" in finding.what) == (severity == "note")


@pytest.mark.parametrize("seed", range(3))
def test_a_slow_sensor_of_whole_numbers_is_not_frozen(seed):
    """Eight equal heart rates in a row are as usual as seven, which counted as none."""
    rng, recordings = np.random.default_rng(seed), []
    for person in range(8):
        for repeat in range(4):
            rates = np.round(70 + 5 * person + np.cumsum(rng.normal(0, 1, 65)))[:, None]
            pulse = {"pulse": Readings(np.arange(65.0), rates)}
            recordings.append(Recording(f"{person}-{repeat}", str(person), pulse, (Span(0, 64, "a"),)))
    assert verdict([Frozen()], recordings) == []
    stuck = recordings[5].streams["pulse"].values
    stuck[10:] = stuck[10]
    [finding] = verdict([Frozen()], recordings)
    assert recordings[5].name in finding.where


@pytest.mark.parametrize(("seconds", "is_found"), [(0.1, False), (0.4, True), (1.0, True), (4.0, True)])
@pytest.mark.parametrize("columns", [slice(None), slice(1, 2)])
def test_a_stretch_that_stands_still(seconds, is_found, columns):
    findings = found(Frozen(), RECORDING, standing("left", seconds, columns))
    assert len(findings) == is_found
    if findings:
        assert ("Every channel" in findings[0].what) == (columns == slice(None))


@pytest.mark.parametrize(("degrees", "is_found"), [(0, False), (20, False), (90, True), (180, True)])
@pytest.mark.parametrize("who", [PERSON, RECORDING])
def test_a_sensor_that_is_worn_turned(degrees, is_found, who):
    repeats = planted(world(SEED, people=6, repeats=3, seconds=8.0), who, turned("left", degrees))
    findings = verdict([Mounting()], repeats)
    assert bool(findings) == is_found and all(who in one.where for one in findings)


@pytest.mark.parametrize("signs", [[-1, 1, 1], [1, 1, -1], [-1, -1, 1]])
def test_axes_of_another_sign(signs):
    change = streamwise("left", lambda log: with_values(log, lambda values: values * np.tile(signs, 2)))
    [finding] = found(Mounting(), PERSON, change)
    assert ("other side" in finding.remedy) == (np.prod(signs) < 0)
    said = ", ".join(("-" if sign < 0 else "") + axis for sign, axis in zip(signs, "xyz", strict=True))
    assert said in finding.what


@pytest.mark.parametrize("euler", [(0, 0, 90), (90, 90, 0), (0, 90, 90), (90, 0, 0)])
def test_axes_that_are_read_as_it_is_said_are_as_the_others(euler):
    """The words could be taken for the turn back, which is another one: then it is worn twice as far off."""
    turn = Rotation.from_euler("xyz", euler, degrees=True).as_matrix()

    def change(values):
        return (values.reshape(-1, 2, 3) @ turn.T).reshape(values.shape)

    def read_so(values):
        said = re.search(r"if (.*) are read for x, y, z", finding.what)[1].split(", ")
        columns = [(-1.0 if axis[0] == "-" else 1.0, "xyz".index(axis[-1])) for axis in said]
        three = [[sign * values[:, 3 * kind + axis] for sign, axis in columns] for kind in (0, 1)]
        return np.stack([*three[0], *three[1]], axis=1)

    [finding] = found(Mounting(), PERSON, streamwise("left", lambda log: with_values(log, change)))
    both = streamwise("left", lambda log: with_values(with_values(log, change), read_so))
    assert found(Mounting(), PERSON, both) == []


def test_a_sensor_that_everybody_wears_in_their_own_way():
    recordings = clean()
    for who, degrees in (("1", 180), ("4", 180)):
        recordings = planted(recordings, who, turned("left", degrees))
    [finding] = verdict([Mounting()], recordings)
    assert finding.where.startswith("all recordings") and "person 1, person 4" in finding.what


@pytest.mark.parametrize("who", [PERSON])
def test_sensors_that_are_taken_for_each_other(who):
    def change(streams):
        return {**streams, "left": streams["right"], "right": streams["left"]}

    [finding] = found(Swapped(), who, change)
    assert finding.severity == "fault" and "left and right" in finding.where


def test_sensors_of_one_number_are_not_told_apart():
    def alone(recording):
        streams = {
            name: Readings(log.times, log.values[:, :1])
            for name, log in recording.streams.items()
            if "t" in name[-1]
        }
        return Recording(recording.name, recording.subject, streams, recording.spans)

    recordings = [alone(one) for one in clean()]
    assert {*recordings[0].streams} == {"left", "right"}

    def change(streams):
        return {"left": streams["right"], "right": streams["left"]}

    assert verdict([Swapped()], planted(recordings, PERSON, change)) == []


def test_a_person_who_leads_with_the_other_hand_is_a_note():
    """Both sensors hang as they did; what is exchanged is how much they move."""

    def change(streams):
        left, right = streams["left"], streams["right"]
        about = {name: log.values - log.values.mean(axis=0) for name, log in (("l", left), ("r", right))}
        return {
            **streams,
            "left": with_values(left, lambda values: values.mean(axis=0) + about["r"][: len(values)]),
            "right": with_values(right, lambda values: values.mean(axis=0) + about["l"][: len(values)]),
        }

    [finding] = found(Swapped(), PERSON, change)
    assert finding.severity == "note" and finding.sure <= 0.5 and "other hand" in finding.remedy
    limbs = {"left": "wrist", "right": "ankle"}  # of which nobody leads with the other one
    others = [
        replace(one, streams={limbs[name]: one.streams[name] for name in limbs})
        for one in planted(clean(), PERSON, change)
    ]
    [finding] = verdict([Swapped()], others)
    assert finding.severity == "fault"


@pytest.mark.parametrize("shape", [(7, 7, 832), (WIDEST + 1,), (1000, 3)])
def test_numbers_of_grids_are_no_channels(shape):
    """GloVid's features have 40,768 numbers a reading: what each of them does says nothing of a sensor."""
    values = np.zeros((4, *shape), np.float32)
    streams = {
        "grid": Readings(np.arange(4.0), values),
        "watch": Readings(np.arange(4.0), values[:, :1, ...].reshape(4, -1)[:, :3]),
    }
    recording = Recording("a", "a", streams, (Span(0.0, 3.0, "walk"),))
    assert [name for name, _ in signals(recording)] == ["watch"]
