import pytest
import torch
from torch import Tensor

from plait.encoders.glove import GloveNet, SignalNet, positions, shortest
from plait.errors import ShapeError


def explicit_stage(signal: Tensor, weight: Tensor, bias: Tensor, pool: int) -> Tensor:
    """Valid convolution, ReLU, max-pooling of one `(t, c)` signal, one number at a time."""
    weight = weight[:, :, 0]  # pictures of one line
    kernel = weight.shape[2]
    rows = [
        [
            float((signal[t : t + kernel].T * weight[out]).sum() + bias[out])
            if t + kernel <= len(signal)
            else 0.0
            for out in range(len(weight))
        ]
        for t in range(len(signal) - kernel + 1)
    ]
    rectified = torch.tensor(rows).clamp(min=0)
    return torch.stack([rectified[i * pool : (i + 1) * pool].amax(0) for i in range(len(rectified) // pool)])


def explicit_lstm(signal: Tensor, lstm: torch.nn.LSTM, suffix: str) -> Tensor:
    """One direction of Hochreiter and Schmidhuber's recurrence over one `(t, c)` signal."""
    w_in, w_rec = getattr(lstm, f"weight_ih_l0{suffix}"), getattr(lstm, f"weight_hh_l0{suffix}")
    bias = getattr(lstm, f"bias_ih_l0{suffix}") + getattr(lstm, f"bias_hh_l0{suffix}")
    hidden = cell = torch.zeros(lstm.hidden_size)
    outputs = []
    for x in signal:
        i, f, g, o = (w_in @ x + w_rec @ hidden + bias).chunk(4)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        outputs.append(hidden)
    return torch.stack(outputs)


@torch.no_grad()
def test_signal_net_is_convolutions_then_a_recurrence_both_ways():
    torch.manual_seed(0)
    net = SignalNet((31, 3), widths=(4, 5, 6), units=2)
    signal = torch.randn(2, 31, 3)
    grid = net(signal)
    convolutions = [stage for stage in net.stages if isinstance(stage, torch.nn.Conv2d)]
    for got, one in zip(grid, signal, strict=True):
        for convolution, pool in zip(convolutions, (2, 2, 1), strict=True):
            one = explicit_stage(one, convolution.weight, convolution.bias, pool)
        forward = explicit_lstm(one, net.lstm, "")
        backward = explicit_lstm(one.flip(0), net.lstm, "_reverse").flip(0)
        torch.testing.assert_close(got, torch.cat((forward, backward), 1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(134, 18), (100, 6), (24, 1), (25, 7), (500, 2)])
def test_grid_is_over_time_and_channels_last(shape):
    net = SignalNet(shape, units=3)
    assert net(torch.randn(2, *shape)).shape == (2, positions(shape[0], (5, 5, 3), (2, 2, 1)), 6)


def test_the_paper_s_sizes():
    net = GloveNet((134, 18))
    assert net(torch.zeros(1, 134, 18)).shape == (1, 28, 64)
    assert not [m for m in net.modules() if isinstance(m, (torch.nn.BatchNorm1d, torch.nn.Dropout1d))]


@pytest.mark.parametrize("shape", [(135, 18), (134, 17), (134,), (1, 134, 18)])
def test_glove_net_takes_the_paper_s_shape_alone(shape):
    with pytest.raises(ShapeError, match=r"^glove network: got shape .*, expected \(134, 18\)$") as error:
        GloveNet(shape)
    assert str(shape) in str(error.value)


@pytest.mark.parametrize(
    ("kernels", "pools"), [((5, 5, 3), (2, 2, 1)), ((3, 3, 3), (1, 1, 1)), ((7, 4, 2), (3, 2, 2))]
)
def test_shortest_is_the_first_length_that_leaves_a_position(kernels, pools):
    least = shortest(kernels, pools)
    assert positions(least, kernels, pools) == 1
    assert positions(least - 1, kernels, pools) < 1
    assert SignalNet((least, 2), kernels=kernels, pools=pools)(torch.zeros(1, least, 2)).shape[1] == 1


@pytest.mark.parametrize("shape", [(23, 6), (0, 6), (100, 0), (100,), (100, 6, 1)])
def test_a_shape_that_cannot_be_read_is_refused_in_one_line(shape):
    with pytest.raises(ShapeError, match=r"at least 24 samples") as error:
        SignalNet(shape)
    assert str(shape) in str(error.value)
    assert "\n" not in str(error.value)


def test_widths_kernels_and_pools_are_as_many():
    with pytest.raises(ShapeError, match="expected as many"):
        SignalNet((100, 6), widths=(8, 8))


def test_options_change_training_and_not_the_grid():
    torch.manual_seed(0)
    net = SignalNet((60, 4), norm=True, dropout=0.5)
    signal = torch.randn(8, 60, 4)
    assert not torch.equal(net(signal), net(signal))
    net.eval()
    assert torch.equal(net(signal), net(signal))
    assert net(signal).shape == SignalNet((60, 4))(signal).shape


def test_a_clip_s_grid_does_not_depend_on_the_rest_of_the_batch():
    torch.manual_seed(0)
    net = SignalNet((60, 4), norm=True).eval()
    signal = torch.randn(3, 60, 4)
    torch.testing.assert_close(net(signal)[1:2], net(signal[1:2]), atol=1e-6, rtol=1e-5)


def test_every_parameter_learns():
    net = SignalNet((60, 4), norm=True)
    net(torch.randn(4, 60, 4)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
