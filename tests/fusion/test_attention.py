"""Maps that can be checked: the lead names the context's position, and a trained fusion looks there."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from plait.errors import ConfigError
from plait.fusion import Concat, Led, Symmetric
from plait.fusion.attention import Attention, attentions, without

KEYS, PLACES, STEPS, CLASSES = 12, 2, 3, 4


def named(n, generator):
    """A lead that holds a key, and a context of twelve steps, each with its key and a value.

    The label is the value at the lead's key. Context positions are in any order; `right` says where the
    named one is.
    """
    key = torch.randint(KEYS, (n,), generator=generator)
    order = torch.stack([torch.randperm(KEYS, generator=generator) for _ in range(n)])
    values = torch.randint(CLASSES, (n, KEYS), generator=generator)
    right = (order == key[:, None]).float().argmax(1)
    label = values.gather(1, right[:, None]).squeeze(1)
    lead = F.one_hot(key, KEYS).float()[:, None, None].expand(n, STEPS, PLACES, KEYS)
    noise = 0.1 * torch.randn(n, STEPS, PLACES, KEYS, generator=generator)
    context = torch.cat([F.one_hot(order, KEYS), F.one_hot(values, CLASSES)], -1).float()
    return {"video": lead + noise, "gloves": context}, label, right


@pytest.fixture(scope="module")
def trained():
    """A video-led fusion that has learned to look up the named value."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    shapes = {"video": (STEPS, PLACES, KEYS), "gloves": (KEYS, KEYS + CLASSES)}
    fusion = Led(shapes, CLASSES, lead="video", embedding=16)
    optimizer = torch.optim.AdamW(fusion.parameters(), lr=1e-2)
    for _ in range(300):
        grids, label, _ = named(64, generator)
        loss = F.cross_entropy(fusion(grids), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return fusion.eval()


def accuracy(scores, label):
    return float((scores.argmax(1) == label).float().mean())


@torch.no_grad()
def test_maps_point_where_the_lead_says(trained):
    grids, label, right = named(500, torch.Generator().manual_seed(1))
    assert accuracy(trained(grids), label) > 0.97
    (found,) = attentions(trained, grids)
    assert (found.lead, found.lead_shape) == ("video", (3, 2))
    assert (found.context, found.context_shape) == ("gloves", (12,))
    for over_time in (found.over_time(), found.relation_over_time()):
        assert over_time.shape == (500, STEPS, KEYS)
        assert float((over_time.argmax(2) == right[:, None]).float().mean()) >= 0.95
    shuffled = {**grids, "video": grids["video"].roll(1, 0)}
    (lost,) = attentions(trained, shuffled)
    hits = float((lost.over_time().argmax(2) == right[:, None]).float().mean())
    assert hits < 2.5 / KEYS  # chance is 1 / KEYS
    torch.testing.assert_close(found.relation_over_time().sum(2), torch.ones(500, STEPS))


@torch.no_grad()
def test_the_deletion_test_tells_maps_from_random(trained):
    grids, label, _ = named(500, torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(3)
    one = 1 / KEYS
    whole = accuracy(trained(grids), label)
    assert accuracy(without(trained, grids, 0.0), label) == pytest.approx(whole)
    assert accuracy(without(trained, grids, one), label) < 0.5
    assert accuracy(without(trained, grids, one, "random", generator), label) > 0.8


@torch.no_grad()
def test_query_dependence():
    rows = torch.tensor([[[0.5, 0.5, 0.0]] * 4, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]] * 2])
    found = Attention("a", "b", (4,), (3,), rows, rows)
    assert found.query_dependence().tolist() == [0.0, 0.5]


@torch.no_grad()
@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("head", ["mean", "flatten"])
def test_nothing_removed_is_the_method_itself(pool, head):
    """Over any ranks: a grid over time and space, one over time, one vector."""
    torch.manual_seed(0)
    shapes = {"video": (3, 5, 2, 6), "imu": (7, 4), "room": (5,)}
    grids = {name: torch.randn(2, *shape) for name, shape in shapes.items()}
    for method in (
        Led(shapes, 3, "imu", head=head, pool=pool, norm=True, normalise=True),
        Symmetric(shapes, 3, head=head, pool=pool),
    ):
        torch.testing.assert_close(without(method, grids, 0.0), method(grids))
        assert not torch.allclose(without(method, grids, 1.0), method(grids))
    found = {(one.lead, one.context): one for one in attentions(method, grids)}
    assert len(found) == 6
    half = found["imu", "video"]
    assert half.context_shape == ((3, 5, 2) if pool == 1 else (2, 3, 1)) and half.lead_shape == (7,)
    assert half.over_time().shape == (2, 7, half.context_shape[0])
    f = (half.logits - half.logits.amax((1, 2), keepdim=True)).exp()
    torch.testing.assert_close(half.over_time(), f.view(2, 7, half.context_shape[0], -1).sum(3))
    assert found["room", "imu"].over_time().shape == (2, 1, 7 if pool == 1 else 4)


def test_what_has_no_attention_says_so():
    shapes = {"a": (2, 3), "b": (4, 3)}
    grids = {name: torch.randn(1, *shape) for name, shape in shapes.items()}
    with pytest.raises(ConfigError, match="Concat has no attention, expected Led or Symmetric"):
        attentions(Concat(shapes, 2), grids)
    with pytest.raises(ConfigError, match="Linear has no attention"):
        without(nn.Linear(1, 1), grids, 0.5)
    with pytest.raises(ConfigError, match="share is 2"):
        without(Led(shapes, 2, "a"), grids, 2.0)


def test_a_context_that_is_absent_has_no_map():
    shapes = {"video": (STEPS, PLACES, 4), "left": (KEYS, 3), "right": (KEYS, 3)}
    grids = {
        name: torch.randn(2, *shape, generator=torch.Generator().manual_seed(3))
        for name, shape in shapes.items()
    }
    led = Led(shapes, CLASSES, lead="video").eval()
    without_left = {name: grid for name, grid in grids.items() if name != "left"}
    whole = {one.context: one.relation for one in attentions(led, grids)}
    (found,) = attentions(led, without_left)
    assert found.context == "right" and torch.equal(found.relation, whole["right"])
    assert torch.allclose(without(led, without_left, 0.0), led(without_left), atol=1e-5)
