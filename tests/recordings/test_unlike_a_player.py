"""Films that players show otherwise than their pictures are stored: tracks, ranges, fields, alpha."""

import warnings
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.reformatter import ColorRange

from plait.errors import PlaitWarning
from plait.recordings.ingest import ingest
from plait.recordings.video import Video, motion_energy

WIDTH, HEIGHT, RATE = 64, 48, 10
LIMITED = (16, 235)  # black and white of limited range, in levels of 8 bits
LAST = 31  # of the frames


def film(file, codec="libx264", pixels="yuv420p", options=None, metadata=None, **tags):
    """Ten frames of grey, ever brighter; `tags` are of the codec's context."""
    with av.open(str(file), "w") as container:
        track = container.add_stream(codec, rate=RATE, options=options or {})
        track.width, track.height, track.pix_fmt = WIDTH, HEIGHT, pixels
        track.metadata.update(metadata or {})
        for name, value in tags.items():
            setattr(track.codec_context, name, value)
        for index in range(10):
            picture = np.full((HEIGHT, WIDTH, 3), 20 * index, np.uint8)
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(track.encode())
    return file


def grey(file, pixels, bits, levels, told):
    """Frames whose left half has the first of `levels`, of 8 bits, the right half one by turns."""
    kind = np.dtype("<u2") if bits > 8 else np.dtype("u1")
    black, white = (level << (bits - 8) for level in levels)
    with av.open(str(file), "w") as container:
        track = container.add_stream("ffv1", rate=RATE)
        track.width, track.height, track.pix_fmt = WIDTH, HEIGHT, pixels
        track.codec_context.color_range = told
        for index in range(4):
            picture = np.full((HEIGHT, WIDTH), black, kind)
            picture[:, WIDTH // 2 :] = white if index % 2 else black
            frame = av.VideoFrame(WIDTH, HEIGHT, pixels)
            frame.color_range = told
            rows = np.zeros((HEIGHT, frame.planes[0].line_size), np.uint8)
            rows[:, : WIDTH * kind.itemsize] = picture.view(np.uint8)
            frame.planes[0].update(rows)
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return file


@pytest.mark.parametrize("pixels, bits", [("gray", 8), ("gray10le", 10), ("gray12le", 12), ("gray16le", 16)])
@pytest.mark.parametrize("told", [ColorRange.UNSPECIFIED, ColorRange.MPEG, ColorRange.JPEG])
def test_grey_of_limited_range_is_stretched(tmp_path, pixels, bits, told):
    file = grey(tmp_path / "a.mkv", pixels, bits, LIMITED, told)
    picture = Video(file, None, None).at(np.array([0.15]))[0]
    black, white = (0, 255) if told == ColorRange.MPEG else LIMITED
    assert np.abs(picture[:, : WIDTH // 2].astype(int) - black).max() <= 1
    assert np.abs(picture[:, WIDTH // 2 :].astype(int) - white).max() <= 1
    assert motion_energy(file).values[1:] == pytest.approx((white - black) / 2, abs=5)
    assert np.array_equal(Video(file, 24, 24).at(np.array([0.15]))[0, :, 20], [picture[0, -1]] * 24)


@pytest.mark.parametrize("told", [ColorRange.MPEG, ColorRange.JPEG])
def test_colours_are_left_to_ffmpeg(tmp_path, told):
    file = film(tmp_path / "a.mkv", "ffv1", color_range=told)
    with av.open(str(file)) as container:
        theirs = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    mine = Video(file, None, None).at(np.arange(10) / RATE)
    assert np.abs(mine.astype(int) - np.array(theirs)).max() <= 1


INTERLACED = {"x264-params": "tff=1"}
ODD = [
    ("a.mp4", {"color_trc": 16}, "high dynamic range (PQ)"),
    ("a.mkv", {"color_trc": 18}, "high dynamic range (HLG)"),
    ("a.mp4", {"options": INTERLACED}, "interlaced"),
    ("a.ts", {"codec": "mpeg2video", "options": {"flags": "+ildct+ilme"}}, "interlaced"),
    ("a.mov", {"codec": "png", "pixels": "rgba"}, "has an alpha plane"),
    ("a.mov", {"codec": "qtrle", "pixels": "argb"}, "has an alpha plane"),
    ("a.webm", {"codec": "libvpx", "metadata": {"alpha_mode": "1"}}, "has an alpha plane"),
]
ORDINARY = [
    ("a.mp4", {"color_trc": 1}),
    ("a.mkv", {"color_trc": 6}),
    ("a.ts", {"codec": "mpeg2video"}),
    ("a.mov", {"codec": "png", "pixels": "rgb24"}),
    ("a.gif", {"codec": "gif", "pixels": "rgb8"}),
    ("a.avi", {"codec": "mjpeg", "pixels": "yuvj420p"}),
    ("a.webm", {"codec": "libvpx"}),
]


@pytest.mark.parametrize("name, how, says", ODD)
def test_one_line_says_what_players_show_otherwise(tmp_path, name, how, says):
    file = film(tmp_path / name, **how)
    lines = opened_with(file)
    assert len(lines) == 1 and lines[0].startswith(f"{file}: {says}") and "\n" not in lines[0]


@pytest.mark.parametrize("name, how", ORDINARY)
def test_nothing_is_said_of_ordinary_films(tmp_path, name, how):
    assert opened_with(film(tmp_path / name, **how)) == []


def opened_with(file):
    """What is said when a video is opened."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(Video(file).times) == 10
    assert all(one.category is PlaitWarning for one in caught)
    return [str(one.message) for one in caught]


def two_tracks(file, marked):
    """A small track and a large one, whose frames say their number, with groups of ten."""
    sizes = ((WIDTH, HEIGHT), (2 * WIDTH, 2 * HEIGHT))
    with av.open(str(file), "w") as container:
        tracks = [
            container.add_stream("libx264", rate=RATE, options={"g": "10", "qp": "4", "bf": "2"})
            for _ in sizes
        ]
        for number, (track, size) in enumerate(zip(tracks, sizes, strict=True)):
            track.width, track.height, track.pix_fmt = *size, "yuv420p"
            track.disposition = Disposition.default if number in marked else Disposition(0)
        for index in range(LAST + 1):
            for number, track in enumerate(tracks):
                picture = np.full((track.height, track.width, 3), 6 * index + number, np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts, frame.time_base = index, Fraction(1, RATE)
                container.mux(track.encode(frame))
        for track in tracks:
            container.mux(track.encode())
    return file


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
@pytest.mark.parametrize("marked", [(0,), (1,)])
def test_the_track_that_is_marked_is_read(tmp_path, name, marked):
    file = two_tracks(tmp_path / name, marked)
    video = Video(file, None, None)
    taken = marked[0]
    width = (1 + taken) * WIDTH
    says = f"2 video tracks: track {taken} \\(h264, {width} x .* is read, .* not track {1 - taken} \\(h264"
    with pytest.warns(PlaitWarning, match=says):
        pictures = video.at(np.arange(LAST + 1) / RATE)
    assert pictures.shape[2] == width
    assert np.abs(pictures[:, 8, 8, 0].astype(int) - 6 * np.arange(LAST + 1)).max() < 5
    late, early = video.at(np.array([2.5, 0.3]))
    assert np.array_equal(late, pictures[25]) and np.array_equal(early, pictures[3])
    with pytest.warns(PlaitWarning, match=says):
        energy = motion_energy(file).values
    assert len(energy) == LAST + 1 and energy[1:] == pytest.approx(6, abs=4)


@pytest.mark.parametrize("name, marked", [("a.ts", ()), ("a.mkv", ()), ("a.mkv", (0, 1))])
def test_of_tracks_alike_it_is_ffmpegs_best_or_the_first_of_the_marked(tmp_path, name, marked):
    file = two_tracks(tmp_path / name, marked)
    with av.open(str(file)) as container:
        best = container.streams.best("video").index
    with pytest.warns(PlaitWarning, match=f"track {0 if marked else best} .* is read"):
        Video(file).times  # noqa: B018


def test_ingest_says_so(tmp_path):
    file = film(tmp_path / "walk.mp4", color_trc=18)
    with pytest.warns(PlaitWarning, match=r"walk\.mp4: high dynamic range \(HLG\)"):
        ingest([file], tmp_path / "recordings")
