"""Nothing is found where nothing is wrong; and on real recordings, what is."""

import itertools
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from plait.datasets import utd_mhad
from plait.datasets.generated import recordings as generated
from plait.datasets.mex import recordings as mex
from plait.doctor import clocks, frames, levels, placement, units
from plait.errors import PlaitWarning
from plait.robustness.faults import FAULTS, Occasion
from plait.types import Readings, Recording
from tests.doctor.world import KINDS, planted, verdict, with_times, with_values, world

CHECKS = [
    clocks.ClockJumps(),
    clocks.ClockRates(),
    clocks.ClockEnds(),
    units.Units(),
    levels.DeadChannels(),
    levels.Frozen(),
    levels.Saturation(),
    levels.Levels(),
    frames.RepeatedFrames(),
    frames.DarkVideo(),
    frames.MirroredVideo(),
    placement.Mounting(),
    placement.Swapped(),
]
REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("seed", "people"), [(0, 6), (1, 6), (2, 9), (3, 3), (4, 2), (5, 1)])
def test_clean_recordings_are_left_alone(kind, seed, people):
    assert verdict(CHECKS, world(seed, kind, people)) == []


def test_one_recording_and_none():
    [first, *_] = world(0, people=1)
    assert verdict(CHECKS, [first]) == [] and verdict(CHECKS, []) == []


def test_the_generated_data_set_has_no_fault():
    assert (
        verdict([check for check in CHECKS if check.name not in OF_PICTURES], list(generated(Path()))) == []
    )


OF_PICTURES = ("repeated-frames", "dark-video", "mirrored-video")  # its camera draws for seconds


@pytest.fixture(scope="module")
def exercises(tmp_path_factory):
    """Three exercises of six people of MEx, without the mat, whose files are long."""
    archive, folder = REAL / "mex" / "mex-01-20.zip", tmp_path_factory.mktemp("mex")
    if not archive.is_file():
        pytest.skip("MEx is not there")
    with zipfile.ZipFile(archive) as files:
        for name in files.namelist():
            path = Path(name)
            if path.parts[-3:-2] not in [("act",), ("acw",), ("dc_0.05_0.05",)] or "__MACOSX" in name:
                continue
            if path.name[:2] in ("05", "06", "07") and path.parts[-2] in ("01", "05", "07", "09", "10", "11"):
                target = folder / Path(*path.parts[-3:])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(files.read(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PlaitWarning)
        return list(mex(folder))


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """Swipes and squats of six people of UTD-MHAD, twice, without depth."""
    data, folder = REAL / "utd-mhad", tmp_path_factory.mktemp("utd-mhad")
    if not data.is_dir():
        pytest.skip("UTD-MHAD is not there")
    for kind in ("Inertial", "Skeleton"):
        (folder / kind).mkdir()
        for action, person, trial in itertools.product((1, 27), range(1, 7), (1, 2)):
            name = f"a{action}_s{person}_t{trial}_{kind.lower()}.mat"
            (folder / kind / name).symlink_to(data / kind / name)
    return [
        Recording(one.name, one.subject, {n: s for n, s in one.streams.items() if n != "depth"}, one.spans)
        for one in utd_mhad.recordings(folder)
    ]


def held(recordings):
    """The recordings with all of their streams in memory."""
    return [
        replace(
            one,
            streams={
                name: Readings(stream.times, stream.at(stream.times)) for name, stream in one.streams.items()
            },
        )
        for one in recordings
    ]


def test_real_exercises_and_what_is_planted_in_them(exercises):
    every, checks = held(exercises), [check for check in CHECKS if check.name != "mounting"]
    clean = [one for one in every if "_06_" not in one.name]  # the only fast one; in it, depth is late once
    assert verdict(checks, clean) == []

    def of_thigh(change):
        return lambda streams: {**streams, "thigh": with_values(streams["thigh"], change)}

    def mirrored(streams):
        return {**streams, "depth": with_values(streams["depth"], lambda frames: frames[:, :, ::-1])}

    def frozen(values):
        values[1000:1500] = values[1000]
        return values

    at = Occasion("r", "c", 0.0, 60.0, "planted")
    faults = {
        "units": ("05", of_thigh(lambda values: values * 9.80665)),
        "dead-channels": ("07_05_1", of_thigh(lambda values: values * [1, 0, 1])),
        "saturation": (
            "07_06_1",
            lambda s: {**s, **FAULTS["saturated"].worsen({"wrist": s["wrist"]}, 0.6, at)},
        ),
        "frozen": ("07_05_1", of_thigh(frozen)),
        "clock-jumps": (
            "07_05_1",
            lambda s: {**s, "wrist": with_times(s["wrist"], lambda t: t + 2 * (t > 20))},
        ),
        "clock-ends": ("07_05_1", lambda s: {**s, "wrist": with_times(s["wrist"], lambda t: t + 2)}),
        "clock-rates": ("07_05_1", lambda s: {**s, "wrist": with_times(s["wrist"], lambda t: t * 1.05)}),
        "swapped": ("05", lambda s: {**s, "wrist": s["thigh"], "thigh": s["wrist"]}),
        "dark-video": (
            "07_05_1",
            lambda s: {**s, "depth": with_values(s["depth"], lambda frames: frames * 0)},
        ),
        "mirrored-video": ("05", mirrored),
    }
    missed = {}
    for name, (who, change) in faults.items():
        among = every if name == "saturation" else clean
        told = verdict([check for check in CHECKS if check.name == name], planted(among, who, change))
        if not told or any(who not in one.where for one in told):
            missed[name] = told
    assert missed == {}


def test_real_trials_and_what_is_planted_in_them(trials):
    assert verdict(CHECKS, trials) == []

    def of_inertial(change):
        return lambda streams: {**streams, "inertial": with_values(streams["inertial"], change)}

    def of_skeleton(streams):
        return {**streams, "skeleton": with_values(streams["skeleton"], lambda joints: joints * 1000)}

    faults = {
        "units": ("3", of_inertial(lambda values: values * np.repeat([1.0, np.pi / 180], 3))),
        "dead-channels": ("a1_s3_t1", of_inertial(lambda values: values * [1, 1, 1, 1, 0, 1])),
        "mounting": ("3", of_inertial(lambda values: values * [-1, -1, 1, -1, -1, 1])),
        "clock-ends": ("a1_s3_t1", lambda s: {**s, "inertial": with_times(s["inertial"], lambda t: t + 0.5)}),
    }
    for name, (who, change) in {**faults, "units of joints": ("3", of_skeleton)}.items():
        told = verdict(
            [check for check in CHECKS if check.name == name.split(" ")[0]], planted(trials, who, change)
        )
        assert told and all(who in one.where for one in told), name
