"""What several files of tests need: a film."""

from fractions import Fraction

import av
import numpy as np
import pytest


@pytest.fixture
def film():
    """A function that writes a small grey film."""

    def write(path, seconds):
        path.parent.mkdir()
        with av.open(str(path), "w") as out:
            stream = out.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            for number in range(10 * seconds):
                frame = av.VideoFrame.from_ndarray(
                    np.full((32, 32, 3), number % 200, np.uint8), format="rgb24"
                )
                frame.pts, frame.time_base = number, Fraction(1, 10)
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        return path

    return write
