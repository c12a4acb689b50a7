"""The contact sheet: the right frame for each activity."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tests import tiny
from torch import nn

import plait
from plait.clips import listed
from plait.errors import DataError, PlaitWarning
from plait.report.sheet import SIDE, picture, write_sheet
from plait.types import Dataset, Modality, Recording, Span

COLOURS = {
    "red": (250, 20, 20),
    "green": (20, 200, 20),
    "blue": (20, 20, 250),
    "grey": (120, 120, 120),
    "no": (0, 0, 0),
}


class Coloured:
    """A stream of pictures in the colour of what is done: two seconds each."""

    times = np.arange(10.0)

    def at(self, seconds):
        names = [list(COLOURS)[min(int(s // 2), 3)] for s in seconds]
        return np.stack([np.full((48, 64, 3), COLOURS[name], np.uint8) for name in names])


def coloured(data):
    for subject in ("1", "2"):
        spans = tuple(Span(2.0 * i, 2.0 * i + 2, name) for i, name in enumerate(list(COLOURS)[:4]))
        yield Recording(f"r{subject}", subject, {"video": Coloured()}, spans)


VIDEO = Modality("video", ("video",), 2, None, torch.from_numpy, lambda shape: nn.Identity())
COLOURED = Dataset("coloured", ("blue", "no", "red", "grey", "green"), (VIDEO,), coloured, "")
SEEN = listed(COLOURED, None, ["video"])


def test_a_frame_of_each_activity_in_order(tmp_path):
    path = write_sheet(COLOURED, SEEN, tmp_path)
    sheet = cv2.imread(str(path))[:, :, ::-1]
    assert sheet.shape == (SIDE, 4 * SIDE, 3)
    for column, name in enumerate(("blue", "red", "grey", "green")):
        middle = sheet[SIDE // 2, column * SIDE + SIDE // 2].astype(int)
        assert np.abs(middle - COLOURS[name]).max() < 12, name


def test_signals_have_no_sheet(tmp_path):
    assert write_sheet(tiny.TINY, listed(tiny.TINY, None, ["a", "b"]), tmp_path) is None
    assert not list(Path(tmp_path).iterdir())


class Gone:
    """A stream whose file is there no longer."""

    times = np.arange(10.0)

    def at(self, seconds):
        raise DataError("camera.mp4: cannot be read")


def without_film(data):
    for recording in tiny.recordings(data):
        yield replace(recording, streams={"camera": Gone(), **recording.streams})


CAMERA = Modality("camera", ("camera",), 2, None, torch.from_numpy, lambda shape: nn.Identity())
GONE = replace(tiny.TINY, modalities=(CAMERA, *tiny.TINY.modalities), recordings=without_film)


def test_pictures_that_no_method_needs_may_be_gone(tmp_path):
    one = {"a": {"use": "plait.fusion:Single", "args": {"modality": "a"}}}
    study = tiny.study(
        dataset="tests.report.test_sheet:GONE", methods=one, seeds=[0], train={"max_epochs": 1}
    )
    with pytest.warns(PlaitWarning, match=r"the page has no contact sheet: camera.mp4: cannot be read"):
        page = plait.run(study, ".", tmp_path, executor="inline")
    assert page.stat().st_size > 0 and (tmp_path / "table.csv").stat().st_size > 0
    two = [(replace(one, streams={"camera": Gone(), "video": Coloured()}), clip) for one, clip in SEEN]
    assert write_sheet(replace(COLOURED, modalities=(CAMERA, *COLOURED.modalities)), two, tmp_path)


def test_depth_is_grey_and_nobody_black():
    depth = np.zeros((100, 120), np.uint16)
    depth[:50, 10:110], depth[50:, 10:110] = 1000, 2000
    shown = picture(depth)
    assert shown.shape == (SIDE, SIDE, 3) and shown[10, 100, 0] > shown[200, 100, 0] > 0
    assert picture(np.zeros((64, 64), np.uint16)).max() == 0 and picture(np.zeros((20, 3))) is None
