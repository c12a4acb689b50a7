"""A GoPro's own inertial sensors, from the video itself, on its clock."""

import numpy as np
import pytest

from plait.errors import DataError
from plait.recordings.formats.gopro import fits, read
from plait.recordings.formats.gpmf import items
from tests.recordings.formats.makers import gopro, gpmf_packet, klv

COUNTS = (199, 202, 201, 198, 200)
RNG = np.random.default_rng(1)


def film(file, *, orientation="ZXY", counts=COUNTS, **settings):
    """A video whose packets hold so many readings; the readings."""
    readings = [RNG.integers(-20_000, 20_000, (count, 3)) for count in counts]
    packets = [
        gpmf_packet([("ACCL", 417, orientation, some), ("GYRO", 939, orientation, some[::2])])
        for some in readings
    ]
    gopro(file, packets, **settings)
    return np.concatenate(readings)


def test_values_axes_units_and_times(tmp_path):
    readings = film(tmp_path / "a.mp4")
    acc, gyr = read(tmp_path / "a.mp4")
    assert fits(tmp_path / "a.mp4") and acc.on_video and acc.name == "camera_acc"
    np.testing.assert_allclose(acc.values, readings[:, [1, 2, 0]] / 417)  # stored as z, x, y
    assert acc.columns == acc.acceleration == ("acc_x", "acc_y", "acc_z")
    assert acc.units["acc_x"] == "m/s^2" and gyr.units["gyr_x"] == "rad/s" and gyr.acceleration == ()
    np.testing.assert_allclose(acc.times, np.arange(1000) * 1.001 / 200, atol=0.02)
    assert np.ptp(np.diff(acc.times)) < 1e-9
    assert "data order ZXY" in acc.notes[0] and "fitted through 5 packets" in acc.notes[1]


@pytest.mark.parametrize(
    ("said", "order", "signs"), [("YxZ", [1, 0, 2], [-1, 1, 1]), ("zxY", [1, 2, 0], [-1, 1, -1])]
)
def test_small_letters_are_negative(tmp_path, said, order, signs):
    readings = film(tmp_path / "a.mp4", orientation=said)
    acc, _ = read(tmp_path / "a.mp4")
    np.testing.assert_allclose(acc.values, readings[:, order] * signs / 417)


def test_a_camera_that_does_not_say_its_axes_is_a_guess(tmp_path):
    film(tmp_path / "a.mp4", orientation=None)
    acc, _ = read(tmp_path / "a.mp4")
    assert "data order ZXY, which is not said: as a HERO5 has it" in acc.notes[0]


def test_times_begin_where_the_video_does_and_lost_packets_leave_no_line(tmp_path):
    film(tmp_path / "a.mp4", first_s=0.5)
    assert next(read(tmp_path / "a.mp4")).times[0] == pytest.approx(0.5, abs=0.02)
    film(tmp_path / "b.mp4", counts=(200, 200, 20, 200, 200))
    acc = next(read(tmp_path / "b.mp4"))
    assert "spread in each packet" in acc.notes[1] and len(acc.times) == 820
    np.testing.assert_allclose(acc.times[[200, 420]], [1.001, 3.003], atol=2e-3)


def test_a_video_without_the_track_is_none(tmp_path):
    gopro(tmp_path / "a.mp4", [b"fdsc and so on"] * 3)
    assert not fits(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"no video")
    assert not fits(tmp_path / "b.mp4")


@pytest.mark.parametrize(
    ("packet", "said"),
    [
        (gpmf_packet([("ACCL", 0, "ZXY", np.ones((9, 3)))]), "SCAL .*expected numbers other than 0"),
        (gpmf_packet([("ACCL", 1, "ZZY", np.ones((9, 3)))]), "ORIN 'ZZY', expected each of x, y and z once"),
        (gpmf_packet([("ACCL", 1, "ZXY", np.ones((9, 3)))])[:-20], "DEVC says that it is .* bytes long"),
    ],
)
def test_damage_is_one_line(tmp_path, packet, said):
    gopro(tmp_path / "a.mp4", [packet] * 3)
    with pytest.raises(DataError, match=rf"a.mp4: .*{said}"):
        list(read(tmp_path / "a.mp4"))


def test_any_spoiled_packet_is_read_or_refused():
    packet = bytearray(gpmf_packet([("ACCL", 417, "ZXY", np.ones((20, 3), int))]))
    for _ in range(300):
        spoiled = bytearray(packet)
        for place in RNG.integers(0, len(packet), 3):
            spoiled[place] = RNG.integers(256)
        try:
            for item in items(bytes(spoiled[: RNG.integers(len(spoiled) + 1)])):
                item.numbers()
        except DataError:
            continue


def test_nesting_is_bounded():
    content = klv("ACCL", "s", 6, b"\0" * 6)
    with pytest.raises(DataError, match="nested deeper"):
        list(items(content, depth=9))


@pytest.mark.parametrize(
    ("device", "order", "signs"),
    [
        ("Camera", [1, 2, 0], [1, 1, 1]),
        ("Hero6 Black", [1, 0, 2], [-1, 1, 1]),
        ("Fusion", [1, 0, 2], [1, -1, 1]),
    ],
)
def test_the_order_that_a_camera_does_not_say_is_its_model_s(tmp_path, device, order, signs):
    readings = RNG.integers(-20_000, 20_000, (3, 200, 3))
    packets = [gpmf_packet([("ACCL", 417, None, some)], device=device) for some in readings]
    gopro(tmp_path / "a.mp4", packets)
    acc = next(read(tmp_path / "a.mp4"))
    np.testing.assert_allclose(acc.values, np.concatenate(readings)[:, order] * signs / 417)
    assert device in acc.notes[0] and "which is not said" in acc.notes[0]
