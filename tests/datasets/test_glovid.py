import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plait.clips import cut
from plait.datasets.glovid import EXPECTED_HANDS, GLOVID, GLOVID_FEATURES, GRID, form
from plait.errors import DataError
from plait.recordings.folder import DESCRIPTION, Description, parse_description
from plait.recordings.ingest import TEMPLATES
from plait.recordings.video import rgb
from tests.miniature import write_arrays


@pytest.fixture
def preprocessed(tmp_path):
    """Two clips as a lab has them cut already; the video's file is sparse."""
    np.lib.format.open_memmap(tmp_path / "video.npy", "w+", np.uint8, (2, 79, 224, 224, 3))[1, 78] = 255
    np.save(tmp_path / "gloves.npy", np.random.default_rng(0).normal(size=(2, 134, 18)))
    rows = {"clip": ["a", "b"], "subject": ["1", "2"], "activity": ["neutral", "using a hammer"]}
    pl.DataFrame(rows).write_csv(tmp_path / "clips.csv")
    return tmp_path


def test_eight_activities_and_the_paper_s_windows():
    assert len(GLOVID.activities) == 8 and sum(EXPECTED_HANDS.values()) == 12
    lengths = {m.name: (m.samples, m.rate_hz) for m in GLOVID.modalities}
    assert lengths == {"video": (79, 15.0), "gloves": (134, 25.0)}


def test_preprocessed_clips_come_through_unchanged(preprocessed):
    clips = cut(GLOVID, preprocessed, ["video", "gloves"])
    assert clips.shapes == {"video": (79, 224, 224, 3), "gloves": (134, 18)}
    clip_rows = [(c.name, c.subject, c.activity) for c in clips.table]
    assert clip_rows == [("a", "1", "neutral"), ("b", "2", "using a hammer")]
    both = clips.batch(["video", "gloves"], np.array([0, 1]))
    np.testing.assert_allclose(both["gloves"], np.load(preprocessed / "gloves.npy"), atol=1e-6)
    assert (
        both["video"][1, 78].eq(1).all()
        and both["video"][1, :78].eq(-1).all()
        and both["video"][0].eq(-1).all()
    )


def test_frames_are_in_i3d_s_range():
    assert torch.equal(rgb(np.array([[[[0, 255]]]], np.uint8)), torch.tensor([[[[-1.0, 1.0]]]]).half())


def test_the_glove_network_gives_the_paper_s_grid():
    gloves = GLOVID.modality("gloves").encoder((134, 18))
    assert gloves(1e3 * torch.randn(4, 134, 18)).shape == (4, 28, 64)


@pytest.fixture
def features(tmp_path):
    return write_arrays(tmp_path / "features", "grids", people=1, each=2)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.dtype(">f4")], ids=str)
def test_features_come_through_unchanged(tmp_path, kind):
    data = write_arrays(tmp_path / "features", "grids", people=1, each=2, kind=kind)
    assert form(data) == "features"
    clips = cut(GLOVID_FEATURES, data, ["video", "gloves"])
    assert clips.shapes == {"video": GRID, "gloves": (134, 18)}
    both = clips.batch(["video", "gloves"], np.array([0, 1]))
    np.testing.assert_array_equal(both["video"], np.load(data / "video.npy").astype(np.float32))
    np.testing.assert_array_equal(both["gloves"], np.load(data / "gloves.npy"))
    encoder = GLOVID_FEATURES.modality("video").encoder(GRID)
    assert torch.equal(encoder(both["video"]), both["video"])


def other(name, array):
    return lambda data: np.save(data / name, array)


def spoilt(name, row, value):
    def spoil(data):
        array = np.load(data / name)
        array[row].flat[5] = value
        np.save(data / name, array)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            other("gloves.npy", np.zeros((3, 134, 18))),
            r"gloves.npy: float64 of shape \(3, 134, 18\), expected .*\(2, 134",
        ),
        (other("gloves.npy", np.zeros((2, 134, 18), bool)), "gloves.npy: bool of shape"),
        (other("gloves.npy", np.full((2, 134, 18), "1.5")), "gloves.npy: <U3 of shape"),
        (spoilt("gloves.npy", 1, np.nan), r"gloves.npy: row 1 \(clip 'p0-1'\): values that are not finite"),
        (spoilt("video.npy", 1, np.inf), r"video.npy: row 1: values that are not finite"),
        (
            other("video.npy", np.zeros((2, 10, 7, 7, 832))),
            r"video.npy: float64 .*, or float16 or float32 of shape \(",
        ),
        (other("video.npy", np.zeros((2, *GRID), np.int16)), "video.npy: int16 of shape"),
        (other("video.npy", np.zeros((2, *GRID), np.uint8)), "video.npy: uint8 of shape"),
        (
            other("video.npy", np.zeros((2, 10, 7, 7, 1024), np.float16)),
            r"video.npy: float16 of shape .*1024",
        ),
        (
            other("video.npy", np.zeros((2, 832, 10, 7, 7), np.float16)),
            r"video.npy: float16 of shape \(2, 832, 10",
        ),
        (other("video.npy", np.zeros((3, *GRID), np.float16)), "a row for each of the 2 lines of clips.csv"),
        (other("video.npy", np.float16(1)), r"video.npy: float16 of shape \(\), expected uint8"),
        (
            lambda d: (d / "video.npy").write_bytes(b"\x93NUMPY"),
            "video.npy: not a readable .npy file of plain numbers",
        ),
        (lambda d: (d / "video.npy").unlink(), "video.npy: no such file"),
        (lambda d: (d / "gloves.npy").unlink(), "gloves.npy: no such file"),
        (lambda d: (d / "clips.csv").write_text("clip,subject\na,1\n"), "clips.csv: no column 'activity'"),
        (lambda d: (d / "clips.csv").unlink(), "clips.csv: cannot be read"),
        (
            lambda d: (d / "clips.csv").write_text("clip,subject,activity\na,1,screw\nb,1,scr"),
            "clips.csv: line 3, the last, has no line break, and 'scr' is the beginning of 'screw': cut off?",
        ),
    ],
)
def test_what_is_not_of_the_form_is_one_line(features, spoil, said):
    spoil(features)
    with pytest.raises(DataError, match=said) as refused:
        cut(GLOVID_FEATURES, features, ["video", "gloves"])
    assert "\n" not in str(refused.value)


@settings(max_examples=40)
@given(
    st.sampled_from(["?", "u1", "i1", "u2", "i4", "f2", "f4", "f8", "c8", "S3", "U2", "M8[s]", "O"]),
    st.lists(st.sampled_from([0, 1, 2, 3, 7, 10, 18, 79, 134]), max_size=5),
)
@example("f2", [2, *GRID])
@example("u1", [2, 1, 224, 224, 3])
def test_any_array_is_taken_or_refused_in_one_line(tmp_path_factory, kind, shape):
    """Only what is documented gets through, whatever `video.npy` and `gloves.npy` hold."""
    data = write_arrays(tmp_path_factory.mktemp("data"), None, people=1, each=2)
    array = np.zeros(shape, kind)
    for name in ("video.npy", "gloves.npy"):
        np.save(data / "video.npy", np.zeros((2, *GRID), np.float16))
        np.save(data / "gloves.npy", np.zeros((2, 134, 18)))
        np.save(data / name, array)
        fits = {
            "video.npy": kind in ("f2", "f4") and shape == [2, *GRID],
            "gloves.npy": shape == [2, 134, 18],
        }[name]
        try:
            found = list(GLOVID_FEATURES.recordings(data))
        except DataError as refused:
            assert name in str(refused) and "\n" not in str(refused)
            assert not fits or (
                name == "gloves.npy" and kind not in ("u1", "i1", "u2", "i4", "f2", "f4", "f8")
            )
        else:
            assert fits and len(found) == 2


def test_either_form_names_the_study_that_takes_the_other(features, preprocessed):
    with pytest.raises(DataError, match=r"holds features, expected pictures; .*studies/glovid-features.toml"):
        cut(GLOVID, features, ["gloves"])
    with pytest.raises(DataError, match=r"holds preprocessed, expected features, .*studies/glovid.toml"):
        cut(GLOVID_FEATURES, preprocessed, ["gloves"])


def test_templates_are_descriptions():
    assert set(TEMPLATES) == {"gopro-gloves", "camera-imu"}
    for path in TEMPLATES.values():
        assert isinstance(parse_description(path), Description)
    assert len(parse_description(TEMPLATES["gopro-gloves"]).logs["left"].columns) == 9
    assert DESCRIPTION == "recording.toml"


def test_preprocessed_clips_have_keys_of_their_own(preprocessed):
    """Each of what it holds: whoever is added, whatever changes of one sensor, leaves the others' alone."""

    def keys(folder):
        streams = [("video",), ("left", "right")]
        return [[recording.content(own) for own in streams] for recording in GLOVID.recordings(folder)]

    before = keys(preprocessed)
    assert (
        None not in {key for own in before for key in own}
        and len({key for own in before for key in own}) == 4
    )
    more = preprocessed / "more"
    more.mkdir()
    video = np.lib.format.open_memmap(more / "video.npy", "w+", np.uint8, (3, 79, 224, 224, 3))
    video[1, 78] = 255
    gloves = np.load(preprocessed / "gloves.npy")
    np.save(more / "gloves.npy", np.concatenate([gloves, gloves[:1] + 1]))
    rows = {"clip": ["c", "d", "e"], "subject": ["1", "2", "3"], "activity": ["neutral"] * 3}
    pl.DataFrame(rows).write_csv(more / "clips.csv")
    assert keys(more)[:2] == before
    video[0, 0, 0, 0, 0] = 1
    video.flush()
    after = keys(more)
    assert after[0][0] != before[0][0] and after[0][1] == before[0][1] and after[1] == before[1]
