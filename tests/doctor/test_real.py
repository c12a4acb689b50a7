"""UTD-MHAD and MEx, some recordings of them: nothing is found but what is known, and what is planted is."""

import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from plait.datasets.mex import recordings as mex
from plait.datasets.utd_mhad import recordings as utd
from plait.doctor.checks import all_checks, chosen
from plait.doctor.examine import examine
from plait.errors import PlaitWarning
from tests.doctor.test_people import OURS

REAL = Path(__file__).parents[3] / "shared" / "data"
ACTIONS = (1, 2, 3, 22, 23, 26, 27)  # the last four with the sensor on the thigh
SUBJECTS, TRIALS = (1, 2, 3, 4, 5), (1, 2, 3, 4)


def found(recordings, only=OURS):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PlaitWarning)  # lines of MEx that are out of order
        return examine(recordings, chosen(all_checks(), only)).findings


def severe(recordings, only=OURS):
    return [(one.check, one.severity) for one in found(recordings, only) if one.severity != "note"]


# UTD-MHAD


def mat(folder, kind, name):
    return folder / kind / f"{name}_{kind.lower()}.mat"


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """The skeletons and the inertial sensor of some trials, as links."""
    if not (REAL / "utd-mhad").is_dir():
        pytest.skip("UTD-MHAD is not there")
    folder = tmp_path_factory.mktemp("utd")
    for kind in ("Inertial", "Skeleton"):
        (folder / kind).mkdir()
        for name in (f"a{a}_s{s}_t{t}" for a in ACTIONS for s in SUBJECTS for t in TRIALS):
            if mat(REAL / "utd-mhad", kind, name).is_file():
                mat(folder, kind, name).symlink_to(mat(REAL / "utd-mhad", kind, name))
    return folder


@pytest.fixture
def copy(trials, tmp_path):
    """Of its own for each test."""
    return Path(shutil.copytree(trials, tmp_path / "copy", symlinks=True))


def opened(folder):
    """Without depth, which is not there."""
    for recording in utd(folder):
        del recording.streams["depth"]
        yield recording


def moved(folder, before, after, change=lambda values: values):
    """A trial's files under another name, the inertial sensor's readings changed."""
    for kind, variable in (("Inertial", "d_iner"), ("Skeleton", "d_skel")):
        values = loadmat(mat(folder, kind, before))[variable]
        mat(folder, kind, after).unlink(missing_ok=True)
        savemat(mat(folder, kind, after), {variable: change(values) if kind == "Inertial" else values})


def test_utd_mhad_is_left_alone_but_for_its_placements(trials):
    [finding] = [one for one in found(opened(trials)) if one.check != "metadata"]
    assert (finding.check, finding.severity) == ("rest-tells", "note")
    assert "swipe left, swipe right, wave; and all 4 others" in finding.what


def test_a_trial_of_utd_mhad_under_another_person(copy):
    moved(copy, "a1_s1_t1", "a1_s4_t2")
    assert severe(opened(copy)) == [("copies", "fault")]


def test_a_trial_of_utd_mhad_in_another_unit_and_cut(copy):
    values = loadmat(mat(copy, "Inertial", "a1_s1_t1"))["d_iner"]
    mat(copy, "Inertial", "a1_s4_t2").unlink()
    savemat(mat(copy, "Inertial", "a1_s4_t2"), {"d_iner": values[12:] * ([9.81] * 3 + [np.pi / 180] * 3)})
    [finding] = found(opened(copy), ["copies"])
    assert "a1_s1_t1 and a1_s4_t2" in finding.where and "another unit" in finding.what


def test_a_person_of_utd_mhad_with_two_names(copy):
    for name in [f"a{a}_s3_t{t}" for a in ACTIONS for t in (3, 4)]:
        for kind in ("Inertial", "Skeleton"):
            if mat(copy, kind, name).is_symlink():
                mat(copy, kind, name).rename(mat(copy, kind, name.replace("s3", "s8")))
    [finding] = found(opened(copy), ["same-person", "names"])
    assert finding.check == "same-person" and finding.where.startswith("people '3' and '8': ")


def test_an_activity_that_a_person_of_utd_mhad_lacks(copy):
    for file in copy.glob("*/a2_s5_*.mat"):
        file.unlink()
    [finding] = found(opened(copy), ["lacking"])
    assert finding.where == "activity 'swipe right'" and "(5)" in finding.what


# MEx


@pytest.fixture(scope="module")
def exercises(tmp_path_factory):
    """The two accelerometers of four people of MEx, three exercises."""
    archive, folder = REAL / "mex" / "mex-01-20.zip", tmp_path_factory.mktemp("mex")
    if not archive.is_file():
        pytest.skip("MEx is not there")
    with zipfile.ZipFile(archive) as files:
        for name in files.namelist():
            parts = Path(name).parts
            if parts[-1][:2] in ("01", "02", "05") and parts[-3] in ("act", "acw") and parts[-2] <= "04":
                target = folder / parts[-3] / parts[-2] / parts[-1]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(files.read(name))
    return folder


@pytest.fixture
def lying(exercises, tmp_path):
    return Path(shutil.copytree(exercises, tmp_path / "copy"))


def test_mex_is_left_alone(exercises):
    assert severe(mex(exercises)) == []


def test_a_recording_of_mex_under_another_person(lying):
    lines = (lying / "act/01/01_act_1.csv").read_text().splitlines()
    stamps = [line.partition(",")[0] for line in (lying / "act/03/01_act_1.csv").read_text().splitlines()]
    readings = [line.partition(",")[2] for line in lines[1000:]]
    taken = [f"{stamp},{reading}" for stamp, reading in zip(stamps, readings, strict=False)]
    (lying / "act/03/01_act_1.csv").write_text("\n".join(taken) + "\n")
    [finding] = found(mex(lying), ["copies"])
    assert finding.severity == "fault" and "01_01_1 and 03_01_1" in finding.where


def test_the_wrist_of_mex_that_is_the_thigh(lying):
    shutil.copy(lying / "act/02/05_act_1.csv", lying / "acw/02/05_acw_1.csv")
    [finding] = [one for one in found(mex(lying)) if one.severity != "note"]
    assert (finding.check, finding.where) == ("copies", "streams thigh and wrist: recordings 02_05_1")


def test_an_exercise_that_a_person_of_mex_lacks(lying):
    for sensor in ("act", "acw"):
        (lying / f"{sensor}/04/02_{sensor}_1.csv").unlink()
    assert severe(mex(lying)) == [("lacking", "warning")]
