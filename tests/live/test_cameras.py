"""Cameras: what they give is what their recording holds, whatever happens to them."""

import socket
import time
from pathlib import Path

import av
import numpy as np
import pytest

from plait.errors import ConfigError, DataError
from plait.live import cameras, devices
from plait.live.cameras import Camera
from plait.live.devices import address_of
from plait.live.events import Arrived, Ended
from plait.live.film import Film
from plait.recordings.video import Video
from tests.live.films import RATE_HZ, Sender, film

COUNT = 20  # pictures of a film, which takes as long as it lasts
FILMS = [
    ("mpeg4", "film.mp4", None),
    ("libx264", "film.mp4", {"bf": "2", "b_strategy": "0"}),
    ("libx264", "film.mkv", {"tune": "zerolatency"}),
    ("libx264", "film.ts", {"bf": "1", "b_strategy": "0"}),
    ("libx264", "film.avi", {"tune": "zerolatency"}),
    ("mjpeg", "film.avi", None),
    ("mpeg2video", "film.ts", {"bf": "2"}),
    ("rawvideo", "film.nut", None),
]


def made(folder, codec, name, options, count=COUNT):
    form = {"mjpeg": "yuvj420p", "rawvideo": "yuyv422"}.get(codec)
    return film(folder / name, codec, count, options, form)


def test_addresses():
    camera = address_of("camera:/dev/video0?size=640x480&fps=30&codec=mjpeg", "linux")
    assert (camera.url, camera.form) == ("/dev/video0", "v4l2")
    assert camera.options == {"video_size": "640x480", "framerate": "30", "input_format": "mjpeg"}
    assert address_of("camera:/dev/video2", "linux").options == {}
    assert address_of("camera:0?fps=29.97", "darwin").form == "avfoundation"
    assert address_of("camera:HD Webcam", "win32").url == "video=HD Webcam"
    assert address_of("file:a:b.mp4").file == Path("a:b.mp4")
    network = address_of("rtsp://me:secret@10.0.0.7:554/live?key=1")
    assert network.url == "rtsp://me:secret@10.0.0.7:554/live?key=1"
    assert network.shown == "rtsp://10.0.0.7:554/live"
    assert network.options["rtsp_transport"] == "tcp"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/video0", "expected camera:DEVICE, file:PATH"),
        ("camera:", "expected camera:DEVICE"),
        ("file:", "expected camera:DEVICE"),
        ("camera:/dev/video0?size=640", "size '640', expected one such as 640x480"),
        ("camera:/dev/video0?size=0x0", "expected one such as 640x480"),
        ("camera:/dev/video0?fps=fast", "fps 'fast', expected a number above 0"),
        ("camera:/dev/video0?fps=0", "expected a number above 0"),
        ("camera:/dev/video0?exposure=1", "exposure, expected size=640x480, fps=30, codec=mjpeg"),
    ],
)
def test_addresses_that_are_none(text, expected):
    with pytest.raises(ConfigError, match=expected):
        address_of(text, "linux")


def test_no_camera_on_a_system_without():
    with pytest.raises(ConfigError, match="no cameras on plan9"):
        address_of("camera:0", "plan9")


@pytest.mark.parametrize("address", ["camera:/dev/video99", "file:none.mp4", "http://127.0.0.1:9/x.ts"])
def test_what_cannot_be_opened_is_one_line(address):
    with pytest.raises(DataError) as refused:
        Camera("video", address)
    assert "\n" not in str(refused.value)
    assert address.removeprefix("file:") in str(refused.value)


def test_a_silent_address_is_not_waited_for_forever(monkeypatch):
    monkeypatch.setattr(devices, "OPENING_S", 0.2)
    with pytest.raises(DataError, match="gives no picture"):
        Camera("video", f"udp://127.0.0.1:{free_port()}")


def test_a_file_without_video_is_refused(tmp_path):
    (tmp_path / "film.mp4").write_text("no film")
    with pytest.raises(DataError, match="film.mp4"):
        Camera("video", f"file:{tmp_path / 'film.mp4'}")


@pytest.mark.parametrize(("codec", "name", "options"), FILMS)
def test_a_file_gives_the_pictures_that_it_holds_and_its_recording_too(
    tmp_path, monkeypatch, codec, name, options
):
    monkeypatch.setattr(cameras, "LATE_S", 1e9)  # nothing is passed over
    file = made(tmp_path, codec, name, options)
    recorded, left = Film(tmp_path / "recorded.mkv"), []
    camera = Camera(
        "video", f"file:{file}", lambda c: recorded.write(c) if recorded.begin(c) else left.append(c)
    )
    assert camera.openings[0].rate_hz == pytest.approx(RATE_HZ)
    arrived = list(camera)
    recorded.close()
    assert isinstance(arrived.pop(), Ended)
    assert not left
    assert arrived
    times = np.concatenate([event.times for event in arrived])
    assert (np.diff(times) > 0).all()
    assert all(event.arrived_s == event.times[0] for event in arrived)
    assert len(arrived) + camera.dropped == COUNT
    source = file if codec != "rawvideo" else made(tmp_path, "libx264", "same.mp4", {"qp": "0"})
    original, video = Video(source), Video(recorded.file)
    number = np.round((times - times[0]) * RATE_HZ).astype(int)
    assert np.abs(times - times[0] - number / RATE_HZ).max() <= 1e-3
    known = original.at(original.times[number])
    nearest = np.abs(video.times[:, None] - (times - times[0])).argmin(axis=0)
    assert np.abs(video.times[nearest] - (times - times[0])).max() <= 1e-3
    read = video.at(video.times[nearest])
    for event, picture, again in zip(arrived, known, read, strict=True):
        close = 0 if codec != "rawvideo" else 12  # which is encoded with a loss
        assert np.abs(event.values[0].astype(int) - picture).max() <= close
        assert np.abs(event.values[0].astype(int) - again).max() <= close
    if codec != "rawvideo":
        assert len(video.times) == COUNT


@pytest.mark.parametrize(("codec", "name", "options"), [FILMS[1], FILMS[5], FILMS[7]])
def test_who_is_slow_is_given_the_newest_and_told_how_many_were_left_out(tmp_path, codec, name, options):
    coded = []
    camera = Camera("video", f"file:{made(tmp_path, codec, name, options, 60)}", coded.append)
    times = []
    for event in camera:
        if isinstance(event, Arrived):
            times.append(event.times[0])
            time.sleep(0.25)
    assert camera.dropped > 0
    assert len(times) + camera.dropped == 60
    assert (np.diff(times) > 0).all()
    if codec == "mjpeg":
        assert len(coded) == 60
        assert (np.diff([c.shown_s for c in coded]) > 0).all()


def test_what_waits_for_long_is_let_go(tmp_path, monkeypatch):
    monkeypatch.setattr(cameras, "MOST_BYTES", 3000)
    file = made(tmp_path, "libx264", "film.mp4", {"tune": "zerolatency"}, 60)
    camera = Camera("video", f"file:{file}")
    original = Video(file)
    known = original.at(original.times)
    first, shown = None, 0
    for event in camera:
        if isinstance(event, Arrived):
            first = event.times[0] if first is None else first
            number = round((event.times[0] - first) * RATE_HZ)
            assert np.array_equal(event.values[0], known[number])  # no picture without what it is made of
            shown += 1
            time.sleep(0.5)
    assert camera.dropped > 0
    assert shown + camera.dropped == 60


def test_what_is_damaged_is_neither_shown_nor_recorded(tmp_path):
    file = made(tmp_path, "libx264", "film.mkv", {"tune": "zerolatency", "sc_threshold": "0"})
    whole = Video(file)
    known = whole.at(whole.times)
    with av.open(str(file)) as container:
        packets = [bytes(packet) for packet in container.demux() if packet.size]
    content = file.read_bytes()
    file.write_bytes(content.replace(packets[13], b"\xff" * len(packets[13])))
    recorded = Film(tmp_path / "recorded.mkv")
    camera = Camera("video", f"file:{file}", lambda c: recorded.begin(c) and recorded.write(c))
    arrived = [event for event in camera if isinstance(event, Arrived)]
    recorded.close()
    numbers = [round((event.times[0] - arrived[0].times[0]) * RATE_HZ) for event in arrived]
    assert not {*numbers} & {13, 14, 15, 16, 17, 18, 19}
    assert {*numbers} <= {*range(COUNT)}
    for number, event in zip(numbers, arrived, strict=True):
        assert np.array_equal(event.values[0], known[number])
    video = Video(recorded.file)
    assert len(video.at(video.times)) == len(video.times) >= len(arrived)


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_a_camera_of_the_network_that_falls_silent_and_returns(monkeypatch):
    monkeypatch.setattr(cameras, "WAITS_S", (0.05,))
    port, said, opened, before, times = free_port(), [], [], [], []
    open_it = devices.opened_at

    def counted(address):
        opened.append(address)
        if len(opened) == 4:  # two attempts have failed
            before.extend(said)
            monkeypatch.setattr(devices, "OPENING_S", 30.0)
            monkeypatch.setattr(devices, "SILENT_S", 30.0)
            sender.sending.set()
        return open_it(address)

    with Sender(port) as sender:
        camera = Camera("video", f"udp://127.0.0.1:{port}", say=said.append)
        monkeypatch.setattr(cameras, "opened_at", counted)
        monkeypatch.setattr(devices, "SILENT_S", 1.0)
        paused = again = 0
        for event in camera:
            assert isinstance(event, Arrived)
            assert event.values.shape == (1, 224, 224, 3)
            times.append(event.times[0])
            if len(times) == 10:
                monkeypatch.setattr(devices, "OPENING_S", 0.3)
                del opened[1:], said[:]
                sender.sending.clear()
                paused = len(times)
            again += len(opened) >= 4
            if again == 10:
                camera.close()
    assert paused
    assert again == 10
    assert (
        before
        == said
        == [f"udp://127.0.0.1:{port}: has given no picture for 5 s; tried again until it is back"]
    )
    assert (np.diff(times) > 0).all()


def test_what_nobody_has_thought_of_is_raised_where_pictures_are_waited_for(tmp_path, monkeypatch):
    camera = Camera("video", f"file:{made(tmp_path, *FILMS[0])}")

    def broken(packets):
        raise ZeroDivisionError("of the reading thread")

    monkeypatch.setattr(cameras, "due", broken)
    with pytest.raises(ZeroDivisionError, match="of the reading thread"):
        list(camera)
