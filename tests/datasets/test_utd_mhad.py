import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torch import nn

from plait.clips import cut
from plait.datasets import utd_mhad
from plait.datasets.augment import rotations as draw_rotations
from plait.datasets.augment import warp
from plait.datasets.utd_mhad import ACTIVITIES, UTD_MHAD, files, recordings
from plait.datasets.utd_mhad.prepare import person_cropped
from plait.errors import DataError
from plait.types import Stream

REAL = Path(__file__).parents[3] / "shared" / "data" / "utd-mhad"
real = pytest.mark.skipif(not REAL.is_dir(), reason="UTD-MHAD itself is not there")


def write(data: Path, name: str = "a1_s1_t1", frames: int = 8, samples: int = 20) -> dict[str, np.ndarray]:
    """A tiny recording in the official layout; the skeleton stands upright and its joints differ."""
    rng = np.random.default_rng(len(name) + frames)
    upright = np.linspace(0.9, -0.9, 20)[:, None, None] * [[0.1], [1.0], [0.2]]
    skeleton = rng.normal(0, 0.02, (20, 3, frames)) + upright
    inertial = rng.normal(0, 1, (samples, 6)) * [1, 1, 1, 100, 100, 100]
    for kind, variable, values in (("Skeleton", "d_skel", skeleton), ("Inertial", "d_iner", inertial)):
        (data / kind).mkdir(parents=True, exist_ok=True)
        savemat(path(data, kind, name), {variable: values}, do_compression=True)
    return {"skeleton": skeleton, "inertial": inertial}


def write_depth(data: Path, name: str = "a1_s1_t1", frames: int = 8) -> np.ndarray:
    """The depth video of a tiny recording."""
    (data / "Depth").mkdir(parents=True, exist_ok=True)
    video = person(frames)
    savemat(path(data, "Depth", name), {"d_depth": np.moveaxis(video, 0, 2)}, do_compression=True)
    return video


def path(data: Path, kind: str, name: str = "a1_s1_t1") -> Path:
    return data / kind / f"{name}_{kind.lower()}.mat"


def refusal(data: Path) -> str:
    """The one line that `data` is refused with."""
    with pytest.raises(DataError) as error:
        list(recordings(data))
    assert "\n" not in str(error.value)
    return str(error.value)


# What is read


def test_a_recording_is_what_its_files_and_their_name_say(tmp_path):
    written = write(tmp_path, "a12_s3_t4", frames=7, samples=31)
    (recording,) = recordings(tmp_path)
    assert (recording.name, recording.subject) == ("a12_s3_t4", "3")
    (span,) = recording.spans
    assert (span.start_s, span.stop_s, span.activity) == (0.0, pytest.approx(6 / 30), "bowling")
    skeleton, inertial = recording.streams["skeleton"], recording.streams["inertial"]
    assert isinstance(skeleton, Stream)
    np.testing.assert_allclose(skeleton.times, np.arange(7) / 30)
    for frame in range(7):
        np.testing.assert_allclose(
            skeleton.at(np.array([frame / 30]))[0], written["skeleton"][:, :, frame], atol=1e-6
        )
    np.testing.assert_allclose(inertial.at(inertial.times), written["inertial"], rtol=1e-6)


@pytest.mark.parametrize("samples", [15, 20, 32])
def test_inertial_time_is_relative_whatever_its_rate(tmp_path, samples):
    write(tmp_path, frames=8, samples=samples)
    (recording,) = recordings(tmp_path)
    skeleton, inertial = recording.streams["skeleton"].times, recording.streams["inertial"].times
    assert len(inertial) == samples
    assert (inertial[0], inertial[-1]) == (skeleton[0], pytest.approx(skeleton[-1]))
    np.testing.assert_allclose(np.diff(inertial), inertial[-1] / (samples - 1))


def test_recordings_come_by_numbers_not_by_letters(tmp_path):
    names = ["a10_s1_t1", "a2_s1_t1", "a2_s10_t1", "a2_s9_t1", "a2_s1_t2"]
    for name in names:
        write(tmp_path, name)
    expected = ["a2_s1_t1", "a2_s1_t2", "a2_s9_t1", "a2_s10_t1", "a10_s1_t1"]
    assert [recording.name for recording in recordings(tmp_path)] == expected


def test_other_files_and_other_folders_are_ignored(tmp_path):
    write(tmp_path)
    (tmp_path / "Skeleton" / "Skeleton_joint_order.txt").write_text("1 head")
    (tmp_path / "Depth").mkdir()
    assert len(list(recordings(tmp_path))) == 1


def test_symbolic_links_are_fine(tmp_path):
    write(tmp_path / "there")
    write(tmp_path / "elsewhere", "a2_s1_t1")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "Skeleton").symlink_to(tmp_path / "there" / "Skeleton")
    (tmp_path / "here" / "Inertial").mkdir()
    for file in (tmp_path / "there" / "Inertial").iterdir():
        (tmp_path / "here" / "Inertial" / file.name).symlink_to(file)
    assert [recording.name for recording in recordings(tmp_path / "here")] == ["a1_s1_t1"]


def test_every_integer_and_float_is_a_number(tmp_path):
    write(tmp_path)
    savemat(path(tmp_path, "Inertial"), {"d_iner": np.arange(18, dtype=np.int16).reshape(3, 6)})
    (recording,) = recordings(tmp_path)
    assert recording.streams["inertial"].at(np.array([0.0])).tolist() == [[0, 1, 2, 3, 4, 5]]


def test_depth_is_read_when_it_is_asked_for_and_frames_are_never_mixed(tmp_path):
    write(tmp_path)
    video = write_depth(tmp_path)
    (recording,) = recordings(tmp_path)
    stream = recording.streams["depth"]
    assert isinstance(stream, Stream)
    found = stream.at(np.array([-1.0, 0.0, 2.4 / 30, 2.6 / 30, 99.0]))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, video[[0, 0, 2, 3, 7]])


def test_without_a_depth_folder_the_other_sensors_do_and_depth_says_what_is_missing(tmp_path):
    write(tmp_path)
    assert cut(UTD_MHAD, tmp_path, ["inertial", "skeleton"]).shapes["skeleton"] == (32, 20, 3)
    with pytest.raises(DataError) as error:
        cut(UTD_MHAD, tmp_path, ["depth"])
    assert str(path(tmp_path, "Depth")) in str(error.value)
    assert "recording a1_s1_t1, modality depth" in str(error.value)


def test_a_second_start_reads_no_depth_and_other_contents_are_read_again(tmp_path, monkeypatch):
    write(tmp_path)
    write_depth(tmp_path)
    first = cut(UTD_MHAD, tmp_path, ["depth", "inertial"])
    with monkeypatch.context() as patch:
        patch.setattr(files.DepthVideo, "at", lambda *_: pytest.fail("depth was read again"))
        assert cut(UTD_MHAD, tmp_path, ["depth", "inertial"]) == first
        (tmp_path / "moved").mkdir()
        for kind in ("Depth", "Inertial", "Skeleton"):
            (tmp_path / "moved" / kind).symlink_to(tmp_path / kind)
        assert cut(UTD_MHAD, tmp_path / "moved", ["depth", "inertial"]) == first
    video = np.moveaxis(person(8, size=30), 0, 2)
    savemat(path(tmp_path, "Depth"), {"d_depth": video})
    again = cut(UTD_MHAD, tmp_path, ["depth", "inertial"])
    assert again.arrays["depth"] != first.arrays["depth"]
    assert again.arrays["inertial"] == first.arrays["inertial"]
    assert again.arrays["depth"].dtype == np.float16
    assert again.batch(["depth"], np.array([0]))["depth"].dtype == torch.float32


# What is refused


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((240, 320, 7), dtype=np.uint16), "d_depth has 7 frames, expected 8 as the skeleton has"),
        (np.zeros((240, 320, 8), dtype=np.uint16), "nobody is seen in the clip"),
        (np.zeros((320, 240, 8), dtype=np.uint16), "expected numbers of shape (240, 320, any)"),
    ],
)
def test_depth_that_does_not_do(tmp_path, values, message):
    write(tmp_path)
    write_depth(tmp_path)
    savemat(path(tmp_path, "Depth"), {"d_depth": values})
    with pytest.raises(DataError) as error:
        cut(UTD_MHAD, tmp_path, ["depth"])
    assert message in str(error.value)
    assert "recording a1_s1_t1" in str(error.value)


def test_the_folder_is_missing(tmp_path):
    assert "nowhere" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["Skeleton", "Inertial"])
def test_a_folder_of_one_kind_is_missing(tmp_path, kind):
    write(tmp_path)
    (tmp_path / kind).rename(tmp_path / "Other")
    message = refusal(tmp_path)
    assert str(tmp_path / kind) in message
    assert "Inertial/ and Skeleton/" in message


@pytest.mark.parametrize("kind", ["Skeleton", "Inertial"])
def test_a_counterpart_is_missing(tmp_path, kind):
    write(tmp_path)
    write(tmp_path, "a2_s1_t1")
    path(tmp_path, kind).unlink()
    assert re.search(rf"{re.escape(str(path(tmp_path, kind)))}: missing.*a1_s1_t1", refusal(tmp_path))


def test_nothing_is_there(tmp_path):
    for kind in ("Skeleton", "Inertial"):
        (tmp_path / kind).mkdir()
    assert "expected files like a1_s1_t1_inertial.mat" in refusal(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "a28_s1_t1_skeleton", "a0_s1_t1_skeleton", "a01_s1_t1_skeleton",
        "a1_s1_skeleton", "a1_s1_t1_inertial", "notes",
    ],
)  # fmt: skip
def test_a_mat_file_is_wrongly_named(tmp_path, name):
    write(tmp_path)
    (tmp_path / "Skeleton" / f"{name}.mat").write_bytes(path(tmp_path, "Skeleton").read_bytes())
    message = refusal(tmp_path)
    assert f"{name}.mat: expected a name like a1_s1_t1_skeleton.mat" in message


@pytest.mark.parametrize("kept", [0.0, 0.05, 0.3, 0.6, 0.9, 0.99])
def test_a_file_is_truncated(tmp_path, kept):
    write(tmp_path)
    file = path(tmp_path, "Skeleton")
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    assert str(file) in refusal(tmp_path)


@pytest.mark.parametrize(
    "content", [b"not a mat file", b"\0" * 300, b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"]
)
def test_a_file_is_of_another_kind(tmp_path, content):
    write(tmp_path)
    path(tmp_path, "Inertial").write_bytes(content)
    assert str(path(tmp_path, "Inertial")) in refusal(tmp_path)


def test_damaged_bytes_end_in_an_error_of_ours_or_in_a_recording(tmp_path):
    write(tmp_path)
    file = path(tmp_path, "Skeleton")
    sound = file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(sound)
        for where in rng.integers(0, len(sound), 3):
            damaged[where] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            list(recordings(tmp_path))
        except DataError as error:
            assert "\n" not in str(error)
            assert str(file) in str(error)


@pytest.mark.parametrize("target", ["directory", "dangling"])
def test_a_path_that_is_no_file(tmp_path, target):
    write(tmp_path)
    file = path(tmp_path, "Inertial")
    file.unlink()
    if target == "directory":
        file.mkdir()
    else:
        file.symlink_to(tmp_path / "gone.mat")
    assert str(file) in refusal(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user who may be refused")
def test_a_file_that_may_not_be_read(tmp_path):
    write(tmp_path)
    path(tmp_path, "Inertial").chmod(0)
    assert str(path(tmp_path, "Inertial")) in refusal(tmp_path)


def test_the_variable_is_missing(tmp_path):
    write(tmp_path)
    savemat(path(tmp_path, "Skeleton"), {"skeleton": np.zeros((20, 3, 8))})
    assert refusal(tmp_path).endswith("a1_s1_t1_skeleton.mat: no variable 'd_skel', expected one")


@pytest.mark.parametrize(
    ("kind", "variable", "values"),
    [
        ("Skeleton", "d_skel", np.zeros((3, 20, 8))),
        ("Skeleton", "d_skel", np.zeros((20, 3))),
        ("Skeleton", "d_skel", np.zeros((20, 3, 0))),
        ("Inertial", "d_iner", np.zeros((6, 20))),
        ("Inertial", "d_iner", np.zeros((1, 6))),
        ("Inertial", "d_iner", np.zeros((20, 6), dtype=complex)),
        ("Inertial", "d_iner", "six channels"),
        ("Inertial", "d_iner", np.array([[1, "two"]], dtype=object)),
        ("Inertial", "d_iner", {"acceleration": np.zeros((20, 3))}),
    ],
    ids=["axes", "rank", "empty", "turned", "one sample", "complex", "text", "cells", "struct"],
)
def test_the_variable_is_of_another_shape_or_kind(tmp_path, kind, variable, values):
    write(tmp_path)
    savemat(path(tmp_path, kind), {variable: values})
    message = refusal(tmp_path)
    assert f"{path(tmp_path, kind)}: {variable} is " in message
    assert {"Skeleton": "(20, 3, any)", "Inertial": "(any, 6)"}[kind] in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("kind", "variable"), [("skeleton", "d_skel"), ("inertial", "d_iner")])
def test_a_value_is_not_finite(tmp_path, kind, variable, value):
    values = write(tmp_path)[kind]
    values.flat[5] = value
    savemat(path(tmp_path, kind.capitalize()), {variable: values})
    assert f"{variable} holds NaN or infinity" in refusal(tmp_path)


# What becomes a tensor


def person(
    frames: int, row: int = 120, column: int = 160, size: int = 40, place_mm: int = 2800, lift: float = 0.0
) -> np.ndarray:
    """A standing block of a person; a block of a hand, 300 mm nearer, moves to the side and back."""
    video = np.zeros((frames, 240, 320), dtype=np.uint16)
    video[:, row - size : row + size, column - size // 3 : column + size // 3] = place_mm
    for frame in range(frames):
        at = column + round(size * np.sin(np.pi * frame / (frames - 1)))
        hand = row + round(lift * size)
        video[frame, hand - size // 8 : hand + size // 8, at - size // 8 : at + size // 8] = place_mm - 300
    return video


def clips(name: str, count: int = 4) -> torch.Tensor:
    """A batch of clips of one modality, smooth in time, in the units its `prepare` leaves."""
    modality = UTD_MHAD.modality(name)
    rng = np.random.default_rng(0)
    phase = np.linspace(0, 4, modality.samples)[:, None]
    batch = []
    for number in range(count):
        if name == "depth":
            raw = person(modality.samples, column=int(rng.integers(60, 260)), lift=number / 2 - 1)
            batch.append(modality.prepare(raw).float())
            continue
        if name == "inertial":
            raw = np.sin(phase + rng.uniform(0, 6, 6)) * [1, 1, 1, 180, 180, 180]
        else:
            upright = np.linspace(0.9, -0.9, 20)[:, None] * [0.1, 1.0, 0.2]
            still = rng.normal(0, 0.1, (20, 3)) + upright + [0.3, 0, 3]
            raw = still + 0.1 * np.sin(phase[:, :, None] + rng.uniform(0, 6, (20, 3)))
        batch.append(modality.prepare(raw.astype(np.float32)))
    return torch.stack(batch)


@pytest.mark.parametrize("name", ["depth", "inertial", "skeleton"])
def test_a_modality_goes_from_readings_to_a_grid(tmp_path, name):
    write(tmp_path)
    write_depth(tmp_path)
    (recording,) = recordings(tmp_path)
    modality = UTD_MHAD.modality(name)
    assert modality.streams == (name,)
    assert modality.rate_hz is None
    readings = recording.streams[name].at(np.linspace(0, recording.spans[0].stop_s, modality.samples))
    clip = modality.prepare(readings)
    assert clip.dtype == (torch.float16 if name == "depth" else torch.float32)
    assert clip.shape[0] == modality.samples
    grid = modality.encoder(tuple(clip.shape)).eval()(clip[None].float())
    assert grid.shape[0] == 1
    assert grid.isfinite().all()
    assert grid[0].numel() < 8192


def test_inertial_is_in_g_and_half_turns_per_second():
    prepared = UTD_MHAD.modality("inertial").prepare(np.array([[1.0, -2.0, 0.5, 180.0, -90.0, 360.0]]))
    assert prepared.tolist() == [[1.0, -2.0, 0.5, 1.0, -0.5, 2.0]]


@pytest.mark.parametrize(("size", "place_mm"), [(25, 3400), (40, 2800), (55, 2200)])
def test_a_person_is_cropped_to_the_same_picture_wherever_they_stand(size, place_mm):
    expected = person_cropped(person(9)).float()
    assert expected.shape == (9, 64, 64)
    found = person_cropped(person(9, row=130, column=120, size=size, place_mm=place_mm)).float()
    assert (found - expected).abs().mean() < 0.05
    assert found.max() == pytest.approx(1.6, abs=0.01)  # the hand is 300 mm nearer


def test_the_activities_are_the_official_ones():
    assert len(set(ACTIVITIES)) == 27
    assert UTD_MHAD.activities == ACTIVITIES
    assert [ACTIVITIES[i - 1] for i in (1, 8, 11, 21, 22, 27)] == [
        "swipe left",
        "draw x",
        "draw triangle",
        "pick up and throw",
        "jog",
        "squat",
    ]
    assert UTD_MHAD.cite.count("\n") == 0
    assert "UTD-MHAD" in UTD_MHAD.cite
    assert utd_mhad.__doc__ is not None


def bones(clips: torch.Tensor) -> torch.Tensor:
    return (clips[..., :, None, :] - clips[..., None, :, :]).norm(dim=-1)


def test_a_skeleton_is_centred_and_in_spines_wherever_and_however_large_the_body():
    prepare = UTD_MHAD.modality("skeleton").prepare
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 1, (9, 20, 3))
    clip = prepare(raw)
    torch.testing.assert_close(clip[:, 3].mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    assert (clip[:, 1] - clip[:, 3]).norm(dim=-1).mean().item() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(prepare(1.3 * raw + [0.5, 0.1, 3.0]), clip, atol=1e-5, rtol=1e-5)
    scale = bones(torch.from_numpy(raw)) / bones(clip).double()
    assert scale[~scale.isnan()].std() < 1e-5  # one scale for all: angles stay


def test_a_skeleton_without_extent_is_refused():
    with pytest.raises(DataError, match="shoulders and hips"):
        UTD_MHAD.modality("skeleton").prepare(np.zeros((9, 20, 3)))


AUGMENTATIONS = [
    ("depth", utd_mhad.shift_crop),
    ("inertial", utd_mhad.rotate_rescale_warp),
    ("skeleton", utd_mhad.turn_rescale_warp),
]


@pytest.mark.parametrize(("name", "change"), AUGMENTATIONS)
def test_an_augmentation_keeps_shape_varies_and_follows_torch_s_generator(name, change):
    batch = clips(name)
    kept = batch.clone()
    torch.manual_seed(1)
    first, second = change(batch), change(batch)
    torch.manual_seed(1)
    assert torch.equal(change(batch), first)
    assert first.shape == batch.shape
    assert first.dtype == batch.dtype
    assert first.isfinite().all()
    assert torch.equal(batch, kept)
    assert (first - second).flatten(1).abs().amax(1).min() > 0.01
    twins = change(batch[:1].expand(2, *batch.shape[1:]))
    assert (twins[0] - twins[1]).abs().max() > 0.01


@pytest.mark.parametrize(("name", "change"), AUGMENTATIONS)
def test_an_augmented_clip_stays_nearest_to_itself(name, change):
    torch.manual_seed(0)
    batch = clips(name)
    distances = torch.cdist(change(batch).flatten(1), batch.flatten(1))
    assert distances.argmin(1).tolist() == list(range(len(batch)))


def test_a_depth_clip_is_moved_and_scaled_as_written_plainly():
    batch = clips("depth")
    torch.manual_seed(1)
    found = utd_mhad.shift_crop(batch)
    torch.manual_seed(1)
    count, samples = batch.shape[:2]
    shift, stretch, bend = (2 * torch.rand(3, count, 1) - 1) * torch.tensor([[[0.05]], [[0.1]], [[0.07]]])
    time = torch.linspace(0, 1, samples)
    at = 0.5 + shift + (time - 0.5) * (1 + stretch) + bend * torch.sin(torch.pi * time)
    at = (at * (samples - 1)).clamp(0, samples - 1)
    before, rows = at.long().clamp(max=samples - 2), torch.arange(count)[:, None]
    warped = torch.lerp(batch[rows, before], batch[rows, before + 1], (at - before)[..., None, None])
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = 1 + (2 * torch.rand(2, count) - 1) * 0.1
    theta[:, :, 2] = (2 * torch.rand(count, 2) - 1) * 0.04 * 2
    grid = nn.functional.affine_grid(theta.double(), list(batch.shape), align_corners=False)
    moved = nn.functional.grid_sample(warped.double(), grid, align_corners=False)
    reach, place = 0.1 * torch.randn(2, count, 1, 1, 1)
    expected = torch.where(moved > 0.05, 1 + (moved - 1) * (1 + reach) + place, 0.0).float()
    sure = (moved - 0.05).abs() > 1e-4
    torch.testing.assert_close(found[sure], expected[sure], atol=1e-5, rtol=0)
    assert torch.equal(found[sure] == 0, expected[sure] == 0)
    assert sure.float().mean() > 0.99


def test_rotations_are_rotations():
    torch.manual_seed(0)
    rotations = draw_rotations(50, (0.5, 0.5, 0.5))
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.det(rotations), torch.ones(50))
    about_z = draw_rotations(50, (0, 0, 0.5))
    torch.testing.assert_close(about_z[:, 2], torch.tensor([0.0, 0.0, 1.0]).expand(50, 3), atol=1e-6, rtol=0)


def test_warping_moves_time_alone_and_only_forward():
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 50)[None, :, None].expand(200, 50, 2)
    warped = warp(ramp)
    assert (warped.diff(dim=1) >= 0).all()  # the order of events stays
    assert warped.min() >= 0
    assert warped.max() <= 1
    assert torch.equal(warped[..., 0], warped[..., 1])  # all channels on one clock
    assert (warped - ramp).abs().amax() <= 0.05 + 0.05 + 0.07 + 1e-5
    still = torch.randn(3, 1, 4, 2).expand(3, 20, 4, 2)
    torch.testing.assert_close(warp(still), still)


# The data set itself


@real
def test_the_real_recordings_are_all_there_and_on_one_clock():
    found = list(recordings(REAL))
    names = {recording.name for recording in found}
    expected = {f"a{a}_s{s}_t{t}" for a in range(1, 28) for s in range(1, 7) for t in range(1, 5)}
    assert names == expected - {"a8_s1_t4", "a23_s6_t4"}
    assert len(found) == 646
    for recording in found:
        (span,) = recording.spans
        for stream in recording.streams.values():
            assert (stream.times[0], stream.times[-1]) == (span.start_s, pytest.approx(span.stop_s))


@real
def test_the_real_sensor_moves_when_the_real_hand_does():
    """Relative time puts both sensors on one clock: a wrist's speed and the sensor's rate rise together."""
    grid = np.linspace(0, 1, 60)
    correlations = []
    for recording in recordings(REAL):
        if recording.spans[0].activity != "throw" or recording.subject not in "135":
            continue
        seconds = grid * recording.spans[0].stop_s
        wrist = recording.streams["skeleton"].at(seconds)[:, [6, 10]]
        speed = np.linalg.norm(np.gradient(wrist, axis=0), axis=2).max(1)
        rate = np.linalg.norm(recording.streams["inertial"].at(seconds)[:, 3:], axis=1)
        correlations.append(np.corrcoef(speed, rate)[0, 1])
    assert np.median(correlations) > 0.5
