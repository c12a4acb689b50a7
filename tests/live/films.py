"""Videos in the place of cameras."""

import threading
from fractions import Fraction

import av
import numpy as np

WIDTH, HEIGHT, RATE_HZ = 96, 64, 30


def picture(number):
    """A picture that tells its number: two halves of different greys."""
    grey = np.full((HEIGHT, WIDTH, 3), 16 + number * 37 % 200, np.uint8)
    grey[:, : WIDTH // 2] = 16 + number * 11 % 200
    return grey


def encoder(container, codec, options=None, form=None):
    track = container.add_stream(codec, rate=RATE_HZ, options=options or {})
    track.width, track.height = WIDTH, HEIGHT
    track.pix_fmt = form or "yuv420p"
    track.codec_context.gop_size, track.codec_context.thread_count = 10, 1
    return track


def frame(number):
    made = av.VideoFrame.from_ndarray(picture(number), "rgb24")
    made.pts, made.time_base = number, Fraction(1, RATE_HZ)
    return made


def film(file, codec, count=30, options=None, form=None):
    """A file of `count` pictures."""
    with av.open(str(file), "w") as container:
        track = encoder(container, codec, options, form)
        for number in range(count):
            container.mux(track.encode(frame(number)))
        container.mux(track.encode())
    return file


class Sender:
    """A camera of the network on this machine: H.264 in a transport stream, until it is paused or left."""

    def __init__(self, port):
        self.port = port
        self.sending, self.left = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.send, daemon=True)

    def __enter__(self):
        self.sending.set()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.left.set()
        self.sending.set()
        self.thread.join()

    def send(self):
        url = f"udp://127.0.0.1:{self.port}?pkt_size=1316"
        with av.open(url, "w", "mpegts", options={"flush_packets": "1"}) as container:
            track = encoder(container, "libx264", {"preset": "ultrafast", "tune": "zerolatency"})
            number = 0
            while not self.left.wait(1 / RATE_HZ):
                self.sending.wait()
                container.mux(track.encode(frame(number)))
                number += 1
