import pytest
import torch
from einops import einsum, rearrange
from torch.nn import functional as F

from plait.encoders.depth import DepthNet
from plait.errors import ShapeError

SMALL = {"patches": 3, "places": 4, "body": 5, "channels": 6, "group": 2, "patch": 4, "kernel": 3}


def net(shape=(8, 16, 16), **own) -> DepthNet:
    torch.manual_seed(0)
    return DepthNet(shape, **{**SMALL, **own}).eval()


@torch.no_grad()
def test_every_place_of_the_grid_again_one_at_a_time():
    network, depth = net((7, 17, 18)), torch.rand(2, 7, 17, 18)
    for norm in (network.patch_norm, network.picture_norm, network.norm):  # as after training
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    grid = network(depth)
    assert grid.shape == (2, 2, 2, 2, 6)

    def normed(x, norm):
        return norm.weight * (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt() + norm.bias

    still, departing, changing = network.patches.weight.chunk(3)
    for b in range(2):
        pictures = []
        for t in range(3):
            picture = torch.zeros(3, 4, 4)
            for row in range(4):
                for column in range(4):
                    cells = [
                        depth[
                            b, 2 * s : 2 * s + 2, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4
                        ].flatten()
                        for s in range(3)
                    ]
                    patch = still @ cells[t] + departing @ (cells[t] - sum(cells) / 3)
                    patch += changing @ (cells[t] - cells[max(t - 1, 0)])
                    picture[:, row, column] = normed(patch, network.patch_norm).relu()
            seen = F.conv2d(picture, network.picture.weight, stride=2, padding=1)
            pictures.append(
                torch.stack([normed(v, network.picture_norm).relu() for v in seen.flatten(1).T], 1)
            )
        whole = network.whole(torch.stack([p.flatten() for p in pictures], 1)[None])[0]
        for i in range(2):
            for place in range(4):
                own = network.place[place] + whole[:, i]
                kernel = network.own[place].view(3, 4, 6)  # frames of the window, channels in, channels out
                for k in range(3):
                    t = 2 * i + k - 1
                    if 0 <= t < 3:
                        own = own + pictures[t][:, place] @ kernel[k]
                expected = normed(own, network.norm).relu()
                torch.testing.assert_close(grid[b, i].flatten(0, 1)[place], expected, atol=1e-5, rtol=1e-4)


def plainly(network, depth):
    """The same layer by layer: three maps of every patch, and then their differences."""
    rows, columns = (side // network.patch * network.patch for side in depth.shape[2:])
    cropped = depth[:, : network.steps * network.group, :rows, :columns]
    sides = {"g": network.group, "p": network.patch, "q": network.patch}
    patches = rearrange(cropped, "b (t g) (h p) (w q) -> b t h w (g p q)", **sides)
    still, departing, changing = network.patches(patches).chunk(3, dim=-1)
    departed = departing - departing.mean(dim=1, keepdim=True)
    changed = torch.diff(changing, dim=1, prepend=changing[:, :1])
    maps = rearrange(still + departed + changed, "b t h w c -> (b t) c h w")
    frames = network.patch_norm(maps).relu()
    places = network.picture_norm(network.picture(frames)).relu()
    h, b, side = places.shape[2], len(depth), network.kernel // 2
    whole = network.whole(rearrange(places, "(b t) c h w -> b (c h w) t", b=b))
    lines = F.pad(rearrange(places, "(b t) c h w -> b t (h w) c", b=b), (0, 0, 0, 0, side, side))
    windows = rearrange(lines.unfold(1, network.kernel, 2), "b t v c k -> b t v (k c)")
    moved = einsum(windows, network.own, "b t v n, v n c -> b t v c") + network.place
    grid = rearrange(moved + rearrange(whole, "b c t -> b t 1 c"), "b t v c -> (b t v) c")
    return rearrange(network.norm(grid).relu(), "(b t h w) c -> b t h w c", b=b, t=moved.shape[1], h=h)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("shape", "args"),
    [((8, 16, 16), {}), ((9, 19, 14), {"kernel": 5}), ((10, 9, 8), {"group": 5, "patch": 2, "kernel": 1})],
)
def test_grid_gradients_and_statistics_are_those_of_the_plain_formulation(shape, args, training):
    torch.manual_seed(1)
    networks = [net(shape, **args).double().train(training) for _ in range(2)]
    clips = [
        torch.rand(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        for _ in networks
    ]
    for x in clips:
        x.requires_grad_()
    found, expected = networks[0](clips[0]), plainly(networks[1], clips[1])
    torch.testing.assert_close(found, expected)
    pull = torch.randn_like(expected)
    for grid in (found, expected):
        grid.backward(pull)
    torch.testing.assert_close(clips[0].grad, clips[1].grad)
    for (name, one), other in zip(networks[0].named_parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=lambda said, name=name: f"{name}: {said}")
    for one, other in zip(networks[0].buffers(), networks[1].buffers(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("shape", "args", "grid"),
    [
        ((32, 64, 64), {"group": 2, "patch": 8, "channels": 48}, (8, 4, 4, 48)),
        ((9, 24, 20), {}, (2, 3, 3, 6)),
        ((4, 8, 8), {}, (1, 1, 1, 6)),
    ],
)
def test_the_grid_is_time_height_width_channels(shape, args, grid):
    assert net(shape, **args)(torch.rand(2, *shape)).shape == (2, *grid)


def test_every_parameter_and_every_pixel_gets_a_gradient():
    network, clips = net().train(), torch.rand(6, 8, 16, 16, requires_grad=True)
    network(clips).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    assert clips.grad is not None and (clips.grad != 0).float().mean() > 0.9


@pytest.mark.parametrize("training", [True, False])
def test_permuting_clips_permutes_grids(training):
    network, clips, order = net().train(training), torch.rand(5, 8, 16, 16), torch.randperm(5)
    torch.testing.assert_close(network(clips[order]), network(clips)[order])


@pytest.mark.parametrize("shape", [(8, 16), (3, 16, 16), (8, 7, 16), (8, 16, 16, 1), ()])
def test_a_clip_too_small_or_no_depth_video_is_refused_in_one_line(shape):
    with pytest.raises(ShapeError) as refused:
        net(shape)
    message = str(refused.value)
    assert str(shape) in message and "at least 4 frames of 8x8" in message and "\n" not in message


def test_clips_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"\(8, 16, 17\), expected \(8, 16, 16\)"):
        net()(torch.rand(2, 8, 16, 17))


@pytest.mark.parametrize("args", [{"kernel": 4}, {"group": 0}, {"patch": 0}, {"channels": -1}])
def test_sizes_that_cannot_be_are_refused(args):
    with pytest.raises(ShapeError, match="expected all at least 1, kernel odd"):
        net(**args)
