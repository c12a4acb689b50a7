"""What makes training fast and should not change its outcome: bfloat16, known grids, RMSprop in one pass."""

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from plait.clips import Clips, Rows
from plait.config import Method
from plait.errors import ConfigError, PlaitWarning, ShapeError
from plait.fusion import (
    Binding,
    Bottleneck,
    Concat,
    CrossAttention,
    Gated,
    Led,
    LowRank,
    Single,
    Symmetric,
    TensorFusion,
)
from plait.fusion.grids import mean_of
from plait.store import write_toml
from plait.study.load import load_study
from plait.study.run import run_study
from plait.training.grid_cache import drawn_grids, known_grids
from plait.training.network import Network
from plait.training.rmsprop import RMSprop, one_pass
from tests import tiny

SHAPES = {"video": (4, 5, 5, 48), "gloves": (9, 16)}
METHODS = {
    "single, hidden": lambda: Single(SHAPES, 3, "video", head="hidden"),
    "video-led": lambda: Led(SHAPES, 3, "video"),
    "video-led, flatten": lambda: Led(SHAPES, 3, "video", head="flatten"),
    "gloves-led": lambda: Led(SHAPES, 3, "gloves", pool=2, scale=True),
    "video-led, pooled": lambda: Led(SHAPES, 3, "video", pool=2),
    "symmetric, flatten": lambda: Symmetric(SHAPES, 3, head="flatten", norm=True, normalise=True),
    "symmetric, hidden": lambda: Symmetric(SHAPES, 3, head="hidden"),
    "cross-attention": lambda: CrossAttention(SHAPES, 3, layers=2),
    "cross-attention, flatten": lambda: CrossAttention(SHAPES, 3, "gloves", head="flatten"),
    "bottleneck": lambda: Bottleneck(SHAPES, 3),
    "binding": lambda: Binding(SHAPES, 3),
}


def both(make):
    """Logits and gradients of one network in float32 and in bfloat16."""
    torch.manual_seed(0)
    network = Network({"video": nn.Identity(), "gloves": nn.Linear(16, 16)}, make())
    grids = {"video": torch.randn(6, *SHAPES["video"]).relu(), "gloves": torch.randn(6, *SHAPES["gloves"])}
    found = []
    for precision in (torch.float32, torch.bfloat16):
        network.precision = precision
        network.zero_grad()
        logits = network({"gloves": grids["gloves"]}, {"video": grids["video"].to(precision)})
        (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
        gradients = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        found.append((logits.detach(), torch.cat(gradients)))
    return network, found


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_in_bfloat16_a_network_computes_the_same_to_two_digits_and_keeps_float32(make):
    network, (exact, half) = both(make)
    assert all(value.dtype == torch.float32 for value in (*half, *network.parameters()))
    for one, other in zip(half, exact, strict=True):
        assert float((one - other).norm() / other.norm()) < 0.03
    assert not torch.equal(half[1], exact[1])


def test_in_bfloat16_blocks_of_the_lead_are_those_of_the_whole(monkeypatch):
    _, (_, whole) = both(METHODS["video-led, flatten"])
    monkeypatch.setattr("plait.fusion.contraction.PAIRS", 100)
    _, (_, blocks) = both(METHODS["video-led, flatten"])
    for one, other in zip(blocks, whole, strict=True):
        assert float((one - other).norm() / other.norm()) < 0.03


@pytest.mark.parametrize(
    "make",
    [
        lambda: Single(SHAPES, 3, "video"),
        lambda: Concat(SHAPES, 3),
        *(lambda use=use: use(SHAPES, 3) for use in (Gated, LowRank, TensorFusion)),
    ],
)
def test_a_method_of_thin_products_computes_in_float32_whatever_is_asked_for(make):
    assert (
        Network({name: nn.Identity() for name in SHAPES}, make(), (), torch.bfloat16).precision
        == torch.float32
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def halves(folder, shapes=SHAPES, count=10):
    """Clips whose tensors lie in float16."""
    generator = np.random.default_rng(0)
    arrays = {}
    for name, shape in shapes.items():
        arrays[name] = folder / f"{name}.npy"
        np.save(arrays[name], generator.normal(0, 1, (count, *shape)).astype(np.float16))
    rows = {name: Rows.of(path) for name, path in arrays.items()}
    return Clips((None,) * count, rows, dict(shapes))  # who moves in them does not matter


@pytest.mark.parametrize("shape", [(2, 3), (17, 1000)])
def test_what_is_kept_in_half_precision_comes_in_float32(tmp_path, shape):
    clips, rows = halves(tmp_path, {"half": shape}), np.array([7, 2, 7])
    np.save(tmp_path / "single.npy", np.linspace(0, 1, 10, dtype=np.float32))
    clips = Clips(
        (), {**clips.arrays, "single": Rows.of(tmp_path / "single.npy")}, {"half": shape, "single": ()}
    )
    stored = np.load(clips.arrays["half"].files[0])
    batch = clips.batch(["half", "single"], rows)
    assert torch.equal(batch["half"], torch.from_numpy(stored[rows]).float())
    assert torch.equal(batch["single"], torch.linspace(0, 1, 10)[rows])
    batch["half"].zero_()
    assert np.array_equal(np.load(clips.arrays["half"].files[0]), stored)
    assert clips.batch(["half"], rows[:0])["half"].shape == (0, *shape)


def test_grids_come_in_the_order_of_the_modalities_whichever_are_known():
    seen = []

    class Ordered(nn.Module):
        def forward(self, grids):
            seen.append(list(grids))
            return grids["video"].mean((1, 2, 3))

    network = Network({"video": nn.Identity(), "gloves": nn.Identity()}, Ordered())
    grids = {"video": torch.randn(2, *SHAPES["video"]), "gloves": torch.randn(2, *SHAPES["gloves"])}
    for known in ({}, {"gloves"}, {"video"}):
        network(
            {n: x for n, x in grids.items() if n not in known}, {n: x for n, x in grids.items() if n in known}
        )
    assert seen == [["video", "gloves"]] * 3


def test_grids_that_are_known_are_averaged_only_where_nothing_else_is_asked_for(cache):
    clips = halves(cache)
    encoders = {"video": nn.Identity(), "gloves": nn.Linear(16, 16)}

    def known(method, precision=torch.float32, **own):
        return known_grids(Network(encoders, method, (), precision), Method(**own), {}, clips, "cpu")

    whole = clips.arrays["video"]
    averaged = known(Concat(SHAPES, 3, head="mean"))
    assert averaged.shapes == {mean_of("video"): (48,)}  # gloves are trained
    expected = np.load(whole.files[0]).astype(np.float64).mean((1, 2, 3))
    np.testing.assert_allclose(np.load(averaged.arrays[mean_of("video")].files[0]), expected, atol=1e-6)
    assert known(Concat(SHAPES, 3, head="mean")).arrays == averaged.arrays  # found again
    flat = [
        Concat(SHAPES, 3),
        Concat(SHAPES, 3, head="mean", normalise=True),
        Led(SHAPES, 3, "video", head="flatten"),
    ]
    for method in (*flat, Led(SHAPES, 3, "gloves")):
        assert known(method).arrays == {"video": whole}
    for method in (Led(SHAPES, 3, "video"), Symmetric(SHAPES, 3)):
        assert known(method).arrays == {"video": whole, **averaged.arrays}
        rounded = known(method, torch.bfloat16)
        assert (
            set(rounded.arrays) == {"video", mean_of("video")} and rounded.shapes["video"] == SHAPES["video"]
        )
        given = rounded.batch(["video"], np.arange(10))["video"]
        assert torch.equal(given, torch.from_numpy(np.load(whole.files[0])).bfloat16())
    assert known(Concat(SHAPES, 3), torch.bfloat16).arrays == {"video": whole}
    assert known(Single(SHAPES, 3, "video"), augment={"video": "tests.tiny:double"}).arrays == {}


class Zero(nn.Identity):
    """Something else than its name says."""

    def forward(self, x):
        return x * 0


def test_only_what_passes_clips_on_as_they_are_counts_as_no_encoder(cache):
    clips, concat = halves(cache), Concat(SHAPES, 3)
    network = Network({"video": Zero(), "gloves": nn.Identity()}, concat)
    assert set(known_grids(network, Method(), {}, clips, "cpu").arrays) == {"gloves"}
    donors = dict.fromkeys(SHAPES, cache / "jobs" / "donor" / "0")
    network = Network({"video": Zero(), "gloves": nn.Identity()}, concat, ["video", "gloves"])
    grids = known_grids(network, Method(), donors, clips, "cpu")
    assert not grids.batch(["video"], np.arange(10))["video"].any()
    assert grids.arrays["gloves"] == clips.arrays["gloves"]  # frozen, but nothing has been made of it


def test_an_attribute_of_that_name_that_is_somebody_s_own_asks_for_nothing(cache):
    clips, concat = halves(cache), Concat(SHAPES, 3, head="mean")
    concat.reads = True
    network = Network({name: nn.Identity() for name in SHAPES}, concat)
    assert known_grids(network, Method(), {}, clips, "cpu").arrays == clips.arrays


def test_an_array_in_the_cache_that_is_not_as_it_was_left_is_made_again(cache):
    clips, network = halves(cache), Network({name: nn.Identity() for name in SHAPES}, Led(SHAPES, 3, "video"))

    def averages():
        [path] = known_grids(network, Method(), {}, clips, "cpu").arrays[mean_of("video")].files
        return path

    path = averages()
    whole = path.read_bytes()
    for spoil in (whole[:-1], whole + b"0", whole[:200] + b"\xff" + whole[201:], b""):
        path.write_bytes(spoil)
        with pytest.warns(PlaitWarning, match=f"^{path}: damaged, made again$"):
            assert averages() == path and path.read_bytes() == whole


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("make", [lambda: Led(SHAPES, 3, "video"), lambda: Concat(SHAPES, 3, head="hidden")])
def test_what_is_drawn_for_a_trial_is_as_it_will_come(cache, make, precision):
    clips, encoders = halves(cache), {"video": nn.Linear(48, 48), "gloves": nn.Identity()}
    network = Network(encoders, make(), ["video"], precision)
    grids = known_grids(network, Method(), {"video": cache / "jobs" / "donor" / "0"}, clips, "cpu")
    come = grids.batch(list(grids.arrays), np.arange(2))
    drawn = drawn_grids(network, Method(), clips, 2)
    assert {n: (x.shape, x.dtype) for n, x in drawn.items()} == {
        n: (x.shape, x.dtype) for n, x in come.items()
    }


AVERAGED = [lambda: Concat(SHAPES, 3, head="mean"), lambda: Single(SHAPES, 3, "video")]


@pytest.mark.parametrize("make", [*AVERAGED, lambda: Led(SHAPES, 3, "video"), lambda: Symmetric(SHAPES, 3)])
def test_averages_score_as_the_grids_themselves(cache, make):
    clips, rows = halves(cache), np.arange(10)
    torch.manual_seed(0)
    network = Network({name: nn.Identity() for name in SHAPES}, make()).eval()
    grids = known_grids(network, Method(), {}, clips, "cpu")
    assert grids.shapes[mean_of("video")] == (48,)
    assert ("video" in grids.shapes) == ("video" in network.reads.both)
    given = clips.batch(list(SHAPES), rows)
    known = grids.batch(list(grids.arrays), rows)
    torch.testing.assert_close(network({}, known), network(given))
    wrong = {name: tensor + (tensor.ndim == 2) for name, tensor in known.items()}
    assert not torch.allclose(network({}, {**given, **wrong}), network(given))  # they are looked at


def test_a_mean_of_another_shape_is_refused():
    grids = {name: torch.randn(2, *shape) for name, shape in SHAPES.items()}
    led = Led(SHAPES, 3, "video")
    with pytest.raises(
        ShapeError, match=r"of modality 'video' has shape \(2, 47\), expected \('batch', 48\)"
    ):
        led({**grids, mean_of("video"): torch.randn(2, 47)})
    with pytest.raises(ShapeError, match=r"different batch sizes \(video 2, video.mean 1, gloves 2\)"):
        led({**grids, mean_of("video"): torch.randn(1, 48)})


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_rmsprop_in_one_pass_is_torch_s(kind):
    torch.manual_seed(0)
    theirs = [nn.Parameter(torch.randn(shape, dtype=kind)) for shape in ((7, 33), (5,), ())]
    ours = [nn.Parameter(p.detach().clone()) for p in theirs]
    settings = {"lr": 1e-2, "alpha": 0.9, "eps": 1e-7}
    one, other = torch.optim.RMSprop(theirs, **settings), one_pass(torch.optim.RMSprop(ours, **settings))
    assert isinstance(other, RMSprop)
    one.step()
    other.step()  # before there is any gradient
    for step in range(200):
        for a, b in zip(theirs, ours, strict=True):
            a.grad = torch.randn_like(a) * 10.0 ** (step % 7 - 5)
            b.grad = a.grad.clone()
        theirs[1].grad = ours[1].grad = None if step % 3 else theirs[1].grad
        one.step()
        other.step()
    tight = 1e-12 if kind == torch.float64 else 2e-5
    for a, b in zip(theirs, ours, strict=True):
        torch.testing.assert_close(b, a, rtol=tight, atol=tight)


def test_rmsprop_makes_its_count_of_steps_once_and_no_step_changes_it():
    weight = nn.Parameter(torch.ones(3))
    optimizer = one_pass(torch.optim.RMSprop([weight], lr=1e-2))
    counts = []
    for _ in range(3):
        weight.grad = torch.ones(3)
        optimizer.step()
        counts.append(optimizer.late)
    assert counts[0] is counts[1] is counts[2] and float(counts[0]) == 2**23


@pytest.mark.parametrize(
    "own", [{"momentum": 0.9}, {"centered": True}, {"weight_decay": 0.1}, {"alpha": 0.99999}]
)
def test_other_kinds_of_rmsprop_are_left_as_they_are(own):
    optimizer = torch.optim.RMSprop([nn.Parameter(torch.zeros(2))], **own)
    assert one_pass(optimizer) is optimizer
    adam = torch.optim.Adam([nn.Parameter(torch.zeros(2))])
    assert one_pass(adam) is adam


def results(out):
    return pl.read_parquet(out / "predictions.parquet").sort("method", "fold", "clip")


def test_a_study_in_bfloat16_has_jobs_of_its_own_and_comes_to_much_the_same(cache):
    found = {}
    for precision in ("float32", "bfloat16"):
        run_study(
            tiny.study(train={"max_epochs": 4, "precision": precision}), None, cache / "run" / precision
        )
        found[precision] = results(cache / "run" / precision)
    scores = {key: np.array(table["scores"].to_list()) for key, table in found.items()}
    keys = [{job.name for job in (cache / "run" / precision / "jobs").iterdir()} for precision in found]
    assert keys[0].isdisjoint(keys[1])
    assert 0 < np.abs(scores["bfloat16"] - scores["float32"]).mean() < 0.03


def test_known_leads_in_bfloat16_come_to_much_the_same(cache):
    frozen = {
        "use": "plait.fusion:Led",
        "args": {"lead": "a"},
        "encoders": {"a": {"from": "a", "frozen": True}},
    }
    methods = {"a": tiny.study()["methods"]["a"], "led": frozen}
    scores = {}
    for precision in ("float32", "bfloat16"):
        train = {"max_epochs": 4, "args": {"lr": 0.01}, "precision": precision}
        out = cache / "run" / precision
        run_study(tiny.study(methods=methods, train=train), None, out)
        led = results(out).filter(pl.col("method") == "led")
        scores[precision] = np.array(led["scores"].to_list())
    kinds = {np.load(path, mmap_mode="r").dtype for path in (cache / "cache" / "grids").glob("*.npy")}
    # grids, their means, grids in bfloat16
    assert kinds == {np.dtype("<f2"), np.dtype("<f4"), np.dtype("<i2")}
    assert 0 < np.abs(scores["bfloat16"] - scores["float32"]).mean() < 0.03


class Wide(nn.Module):
    """A method that takes its products to be of a kind that numpy knows."""

    def __init__(self, shapes, classes):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shapes["a"][-1], classes))

    def forward(self, grids):
        made = grids["a"].mean(1) @ self.weight
        self.seen = made.detach().numpy()
        return made


def test_a_method_that_fails_in_bfloat16_is_refused_before_anything_is_trained(cache):
    methods = {"wide": {"use": f"{__name__}:Wide"}}
    study = tiny.study(methods=methods, train={"precision": "bfloat16"})
    with pytest.raises(ConfigError, match=r"methods.wide.train.precision: fails in bfloat16: ") as caught:
        run_study(study, None, cache / "run")
    assert "\n" not in str(caught.value) and not list(cache.rglob("job.json"))
    run_study(tiny.study(methods=methods, train={"max_epochs": 1}), None, cache / "run")


def test_a_method_that_fails_on_a_donor_s_grids_in_bfloat16_is_refused_before_the_donor_is_trained(cache):
    methods = {
        "a": {"use": "plait.fusion:Single", "args": {"modality": "a"}},
        "wide": {"use": f"{__name__}:Wide", "encoders": {"a": {"from": "a", "frozen": True}}},
    }
    with pytest.raises(ConfigError, match=r"methods.wide.train.precision: fails in bfloat16: "):
        run_study(tiny.study(methods=methods, train={"precision": "bfloat16"}), None, cache / "run")
    assert not list(cache.rglob("job.json"))


def test_a_precision_that_is_none_is_named(tmp_path):
    write_toml(tmp_path / "study.toml", tiny.study(train={"precision": "float16"}))
    with pytest.raises(ConfigError, match=r"train\.precision: got 'float16'"):
        load_study(tmp_path / "study.toml")
