import numpy as np
import polars as pl
import pytest
import torch

from plait.clips import cut
from plait.datasets.glovid import EXPECTED_HANDS, GLOVID
from plait.errors import DataError
from plait.recordings.folder import DESCRIPTION, Description, parse_description
from plait.recordings.ingest import TEMPLATES
from plait.recordings.video import rgb


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
    assert {m.name: (m.samples, m.rate_hz) for m in GLOVID.modalities} == {"video": (79, 15.0), "gloves": (134, 25.0)}


def test_preprocessed_clips_come_through_unchanged(preprocessed):
    clips = cut(GLOVID, preprocessed, ["video", "gloves"])
    assert clips.shapes == {"video": (79, 224, 224, 3), "gloves": (134, 18)}
    clip_rows = [(c.name, c.subject, c.activity) for c in clips.table]
    assert clip_rows == [("a", "1", "neutral"), ("b", "2", "using a hammer")]
    both = clips.batch(["video", "gloves"], np.array([0, 1]))
    np.testing.assert_allclose(both["gloves"], np.load(preprocessed / "gloves.npy"), atol=1e-6)
    assert both["video"][1, 78].eq(1).all() and both["video"][1, :78].eq(-1).all() and both["video"][0].eq(-1).all()


def test_frames_are_in_i3d_s_range():
    assert torch.equal(rgb(np.array([[[[0, 255]]]], np.uint8)), torch.tensor([[[[-1.0, 1.0]]]]).half())


def test_the_glove_network_gives_the_paper_s_grid():
    gloves = GLOVID.modality("gloves").encoder((134, 18))
    assert gloves(1e3 * torch.randn(4, 134, 18)).shape == (4, 28, 64)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda d: np.save(d / "gloves.npy", np.zeros((3, 134, 18))),
            r"gloves.npy: shape \(3, 134, 18\), expected \(2",
        ),
        (lambda d: (d / "clips.csv").write_text("clip,subject\na,1\n"), "clips.csv: no column 'activity'"),
        (lambda d: (d / "clips.csv").unlink(), "clips.csv: cannot be read"),
    ],
)
def test_other_shapes_are_refused(preprocessed, spoil, said):
    spoil(preprocessed)
    with pytest.raises(DataError, match=said):
        cut(GLOVID, preprocessed, ["gloves"])


def test_templates_are_descriptions():
    assert set(TEMPLATES) == {"gopro-gloves", "camera-imu"}
    for path in TEMPLATES.values():
        assert isinstance(parse_description(path), Description)
    assert len(parse_description(TEMPLATES["gopro-gloves"]).logs["left"].columns) == 9
    assert DESCRIPTION == "recording.toml"


def test_preprocessed_clips_have_keys_of_their_own(preprocessed):
    """Each of what it holds: whoever is added, and whatever changes of one sensor, leaves the others' alone."""

    def keys(folder):
        streams = [("video",), ("left", "right")]
        return [[recording.content(own) for own in streams] for recording in GLOVID.recordings(folder)]

    before = keys(preprocessed)
    assert None not in {key for own in before for key in own} and len({key for own in before for key in own}) == 4
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
