"""Nothing is found where nothing is wrong; and on real recordings, what is."""

import warnings
import zipfile
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from plait.datasets import utd_mhad
from plait.datasets.generated import recordings as generated
from plait.datasets.mex import recordings as mex
from plait.doctor import clocks, frames, levels, placement, units
from plait.errors import PlaitWarning
from plait.types import Recording
from tests.doctor.world import KINDS, planted, verdict, with_values, world

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
    assert verdict([check for check in CHECKS if check.name not in OF_PICTURES], generated(Path())) == []


OF_PICTURES = ("repeated-frames", "dark-video", "mirrored-video")  # its camera draws for seconds


@pytest.fixture(scope="module")
def exercises(tmp_path_factory):
    """Two exercises of six people of MEx, without the mat, whose files are long."""
    archive, folder = REAL / "mex" / "mex-01-20.zip", tmp_path_factory.mktemp("mex")
    if not archive.is_file():
        pytest.skip("MEx is not there")
    with zipfile.ZipFile(archive) as files:
        for name in files.namelist():
            path = Path(name)
            if path.parts[-3:-2] not in [("act",), ("acw",), ("dc_0.05_0.05",)] or "__MACOSX" in name:
                continue
            if path.name[:2] in ("05", "07") and path.parts[-2] in ("01", "05", "07", "09", "10", "11"):
                target = folder / Path(*path.parts[-3:])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(files.read(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PlaitWarning)
        return list(mex(folder))


@pytest.fixture(scope="module")
def trials():
    """Swipes and squats of six people of UTD-MHAD, twice, without depth."""
    folder = REAL / "utd-mhad"
    if not folder.is_dir():
        pytest.skip("UTD-MHAD is not there")
    names = [
        f"a{action}_s{person}_t{trial}" for action in (1, 27) for person in range(1, 7) for trial in (1, 2)
    ]
    found = {one.name: one for one in islice(utd_mhad.recordings(folder), None) if one.name in names}
    return [
        Recording(one.name, one.subject, {n: s for n, s in one.streams.items() if n != "depth"}, one.spans)
        for one in found.values()
    ]
