"""A stack's layer against SciPy's minimum of what it says that it minimises."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax

from plait.fusion import Stack
from plait.training.stacking import fit_stack


def drawn(seed=0, methods=2, clips=60, classes=3):
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=clips)
    logits = rng.normal(size=(methods, clips, classes))
    logits[:, np.arange(clips), truth] += 1.5
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return torch.from_numpy(p), torch.ones(methods, clips, dtype=torch.bool), truth, np.arange(clips) % 3


def read(scores, says):
    return Stack.features(scores, says).flatten(1).numpy()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("l2", [0.5, 0.02])
def test_the_layer_minimises_mean_loss_and_half_of_l2_times_squared_weights(l2, classes):
    scores, says, truth, groups = drawn(classes=classes)
    x, n = read(scores, says), len(truth)
    free = classes if classes > 2 else 1  # of two classes one has no weights

    def loss(flat):
        weight, bias = np.zeros((classes, x.shape[1])), np.zeros(classes)
        weight[classes - free :] = flat[:-free].reshape(free, -1)
        bias[classes - free :] = flat[-free:]
        logs = log_softmax(x @ weight.T + bias, axis=1)
        return -logs[np.arange(n), truth].mean() + l2 / 2 * (weight**2).sum()

    found = minimize(loss, np.zeros(free * (x.shape[1] + 1)), options={"gtol": 1e-8, "maxiter": 5000})
    layer, chosen = fit_stack(scores, says, truth, groups, [l2])
    assert chosen == l2
    weight = layer.weight.flatten(1).numpy()[classes - free :]
    np.testing.assert_allclose(weight, found.x[:-free].reshape(free, -1), atol=2e-3)
    own = np.concatenate([weight.ravel(), layer.bias.numpy()[classes - free :]])
    assert loss(own) <= found.fun + 1e-7


def test_l2_is_the_one_with_the_least_loss_on_groups_left_out():
    scores, says, truth, groups = drawn(clips=24)
    candidates = (10.0, 0.1, 0.001, 1e-5)

    def elsewhere(l2):
        loss = 0.0
        for group in range(3):
            rest = groups != group
            layer, _ = fit_stack(scores[:, rest], says[:, rest], truth[rest], groups[rest], [l2])
            p = layer(scores[:, ~rest], says[:, ~rest]).numpy()
            loss -= np.log(p[np.arange((~rest).sum()), truth[~rest]]).sum()
        return loss

    losses = [elsewhere(l2) for l2 in candidates]
    best = candidates[int(np.argmin(losses))]
    assert fit_stack(scores, says, truth, groups, candidates)[1] == best
    assert best not in (candidates[0], candidates[-1])  # else nothing was chosen


def test_clips_that_some_network_does_not_see_do_not_train():
    scores, says, truth, groups = drawn()
    says[0, 40:] = False
    layer, l2 = fit_stack(scores, says, truth, groups, (1.0, 0.01))
    seen, again = fit_stack(scores[:, :40], says[:, :40], truth[:40], groups[:40], (1.0, 0.01))
    assert l2 == again and torch.equal(layer.weight, seen.weight) and torch.equal(layer.bias, seen.bias)
    says[:] = False
    with pytest.raises(ValueError, match="no training clip is seen by all"):
        fit_stack(scores, says, truth, groups, [1.0])


def test_an_activity_that_no_clip_shows_gets_no_probability():
    scores, says, truth, groups = drawn(classes=4)
    for shown in (3, 2, 1):
        layer, _ = fit_stack(scores, says, truth % shown, groups, (1.0, 0.1))
        p = layer(scores, says).numpy()
        assert (p[:, shown:] == 0).all() and np.allclose(p.sum(1), 1)
        assert (p[:, :shown] > 0).all()
