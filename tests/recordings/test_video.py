import itertools
import pickle
import re
import threading
import time
from fractions import Fraction
from functools import partial

import av
import numpy as np
import pytest
from PIL import Image

from plait.errors import DataError, PlaitWarning, ShapeError
from plait.recordings import decoding
from plait.recordings.sound import read_sound
from plait.recordings.video import Forward, Video, motion_energy, rgb
from plait.types import Readings, Stream

WIDTH, HEIGHT, BITS, BLOCK = 320, 240, 8, 32
FINE = Fraction(1, 90_000)
ORDERS = {
    "no-b-frames": {"bf": "0", "g": "12"},
    "b-frames": {"bf": "3", "b-pyramid": "normal", "b-adapt": "0", "g": "12"},
    "open-gop": {"bf": "3", "b-adapt": "0", "x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0"},
    "one-group": {"bf": "2", "g": "1000"},
}

# No key frame but the first: what is called one begins a pass that makes all parts of the picture anew.
REFRESHED = {"refreshed": {"bf": "0", "x264-params": "intra-refresh=1:keyint=12:min-keyint=12:scenecut=0"}}


def burnt(index, width=WIDTH, height=HEIGHT):
    """A picture that says its index: a row of white (1) and black (0) blocks on grey, lowest bit left."""
    picture = np.full((height, width, 3), 110, np.uint8)
    for bit in range(BITS):
        left = width // 2 + (bit - BITS // 2) * BLOCK
        picture[40:136, left : left + BLOCK] = 255 * (index >> bit & 1)
    picture[200:232, 8 * (index % 30) : 8 * (index % 30) + 24] = (230, 20, 20)  # something that moves
    return picture


def told(picture):
    """The index burnt into a frame of the file's size."""
    cells = [
        picture[60:116, WIDTH // 2 + (bit - BITS // 2) * BLOCK + 8 :][:, : BLOCK - 16].mean()
        for bit in range(BITS)
    ]
    assert all(cell < 60 or cell > 195 for cell in cells), cells
    return sum((cell > 128) << bit for bit, cell in enumerate(cells))


def film(
    file,
    pts,
    options=None,
    *,
    codec="libx264",
    time_base=FINE,
    matrix=None,
    sound=None,
    container_options=None,
):
    """Write a video with frames at `pts`, in `time_base` seconds, maybe with sound `(start_s, samples)`."""
    with av.open(str(file), "w", options=container_options or {}) as container:
        track = container.add_stream(codec, rate=30, options={"preset": "ultrafast", **(options or {})})
        track.width, track.height, track.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        track.codec_context.time_base = track.time_base = time_base
        if matrix:
            track.set_display_matrix(matrix)
        if sound:
            audio = container.add_stream("aac", rate=48_000, layout="mono")
        for index, when in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(burnt(index), "rgb24")
            frame.pts, frame.time_base = int(when), time_base
            container.mux(track.encode(frame))
        container.mux(track.encode())
        if sound:
            start_s, samples = sound
            for first in range(0, len(samples), 1024):
                frame = av.AudioFrame.from_ndarray(samples[None, first : first + 1024], "fltp", "mono")
                frame.sample_rate, frame.time_base = 48_000, Fraction(1, 48_000)
                frame.pts = round(start_s * 48_000) + first
                container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return file


def steady(n=60, first=0):
    return first + np.arange(n) * 3000


def irregular(n=60, first=0):
    steps = np.random.default_rng(1).choice([900, 1500, 3000, 3003, 9000, 45_000], n)
    return first + np.cumsum(steps)


def indexes(video, seconds):
    return [told(picture) for picture in video.at(np.asarray(seconds))]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("clock", [steady, irregular])
@pytest.mark.parametrize("first", [0, 123_456])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_each_second_gets_the_frame_on_display(tmp_path, order, clock, first, name):
    pts = clock(first=first)
    video = Video(film(tmp_path / name, pts, ORDERS[order]), short_side=None, crop=None)
    expected = (pts - pts[0]) / 90_000
    exact = 1e-6 if name != "a.mkv" else 1.1e-3  # Matroska rounds to milliseconds
    np.testing.assert_allclose(video.times, expected, atol=exact)
    assert indexes(video, video.times) == list(range(60))
    asked = np.random.default_rng(2).permutation(np.repeat(np.arange(60), 2))[:40]
    just = np.diff(video.times, append=video.times[-1] + 1)
    assert indexes(video, video.times[asked]) == asked.tolist()
    assert indexes(video, video.times[asked] + 0.9 * just[asked]) == asked.tolist()
    assert indexes(video, video.times[1:] - 1e-3) == list(range(59))
    for index in (0, 7, 11, 12, 13, 23, 24, 35, 59):
        assert indexes(video, [video.times[index]]) == [index]
    assert indexes(video, [1e9, -5.0, 0.0, -1e-9]) == [59, 0, 0, 0]
    assert indexes(video, video.times[::4]) == list(range(0, 60, 4))


@pytest.mark.parametrize(
    "codec, name", [("libx265", "a.mp4"), ("mpeg4", "a.mp4"), ("mpeg4", "a.avi"), ("mjpeg", "a.mov")]
)
def test_other_codecs(tmp_path, codec, name):
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    options = {"g": "12", "bf": "2"} if codec == "mpeg4" and name != "a.avi" else {"g": "12"}
    if codec == "libx265":
        options = {"x265-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:log-level=none"}
    time_base = Fraction(1, 30)
    file = (
        film(tmp_path / name, np.arange(40), options, codec=codec, time_base=time_base)
        if codec != "mjpeg"
        else None
    )
    file = file or _mjpeg(tmp_path / name)
    video = Video(file, None, None)
    assert indexes(video, video.times) == list(range(40))
    for index in (0, 9, 10, 11, 12, 13, 25, 39):
        assert indexes(video, [video.times[index]]) == [index]


def _mjpeg(file):
    with av.open(str(file), "w") as container:
        track = container.add_stream("mjpeg", rate=30)
        track.width, track.height, track.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for index in range(40):
            container.mux(track.encode(av.VideoFrame.from_ndarray(burnt(index), "rgb24")))
        container.mux(track.encode())
    return file


def test_one_key_frame_per_gop_and_no_group_is_decoded_twice(tmp_path, monkeypatch):
    video = Video(film(tmp_path / "a.mp4", steady(), ORDERS["open-gop"]), None, None)
    assert (
        len(video._packets.keys) == 5
        and (video._packets.starts(np.arange(60), 0) < video._packets.keys[-1]).any()
    )
    sent, seeks = [], []
    decode, search = decoding.decode, decoding._packets_from
    monkeypatch.setattr(decoding, "decode", lambda *given: [sent.append(given[1]), decode(*given)][1])
    monkeypatch.setattr(
        decoding, "_packets_from", lambda *given: [seeks.append(given[-1]), search(*given)][1]
    )

    def decoded(seconds):
        sent.clear(), seeks.clear()
        assert indexes(video, seconds) == [round(30 * s) for s in seconds]
        pts = [packet.pts for packet in sent if packet is not None]
        assert len(pts) == len(set(pts))
        return len(pts)

    assert decoded(video.times[::-1]) == 60 and len(seeks) == 1
    assert decoded(video.times[[3, 50, 2, 51, 3]]) <= 30 and len(seeks) == 2
    assert decoded(video.times[[40]]) <= 24 and decoded(video.times[[0]]) == 1


@pytest.fixture
def decoders(monkeypatch):
    """Sets how many threads torch has, and hears what decoders are to do: small shares, little room ahead."""
    done, decoded = [], decoding._decoded
    monkeypatch.setattr(decoding, "SHARE", 10)
    monkeypatch.setattr(decoding, "AHEAD_BYTES", 100_000)
    monkeypatch.setattr(decoding, "_decoded", lambda *given: [done.append(given[2]), decoded(*given)][1])

    def of(threads):
        monkeypatch.setattr("torch.get_num_threads", lambda: threads)
        done.clear()
        return done

    return of


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi", "a.mov"])
@pytest.mark.parametrize("order", [*ORDERS, *REFRESHED])
def test_decoders_side_by_side_give_the_pictures_of_one(tmp_path, decoders, order, name):
    file = film(
        tmp_path / name, steady(), (ORDERS | REFRESHED)[order] if name != "a.avi" else {"bf": "0", "g": "12"}
    )
    video, rng = Video(file, 120, 100), np.random.default_rng(3)
    shown = video._packets.shown
    whole = dict(decoding.frames(file, video._packets, np.sort(shown), video._picture, whole=True))
    decoders(1)
    energy = motion_energy(file).values
    for asked in (video.times, video.times[::4], np.sort(rng.choice(video.times, 25)), video.times[[2, 58]]):
        decoders(1)
        alone = video.at(asked)
        np.testing.assert_array_equal(alone, [whole[shown[number]] for number in video.shown(asked)])
        done = decoders(2)
        np.testing.assert_array_equal(video.at(asked), alone)
        if order != "refreshed":  # where what a key frame is called may be none, and is looked for again
            wanted = [number for shares in done for share in shares for number in share.wanted]
            assert len(wanted) == len(set(wanted)) == len(set(asked.tolist()))
    done = decoders(2)
    found = motion_energy(file)
    np.testing.assert_array_equal(found.values, energy)
    assert len(found.times) == 60 and (len(done) > 1 or order in ("one-group", "refreshed"))


def test_decoders_side_by_side_share_their_work(tmp_path, decoders):
    video = Video(film(tmp_path / "a.mp4", steady(), ORDERS["b-frames"]), None, None)
    done = decoders(2)
    assert indexes(video, video.times) == list(range(60))
    firsts = [[share.stretches[0][0] for share in shares] for shares in done]
    assert firsts == [[0, 48], [12], [24], [36]]


def test_where_no_seek_leads_one_decoder_does_all(tmp_path, decoders, monkeypatch):
    video = Video(film(tmp_path / "a.mp4", steady(), ORDERS["b-frames"]), None, None)
    monkeypatch.setattr(decoding, "_searched", lambda *given: None)
    done = decoders(2)
    assert indexes(video, video.times) == list(range(60))
    assert [share.stretches for shares in done for share in shares] == [[(0, 59)]]


def test_whoever_asks_no_further_leaves_no_decoder_at_work(tmp_path, decoders):
    video, before = (
        Video(film(tmp_path / "a.mp4", steady(), ORDERS["b-frames"]), None, None),
        threading.active_count(),
    )
    decoders(2)
    coming = video.decoded(np.arange(60))
    assert next(coming)[0] == 0
    time.sleep(0.5)
    assert threading.active_count() > before  # there is no room for more
    coming.close()
    deadline = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])
@pytest.mark.filterwarnings("ignore::plait.errors.PlaitWarning")
def test_what_is_damaged_is_as_damaged_whoever_decodes(tmp_path, decoders, order, name):
    def read(file, look):
        try:
            return look(file).tobytes()
        except DataError as error:
            return str(error)

    looks = (
        lambda file: Video(file, 120, 100).at(np.arange(0, 60, 4) / 30),
        lambda file: motion_energy(file).values,
    )
    content, rng = film(tmp_path / name, steady(), ORDERS[order]).read_bytes(), np.random.default_rng(7)
    for number, at in enumerate(rng.integers(len(content) // 10, len(content), 4)):
        file = tmp_path / f"{number}-{name}"
        file.write_bytes(content[:at] + bytes([content[at] ^ 1 << number]) + content[at + 1 :])
        decoders(1)
        alone = [read(file, look) for look in looks]
        decoders(3)
        assert [read(file, look) for look in looks] == alone


def test_what_one_of_several_decoders_refuses_is_refused(tmp_path, decoders, monkeypatch):
    video = Video(film(tmp_path / "a.mp4", steady(), ORDERS["b-frames"]), None, None)
    looked = itertools.count()

    def look(*given):
        if next(looked) > 30:
            raise DataError("one of them")
        return Video._picture(*given)

    decoders(2)
    with pytest.raises(DataError, match="one of them"):
        list(decoding.frames(video.file, video._packets, np.arange(60), partial(look, video)))


def test_only_frames_that_were_asked_for_are_converted(tmp_path, monkeypatch):
    video = Video(film(tmp_path / "a.mp4", steady()), None, None)
    converted = []
    convert = Video._picture
    monkeypatch.setattr(
        Video, "_picture", lambda self, *given: [converted.append(0), convert(self, *given)][1]
    )
    assert indexes(video, [0.5, 0.1, 0.5]) == [15, 3, 15] and len(converted) == 2


def test_travels_to_other_processes_and_is_a_stream(tmp_path):
    video = Video(film(tmp_path / "a.mp4", irregular()), None, None)
    assert isinstance(video, Stream)
    for copy in (
        pickle.loads(pickle.dumps(video)),
        pickle.loads(pickle.dumps(Video(video.file, None, None))),
    ):
        np.testing.assert_array_equal(copy.at(video.times[[4, 40]]), video.at(video.times[[4, 40]]))
    assert video.at(np.zeros(0)).shape == (0, HEIGHT, WIDTH, 3)


def test_sizes_and_colours(tmp_path):
    file = film(tmp_path / "a.mp4", steady(3))
    assert Video(file).at(np.zeros(2)).shape == (2, 224, 224, 3)
    assert Video(file, 120, None).at(np.zeros(1)).shape == (1, 120, 160, 3)
    small = Video(file, 120, 100).at(np.zeros(1))[0]
    assert small.dtype == np.uint8 and small.flags.c_contiguous
    whole = Image.fromarray(burnt(0)).resize((160, 120), Image.Resampling.BOX)
    theirs = np.asarray(whole)[10:110, 30:130].astype(int)
    assert np.abs(small.astype(int) - theirs).mean() < 4
    with pytest.raises(ShapeError, match="crop 300"):
        Video(file, 256, 300)
    with pytest.raises(ShapeError, match=r"a\.mp4: frames of 320 x 240"):
        Video(file, None, 300).at(np.zeros(1))


TURNS = {  # what the file says: a point (x, y) of the picture is shown at (a x + c y, b x + d y)
    "upright": ((1, 0, 0, 1), lambda picture: picture),
    "clockwise": ((0, 1, -1, 0), lambda picture: picture[::-1].swapaxes(0, 1)),
    "anticlockwise": ((0, -1, 1, 0), lambda picture: picture.swapaxes(0, 1)[::-1]),
    "upside-down": ((-1, 0, 0, -1), lambda picture: picture[::-1, ::-1]),
}


@pytest.mark.parametrize("turn", TURNS)
def test_phone_video_comes_out_upright(tmp_path, turn):
    (a, b, c, d), turned = TURNS[turn]
    one = 1 << 16
    matrix = (a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    plain = Video(film(tmp_path / "plain.mp4", steady(5)), None, None).at(np.zeros(1))[0]
    file = film(tmp_path / "a.mp4", steady(5), matrix=matrix)
    np.testing.assert_array_equal(Video(file, None, None).at(np.zeros(1))[0], turned(plain))
    assert Video(file, 120, None).at(np.zeros(1)).shape[1:3] == turned(np.empty((120, 160))).shape


def click(at_s, length_s=3.0):
    samples = np.zeros(round(48_000 * length_s), np.float32)
    samples[round(48_000 * at_s) : round(48_000 * at_s) + 48] = 0.9
    return samples


@pytest.mark.parametrize("video_s, audio_s", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.4), (1.2, 0.7)])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_audio_is_on_the_video_clock(tmp_path, name, video_s, audio_s):
    pts = steady(60, first=round(90_000 * video_s))
    file = film(tmp_path / name, pts, ORDERS["b-frames"], sound=(audio_s, click(1.5)))
    sound, first_s = read_sound(file, 16_000).readings, Video(file).times[0]
    assert isinstance(sound, Readings) and sound.values.dtype == np.float32 and sound.values.ndim == 1
    assert sound.times[np.abs(sound.values).argmax()] - first_s == pytest.approx(
        audio_s + 1.5 - video_s, abs=0.003
    )
    assert min(first_s, sound.times[0]) == pytest.approx(0, abs=0.03)  # encoders of sound begin early
    assert first_s == pytest.approx(max(video_s - audio_s, 0), abs=0.03)
    np.testing.assert_allclose(np.diff(sound.times), 1 / 16_000, rtol=1e-6)
    assert sound.times[0] - first_s == pytest.approx(audio_s - video_s, abs=0.03)
    assert np.ptp(sound.times) == pytest.approx(3.0, abs=0.05)


def test_a_gap_in_the_audio_is_silence(tmp_path):
    file = tmp_path / "a.mkv"
    with av.open(str(file), "w") as container:
        track = container.add_stream("libx264", rate=30)
        track.width, track.height, track.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
        container.mux(track.encode(av.VideoFrame.from_ndarray(burnt(0), "rgb24")))
        container.mux(track.encode())
        for first in range(0, 96_000, 480):
            values = np.full((1, 480), 8000 if first < 24_000 or first >= 72_000 else 0, np.int16)
            if 24_000 <= first < 72_000:
                continue
            frame = av.AudioFrame.from_ndarray(values, "s16", "mono")
            frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), first
            container.mux(audio.encode(frame))
        container.mux(audio.encode())
    sound = read_sound(file, 8_000).readings
    loud = sound.times[np.abs(sound.values) > 0.1]
    assert len(sound.times) == pytest.approx(16_000, abs=20)
    assert loud.max() == pytest.approx(2.0, abs=0.005)
    assert not ((loud > 0.505) & (loud < 1.495)).any() and (loud < 0.505).sum() == pytest.approx(4000, abs=40)


def test_motion_energy_is_large_where_the_picture_changes(tmp_path):
    pts = irregular(40, first=5000)
    energy = motion_energy(film(tmp_path / "a.mp4", pts, ORDERS["open-gop"]))
    np.testing.assert_allclose(energy.times, (pts - pts[0]) / 90_000, atol=1e-6)
    grey = np.stack([burnt(index).mean(axis=2) for index in range(40)])
    expected = np.abs(np.diff(grey, axis=0)).mean(axis=(1, 2))
    assert energy.values[0] == 0 and np.corrcoef(energy.values[1:], expected)[0, 1] > 0.98


def test_an_edit_list_hides_frames(tmp_path):
    """A copy that begins inside a group of pictures: the frames before are in the file, but not displayed."""
    whole = film(tmp_path / "a.mp4", steady(), ORDERS["b-frames"])
    with av.open(str(whole)) as source, av.open(str(tmp_path / "b.mp4"), "w") as copy:
        track = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                # in the file's 1/90000 s: 5 frames
                packet.pts, packet.dts = packet.pts - 15_000, packet.dts - 15_000
                packet.stream = track
                copy.mux(packet)
    video = Video(tmp_path / "b.mp4", None, None)
    assert indexes(video, video.times) == list(range(60 - len(video.times), 60))
    assert 0 < 60 - len(video.times) <= 5


def refused(read, *expected):
    with pytest.raises(DataError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message and all(words in message for words in expected), message


@pytest.mark.parametrize("read", [lambda file: Video(file).at(np.zeros(1)), motion_energy, read_sound])
def test_bad_files_get_one_line(tmp_path, read):
    whole = film(tmp_path / "whole.mp4", steady(), sound=(0.0, click(1.0)))
    front = film(
        tmp_path / "front.mp4", steady(), sound=(0.0, click(1.0)), container_options={"movflags": "faststart"}
    )
    for file in (whole, front):
        cut = tmp_path / f"cut-{file.name}"
        for share in (0.0, 0.3, 0.6, 0.97):
            cut.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
            refused(lambda cut=cut: read(cut), str(cut), "expected a whole video file")
    text = tmp_path / "text.mp4"
    text.write_text("this is no video\n" * 100)
    refused(lambda: read(text), str(text), "expected a whole video file")
    refused(lambda: read(tmp_path / "none.mp4"), "none.mp4", "No such file")
    refused(lambda: read(tmp_path), str(tmp_path))
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        audio = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(click(1.0)[None], "fltp", "mono")
        frame.sample_rate = 48_000
        container.mux(audio.encode(frame)), container.mux(audio.encode())
    refused(lambda: read(sound), str(sound), "no video track, expected one")


def test_no_audio_gets_one_line(tmp_path):
    file = film(tmp_path / "a.mp4", steady(3))
    refused(lambda: read_sound(file), str(file), "no audio track, expected one")


def test_a_frame_that_cannot_be_decoded_is_named(tmp_path):
    file = film(tmp_path / "a.mp4", steady(), ORDERS["no-b-frames"])
    with av.open(str(file)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][24]
    damaged = bytearray(file.read_bytes())
    damaged[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    file.write_bytes(damaged)
    video = Video(file, None, None)
    assert indexes(video, video.times[[3, 40]]) == [3, 40]
    refused(lambda: video.at(video.times[[24]]), str(file), "0.800 s cannot be decoded")


@pytest.mark.parametrize("order", ORDERS)
def test_damaged_frames_and_what_is_made_of_them_are_refused_at_each_reading(tmp_path, order):
    """One flipped bit, wherever: what comes out as a frame is the same each time, and none after an error."""
    whole = film(tmp_path / "a.mp4", steady(40), ORDERS[order])
    with av.open(str(whole)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size > 50]
        spans = [(packet.pos, packet.size) for packet in packets]
    rng = np.random.default_rng(0)
    refusals = 0
    for _ in range(6):
        pos, size = spans[rng.integers(len(spans))]
        content = bytearray(whole.read_bytes())
        content[pos + rng.integers(8, size)] ^= 1 << rng.integers(8)
        file = tmp_path / "b.mp4"
        file.write_bytes(content)
        one, two = (looked_at(file) for _ in range(2))
        assert one == two
        with av.open(str(file)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            erred = False
            for packet in container.demux(video=0):
                try:
                    packet.decode()
                except av.InvalidDataError:
                    erred = True
        assert not erred or isinstance(one, str)
        refusals += isinstance(one, str)
    assert refusals


def looked_at(file):
    """All pictures of a video, or in which line it is refused."""
    try:
        return Video(file, None, None).at(np.arange(40) / 30).tobytes()
    except DataError as error:
        assert re.search(r"the frame at \d+\.\d+ s cannot be decoded", str(error))
        return str(error)


def test_what_follows_a_damaged_frame_is_as_damaged_until_the_next_key_frame(tmp_path):
    file = film(tmp_path / "a.mp4", steady(), ORDERS["no-b-frames"])
    with av.open(str(file)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][15]
    content = bytearray(file.read_bytes())
    content[packet.pos + 4 : packet.pos + packet.size] = b"\xff" * (packet.size - 4)
    file.write_bytes(content)
    video = Video(file, None, None)
    assert indexes(video, video.times[[14, 24]]) == [14, 24]
    for frame in (15, 16, 23):
        refused(
            lambda frame=frame: video.at(video.times[[frame]]),
            str(file),
            f"{frame / 30:.3f} s cannot be decoded",
        )
    with pytest.warns(PlaitWarning, match="9 of 60 frames cannot be decoded, left out of its motion"):
        assert len(motion_energy(file).times) == 51


@pytest.mark.parametrize("order", ORDERS)
def test_frames_that_windows_share_are_decoded_once(tmp_path, monkeypatch, order):
    file = film(tmp_path / "a.mp4", irregular(), ORDERS[order])
    video = Video(file, None, None)
    rng = np.random.default_rng(0)
    starts = np.sort(rng.uniform(0, video.times[-1] - 0.5, 12))
    windows = [start + np.arange(8) * 0.06 for start in starts]
    expected = [video.at(seconds) for seconds in windows]
    shaped = []
    monkeypatch.setattr(Video, "_picture", lambda *a, own=Video._picture: shaped.append(a[1].pts) or own(*a))
    forward = Forward(video, windows)
    most = 0
    for seconds, pictures in zip(windows, expected, strict=True):
        assert np.array_equal(forward.at(seconds), pictures)
        most = max(most, len(forward.kept))
    assert len(shaped) == len(set(shaped)) == len(np.unique(video.shown(np.concatenate(windows))))
    assert most < 24 and not forward.kept


def test_windows_may_come_in_any_order_and_unforeseen(tmp_path):
    video = Video(film(tmp_path / "a.mp4", steady(), ORDERS["b-frames"]), None, None)
    windows = [np.array([1.5, 0.2, 0.2]), np.array([0.5, 1.0]), np.array([0.2, 1.9])]
    forward = Forward(video, windows)
    for seconds in (windows[1], np.array([0.7]), windows[0], windows[2], windows[2], np.array([])):
        assert np.array_equal(forward.at(seconds), video.at(seconds))
    assert np.array_equal(forward.times, video.times) and isinstance(forward, Stream)


def test_rgb_is_in_minus_one_to_one():
    frames = np.array([0, 51, 255], np.uint8).reshape(1, 1, 1, 3)
    assert rgb(frames).flatten().tolist() == pytest.approx([-1, -0.6, 1], abs=1e-3)


def test_a_decoder_that_is_left_in_the_middle_lets_go(tmp_path):
    """However far it has come, with its threads busy on the frames ahead."""
    video = Video(film(tmp_path / "a.mp4", steady(), ORDERS["one-group"]), 64, None)
    for taken in range(12):
        coming = video.decoded(np.arange(60))
        assert [number for number, _ in itertools.islice(coming, taken)] == list(range(taken))
        coming.close()
