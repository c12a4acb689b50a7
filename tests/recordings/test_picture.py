"""A picture as a player shows it: turned, mirrored, its pixels square, colours averaged under a triangle."""

import gc
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from plait.errors import DataError
from plait.recordings.video import Video

WIDTH, HEIGHT = 96, 64
ONE = 1 << 16
# Where the file says that a stored point (x, y) is shown, (a x + c y, b x + d y), for a, b, c, d.
ORIENTATIONS = {
    "as it is": (1, 0, 0, 1),
    "mirrored": (-1, 0, 0, 1),
    "upside down and mirrored": (1, 0, 0, -1),
    "upside down": (-1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "clockwise": (0, 1, -1, 0),
    "anticlockwise": (0, -1, 1, 0),
    "transposed the other way": (0, -1, -1, 0),
}


def corners():
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[: HEIGHT // 2, : WIDTH // 2] = 80
    picture[: HEIGHT // 2, WIDTH // 2 :] = 140
    picture[HEIGHT // 2 :, : WIDTH // 2] = 200
    return picture  # 80 140 / 200 0


def film(file, picture, *, matrix=None, aspect=None, codec="libx264", count=3):
    with av.open(str(file), "w") as container:
        track = container.add_stream(codec, rate=10, options={"preset": "ultrafast", "qp": "4"})
        track.height, track.width = picture.shape[:2]
        track.pix_fmt = "yuv420p"
        if matrix:
            a, b, c, d = (value * ONE for value in matrix)
            track.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        if aspect:
            track.codec_context.sample_aspect_ratio = aspect
        for _ in range(count):
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(track.encode())
    return file


def shown(matrix, picture):
    """Point by point, as the matrix says."""
    a, b, c, d = matrix
    x, y = np.meshgrid(np.arange(picture.shape[1]), np.arange(picture.shape[0]))
    right, down = a * x + c * y, b * x + d * y
    out = np.zeros((np.ptp(down) + 1, np.ptp(right) + 1, 3), np.uint8)
    out[down - down.min(), right - right.min()] = picture
    return out


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_all_eight_orientations(tmp_path, name, ending):
    matrix = ORIENTATIONS[name]
    video = Video(film(tmp_path / f"a.{ending}", corners(), matrix=matrix), None, None)
    got, expected = video.at(np.zeros(1))[0], shown(matrix, corners())
    assert got.shape == expected.shape and np.abs(got.astype(int) - expected)[8:-8:16, 8:-8:16].max() < 8
    assert Video(video.file, 32, 32).at(np.zeros(1)).shape == (1, 32, 32, 3)


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(3, 4), Fraction(40, 33), Fraction(1)])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_pixels_come_out_square(tmp_path, aspect, name):
    codec = "mpeg4" if name == "a.avi" else "libx264"
    video = Video(film(tmp_path / name, corners(), aspect=aspect, codec=codec), None, None)
    height, width = video.at(np.zeros(1)).shape[1:3]
    assert (width, height) == (
        (round(WIDTH * aspect), HEIGHT) if aspect >= 1 else (WIDTH, round(HEIGHT / aspect))
    )
    height, width = Video(video.file, 32, None).at(np.zeros(1)).shape[1:3]
    assert min(width, height) == 32 and width / height == pytest.approx(
        float(aspect) * WIDTH / HEIGHT, abs=0.03
    )


def test_turned_and_anamorphic_at_once(tmp_path):
    file = film(tmp_path / "a.mp4", corners(), matrix=ORIENTATIONS["clockwise"], aspect=Fraction(2))
    assert Video(file, None, None).at(np.zeros(1)).shape[1:3] == (2 * WIDTH, HEIGHT)


def test_a_pixel_of_no_sensible_shape_is_refused(tmp_path):
    file = film(tmp_path / "a.mkv", corners(), aspect=Fraction(40))
    with pytest.raises(
        DataError, match=r"a\.mkv: pixels 40 times as wide as high, expected between 1/10 and 10"
    ):
        Video(file).at(np.zeros(1))


def test_shrinking_is_bilinear_as_pillow_has_it(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 1)).repeat(3, axis=2).astype(np.uint8)
    picture = picture.repeat(16, axis=0).repeat(16, axis=1)
    file = film(tmp_path / "a.mp4", picture)
    small, whole = Video(file, 64, None).at(np.zeros(1))[0], Video(file, None, None).at(np.zeros(1))[0]

    def apart(kernel):
        theirs = np.asarray(Image.fromarray(whole).resize((96, 64), kernel), int)
        return np.abs(small.astype(int) - theirs).mean()

    assert apart(Image.Resampling.BILINEAR) < 1.5 < apart(Image.Resampling.BOX)


def test_a_frame_is_let_go_of_at_once(tmp_path):
    """Frames that wait for circles of references to be sought are hundreds of megabytes, and leave holes."""
    film(tmp_path / "film.mp4", corners(), matrix=ORIENTATIONS["clockwise"], count=40)
    video = Video(tmp_path / "film.mp4", None, None)
    gc.collect()
    gc.disable()
    try:
        most = 0
        for number, _ in video.decoded(np.arange(40)):
            if number % 10 == 9:
                most = max(most, sum(type(one) is av.VideoFrame for one in gc.get_objects()))
    finally:
        gc.enable()
    assert 0 < most <= 20
