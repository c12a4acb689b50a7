"""A stack's layer, fitted on scores of clips that the networks behind them were not trained on."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from plait.fusion import Stack

MOST_STEPS = 10_000
LEAST = 1e-12  # of a probability whose logarithm is taken


def fit_stack(
    scores: Float[Tensor, "m n classes"],
    says: Bool[Tensor, "m n"],
    truth: np.ndarray,
    groups: np.ndarray,
    l2: Sequence[float],
) -> tuple[Stack, float]:
    """The layer that makes the truth likeliest, and the `l2` it was fitted with.

    It minimises the mean of -log p of the true class, plus half of `l2` times the sum of squared weights; the
    bias is free. Clips of which some network says nothing are left out. Of several `l2` the one is taken
    with the least sum of -log p over groups, each under a layer that was fitted on the others; of equals the
    first. An activity that no clip shows gets no probability.

    Args:
        scores: probabilities of `n` clips by `m` networks, float64.
        says: which network says something of which clip.
        truth: places of the true classes, `(n,)`.
        groups: a number for each clip, `(n,)`: those of one were scored by the same networks.
        l2: one, or several to choose from.

    Raises:
        ValueError: there is no clip of which all say something.
    """
    seen = says.all(dim=0).numpy()
    if not seen.any():
        raise ValueError("no training clip is seen by all of its methods")
    read = Stack.features(scores, says).flatten(1).numpy()[seen]
    truth, groups = truth[seen], groups[seen]
    methods, _, classes = scores.shape
    chosen = l2[0]
    if len(l2) > 1 and len(np.unique(groups)) > 1:
        losses = [_loss_elsewhere(read, truth, groups, classes, each) for each in l2]
        chosen = l2[int(np.argmin(losses))]
    weight, bias = _fitted(read, truth, classes, chosen)
    layer = Stack(methods, classes)
    layer.weight.copy_(torch.from_numpy(weight).view(classes, methods, classes))
    layer.bias.copy_(torch.from_numpy(bias))
    return layer.eval(), float(chosen)


def _loss_elsewhere(
    read: np.ndarray, truth: np.ndarray, groups: np.ndarray, classes: int, l2: float
) -> float:
    """The sum of -log p over all clips, each group's under a layer that was fitted on the others."""
    loss = 0.0
    for group in np.unique(groups):
        inside = groups == group
        weight, bias = _fitted(read[~inside], truth[~inside], classes, l2)
        logits = torch.from_numpy(read[inside] @ weight.T + bias)
        likelihood = logits.softmax(1).numpy()[np.arange(inside.sum()), truth[inside]]
        loss -= float(np.log(likelihood.clip(LEAST)).sum())
    return loss


def _fitted(read: np.ndarray, truth: np.ndarray, classes: int, l2: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights `(classes, features)` and bias `(classes,)`."""
    weight, bias = np.zeros((classes, read.shape[1])), np.full(classes, -np.inf)
    shown = np.unique(truth)
    if len(shown) == 1:
        bias[shown] = 0.0
        return weight, bias
    model = LogisticRegression(C=1 / (l2 * len(truth)), tol=1e-6, max_iter=MOST_STEPS).fit(read, truth)
    # Of two classes scikit-learn keeps the second's logits alone.
    places = shown if len(shown) > 2 else shown[1:]
    bias[shown] = 0.0
    weight[places], bias[places] = model.coef_, model.intercept_
    return weight, bias
