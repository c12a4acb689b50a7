"""What concatenation cannot do, whatever its weights: tasks with an argument, and who learns them.

Every task has two labels, equally frequent. `cannot` means that the mean cross-entropy of any weights is at
least log 2, what guessing has, by the argument in the task's docstring; it is asked of the trained network.
"""

import itertools
import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from plait.fusion import (
    Binding,
    Bottleneck,
    Concat,
    CrossAttention,
    Gated,
    Led,
    LowRank,
    Symmetric,
    TensorFusion,
)

SMALL = {"width": 16, "heads": 2, "mlp": 2}
STEPS = 4


def interaction():
    """The label is the product of two signs, one from each sensor, the same at all of its positions.

    Whatever is a function of the one sensor plus a function of the other, `u(s) + v(t)`, cannot: over the
    four clips (s, t) the margins `s t (u(s) + v(t))` sum to zero, and the mean of a convex loss,
    log(1 + exp(-m)), is at least the loss of the mean margin. Linear classifiers of what is concatenated are
    such sums. So are `Led` and `Symmetric` with linear heads here: positions of a context that are all alike
    leave attention nothing to choose, and what is gathered is a linear map of them.
    """
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=2)))
    grids = {"a": signs[:, :1, None].repeat(1, 3, 2), "b": signs[:, 1:, None].repeat(1, 2, 3)}
    return [(grids, (signs.prod(1) > 0).long())]


def relation(keys=4):
    """The label stands in one position of `b`, the one whose key is that of the position of `a` that has any.

    Each position of `b` holds a key, all different, and a sign, half of them positive. Averaged over
    positions, `b` is the same in every clip, and `a` names a key that has either sign in as many clips. So
    whatever sees averages alone sees the same input with both labels, equally often. With four keys there are
    other clips to be tested with, whose positions are in orders not met in training.
    """
    balanced = [s for s in itertools.product((-1.0, 1.0), repeat=keys) if sum(s) == 0]
    orders = list(itertools.permutations(range(keys)))
    parts = [orders[::3], orders[1::3]] if keys > 2 else [orders]
    return [_matched(list(itertools.product(range(keys), balanced, part, (0, 1)))) for part in parts]


def _matched(clips):
    keys = len(clips[0][1])
    a, b = torch.zeros(len(clips), 2, keys), torch.zeros(len(clips), keys, keys + 1)
    labels = torch.zeros(len(clips), dtype=torch.long)
    for row, (key, signs, order, place) in enumerate(clips):
        a[row, place, key] = 1
        for position, own in enumerate(order):
            b[row, position, own], b[row, position, keys] = 1, signs[own]
        labels[row] = signs[key] > 0
    return {"a": a, "b": b}, labels


def together():
    """In each of a few steps the signs of the two sensors agree, or in each they differ: which of the two?

    Half of a sensor's signs are positive in every clip. Whatever does not know a grid's order, as averages
    and attention without places do not, sees the same two sets of signs in all clips.
    """
    balanced = [s for s in itertools.product((-1.0, 1.0), repeat=STEPS) if sum(s) == 0]
    clips = list(itertools.product(balanced, (-1.0, 1.0)))
    a = torch.tensor([s for s, _ in clips])
    agree = torch.tensor([sign for _, sign in clips])
    return [({"a": a[:, :, None], "b": (a * agree[:, None])[:, :, None]}, (agree > 0).long())]


def trained(task, make, most=300, seed=0):
    """Mean cross-entropy and accuracy in a task's last clips, after at most so many steps on its first."""
    parts = task()
    (grids, labels), (others, answers) = parts[0], parts[-1]
    torch.manual_seed(seed)
    method = make({name: tuple(grid.shape[1:]) for name, grid in grids.items()}, 2)
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
    for _ in range(most):
        optimizer.zero_grad()
        loss = F.cross_entropy(method(grids), labels)
        loss.backward()
        optimizer.step()
        if loss < 0.02:
            break
    with torch.no_grad():
        logits = method(others)
    return float(F.cross_entropy(logits, answers)), float((logits.argmax(1) == answers).float().mean())


LEARNED = [
    (interaction, Gated),
    (interaction, partial(Gated, gates="sigmoid")),
    (interaction, TensorFusion),
    (interaction, LowRank),
    (interaction, partial(CrossAttention, **SMALL)),
    (interaction, partial(CrossAttention, lead="a", **SMALL)),
    (interaction, partial(Bottleneck, **SMALL)),
    (interaction, Binding),
    (relation, partial(Led, lead="a", embedding=16)),
    (relation, partial(Symmetric, embedding=16)),
    (relation, partial(CrossAttention, **SMALL)),
    (relation, partial(CrossAttention, lead="a", **SMALL)),
    (partial(relation, keys=2), partial(Bottleneck, **SMALL)),
    (together, partial(Binding, windows=STEPS)),
]
NOT_LEARNED = [
    *((interaction, partial(Concat, head=head)) for head in ("mean", "flatten", "hidden")),
    *((interaction, partial(Led, lead="a", head=head)) for head in ("mean", "flatten")),
    *((interaction, partial(Symmetric, head=head)) for head in ("mean", "flatten")),
    (relation, partial(Concat, head="mean")),
    *((relation, use) for use in (Gated, TensorFusion, LowRank, partial(Binding, windows=1))),
    (together, partial(Concat, head="mean")),
    *((together, use) for use in (Gated, TensorFusion, LowRank, partial(Binding, windows=1))),
    (together, partial(Led, lead="a")),
    (together, Symmetric),
]


def called(value):
    if not isinstance(value, partial):
        return value.__name__
    return "-".join([value.func.__name__, *(str(v) for k, v in value.keywords.items() if k not in SMALL)])


@pytest.mark.parametrize(("task", "make"), LEARNED, ids=called)
def test_learned(task, make):
    loss, accuracy = trained(task, make)
    assert accuracy > 0.85 and loss < 0.4


@pytest.mark.parametrize(("task", "make"), NOT_LEARNED, ids=called)
def test_not_learned_by_any_weights(task, make):
    loss, _ = trained(task, make, most=150)
    assert loss > math.log(2) - 1e-4
