import pytest
import torch

from plait.encoders.video import VideoNet
from plait.errors import ShapeError

SMALL = {"widths": (4, 6), "temporal": (5, 7)}


@pytest.mark.parametrize(
    ("shape", "args", "grid"),
    [
        ((16, 24, 24), {"widths": (16, 32), "temporal": (32, 32)}, (4, 3, 3, 32)),
        ((32, 64, 64), {}, (8, 4, 4, 48)),
        ((16, 24, 32, 3), {}, (4, 2, 2, 48)),
        ((5, 13, 30, 2), {"widths": (4, 6), "temporal": (5,), "patch": 3}, (3, 2, 5, 5)),
        ((1, 4, 4), {"widths": (3,), "temporal": ()}, (1, 1, 1, 3)),
    ],
)
def test_the_grid_is_time_height_width_channels(shape, args, grid):
    assert VideoNet(shape, **args)(torch.randn(2, *shape)).shape == (2, *grid)


def test_every_parameter_and_every_pixel_gets_a_gradient():
    torch.manual_seed(0)
    net, clips = VideoNet((8, 16, 16), **SMALL), torch.randn(3, 8, 16, 16, requires_grad=True)
    net(clips).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    assert clips.grad is not None and (clips.grad != 0).float().mean() > 0.9


@pytest.mark.parametrize("training", [True, False])
def test_permuting_clips_permutes_grids(training):
    torch.manual_seed(0)
    net = VideoNet((8, 16, 16), **SMALL).train(training)
    clips, order = torch.randn(5, 8, 16, 16), torch.randperm(5)
    torch.testing.assert_close(net(clips[order]), net(clips)[order])


@torch.no_grad()
def test_clips_and_frames_are_told_apart():
    torch.manual_seed(0)
    net = VideoNet((8, 16, 16), **SMALL).eval()
    clips = torch.randn(2, 8, 16, 16)
    torch.testing.assert_close(net(clips[:1]), net(clips)[:1])
    changed = clips.clone()
    changed[:, 7] += 1.0
    assert not torch.allclose(net(changed)[:, -1], net(clips)[:, -1])
    torch.testing.assert_close(net(changed)[:, 0], net(clips)[:, 0])  # step 0 sees frames 0 to 3
    assert not torch.allclose(net(clips.flip(1)), net(clips).flip(1))  # the order of frames matters


@torch.no_grad()
def test_one_channel_may_be_left_out():
    torch.manual_seed(0)
    flat, deep = VideoNet((8, 16, 16), **SMALL).eval(), VideoNet((8, 16, 16, 1), **SMALL).eval()
    deep.load_state_dict(flat.state_dict())
    clips = torch.randn(2, 8, 16, 16)
    torch.testing.assert_close(flat(clips), deep(clips.unsqueeze(-1)))


@pytest.mark.parametrize("shape", [(16, 24), (3, 24, 24), (16, 15, 24), (16, 24, 15, 3), (16, 24, 24, 0), ()])
def test_a_clip_too_small_or_no_video_is_refused_in_one_line(shape):
    with pytest.raises(ShapeError) as refused:
        VideoNet(shape)
    message = str(refused.value)
    assert str(shape) in message and "at least 4 frames of 16x16" in message and "\n" not in message


def test_clips_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"\(8, 16, 17\), expected \(8, 16, 16\)"):
        VideoNet((8, 16, 16), **SMALL)(torch.randn(2, 8, 16, 17))
