"""What rounding takes from features and frozen grids is said where it is much, and nothing else is."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from plait.clips import listed, tensors
from plait.compute.crew import Crew
from plait.config import Method
from plait.errors import PlaitWarning
from plait.features.extraction import Extraction, extract
from plait.features.rounding import CONSTANT, LEAST, MUCH, POSITIONS, Rounding
from plait.fusion import Concat, Led
from plait.training.grid_cache import known_grids
from plait.training.network import Network
from tests import tiny
from tests.test_features import keyed
from tests.training.test_precision import SHAPES, halves

KINDS = (torch.float16, torch.bfloat16)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


class Far(nn.Module):
    """Readings a tenth as large, about a level far from zero, or all of one value."""

    def __init__(self, shape, level=1000.0, scale=0.1):
        super().__init__()
        self.level, self.scale = level, scale

    def forward(self, x):
        return self.scale * x + self.level


def of(how, **settings):
    """Features of TINY, made anew."""
    dataset = keyed()
    return extract(dataset, listed(dataset, None, ["a"]), "a", how, where="here", **settings)


@given(st.data())
def test_running_sums_are_those_of_all_clips_at_once(data):
    """However clips come, what is lost is that of float64 over all of them, channel by channel."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    clips, channels = data.draw(st.integers(LEAST, 20)), data.draw(st.integers(1, 4))
    positions = data.draw(st.sampled_from([(), (1,), (3, 2), (POSITIONS,)]))
    level = 10.0 ** rng.uniform(-9, 4, channels) * rng.choice([-1, 0, 1], channels)
    spread = 10.0 ** rng.uniform(-9, 4, channels) * rng.choice([0, 1], channels)
    grids = torch.from_numpy(level + spread * rng.normal(size=(clips, *positions, channels))).float()
    kind = data.draw(st.sampled_from(KINDS))
    cuts = sorted(data.draw(st.sets(st.integers(1, clips - 1), max_size=4)))
    parts = np.split(np.arange(clips), cuts)
    alone, joined = Rounding(kind), Rounding(kind)
    for part in parts:
        alone.add(grids[part])
        other = Rounding(kind)
        other.add(grids[part])
        joined.join(other)
    rows = grids.reshape(-1, channels).double().numpy()
    moved = rows - grids.reshape(-1, channels).to(kind).double().numpy()
    for found in (alone, joined):
        assert found.count == len(rows)
        np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-9, atol=1e-12 * np.abs(rows).max())
        np.testing.assert_allclose(
            found.spread / len(rows), rows.var(axis=0), rtol=1e-6, atol=1e-24 * (rows**2).max()
        )
        np.testing.assert_allclose(found.moved, (moved**2).sum(axis=0), rtol=1e-9)
    sd = rows.std(axis=0)
    varies = sd > 2 * CONSTANT * np.maximum(np.abs(rows.mean(axis=0)), sd.max())
    share = np.sqrt((moved**2).mean(axis=0))[varies] / sd[varies]
    if (share > 1.01 * MUCH).any():
        assert alone.lost().startswith(f"{str(kind).removeprefix('torch.')} moves ")
    if varies.all() and (share < 0.99 * MUCH).all():
        assert alone.lost() is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_names_channels_and_share(kind):
    seen = Rounding(kind)
    grids = torch.randn(LEAST, 10, 3, generator=torch.Generator().manual_seed(0))
    grids[..., 1] = 1 / 3  # constant, and moved: of no use before either
    seen.add(grids)
    assert seen.lost() is None
    grids[..., 2] += 1000
    seen.add(grids)
    assert seen.lost() is None  # by all clips, half of which lie far away
    seen = Rounding(kind)
    seen.add(grids)
    share = 50 if kind == torch.bfloat16 else 10
    name = str(kind).removeprefix("torch.")
    assert seen.lost() == f"{name} moves 1 of 3 channels by {share} % of their SD over clips or more"


def test_few_numbers_say_nothing():
    seen = Rounding()
    for _ in range(LEAST - 1):
        seen.add(1000 + torch.rand(1, 2) / 100)
    assert seen.lost() is None
    seen.add(1000 + torch.rand(1, 2) / 100)
    assert seen.lost() is not None


def test_of_large_grids_few_positions_are_looked_at():
    seen = Rounding()
    seen.add(torch.rand(3, 100, 100, 2))
    assert seen.count == 3 * POSITIONS


@pytest.mark.parametrize("settings", [{}, {"level": 0.0, "scale": 1e-9}, {"level": 30.0, "scale": 1e-4}])
@pytest.mark.parametrize("batch", [1, 5])
def test_features_that_float16_rounds_away_are_said_and_kept_as_they_were(cache, settings, batch):
    how = Extraction("tests.test_rounding:Far", settings, batch=batch)
    said = "^here: Far: float16 moves 2 of 2 channels by [0-9]+ % .*: expected an encoder that centres"
    with pytest.warns(PlaitWarning, match=said) as warned:
        found = of(how)
    assert len(warned) == 1 and "\n" not in str(warned[0].message)
    exact = torch.stack(list(tensors(tiny.TINY.modality("a"), found.cuts)))
    whole = np.concatenate([np.load(file) for file in found.rows.files])
    np.testing.assert_array_equal(whole, Far(None, **settings)(exact).numpy().astype(np.float16))


@pytest.mark.parametrize("settings", [{"level": 0.0}, {"level": 3.0, "scale": 1.0}, {"scale": 0.0}])
def test_features_that_float16_holds_are_not(cache, settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of(Extraction("tests.test_rounding:Far", settings))


@pytest.mark.slow
def test_a_crew_says_it_once(cache, quick_workers):
    with pytest.warns(PlaitWarning, match="float16 moves 2 of 2 channels by 100 %") as warned:
        of(Extraction("tests.test_rounding:Far"), crew=Crew(3))
    assert len(warned) == 1


def test_a_frozen_encoder_s_grids_are_looked_at(cache):
    clips, concat = halves(cache), Concat(SHAPES, 3)
    donors = {"gloves": cache / "jobs" / "donor" / "0"}
    network = Network({"video": nn.Identity(), "gloves": Far(None)}, concat, ["gloves"])
    said = "^encoders.gloves: float16 moves 16 of 16 channels by 100 % .*: expected one that centres"
    with pytest.warns(PlaitWarning, match=said) as warned:
        known = known_grids(network, Method(), donors, clips, "cpu")
    assert len(warned) == 1
    clear = clips.batch(["gloves"], np.arange(10))["gloves"]
    kept = np.load(known.arrays["gloves"].files[0])
    np.testing.assert_array_equal(kept, Far(None)(clear).numpy().astype(np.float16))


@pytest.mark.parametrize(("level", "much"), [(0.0, False), (10.0, False), (100.0, True)])
def test_copies_in_bfloat16_are_looked_at(cache, level, much):
    clips = halves(cache)
    [file] = clips.arrays["video"].files
    np.save(file, np.load(file) + np.float16(level))
    network = Network({name: nn.Identity() for name in SHAPES}, Led(SHAPES, 3, "video"), (), torch.bfloat16)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        known = known_grids(network, Method(), {}, clips, "cpu")
    assert torch.equal(
        known.batch(["video"], np.arange(10))["video"], torch.from_numpy(np.load(file)).bfloat16()
    )
    lines = [str(one.message) for one in warned]
    said = (
        "train.precision: of video, bfloat16 moves 48 of 48 channels by 10 % of their SD over clips or more"
    )
    assert lines == ([f"{said}: expected features that are centred or scaled, or float32"] if much else [])
