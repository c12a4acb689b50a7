import pytest
import torch

from plait.encoders.skeleton import SkeletonNet
from plait.errors import ShapeError


def net(frames: int = 16, joints: int = 4, **own) -> SkeletonNet:
    torch.manual_seed(0)
    return SkeletonNet((frames, joints, 3), body=6, own=5, channels=7, **own).eval()


@torch.no_grad()
def test_a_joint_s_features_are_its_own_motion_and_the_body_s():
    """The whole grid again, one time, joint and channel at a time."""
    network, skeleton = net(frames=9), torch.randn(2, 9, 4, 3)
    own_norm, out_norm = network.own_norm, network.out_norm
    for norm in (own_norm, out_norm):  # as after training: neither mean nor variance trivial
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    grid = network(skeleton)
    for b in range(2):
        velocity = [skeleton[b, t] - skeleton[b, max(t - 1, 0)] for t in range(9)]
        motion = [torch.cat((skeleton[b, t], 5 * velocity[t]), 1) for t in range(9)]
        body = network.body(torch.stack([m.flatten() for m in motion], 1)[None])[0]
        for i in range(grid.shape[1]):
            for joint in range(4):
                own = network.place[joint] + network.context.weight @ body[:, i]
                kernel = network.own[joint].view(6, 9, 5)  # features, frames of the window, channels
                for k in range(9):
                    frame = 4 * i + k - 4
                    if 0 <= frame < 9:
                        own = own + motion[frame][joint] @ kernel[:, k]
                scale = own_norm.weight / (own_norm.running_var + own_norm.eps).sqrt()
                hidden = (scale * (own - own_norm.running_mean) + own_norm.bias).relu()
                scale = out_norm.weight / (out_norm.running_var + out_norm.eps).sqrt()
                out = scale * (network.out.weight @ hidden - out_norm.running_mean) + out_norm.bias
                torch.testing.assert_close(grid[b, i, joint], out.relu(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 4, 5, 31, 32, 33])
def test_the_grid_has_a_position_every_four_frames_for_every_joint(frames):
    assert net(frames, joints=3)(torch.randn(2, frames, 3, 3)).shape == (2, -(-frames // 4), 3, 7)


def test_without_the_body_a_joint_knows_itself_alone():
    network = net()
    torch.nn.init.zeros_(network.context.weight)
    skeleton = torch.randn(1, 16, 4, 3)
    moved = skeleton.clone()
    moved[:, :, 2] += torch.randn(16, 3)
    changed = (network(moved) - network(skeleton)).abs().amax((0, 1, 3))
    assert (changed > 0).tolist() == [False, False, True, False]


def test_with_the_body_every_joint_hears_of_every_other():
    network = net().requires_grad_(False)
    skeleton = torch.randn(1, 16, 4, 3, requires_grad=True)
    torch.nn.init.ones_(network.own_norm.bias)  # away from where ReLU cuts
    network(skeleton)[:, :, 0].sum().backward()
    assert (skeleton.grad.abs().sum((0, 1, 3)) > 0).all()


def test_other_numbers_of_joints_and_coordinates():
    assert SkeletonNet((20, 25, 2))(torch.randn(3, 20, 25, 2)).shape == (3, 5, 25, 32)


@pytest.mark.parametrize("shape", [(32, 60), (32, 20, 3, 1), (0, 20, 3), (32, 0, 3), ()])
def test_a_shape_that_is_no_skeleton_is_refused_in_one_line(shape):
    with pytest.raises(ShapeError, match=r"expected \(frames, joints, coordinates\)") as error:
        SkeletonNet(shape)
    assert str(shape) in str(error.value)
    assert "\n" not in str(error.value)


def test_every_parameter_learns():
    network = net().train()
    network(torch.randn(8, 16, 4, 3)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in network.parameters())
