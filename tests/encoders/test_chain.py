"""Networks cut between their blocks: front and rest are the whole; what is trained, and what is not."""

import copy
from contextlib import nullcontext
from functools import partial

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from plait import pretrained
from plait.encoders.chain import Chain, Tuned, flat
from plait.encoders.frames import FrameNet, Stage
from plait.encoders.i3d import I3D
from plait.errors import ConfigError
from plait.features.alone import is_plait_s
from plait.features.cut import check_whole, front_of, tuned_of
from tests.training.filmed import Small, Unit, unit

VIDEO = (9, 32, 32, 3)


def alive(network):
    """Statistics of normalisations as training leaves them: not 0 and 1."""
    torch.manual_seed(1)
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    return network


def i3d(shape):
    return alive(I3D("Mixed_5c")).freeze()


def classifier(shape):
    return alive(I3D("logits", classes=3)).freeze()


def loaded(name, shape):
    return getattr(pretrained, name)(shape)


NETWORKS = {
    "i3d": (i3d, ["Mixed_5c", "Mixed_4d", "Conv3d_1a_7x7"]),
    "classifier": (classifier, ["logits", "Mixed_5b"]),
    "s3d": (partial(loaded, "s3d"), ["Mixed_5b", "Mixed_4e", "Conv3d_2c_3x3"]),
    "resnet50": (partial(loaded, "resnet50"), ["layer4.2", "layer4.0", "layer3.5", "conv1"]),
    "lite0": (pretrained.efficientnet_lite0, ["blocks.6.0", "blocks.4.2", "bn1", "conv_stem"]),
    "lite0-16": (
        partial(pretrained.efficientnet_lite0, stride=16, pool="space", neighbours=True),
        ["blocks.4.0", "blocks.0.0"],
    ),
}
FRAMES = ("resnet50", "lite0", "lite0-16")


@pytest.mark.parametrize("name", NETWORKS)
def test_front_and_rest_are_the_whole(name, monkeypatch):
    monkeypatch.setattr(pretrained, "_load", lambda network, *_: alive(network))
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda weights, **_: weights.normal_(0, 0.02))
    make, cuts = NETWORKS[name]
    shape = (2 if name in FRAMES else 8, 32, 32, 3)
    whole = make(shape).eval()
    clips = torch.rand(2, *shape) * 2 - 1
    with torch.no_grad():
        expected = whole(clips)
        for first in cuts:
            chain = whole.chain()
            names = list(chain.blocks)
            front, rest = chain.front(names.index(first)).eval(), Tuned(chain, [first]).eval()
            activations = front(clips)
            assert activations.ndim == 5 and len(rest.blocks) == len(names) - names.index(first)
            torch.testing.assert_close(rest(activations), expected, rtol=1e-5, atol=1e-5)


SHAPE = (4, 3, 3, 3)


def grid_and_gradients(rest, activations):
    rest.zero_grad()
    grid = rest(activations)
    grid.square().sum().backward()
    return grid.detach(), {name: p.grad.clone() for name, p in rest.named_parameters() if p.grad is not None}


def test_blocks_behind_trained_ones_hand_on_the_gradient_and_stay():
    rest = tuned_of(Small, {}, ["middle"], "here").train()
    before = copy.deepcopy(rest.state_dict())
    _, gradients = grid_and_gradients(rest, torch.rand(2, 4, 3, 3, 6))
    assert gradients and all(name.startswith("blocks.middle.") for name in gradients)
    assert all(gradient.abs().sum() > 0 for name, gradient in gradients.items() if name.endswith("0.weight"))
    torch.optim.SGD([p for p in rest.parameters() if p.requires_grad], lr=0.1).step()
    moved = {name for name, value in rest.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and moved == set(gradients)  # no statistics either


@pytest.mark.parametrize("statistics", ["kept", "moving"])
def test_statistics_of_trained_blocks_stay_or_move(statistics):
    rest = tuned_of(Small, {}, ["middle"], "here", statistics=statistics).train()
    before = copy.deepcopy(rest.state_dict())
    rest(torch.rand(2, 4, 3, 3, 6) + 1)
    moved = {name for name, value in rest.state_dict().items() if not torch.equal(value, before[name])}
    own = {name for name in before if "middle" in name and ("running" in name or "tracked" in name)}
    assert moved == (own if statistics == "moving" else set())
    rest.eval()
    before = copy.deepcopy(rest.state_dict())
    rest(torch.rand(2, 4, 3, 3, 6))
    assert all(torch.equal(value, before[name]) for name, value in rest.state_dict().items())


def note(kept, part, given, out):
    kept.append(StorageWeakRef(out.untyped_storage()))


def test_checkpoints_change_no_number_and_hold_nothing_within_blocks():
    clips, held, found = torch.rand(2, *SHAPE), {}, {}
    for again in (False, True):
        rest = tuned_of(Small, {}, ["entry"], "here", checkpoint=again).train()
        within = []
        for part in rest.modules():
            if isinstance(part, nn.Conv3d):
                part.register_forward_hook(partial(note, within))
        grid = rest(clips)
        held[again] = sum(not one.expired() for one in within)
        grid.sum().backward()
        gradients = {name: p.grad for name, p in rest.named_parameters() if p.grad is not None}
        found[again] = grid.detach(), gradients
    assert held == {False: 3, True: 0}
    assert torch.equal(found[False][0], found[True][0])
    assert found[False][1].keys() == found[True][1].keys()
    assert all(torch.equal(found[False][1][name], found[True][1][name]) for name in found[False][1])


def test_moving_statistics_would_move_twice():
    with pytest.raises(ConfigError, match="^here: checkpoint = true with statistics = 'moving'"):
        tuned_of(Small, {}, ["middle"], "here", statistics="moving", checkpoint=True)


def test_half_precision_is_near_and_comes_out_whole():
    plain = tuned_of(Small, {}, ["middle"], "here").eval()
    half = tuned_of(Small, {}, ["middle"], "here", precision=torch.bfloat16).eval()
    activations = torch.rand(2, 4, 3, 3, 6)
    with torch.no_grad():
        expected, got = plain(activations), half(activations)
    assert got.dtype == torch.float32 and not torch.equal(expected, got)
    torch.testing.assert_close(got, expected, rtol=0.05, atol=0.05)


def test_front_and_rest_are_one_network_whatever_is_drawn_between():
    torch.manual_seed(5)
    front = front_of(Small, SHAPE, {}, ["mid*"], "here").eval()
    torch.rand(3)
    rest = tuned_of(Small, {}, ["mid*"], "here").eval()
    state = torch.get_rng_state()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = Small(SHAPE).eval()
    clips = torch.rand(2, *SHAPE)
    torch.set_rng_state(state)
    torch.testing.assert_close(rest(front(clips)), whole(clips))


class Forgetful(Small):
    """The small network, which does something more than its blocks: where, what, how much, and when."""

    def __init__(self, shape, where=2, what="centre", much=0.0, least=0, fails=False):
        super().__init__(shape)
        self.where, self.what, self.much = where, what, much
        self.least, self.fails, self.width = least, fails, shape[1]

    def forward(self, clips):
        if clips.shape[2] < self.least and self.fails:
            raise ValueError("too small")
        maps = clips.permute(0, 4, 1, 2, 3)
        for number, part in enumerate(self.parts.values()):
            maps = self.more(part(maps)) if number == self.where else part(maps)
        return maps.permute(0, 2, 3, 4, 1)

    def more(self, maps):
        if self.what == "centre":
            return maps - self.much * maps.mean()
        if self.what == "scale":
            return maps * (1 + self.much)
        return maps - self.much * maps.std() * (maps.shape[3] < self.least)


MUCH = st.just(0.0) | st.floats(0.03, 3) | st.floats(-3, -0.03)


@given(
    st.sampled_from(["entry", "mid*", "last"]), st.integers(0, 2), st.sampled_from(["centre", "scale"]), MUCH
)
def test_a_chain_that_forgets_something_is_refused(trained, where, what, much):
    told = {"where": where, "what": what, "much": much}
    first = ["entry", "mid*", "last"].index(trained)
    assert not is_plait_s(Forgetful(SHAPE))
    with (
        pytest.raises(
            ConfigError, match=r"^here: chain\(\) comes to other numbers than forward\(\), expected"
        )
        if much and where >= first  # what comes before is in the front, which does it too
        else nullcontext()
    ):
        check_whole(Forgetful, SHAPE, told, [trained], "here")


@pytest.mark.parametrize(
    ("told", "refused"),
    [
        ({"what": "small", "much": 1.0, "least": 70}, False),  # of small clips alone
        ({"what": "small", "much": 1.0, "least": 100}, True),
        ({"what": "centre", "much": 1.0, "least": 70, "fails": True}, True),
        ({"what": "centre", "much": 1.0, "least": 100, "fails": True}, False),  # whoever runs it will say so
        ({"much": 0.0, "least": 70, "fails": True}, False),
    ],
)
def test_what_does_not_fit_small_clips_is_tried_on_its_own(told, refused):
    with pytest.raises(ConfigError, match="comes to other numbers") if refused else nullcontext():
        check_whole(Forgetful, (4, 72, 72, 3), told, ["mid*"], "here")


@pytest.mark.parametrize("name", NETWORKS)
def test_plait_s_own_need_no_trial(name, monkeypatch):
    monkeypatch.setattr(pretrained, "_load", lambda network, *_: network)
    assert is_plait_s(NETWORKS[name][0](VIDEO))
    assert not is_plait_s(FrameNet(nn.Sequential(Unit(nn.Conv2d(3, 4, 3))), VIDEO))


def test_what_matches_nothing_is_one_line_with_the_blocks():
    with pytest.raises(
        ConfigError, match=r"^here: no block 'Mixed\*', expected some of: entry, middle, last$"
    ):
        tuned_of(Small, {}, ["last", "Mixed*"], "here")
    with pytest.raises(ConfigError, match=r"^here: Linear does not say by chain\(\) what its blocks are"):
        front_of(lambda shape: nn.Linear(3, 3), SHAPE, {}, ["*"], "here")


def test_blocks_that_hang_on_the_shape_are_refused():
    with pytest.raises(ConfigError, match=r"^here: block 'last' hangs on the clip's shape"):
        front_of(Small, SHAPE, {"wide": True}, ["last"], "here")


class Rowed(Small):
    """The small network with blocks of any kind in a row behind its entry."""

    def __init__(self, shape, blocks):
        nn.Module.__init__(self)
        self.parts, self.named = nn.ModuleDict({"entry": unit(3, 4)}), blocks(shape)
        self.parts.update({f"part{number}": block for number, block in enumerate(self.named.values())})

    def chain(self):
        blocks = {"entry": self.parts["entry"], **self.named}
        return Chain(blocks, self.up_to, False)


def conv(padding=1):
    return nn.Conv3d(4, 4, 3, padding=padding)


def pooled(shape):
    return {"conv": conv(), "pool": nn.AvgPool3d((1, 1, 3 if shape[1] == 3 else 1))}


def longer(shape):
    return {"conv": conv()} if shape[1] == 3 else {"conv": conv(), "pool": nn.MaxPool3d(3)}


@pytest.mark.parametrize("blocks, name", [(pooled, "pool"), (longer, "pool")])
def test_blocks_without_weights_that_hang_on_the_shape_are_refused(blocks, name):
    with pytest.raises(ConfigError, match=rf"^here: block '{name}' hangs on the clip's shape"):
        front_of(Rowed, SHAPE, {"blocks": blocks}, ["conv"], "here")


class Closed(Rowed):
    def __init__(self, shape, told):
        super().__init__(shape, lambda shape: {"conv": conv()})
        self.side, self.told = shape[1], told

    def first(self, grid):
        return grid[..., :1]

    def chain(self):
        side = self.side
        return super().chain()._replace(close=(lambda grid: grid / side) if self.told else self.first)


def test_a_close_that_hangs_on_the_shape_is_refused():
    with pytest.raises(ConfigError, match=r"^here: what closes its chain\(\) hangs on the clip's shape"):
        front_of(Closed, SHAPE, {"told": True}, ["conv"], "here")
    front_of(Closed, SHAPE, {"told": False}, ["conv"], "here")  # a method hangs on all that its object holds


def twice(shape):
    shared = conv()
    return {"one": shared, "relu": nn.ReLU(), "two": shared, "last": conv()}


def aliased(shape):
    one, two = conv(), conv()
    two.weight = nn.Parameter(one.weight.data)
    return {"one": one, "relu": nn.ReLU(), "two": two, "last": conv()}


def within(shape):
    """A block's bias is a piece of another's weight."""
    one, two = conv(), conv()
    two.bias = nn.Parameter(one.weight.data.view(-1)[7:11])
    return {"one": one, "relu": nn.ReLU(), "two": two, "last": conv()}


def beside(shape):
    """Weights of all blocks in one file's memory, which none shares with another."""
    blocks = {"one": conv(), "relu": nn.ReLU(), "two": conv(), "last": conv()}
    file, start = torch.randn(2000), 0
    for block in blocks.values():
        for weight in block.parameters():
            weight.data = file[start : start + weight.numel()].view(weight.shape)
            start += weight.numel()
    return blocks


@pytest.mark.parametrize("blocks", [twice, aliased, within, beside])
def test_blocks_that_share_weights_are_trained_together_or_not_at_all(blocks):
    message = "^here: '(one|two)' and '(one|two)' share weights, expected both or neither$"
    for trained in (["one"], ["two", "last"], ["one", "two"], ["last"]):
        shares = blocks is not beside and trained[0] != "last" and trained[-1] != "two"
        with pytest.raises(ConfigError, match=message) if shares else nullcontext():
            rest = tuned_of(Rowed, {"blocks": blocks}, trained, "here")
            assert rest.trained == tuple(trained) and rest.blocks[trained[0]].weight.requires_grad


@pytest.mark.parametrize("kind", [nn.BatchNorm3d, partial(nn.InstanceNorm3d, affine=True)])
def test_kept_statistics_of_whatever_tracks_them_never_move(kind):
    def blocks(shape):
        return {"trained": Unit(conv(), kind(4, track_running_stats=True)), "frozen": kind(4)}

    rest = tuned_of(Rowed, {"blocks": blocks}, ["trained"], "here").train()
    before = copy.deepcopy(rest.state_dict())
    rest(torch.rand(3, 4, 3, 3, 4)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in rest.state_dict().items())


def test_blocks_may_be_called_as_they_like_but_not_alike():
    def odd(shape):
        return {name: conv() for name in ("type", "values", "training", "forward", "a.0")}

    rest = tuned_of(Rowed, {"blocks": odd}, ["values"], "here")
    assert [name.rstrip("_") for name in rest.blocks] == ["values", "training", "forward", "a_0"]
    assert rest.blocks["training_"].weight.requires_grad is False
    with pytest.raises(ConfigError, match=r"^here: blocks that are called alike: a\.0, a_0"):
        tuned_of(Rowed, {"blocks": lambda shape: {"a.0": conv(), "a_0": conv()}}, ["a.0"], "here")


def test_a_network_that_is_no_row_of_parts_is_refused():
    with pytest.raises(ConfigError, match="a Conv2d, expected an nn.Sequential"):
        FrameNet(nn.Conv2d(3, 4, 1), (2, 8, 8, 3)).chain()
    with pytest.raises(ConfigError, match="parts of timm's ResNet are not in a row"):
        Stage(timm.create_model("resnet18"), 32).parts()


def test_only_plain_sequentials_are_taken_apart():
    blocks = {"stem": nn.Linear(1, 1), "body": nn.Sequential(unit(1, 1), nn.Sequential(nn.ReLU(), nn.Tanh()))}
    assert list(flat(blocks)) == ["stem", "body.0", "body.1.0", "body.1.1"]
