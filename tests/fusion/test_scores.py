"""Score fusion against NumPy by hand, and each way's special case."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import DataError
from plait.fusion import Average, First, Mixture, Stack, combined


def drawn(seed, methods=3, clips=5, classes=4, sure=3.0):
    rng = np.random.default_rng(seed)
    p = np.exp(sure * rng.normal(size=(methods, clips, classes)))
    return p / p.sum(-1, keepdims=True)


def fused(how, p, says=None):
    says = np.ones(p.shape[:2], bool) if says is None else says
    return how(torch.from_numpy(p), torch.from_numpy(says)).numpy()


@given(st.integers(0, 99), st.sampled_from(["entropy", "highest"]))
def test_a_mixture_weighs_each_clip_by_confidence(seed, confidence):
    p, temperatures = drawn(seed), (1.0, 2.5, 0.4)
    says = np.random.default_rng(seed).random(p.shape[:2]) < 0.7
    expected = np.empty(p.shape[1:])
    for clip in range(p.shape[1]):
        parts, weights = [], []
        for method in range(3):
            hot = p[method, clip] ** (1 / temperatures[method])
            hot /= hot.sum()
            entropy = -(hot * np.log(hot)).sum()
            sure = 1 / max(entropy, 1e-3) if confidence == "entropy" else hot.max()
            parts.append(hot)
            weights.append(sure if says[method, clip] else 0.0)
        weights = weights if any(weights) else [1.0] * 3
        expected[clip] = np.average(parts, axis=0, weights=weights)
    np.testing.assert_allclose(fused(Mixture(confidence, temperatures), p, says), expected, atol=1e-9)


@given(st.integers(0, 99), st.sampled_from(["entropy", "highest"]))
def test_where_all_are_equally_sure_a_mixture_is_the_average(seed, confidence):
    one = drawn(seed, methods=1)[0]
    p = np.stack([one[:, np.random.default_rng(seed + at).permutation(4)] for at in range(3)])
    mixed = fused(Mixture(confidence, [1.0] * 3), p)
    np.testing.assert_allclose(mixed, fused(Average(), p), atol=1e-12)
    np.testing.assert_allclose(mixed, p.mean(0), atol=1e-12)
    unequal = np.stack([p[0], np.full_like(one, 0.25)])  # and is not where they are not
    assert np.abs(fused(Mixture(confidence, [1.0] * 2), unequal) - unequal.mean(0)).max() > 1e-3


def test_a_temperature_decides_who_is_sure():
    p = np.array([[[0.9, 0.1]], [[0.1, 0.9]]])
    assert fused(Mixture("highest", [1.0, 5.0]), p).argmax() == 0
    assert fused(Mixture("highest", [5.0, 1.0]), p).argmax() == 1


@given(st.integers(0, 99))
def test_the_first_that_says_something_speaks(seed):
    p, says = drawn(seed), np.random.default_rng(seed).random((3, 5)) < 0.5
    expected = np.empty(p.shape[1:])
    for clip in range(5):
        able = [method for method in range(3) if says[method, clip]]
        expected[clip] = p[able[0], clip] if able else p[:, clip].mean(0)
    np.testing.assert_allclose(fused(First(), p, says), expected, atol=1e-12)
    assert (fused(First(), p) == p[0]).all()  # where none is absent


@given(st.integers(0, 99))
def test_a_stack_is_a_softmax_over_centred_logarithms(seed):
    rng, p = np.random.default_rng(seed), drawn(seed)
    weight, bias = rng.normal(size=(4, 3, 4)), rng.normal(size=4)
    layer = Stack(3, 4)
    layer.weight.copy_(torch.from_numpy(weight))
    layer.bias.copy_(torch.from_numpy(bias))
    logs = np.log(p.clip(1e-6))
    logs -= logs.mean(-1, keepdims=True)
    logits = np.einsum("kmc,mbc->bk", weight, logs) + bias
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(fused(layer, p), expected, atol=1e-9)
    silent = np.ones((3, 5), bool)
    silent[1] = False  # who says nothing adds nothing, whatever its scores are
    uniform = p.copy()
    uniform[1] = 0.25
    np.testing.assert_allclose(fused(layer, p, silent), fused(layer, uniform), atol=1e-12)


def test_identity_weights_make_the_product_of_experts():
    p, layer = drawn(3, sure=1.0), Stack(3, 4)
    layer.weight.copy_(torch.eye(4, dtype=torch.float64)[:, None].expand(4, 3, 4))
    product = p.prod(0)
    np.testing.assert_allclose(fused(layer, p), product / product.sum(1, keepdims=True), atol=1e-9)


def test_tables_are_combined_clip_by_clip_and_need_the_same_clips():
    about = {"study": "s", "fold": "1", "seed": 0, "subject": "1", "activity": "run"}

    def table(rows):
        of = [{**about, "method": "m", "clip": c, "predicted": p, "scores": s} for c, p, s in rows]
        return pl.DataFrame(of, schema_overrides={"scores": pl.List(pl.Float32)})

    one = table([("p", "run", [0.8, 0.2]), ("q", "", [0.5, 0.5]), ("r", "", [0.5, 0.5])])
    other = table([("r", "", [0.5, 0.5]), ("q", "sit", [0.1, 0.9]), ("p", "run", [0.5, 0.5])])
    how = Mixture("highest", [1.0, 1.0])
    found = combined({"x": one, "y": other}, "mixed", ["run", "sit"], how)
    first = (0.8 * np.array([0.8, 0.2]) + 0.5 * np.array([0.5, 0.5])) / 1.3
    np.testing.assert_allclose(found["scores"].to_list(), [first, [0.1, 0.9], [0.5, 0.5]], atol=1e-6)
    assert found["predicted"].to_list() == ["run", "sit", ""] and set(found["method"]) == {"mixed"}
    with pytest.raises(DataError, match="'mixed': 'y' has not scored the same clips as 'x'"):
        combined({"x": one, "y": other.head(2)}, "mixed", ["run", "sit"], how)
