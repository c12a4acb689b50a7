"""Image networks on every frame."""

import pytest
import torch
from timm import create_model
from torch import nn

from plait.encoders.frames import LUMA, FrameNet, Stage, neighbouring
from plait.encoders.grid import GridNet
from plait.errors import ConfigError, ShapeError
from plait.pretrained import efficientnet_lite0


class Seen(nn.Module):
    """Keeps what it was given; halves each side."""

    def forward(self, images):
        self.images = images
        return images[:, :, ::2, ::2]


def test_each_frame_goes_through_by_itself():
    clips = torch.rand(2, 5, 8, 6, 3) * 2 - 1
    net = FrameNet(Seen(), (5, 8, 6, 3))
    grid = net(clips)
    assert grid.shape == (2, 5, 4, 3, 3)
    torch.testing.assert_close(grid, clips[:, :, ::2, ::2])
    net.at_once = 3
    torch.testing.assert_close(net(clips), grid)
    for pool, axes in (("space", (2, 3)), ("all", (1, 2, 3))):
        torch.testing.assert_close(FrameNet(Seen(), (5, 8, 6, 3), pool=pool)(clips), grid.mean(axes))


def test_neighbours_are_the_three_colours():
    grey = torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    assert neighbouring(grey)[0, :, 0, 0].tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]
    net = FrameNet(Seen(), (4, 2, 2), neighbours=True, low=0.0, high=4.0)
    net(grey)
    assert net.network.images[1, :, 0, 0].tolist() == [-1, -0.5, 0]
    colour = torch.rand(1, 4, 2, 2, 3)
    net = FrameNet(Seen(), (4, 2, 2, 3), neighbours=True)
    net(colour)
    torch.testing.assert_close(net.network.images[2, 1], (colour * torch.tensor(LUMA)).sum(-1)[0, 2])


def test_one_channel_is_grey_and_sizes_are_changed():
    net = FrameNet(Seen(), (3, 4, 4), size=8, low=0.0, high=2.0, prepare=lambda images: images * 10)
    assert net(torch.full((1, 3, 4, 4), 2.0)).shape == (1, 3, 4, 4, 3)
    assert net.network.images.shape == (3, 3, 8, 8) and torch.all(net.network.images == 10)


@pytest.mark.parametrize("height, width", [(8, 8), (4, 8), (8, 4), (4, 4), (16, 8), (8, 16), (16, 24)])
def test_of_every_shape_a_square_is_seen(height, width):
    """What rises evenly to the right by as much as it does downwards still does, about the same middle."""
    rising = torch.arange(width).view(1, -1) + torch.arange(height).view(-1, 1) - (width + height - 2) / 2
    net = FrameNet(Seen(), (1, height, width), size=8, low=-64.0, high=64.0)
    net(rising.expand(1, 1, height, width))
    seen = net.network.images[0, 0]
    assert seen.shape == (8, 8)
    step = min(height, width) / 8 / 64
    inner = seen[2:6, 2:6]
    torch.testing.assert_close(inner.diff(dim=0), torch.full((3, 4), step))
    torch.testing.assert_close(inner.diff(dim=1), torch.full((4, 3), step))
    assert abs(float(inner.mean())) < 1e-6


def test_what_is_no_video_is_refused():
    for shape in ((3,), (4, 4), (3, 4, 4, 2), (1, 3, 4, 4, 3)):
        with pytest.raises(ShapeError, match="expected \\(frames, height, width, 3\\)"):
            FrameNet(Seen(), shape)
    with pytest.raises(ShapeError, match="got clips of shape \\(5, 4, 4\\), expected \\(3, 4, 4\\)"):
        FrameNet(Seen(), (3, 4, 4))(torch.zeros(1, 5, 4, 4))
    for wrong in ({"pool": "time"}, {"low": 1.0, "high": 1.0}, {"size": 0}):
        with pytest.raises(Exception, match="pool|low"):
            FrameNet(Seen(), (3, 4, 4), **wrong)
    with pytest.raises(ConfigError, match="stride 5, expected one of: 2, 4, 8, 16, 32"):
        efficientnet_lite0((2, 32, 32, 3), stride=5)


def test_lite0_has_the_packages_weights_and_timms_features():
    """Features of the whole network, by another way through timm, are the same to the last bit."""
    clips = torch.rand(1, 2, 64, 96, 3) * 2 - 1
    images = clips[0].permute(0, 3, 1, 2)
    whole = create_model("tf_efficientnet_lite0", pretrained=False, features_only=True)
    for stride, channels, index in ((32, 320, 4), (16, 112, 3)):
        net = efficientnet_lite0((2, 64, 96, 3), stride=stride).eval()
        own = {name.removeprefix("network.network."): value for name, value in net.state_dict().items()}
        whole.load_state_dict(own, strict=False)
        with torch.inference_mode():
            grid, expected = net(clips), whole.eval()(images)[index]
        assert grid.shape == (1, 2, 64 // stride, 96 // stride, channels)
        assert torch.equal(grid[0].permute(0, 3, 1, 2), expected) and expected.abs().max() > 1
    grids = efficientnet_lite0((1, 224, 224, 3)).eval()(torch.zeros(1, 1, 224, 224, 3))
    assert grids.shape == (1, 1, 7, 7, 320)


def test_a_stage_drops_what_it_does_not_need():
    whole = sum(p.numel() for p in create_model("tf_efficientnet_lite0").parameters())
    assert sum(p.numel() for p in Stage(create_model("tf_efficientnet_lite0"), 16).parameters()) < whole / 4


@pytest.mark.parametrize(
    "shape, grid", [((8, 3, 2, 5), (2, 3, 2, 4)), ((7, 5), (2, 4)), ((9, 4, 5), (3, 4, 4))]
)
@pytest.mark.parametrize("motion", [False, True])
def test_grid_net_follows_each_place_by_itself(shape, grid, motion):
    net = GridNet(shape, width=6, temporal=(5, 4), motion=motion).eval()
    x = torch.randn(2, *shape)
    made = net(x)
    assert made.shape == (2, *grid)
    if len(shape) > 2:
        moved = x.flatten(2, -2).clone()
        moved[:, :, 0] += torch.randn(2, shape[0], shape[-1])
        changed = (net(moved.view_as(x)) - made).flatten(2, -2).abs().amax((0, 1, 3)) > 1e-5
        assert changed.tolist() == [True] + [False] * (len(changed) - 1)
    still = net(x + 10 * torch.randn(2, 1, *shape[1:]))
    assert torch.allclose(still, made, atol=1e-4) == motion


def test_grid_net_wants_time():
    with pytest.raises(ShapeError, match="expected \\(time, ..., channels\\)"):
        GridNet((5,))
    assert GridNet((4, 3), temporal=()).eval()(torch.zeros(1, 4, 3)).shape == (1, 4, 48)
