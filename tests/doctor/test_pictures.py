"""Faults of pictures, planted at several sizes: from which on are they found?"""

import numpy as np
import pytest

from plait.doctor import sampled
from plait.doctor.frames import DarkVideo, MirroredVideo, RepeatedFrames
from plait.types import Readings, Recording
from tests.doctor.test_signals import PERSON, RECORDING, found, streamwise
from tests.doctor.world import planted, verdict, with_values, world


def doubled(share):
    def change(film):
        again = np.flatnonzero(np.random.default_rng(0).random(len(film)) < share)
        film = film.copy()
        for row in again[again > 0]:
            film[row] = film[row - 1]
        return film

    return streamwise("camera", lambda stream: with_values(stream, change))


@pytest.mark.parametrize(("share", "is_found"), [(0.05, False), (0.2, True), (0.5, True)])
def test_pictures_that_come_twice(share, is_found):
    words = [one.what for one in found(RepeatedFrames(), RECORDING, doubled(share))]
    assert any("repeat the one before" in what for what in words) == is_found


@pytest.mark.parametrize(("seconds", "is_found"), [(0.2, False), (1.0, True), (4.0, True)])
def test_a_camera_that_stands_still(seconds, is_found):
    def change(streams):
        film = streams["camera"]
        inside = (film.times >= 5) & (film.times < 5 + seconds)
        values = film.values.copy()
        values[inside] = values[inside][0]
        return {**streams, "camera": Readings(film.times, values)}

    words = [one.what for one in found(RepeatedFrames(), RECORDING, change)]
    assert any("shows one picture" in what for what in words) == is_found


@pytest.mark.parametrize(("lost", "is_found"), [(0.5, False), (0.9, True), (0.97, True)])
@pytest.mark.parametrize("who", [PERSON, RECORDING])
def test_a_dark_video(lost, is_found, who):
    change = streamwise("camera", lambda stream: with_values(stream, lambda film: film * (1 - lost)))
    assert bool(found(DarkVideo(), who, change)) == is_found


@pytest.mark.parametrize(
    ("axes", "way"), [((2,), "mirrored"), ((1,), "upside down"), ((1, 2), "turned by half")]
)
def test_a_person_seen_the_other_way(axes, way):
    change = streamwise("camera", lambda stream: with_values(stream, lambda film: np.flip(film, axes)))
    [finding] = found(MirroredVideo(), PERSON, change)
    assert way in finding.what and 0.7 < finding.sure < 1


def test_a_scene_without_sides_says_nothing_of_mirrors():
    def both_ways(film):
        return np.maximum(film, film[:, :, ::-1])

    recordings = [
        Recording(one.name, one.subject, {"camera": with_values(one.streams["camera"], both_ways)}, one.spans)
        for one in world(3)
    ]
    change = streamwise("camera", lambda stream: with_values(stream, lambda film: film[:, :, ::-1]))
    assert not verdict([MirroredVideo()], planted(recordings, PERSON, change))


class Film:
    """An hour of pictures that are drawn when asked for; which ones were, is counted."""

    def __init__(self, hours, side):
        self.times, self.side, self.asked, self.most = np.arange(hours * 3600 * 10) / 10, side, 0, 0

    def at(self, seconds):
        self.asked, self.most = self.asked + len(seconds), max(self.most, len(seconds))
        return (
            np.arange(self.side)[:, None] + np.rint(seconds * 10)[:, None, None] * np.ones(self.side)
        ).astype(np.uint8)


@pytest.mark.parametrize(("side", "asked", "at_once"), [(16, 2001, 2000), (400, 241, 100), (800, 241, 24)])
def test_an_hour_of_video_is_looked_at_in_bursts(side, asked, at_once):
    film = Film(1, side)
    [(_, seen)] = sampled.pictures(Recording("hour", "1", {"camera": film}, ()))
    assert len(seen.small) == len(seen.rows) <= 2000 and max(seen.small.shape[1:]) <= sampled.SIDE
    assert film.asked <= asked + 4 and film.most <= at_once
    near = np.flatnonzero(np.diff(seen.rows) == 1) + 1
    assert np.isfinite(seen.change[near]).all() and np.isnan(np.delete(seen.change, near)).all()


def test_a_long_signal_is_read_in_stretches():
    times = np.arange(1000 * 500) / 500
    values = np.random.default_rng(0).normal(size=(len(times), 12)).astype(np.float32)
    [(_, seen)] = sampled.signals(Recording("hour", "1", {"imu": Readings(times, values)}, ()))
    assert seen.values.size <= sampled.NUMBERS and seen.rows[-1] == len(times) - 1
    assert seen.neighbours.mean() > 0.99
