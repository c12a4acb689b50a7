"""The track and the channels that have the sound, and a clock that starts with whatever begins first."""

import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest

from plait.clips.windows import Windows, place
from plait.errors import DataError
from plait.recordings.sound import read_sound
from plait.recordings.video import Video
from plait.types import Recording, Span

RATE = 16_000


def clicks(seconds=4.0, at=(1.0, 2.5), seed=0):
    sound = np.random.default_rng(seed).normal(0, 1e-3, round(seconds * RATE)).astype(np.float32)
    for when in at:
        sound[round(when * RATE) : round(when * RATE) + 40] = 0.6
    return sound


def film(file, tracks, *, pictures=40, first_s=0.0, last_s=None, codec="libx264", sound="pcm_s16le"):
    """A video of 10 Hz from `first_s` on, its last picture shown for `last_s`, with a track a layout."""
    unit = Fraction(1, 1000)
    with av.open(str(file), "w") as container:
        track = container.add_stream(codec, rate=10, options={"preset": "ultrafast", "bf": "0"})
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        track.codec_context.time_base = track.time_base = unit
        heard = [container.add_stream(sound, rate=RATE, layout=layout) for layout, _ in tracks]
        packets = []
        for index in range(pictures):
            picture = np.full((48, 64, 3), 40 + 5 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = round((first_s + index / 10) * 1000), unit
            packets += track.encode(frame)
        packets += track.encode()
        if last_s:
            packets[-1].duration = round(last_s / packets[-1].time_base)
        container.mux(packets)
        for stream, (layout, channels) in zip(heard, tracks, strict=True):
            samples = np.ascontiguousarray(np.stack(channels).T.reshape(1, -1))
            for first in range(0, len(channels[0]), 1600):
                part = samples[:, first * len(channels) : (first + 1600) * len(channels)]
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), "flt", layout)
                frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), first
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return file


def loud(readings):
    """When clicks begin."""
    at = readings.times[np.abs(readings.values) > 0.15]
    return at[np.diff(at, prepend=-1) > 0.1]


QUIET, HEARD = np.zeros(4 * RATE, np.float32), clicks()
HUM = (0.1 * np.sin(2 * np.pi * 50 * np.arange(4 * RATE) / RATE)).astype(np.float32)
HISS = np.random.default_rng(1).normal(0, 1e-3, 4 * RATE).astype(np.float32)


@pytest.mark.parametrize(
    "tracks, about",
    [
        ([("mono", [HEARD])], None),
        ([("mono", [QUIET]), ("mono", [HEARD])], "sound track 2 of 2 (1 is quiet)"),
        (
            [("mono", [HISS]), ("stereo", [QUIET, QUIET]), ("mono", [HEARD])],
            "sound track 3 of 3 (1 and 2 are quiet)",
        ),
        ([("mono", [HEARD]), ("mono", [clicks(at=(3.0,))])], "sound track 1 of 2"),
        ([("stereo", [QUIET, HEARD])], None),
        ([("stereo", [HUM, HEARD])], None),
        ([("stereo", [HEARD, -HEARD])], "channel 1 is upside down"),
        ([("5.1", [QUIET, QUIET, HEARD, QUIET, QUIET, QUIET])], None),
    ],
)
def test_the_sound_is_found(tmp_path, tracks, about):
    sound = read_sound(film(tmp_path / "a.mkv", tracks))
    assert loud(sound.readings) == pytest.approx([1.0, 2.5], abs=0.003)
    assert np.abs(sound.readings.values).max() > 0.25
    if about and "upside" in about:  # which of the two is, nobody can tell
        assert sound.about in ("channel 1 is upside down", "channel 2 is upside down")
    else:
        assert sound.about == about


def test_silence_is_no_error(tmp_path):
    sound = read_sound(film(tmp_path / "a.mkv", [("stereo", [QUIET, QUIET])]))
    assert not sound.readings.values.any() and sound.about is None


def test_a_track_without_samples_is_passed_over(tmp_path):
    nothing = np.zeros(0, np.float32)
    file = film(tmp_path / "a.mkv", [("mono", [nothing]), ("mono", [HEARD])])
    assert loud(read_sound(file).readings) == pytest.approx([1.0, 2.5], abs=0.003)
    with pytest.raises(DataError, match="its audio track is empty, expected sound"):
        read_sound(film(tmp_path / "b.mkv", [("mono", [nothing])]))


@pytest.mark.parametrize("ending, sound", [("mp4", "aac"), ("mkv", "pcm_s16le"), ("ts", "mp2")])
def test_pictures_that_begin_after_the_sound_have_the_players_times(tmp_path, ending, sound):
    """At the player's 3.0 s the sound of 3.0 s is heard, and the picture that is shown is the tenth."""
    file = film(tmp_path / f"a.{ending}", [("mono", [clicks(6.0, (3.0,))])], first_s=2.0, sound=sound)
    video = Video(file, None, None)
    assert video.times[[0, 10]] == pytest.approx([2.0, 3.0], abs=0.08)
    heard = loud(read_sound(file).readings)[0]
    assert heard == pytest.approx(float(video.times[10]), abs=0.03)
    picture = video.at(np.array([heard + 0.05]))[0]
    assert picture.mean() == pytest.approx(40 + 5 * 10, abs=3)
    recording = Recording("a", "a", {"video": video}, (Span(0.0, 6.0, "work"),))
    first = place([recording], Windows(1.0))[0][0]  # there is no window without a picture
    assert first.start_s == pytest.approx(video.times[0])


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_the_last_picture_stands(tmp_path, ending):
    """Nothing moved after 4 s: the picture is there until the sound ends, or as long as the file says."""
    file = film(tmp_path / f"a.{ending}", [("mono", [clicks(9.0, (8.0,))])], sound="aac")
    video = Video(file)
    assert video.ends == pytest.approx((0, 9.0), abs=0.15) and video.times[-1] == pytest.approx(
        3.9, abs=0.002
    )
    recording = Recording("a", "a", {"video": video}, (Span(6.0, 8.5, "wait"),))
    assert [round(window.start_s) for window in place([recording], Windows(1.0))[0]] == [6, 7]
    assert video.at(np.array([8.0]))[0].mean() == pytest.approx(40 + 5 * 39, abs=3)


def test_the_last_picture_stands_as_long_as_it_says(tmp_path):
    video = Video(film(tmp_path / "a.mp4", [], last_s=6.0))
    assert video.ends == pytest.approx((0, 9.9), abs=0.01)


def test_sound_that_fills_its_last_packet_adds_no_picture(tmp_path):
    file = film(tmp_path / "a.mp4", [("mono", [clicks(4.05)])], sound="aac")
    assert Video(file).ends == pytest.approx((0, 4.0), abs=1e-6)


@pytest.mark.parametrize("jump_s", [40 * 3600, 60])
def test_sound_that_pauses_for_hours_is_refused_before_silence_is_made(tmp_path, jump_s):
    file = film(tmp_path / "cam.mkv", [("mono", [clicks()])])
    with av.open(str(file)) as source, av.open(str(tmp_path / "paused.mkv"), "w") as paused:
        tracks = {track.index: paused.add_stream_from_template(track) for track in source.streams}
        for packet in source.demux():
            if packet.dts is None:
                continue
            late = packet.stream.type == "audio" and packet.pts * packet.time_base > 2
            moved = round(jump_s / packet.time_base) if late else 0
            packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
            packet.stream = tracks[packet.stream.index]
            paused.mux(packet)
    tracemalloc.start()
    if jump_s > 3600:
        with pytest.raises(DataError, match=r"paused\.mkv: its sound pauses for 40\.0 hours"):
            read_sound(tmp_path / "paused.mkv", RATE)
    else:
        assert loud(read_sound(tmp_path / "paused.mkv", RATE).readings) == pytest.approx(
            [1.0, 62.5], abs=0.01
        )
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()
