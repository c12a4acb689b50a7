"""Frame for frame: plait shows what FFmpeg shows in its own order, in every container and codec to be had."""

import struct
import warnings
from contextlib import nullcontext
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.errors import DataError, PlaitWarning
from plait.recordings.video import Video, motion_energy

WIDTH, HEIGHT, BITS = 160, 32, 5
COUNT, RATE = 24, 30
FORMATS = ("mp4", "mov", "matroska", "webm", "avi", "mpegts", "flv", "asf", "nut", "mxf", "mpeg", "vob")
FORMATS += ("svcd", "ogg", "3gp", "ismv", "ivf", "yuv4mpegpipe", "gif", "wtv", "swf", "rm", "h264", "hevc")
FORMATS += ("mpeg1video", "m4v", "obu")
CODECS = ("libx264", "libx265", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg", "libvpx", "libvpx-vp9")
CODECS += ("libsvtav1", "ffv1", "huffyuv", "prores_ks", "rawvideo", "png", "qtrle", "msmpeg4", "wmv2", "flv")
CODECS += ("h263p", "svq1", "gif", "cinepak", "snow", "utvideo", "rpza", "jpeg2000")
OPTIONS = {
    "libx264": {"bf": "2", "g": "10", "preset": "ultrafast", "b-adapt": "0", "threads": "1"},
    "libx265": {
        "preset": "ultrafast",
        "x265-params": "keyint=10:bframes=2:b-adapt=0:log-level=none:pools=none",
    },
    "libsvtav1": {"preset": "10", "crf": "20", "svtav1-params": "lp=1"},
    "libvpx": {"deadline": "realtime", "g": "10"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "g": "10"},
    **{name: {"bf": "2", "g": "10"} for name in ("mpeg4", "mpeg2video", "mpeg1video")},
}
MUST = {
    ("mp4", "libx264"), ("mp4", "libx265"), ("mp4", "libsvtav1"), ("mov", "prores_ks"),
    ("matroska", "libx264"), ("matroska", "libx265"), ("matroska", "mpeg2video"), ("webm", "libvpx"),
    ("webm", "libvpx-vp9"), ("flv", "flv"), ("flv", "libx264"), ("avi", "mpeg4"), ("avi", "libx264"),
    ("avi", "mjpeg"), ("avi", "msmpeg4"), ("avi", "h263p"), ("mpegts", "libx264"), ("mpegts", "mpeg2video"),
    ("mpeg", "mpeg1video"), ("vob", "mpeg2video"), ("asf", "wmv2"), ("asf", "libx264"),
    ("mxf", "mpeg2video"), ("mxf", "libx264"), ("gif", "gif"), ("mov", "rpza"),
}  # fmt: skip


def numbered(index):
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for bit in range(BITS):
        picture[:, bit * 32 : bit * 32 + 32] = 255 * (index >> bit & 1)
    return picture


def number(picture):
    return sum(int(picture[8:24, bit * 32 + 8 : bit * 32 + 24].mean() > 128) << bit for bit in range(BITS))


def film(file, codec, pts=range(COUNT), time_base=Fraction(1, RATE), form=None, options=None, **muxer):
    """Write a video whose frames, shown at `pts`, carry their number."""
    known = {pixels.name for pixels in av.Codec(codec, "w").video_formats or ()}
    with av.open(str(file), "w", format=form, options=muxer) as container:
        track = container.add_stream(
            codec, rate=RATE, options=OPTIONS.get(codec, {"g": "10"}) | (options or {})
        )
        track.width, track.height = WIDTH, HEIGHT
        first = ("yuvj420p", "yuv420p", "rgb24") if codec == "mjpeg" else ("yuv420p", "rgb24")
        wanted = [name for name in (*first, *sorted(known)) if name in known]
        track.pix_fmt = wanted[0] if wanted else "yuv420p"
        track.codec_context.time_base = track.time_base = time_base
        for index, when in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(numbered(index), "rgb24")
            frame.pts, frame.time_base = int(when), time_base
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return file


def in_sequence(file):
    with av.open(str(file)) as container:
        return [number(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


@pytest.mark.parametrize("codec", CODECS)
def test_every_container_shows_what_ffmpeg_shows(tmp_path, codec):
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    read = set()
    for form in FORMATS:
        file = tmp_path / f"a.{form}"
        try:
            film(file, codec, form=form)
            expected = in_sequence(file)
        except (av.FFmpegError, ValueError, IndexError, NotImplementedError):
            continue  # does not go together
        if expected != list(range(COUNT)):
            continue  # FFmpeg itself does not bring it back
        video = Video(file, None, None)
        try:
            got = [number(picture) for picture in video.at(np.arange(COUNT) / RATE)]
            half = [number(picture) for picture in video.at(np.arange(0, COUNT, 2) / RATE)]
            alone = [number(video.at(np.array([k / RATE]))[0]) for k in (13, 1, COUNT - 1)]
        except DataError as error:
            assert "expected" in str(error) and "\n" not in str(error)
            continue
        assert (got, half, alone) == (expected, expected[::2], [13, 1, COUNT - 1]), form
        assert video.ends == pytest.approx((0, COUNT / RATE), abs=0.011), form
        read.add(form)
    assert {form for form, name in MUST if name == codec} <= read


@pytest.mark.parametrize("form", ["h264", "mpeg1video", "m4v", "hevc"])
def test_a_bare_stream_has_no_clock(tmp_path, form):
    codec = {"h264": "libx264", "hevc": "libx265", "m4v": "mpeg4"}.get(form, form)
    with pytest.raises(
        DataError, match=r"no frames with times .* expected some \(a copy as \.mp4 has them\)"
    ):
        Video(film(tmp_path / f"a.{form}", codec, form=form)).times  # noqa: B018


TIMES = st.builds(
    lambda first, steps: first + np.cumsum([0, *steps]),
    st.integers(0, 400),
    st.one_of(
        st.lists(st.integers(2, 80), min_size=2, max_size=23),  # no rate at all
        st.builds(lambda step, drops: [step * drop for drop in drops], st.integers(2, 50),
                  st.lists(st.sampled_from([1, 1, 1, 2, 5]), min_size=2, max_size=23)),
    ),
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    times=TIMES,
    codec=st.sampled_from(["libx264", "mpeg4", "libvpx"]),
    form=st.sampled_from(["mp4", "matroska", "mpegts", "nut", "flv"]),
    b_frames=st.sampled_from(["0", "2"]),
    base=st.sampled_from([Fraction(1, 600), Fraction(1, 1000), Fraction(1, 240)]),
)
def test_the_frame_at_each_second_is_the_players(tmp_path_factory, times, codec, form, b_frames, base):
    if codec == "libvpx" and form != "matroska":
        form = "matroska"
    if codec == "mpeg4" and form == "flv":
        form = "mp4"
    file = tmp_path_factory.mktemp("timeline") / f"a.{form}"
    film(file, codec, times, base, form, {} if codec == "libvpx" else {"bf": b_frames})
    with av.open(str(file)) as container:
        unit = container.streams.video[0].time_base
        shown = [
            (frame.pts * unit, number(frame.to_ndarray(format="rgb24")))
            for frame in container.decode(video=0)
        ]
    assert [index for _, index in shown] == list(range(len(times)))
    seconds = np.array([float(when - shown[0][0]) for when, _ in shown])
    video = Video(file, None, None)
    rounded = float(unit) if unit > Fraction(1, 10_000) else 0.0
    np.testing.assert_allclose(video.times, seconds, atol=rounded + 1e-6)
    true = (times - times[0]) * float(base)  # as they were before the container rounded them
    asked = np.random.default_rng(0).uniform(0, true[-1] + 0.1, 40)
    asked = asked[np.abs(asked[:, None] - true).min(1) > 2 * rounded + 1e-3]  # on a boundary either is right
    expected = np.searchsorted(true, asked, side="right") - 1
    assert [number(picture) for picture in video.at(asked)] == expected.tolist()
    between = true[:-1] + 0.6 * np.diff(true)
    assert [number(picture) for picture in video.at(between)] == list(range(len(times) - 1))


@pytest.mark.parametrize(
    "rate", [15, 24, Fraction(24_000, 1001), 30, Fraction(30_000, 1001), 50, 60, 120, Fraction(2999, 101)]
)
@pytest.mark.parametrize("first_s", [0.0, 0.0334, 1.2345])
def test_whole_milliseconds_choose_no_other_frame(tmp_path, rate, first_s):
    times = first_s + np.delete(np.arange(COUNT), [5, 6, 11]) / float(rate)
    file = film(tmp_path / "a.mkv", "mpeg4", np.round(times * 1000), Fraction(1, 1000), options={"bf": "0"})
    video = Video(file, None, None)
    np.testing.assert_allclose(video.times, times - times[0], atol=1.01e-3 if first_s else 2e-4)
    for phase in (0.0, 0.2, 0.5, 0.8):  # wherever a window starts in a frame, every n-th is the n-th
        asked = (np.arange(20) + phase) / float(rate)
        present = np.delete(np.arange(COUNT), [5, 6, 11])
        wanted = np.searchsorted(present, np.arange(20), side="right") - 1
        assert [number(picture) for picture in video.at(asked)] == wanted.tolist()


def test_two_clocks_in_one_file_are_refused(tmp_path):
    """Two programme streams laid end to end: the second starts at 0 again."""
    one = film(tmp_path / "a.vob", "mpeg2video", form="vob")
    both = tmp_path / "both.vob"
    both.write_bytes(one.read_bytes() * 2)
    with pytest.raises(DataError, match="its times go back .* expected one clock"):
        Video(both).times  # noqa: B018


@pytest.mark.parametrize(
    "form, muxer", [("matroska", {}), ("flv", {}), ("mp4", {"movflags": "frag_keyframe+empty_moov"})]
)
def test_a_file_cut_in_half_says_so(tmp_path, form, muxer):
    pts = np.arange(COUNT) * 15
    whole = film(tmp_path / "a", "libx264", pts, Fraction(1, RATE), form, **muxer)
    cut = tmp_path / "cut"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(DataError, match="truncated|whole video file"):
        Video(cut).times  # noqa: B018
    assert len(Video(whole).times) == COUNT


@pytest.mark.parametrize(
    "form, codec, muxer",
    [
        ("mp4", "libx264", {}),
        ("mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("mp4", "mpeg4", {"movflags": "frag_keyframe"}),
        ("mp4", "libx264", {"movflags": "cmaf+dash"}),
        ("mp4", "libx264", {"movflags": "frag_keyframe+dash+global_sidx"}),
        ("mov", "libx264", {"movflags": "faststart"}),
        ("matroska", "libx264", {}),
        ("webm", "libvpx", {}),
        ("avi", "mpeg4", {}),
        ("asf", "wmv2", {}),
        ("mxf", "mpeg2video", {}),
    ],
)
def test_no_cut_of_a_file_that_states_its_size_is_taken_for_a_shorter_one(tmp_path, form, codec, muxer):
    """However short the film: less than a second is missing here."""
    whole = film(tmp_path / "whole", codec, form=form, **muxer)
    assert len(Video(whole).times) == COUNT
    content = whole.read_bytes()
    for size in (*range(len(content) // 3, len(content), len(content) // 12), len(content) - 1):
        cut = tmp_path / f"{size}"
        cut.write_bytes(content[:size])
        told = (
            "truncated to"
            if form in ("asf", "mxf")
            else "truncated|whole video file|cannot be decoded|no frames with"
        )
        with pytest.raises(DataError, match=told):
            Video(cut).times  # noqa: B018


def test_fragments_that_an_index_lists_are_missed(tmp_path):
    """Cut between two boxes, a fragmented file says so only by the index before them."""
    whole = film(
        tmp_path / "whole", "libx264", form="mp4", movflags="frag_keyframe+dash+global_sidx"
    ).read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(whole[: whole.rindex(b"moof") - 4])
    with pytest.raises(DataError, match="truncated to .* bytes, expected a whole video file, of"):
        Video(cut).times  # noqa: B018


@pytest.mark.parametrize(
    "form, codec, muxer",
    [("webm", "libvpx", {"live": "1"}), ("matroska", "libx264", {"live": "1"}), ("mpegts", "libx264", {}),
     ("mpegts", "mpeg2video", {"mpegts_m2ts_mode": "1"}), ("ogg", "libvpx", {})],
)  # fmt: skip
def test_a_recording_that_was_broken_off_is_read_as_far_as_it_goes_and_said(tmp_path, form, codec, muxer):
    """Such files state no length, but the size of their packets."""
    whole = film(tmp_path / "whole", codec, np.arange(COUNT) * 15, form=form, **muxer)
    assert len(Video(whole).times) == COUNT
    cut = tmp_path / "cut"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * (6 if form == "mpegts" else 9) // 12 + 7])
    video = Video(cut, None, None)
    with pytest.warns(PlaitWarning, match="cut: ends within a packet"):
        times = video.times
    assert 5 < len(times) < COUNT
    assert [number(picture) for picture in video.at(times[:-3])] == list(range(len(times) - 3))


@pytest.mark.parametrize(
    "form, codec", [("mpeg", "mpeg1video"), ("vob", "mpeg2video"), ("dvd", "mpeg2video")]
)
def test_a_program_stream_that_was_broken_off_is_refused_or_said(tmp_path, form, codec):
    """The decoder sees some of them; where a part is only padding, its size tells."""
    content = film(tmp_path / "whole", codec, np.arange(COUNT) * 15, form=form).read_bytes()
    told = 0
    for size in np.random.default_rng(3).integers(len(content) // 2, len(content), 20):
        cut = tmp_path / f"{size}"
        cut.write_bytes(content[:size])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                Video(cut).times  # noqa: B018
            except DataError:
                told += 1
            else:
                told += "ends within a packet" in str([one.message for one in said])
    assert told == 20


def test_a_film_of_dv_that_was_broken_off_is_said(tmp_path):
    whole = tmp_path / "whole.dv"
    with av.open(str(whole), "w") as container:
        track = container.add_stream("dvvideo", rate=25)
        track.width, track.height, track.pix_fmt = 720, 576, "yuv420p"
        for level in range(4):
            picture = av.VideoFrame.from_ndarray(np.full((576, 720, 3), 50 * level, np.uint8))
            container.mux(track.encode(picture))
        container.mux(track.encode())
    assert len(Video(whole).times) == 4
    whole.write_bytes(whole.read_bytes()[:-1000])
    with pytest.warns(PlaitWarning, match="ends within a packet"):
        assert len(Video(whole).times) in (3, 4)


def test_a_header_that_says_a_little_more_than_there_is_is_said(tmp_path):
    whole = film(tmp_path / "whole", "mpeg4", np.arange(50) * 30, form="matroska")  # 49 s and a frame
    content = bytearray(whole.read_bytes())
    at = content.index(b"\x44\x89\x88") + 3  # Duration, a float of 8 bytes, in ms
    stated_ms = struct.unpack(">d", content[at : at + 8])[0]
    for more_ms, outcome in ((900, None), (2000, "says"), (4000, DataError)):
        content[at : at + 8] = struct.pack(">d", stated_ms + more_ms)
        file = tmp_path / f"{more_ms}"
        file.write_bytes(content)
        if outcome is DataError:
            with pytest.raises(DataError, match=r"truncated, ends at 49\.\d s, expected 53\.\d s"):
                Video(file).times  # noqa: B018
        else:
            with pytest.warns(PlaitWarning, match=r"ends at 49\.\d s, though") if outcome else nullcontext():
                assert len(Video(file).times) == 50


def test_motion_has_the_times_of_the_pictures(tmp_path):
    file = film(tmp_path / "a.avi", "libx264")
    np.testing.assert_allclose(motion_energy(file).times, np.arange(COUNT) / RATE)
