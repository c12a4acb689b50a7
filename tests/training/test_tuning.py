"""Blocks of a network trained with the method: studies, models, parts of batches, several devices."""

import copy
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from plait import pretrained
from plait.datasets import generated
from plait.errors import ConfigError, PlaitWarning
from plait.features.cut import drawn_alike, tuned_of
from plait.recogniser.fitting import fit_model
from plait.recogniser.recogniser import Recogniser
from plait.study.load import load_study
from plait.study.run import run_study
from plait.training import ranks
from plait.training.course import groups_of, optimizer_of
from plait.training.fit import check_again
from plait.trust import Trust
from tests.encoders.test_chain import Rowed
from tests.training import filmed

EXAMPLE = Path(__file__).parents[2] / "examples" / "finetune.toml"
SHARP = {"use": filmed.NETWORK, "trainable": {"blocks": ["mid*", "last"], "lr": 0.02, "checkpoint": True}}
MIXED = {"use": "plait.training.objectives:MixedClips", "args": {"p": 0.5}}


def run(out, **options):
    """The job's folder of a study of one method, fold and seed, after it was run."""
    run_study(filmed.study(**options), None, out, say=lambda line: None)
    [job] = (out / "jobs").iterdir()
    return job


def history(job):
    return pl.read_parquet(job / "history.parquet")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return run(tmp_path_factory.mktemp("plain"))


def whole_of(state):
    """The network of films, with the weights of a job or a model in the place of those it has drawn."""
    whole = drawn_alike(filmed.Small, (4, 3, 3, 3), {}, "here").eval()
    prefix = "encoders.film.blocks."
    own = {"parts." + name.removeprefix(prefix): w for name, w in state.items() if name.startswith(prefix)}
    known = whole.state_dict()
    assert own.keys() == {name for name in known if not name.startswith("parts.entry.")}
    moved = {name for name in own if not torch.equal(own[name], known[name])}
    whole.load_state_dict({**known, **own})
    return whole, moved


def test_a_study_trains_the_named_blocks_and_no_other(plain):
    _, moved = whole_of(load_file(plain / "weights.safetensors"))
    weights = {f"parts.{name}" for name, _ in filmed.Small((4, 3, 3, 3)).parts.named_parameters()}
    assert moved == {name for name in weights if name.startswith("parts.middle.")}
    losses = history(plain)["loss"]
    assert losses[1] < losses[0]
    again = load_study(plain.parents[1] / "study.toml")
    assert again == load_study(filmed.study())


def test_a_model_holds_the_tuned_blocks_and_says_so(tmp_path):
    study = filmed.study(SHARP, {"choose": "last"}, protocol={"val_subjects": 0})
    fit_model(study, "tuned", tmp_path, tmp_path / "model", say=lambda line: None)
    recogniser = Recogniser.load(tmp_path / "model", trust=Trust(frozenset({"tests"})))
    clip = {"film": torch.rand(4, 3, 3, 3), "hand": torch.rand(6, 2)}
    [member] = recogniser.members
    whole, moved = whole_of(member.network.state_dict())
    assert {name.split(".")[1] for name in moved} == {"middle", "last"}
    with torch.inference_mode():
        grid = whole(clip["film"][None])
        hand = member.network.encoders["hand"](clip["hand"][None])
        scores = member.network.method({"film": grid, "hand": hand})[0].softmax(0)
    np.testing.assert_allclose(recogniser(clip), scores.numpy(), atol=2e-3)  # activations are float16
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"Blocks mid*, last of `{filmed.NETWORK}` were trained further, on `film`, in tuned" in card


@pytest.mark.parametrize("accumulate", [2, 3, 9])
def test_a_batch_in_parts_is_the_batch(plain, tmp_path, accumulate):
    job = run(tmp_path, train={"accumulate": accumulate})
    assert job.name != plain.name
    for column in ("loss", "val_loss"):
        np.testing.assert_allclose(history(job)[column], history(plain)[column], atol=1e-6)


def test_two_processes_are_one(plain, tmp_path):
    job = run(tmp_path, train={"devices": 2, "accumulate": 2})  # of 14 clips in fives: 3 + 2, 3 + 2, 2 + 2
    assert job.name != plain.name
    for column in ("loss", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(history(job)[column], history(plain)[column], atol=1e-6)
    one, two = (load_file(each / "weights.safetensors") for each in (plain, job))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-5, atol=1e-6)
    scores = [np.stack(pl.read_parquet(each / "predictions.parquet")["scores"]) for each in (plain, job)]
    np.testing.assert_allclose(*scores, atol=1e-6)


def test_blocks_have_a_rate_of_their_own():
    study = load_study(filmed.study(SHARP))
    network = nn.ModuleList([nn.Linear(2, 2), tuned_blocks(study)])
    first, second = groups_of(network)
    assert [one.shape for one in first["params"]] == [(2, 2), (2,)] and "lr" not in first
    assert second["lr"] == 0.02
    assert [*map(id, second["params"])] == [*map(id, network[1].parameters())]
    optimizer, _ = optimizer_of(study.training("tuned"), network, "train", 10)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.02]


def tuned_blocks(study):
    from plait.training.network import encoder_of

    encoder = study.method("tuned").encoders["film"]
    return encoder_of(encoder, filmed.Small, (4, 3, 3, 6), "here")


def test_a_schedule_that_levels_rates_is_refused():
    cycle = {"use": "torch.optim.lr_scheduler:OneCycleLR", "args": {"max_lr": 0.1}}
    network = nn.ModuleList([nn.Linear(2, 2), tuned_blocks(load_study(filmed.study(SHARP)))])
    train = load_study(filmed.study(SHARP, train={"schedule": cycle})).training("tuned")
    with pytest.raises(ConfigError, match=r"train.schedule: torch\S+OneCycleLR gives all weights one rate"):
        optimizer_of(train, network, "train", 10)
    cycle["args"]["max_lr"] = [0.1, 0.01]
    train = load_study(filmed.study(SHARP, train={"schedule": cycle})).training("tuned")
    optimizer, _ = optimizer_of(train, network, "train", 10)
    one, other = (group["lr"] for group in optimizer.param_groups)
    assert one == pytest.approx(10 * other)


@pytest.mark.parametrize(
    "encoder, own, message",
    [
        ({"trainable": "mid*"}, {}, r"film.trainable: expected 'use' beside it"),
        ({**filmed.TUNED, "features": {"use": "a:b"}}, {}, r"film.trainable: expected no 'features'"),
        ({"from": "other", "trainable": "mid*"}, {}, r"film.trainable: it is the donor's"),
        ({"use": filmed.NETWORK, "trainable": []}, {}, r"film.trainable.blocks: got \[\]: "),
        ({"use": "a:b", "trainable": {"blocks": "*", "rate": 1}}, {}, r"trainable.rate: unknown key"),
        (
            {"use": filmed.NETWORK, "trainable": "Mixed_5*"},
            {},
            r"film.trainable: no block 'Mixed_5\*', expected some of: entry, middle, last$",
        ),
        (
            filmed.TUNED,
            {"train": {"accumulate": 2, "objective": MIXED}},
            r"train.accumulate: expected no objective but plait.training.objectives:CrossEntropy",
        ),
        (filmed.TUNED, {"train": {"devices": 0}}, r"train.devices: got 0"),
    ],
)
def test_what_cannot_be_tuned_is_one_line(tmp_path, encoder, own, message):
    with pytest.raises(ConfigError, match=message) as caught:
        run(tmp_path, encoder=encoder, **own)
    assert "\n" not in str(caught.value)


class Between(filmed.Small):
    """Centred between its blocks, which chain() does not say."""

    def forward(self, clips):
        maps = clips.permute(0, 4, 1, 2, 3)
        for part in self.parts.values():
            maps = part(maps)
            maps = maps - maps.mean(dim=(2, 3, 4), keepdim=True)
        return maps.permute(0, 2, 3, 4, 1)


def test_a_network_that_is_not_its_chain_is_refused_before_anything_is_trained(tmp_path):
    encoder = {"use": f"{__name__}:Between", "trainable": "mid*"}
    with pytest.raises(ConfigError, match=r"film.trainable: chain\(\) comes to other numbers") as caught:
        run(tmp_path, encoder=encoder)
    assert "\n" not in str(caught.value) and not list(tmp_path.rglob("weights.safetensors"))


def test_weights_behind_the_cut_are_in_the_key(tmp_path, monkeypatch):
    encoder = {"use": "tests.training.filmed:Published", "trainable": "middle"}
    names, start = [], {"train": {"max_epochs": 1}, "encoder": encoder}
    for number, other in enumerate((None, None, "entry", "middle", "last")):
        with monkeypatch.context() as patch:
            if other:
                patch.setenv(f"FILMED_{other}", "0.5")
            names.append(run(tmp_path / str(number), **start).name)
    assert names[0] == names[1] and len(set(names)) == 4


def test_an_encoder_that_is_cut_and_shown_no_clips_is_said(tmp_path):
    own = filmed.study({"use": "tests.training.filmed:Shown", "trainable": "mid*"}, {"max_epochs": 1})
    with pytest.warns(PlaitWarning, match="calibrate of a Shown, of which blocks are trained: expected"):
        run_study(own, None, tmp_path / "run", say=lambda line: None)


def test_what_moves_by_itself_is_not_computed_twice():
    def blocks(shape):
        swung = torch.nn.utils.parametrizations.spectral_norm(nn.Conv3d(4, 4, 3, padding=1))
        return {"still": nn.Conv3d(4, 4, 1), "swung": swung}

    for trained, moves in (("swung", True), ("still", False)):  # behind those that are trained it stays
        tuned = tuned_of(Rowed, {"blocks": blocks}, [trained], "here", checkpoint=True)
        message = r"^here.checkpoint: blocks.swung.\S+ moves with every batch, and would move twice$"
        with pytest.raises(ConfigError, match=message) if moves else nullcontext():
            check_again(tuned, (4, 3, 3, 4), "here")


def test_what_a_donor_is_given_features_of_cannot_be_augmented():
    """Its clips are made into them once: what is augmented would be features, not clips."""
    study = filmed.study()
    study["methods"]["heir"] = {
        "use": "plait.fusion:Single",
        "args": {"modality": "film"},
        "encoders": {"film": {"from": "tuned"}},
    }
    study["methods"]["second"] = {"like": "heir", "encoders": {"film": {"from": "heir"}}}
    for name in ("heir", "second"):
        augmented = copy.deepcopy(study)
        augmented["methods"][name]["augment"] = {"film": "tests.tiny:double"}
        for encoder in (filmed.TUNED, {"use": "tests.tiny:Linear", "features": {"use": filmed.NETWORK}}):
            augmented["methods"]["tuned"]["encoders"]["film"] = encoder
            with pytest.raises(ConfigError, match=rf"methods.{name}.augment.film: '\w+' is given features"):
                load_study(augmented)
        augmented["methods"]["tuned"]["encoders"]["film"] = {"use": filmed.NETWORK}
        load_study(augmented)


def test_films_that_are_augmented_cannot_be_run_once():
    study = filmed.study()
    study["methods"]["tuned"]["augment"] = {"film": "tests.tiny:double"}
    with pytest.raises(ConfigError, match="augment.film: what is in front of its trained blocks"):
        load_study(study)


def test_several_devices_need_fabric_and_as_many_cards(monkeypatch):
    with pytest.raises(ConfigError, match=r"train.devices: 2 on meta, expected --device cpu or cuda"):
        ranks.launch(2, "meta", print)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"train.devices: 2, expected at most 1"):
        ranks.launch(2, "cuda", print)
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ConfigError, match=r"pip install 'plait\[finetune\]'"):
        ranks.launch(2, "cpu", print)


def test_a_tuned_encoder_can_be_a_donor_s(tmp_path):
    study = filmed.study()
    study["methods"]["heir"] = {
        "use": "plait.fusion:Single",
        "args": {"modality": "film"},
        "encoders": {"film": {"from": "tuned", "frozen": True}},
    }
    run_study(study, None, tmp_path, say=lambda line: None)
    films = [
        {name: weight for name, weight in load_file(job / "weights.safetensors").items() if "film" in name}
        for job in (tmp_path / "jobs").iterdir()
    ]
    one, other = ({n: w for n, w in film.items() if n.startswith("encoders.")} for film in films)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.filterwarnings("ignore:.*video goes from:plait.errors.PlaitWarning")
def test_blocks_of_a_network_are_trained_with_the_method(tmp_path, monkeypatch):
    monkeypatch.setattr(generated, "SUBJECTS", ("1", "2", "3", "4"))
    monkeypatch.setattr(generated, "REPEATS", 1)
    options = {"sets": ["train.max_epochs=1"], "executor": "inline"}
    run_study(EXAMPLE, tmp_path, tmp_path / "out", say=lambda line: None, **options)
    table = pl.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert set(table["method"]) == {"tuned", "tuned-led", "frozen"}
    public = pretrained.lite0().state_dict()
    moved = []
    for file in (tmp_path / "out").glob("jobs/*/weights.safetensors"):
        weights = load_file(file)
        prefix = "encoders.video.blocks.blocks_4_0."
        own = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
        moved.append({name for name, w in own.items() if not w.equal(public[f"blocks.4.0.{name}"])})
    assert sorted(map(len, moved)) == [0, 9, 9]
    assert not any("running" in name for names in moved for name in names)
