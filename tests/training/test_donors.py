import copy

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from plait import clips as clips_module
from plait.errors import ConfigError, DataError
from plait.study.folds import folds
from plait.study.jobs import Setting, plan
from plait.study.load import load_study
from plait.study.run import run_study
from plait.training.network import Network, build
from tests import tiny

NORMED = {"use": "tests.tiny:Normed"}
METHODS = {
    "frozen": {"use": "plait.fusion:Concat", "encoders": {"a": {"from": "a", "frozen": True}}},
    "tuned": {
        "use": "plait.fusion:Concat",
        "encoders": {"a": {"from": "a"}},
        "augment": {"a": "tests.tiny:double"},
    },
    "again": {
        "use": "plait.fusion:Led",
        "args": {"lead": "b"},
        "encoders": {"a": {"from": "frozen", "frozen": True}},
    },
    "a": {"use": "plait.fusion:Single", "args": {"modality": "a"}, "encoders": {"a": NORMED}},
}
REFIT = {"kind": "fixed", "train": ["1"], "val": ["2", "3"], "test": ["10"], "refit": True}


def study(**own):
    train = {"max_epochs": 4, "args": {"lr": 0.01}}
    return tiny.study(
        **{"seeds": [0], "methods": copy.deepcopy(METHODS), "train": train, "protocol": REFIT} | own
    )


def planned(source, out):
    loaded = load_study(source)
    clips = clips_module.cut(tiny.TINY, None, loaded.modalities)
    setting = Setting(loaded.dataset, out, 1, "cpu")
    parts = folds(loaded.protocol, [clip.subject for clip in clips.table])
    jobs = plan(loaded, tiny.TINY, dict.fromkeys(loaded.methods, clips), parts, setting)
    return loaded, clips, setting, jobs


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    told = []
    run_study(study(), None, out, progress=lambda step: told.append(step.label))
    yield out, told, {name: job for (name, _, _), job in planned(study(), out)[3].items()}


def weights(out, job, name="weights"):
    return load_file(out / "jobs" / job.key / f"{name}.safetensors")


def test_donors_are_trained_first_wherever_they_stand(finished):
    _, told, _ = finished
    order = [label.partition(",")[0] for label in told[1:]]
    assert sorted(order) == sorted(METHODS) and order[0] == "a"
    assert order.index("frozen") < order.index("again")


@pytest.mark.parametrize("network", ["weights", "train-weights"])
def test_a_frozen_encoder_is_the_donor_s_to_the_bit_in_either_phase_of_a_refit(finished, network):
    out, _, jobs = finished
    donor = weights(out, jobs["a"], network)
    for name in ("frozen", "again"):
        own = weights(out, jobs[name], network)
        encoder = [key for key in donor if key.startswith("encoders.a.")]
        assert len(encoder) == 7 and all(torch.equal(own[key], donor[key]) for key in encoder)
    both = (
        weights(out, jobs["a"], phase)["encoders.a.linear.weight"] for phase in ("weights", "train-weights")
    )
    assert not torch.equal(*both)


def test_a_tuned_encoder_goes_on_from_the_donor_s(finished, tmp_path):
    out, _, jobs = finished
    donor, own = weights(out, jobs["a"]), weights(out, jobs["tuned"])
    assert not torch.equal(donor["encoders.a.linear.weight"], own["encoders.a.linear.weight"])
    resting = study(train={"max_epochs": 1, "args": {"lr": 1e-12}})
    run_study(resting, None, tmp_path)
    jobs = {name: job for (name, _, _), job in planned(resting, tmp_path)[3].items()}
    donor, own = weights(tmp_path, jobs["a"]), weights(tmp_path, jobs["tuned"])
    torch.testing.assert_close(
        own["encoders.a.linear.weight"], donor["encoders.a.linear.weight"], atol=1e-9, rtol=0
    )


def test_cached_grids_score_as_the_saved_network_does_on_the_clips_themselves(finished):
    out, _, jobs = finished
    loaded, clips, _, _ = planned(study(), out)
    for name in ("frozen", "again"):
        network = build(loaded.method(name), tiny.TINY, clips.shapes, "test")
        network.load_state_dict(weights(out, jobs[name]))
        rows = clips.of(["10"])
        with torch.no_grad():
            expected = network.eval()(clips.batch(("a", "b"), rows)).softmax(1)
        found = pl.read_parquet(out / "jobs" / jobs[name].key / "predictions.parquet")["scores"].to_list()
        np.testing.assert_allclose(np.array(found), expected, atol=2e-3)  # grids are kept in float16


def test_only_what_is_trained_counts_as_parameters(finished):
    out, _, jobs = finished
    facts = {name: (out / "jobs" / jobs[name].key / "job.json").read_text() for name in ("frozen", "tuned")}
    counts = {
        name: int(text.partition('"parameters": ')[2].partition(",")[0]) for name, text in facts.items()
    }
    assert counts["tuned"] - counts["frozen"] == 2 * 2 + 2 * 4 + 4


def test_a_frozen_encoder_gets_no_gradient_and_moves_no_statistics():
    method = load_study(study()).method("frozen")
    network = build(method, tiny.TINY, {"a": (8, 2), "b": (6, 2, 3)}, "test")
    before = {name: value.clone() for name, value in network.encoders["a"].state_dict().items()}
    network.train()
    network({"a": torch.randn(4, 8, 2), "b": torch.randn(4, 6, 2, 3)}).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in network.encoders["a"].state_dict().items())
    assert all(p.grad is None for p in network.encoders["a"].parameters())
    assert all(p.grad is not None for p in network.encoders["b"].parameters())
    assert network.encoders["b"].training and not network.encoders["a"].training


def test_known_grids_take_an_encoder_s_place():
    network = Network({"a": torch.nn.Identity()}, torch.nn.Linear(1, 1))
    network.method.forward = lambda grids: grids["a"]
    assert network({"a": torch.ones(1)}, {"a": torch.zeros(1)}) == 0


def test_the_donor_s_key_is_in_the_job_s(tmp_path):
    before = planned(study(), tmp_path)[3]
    other = copy.deepcopy(METHODS)
    other["a"]["train"] = {"max_epochs": 3}
    after = planned(study(methods=other), tmp_path)[3]
    changed = {name for (name, fold, seed), job in before.items() if after[name, fold, seed].key != job.key}
    assert changed == set(METHODS)
    thawed = copy.deepcopy(METHODS)
    del thawed["frozen"]["encoders"]["a"]["frozen"]
    after = planned(study(methods=thawed), tmp_path)[3]
    changed = {name for (name, fold, seed), job in before.items() if after[name, fold, seed].key != job.key}
    assert changed == {"frozen", "again"}


@pytest.mark.slow
def test_processes_and_a_second_start_give_the_same_bytes(finished, tmp_path, quick_workers):
    out, _, jobs = finished
    run_study(study(), None, tmp_path, executor="processes", workers=1)
    expected = (out / "predictions.parquet").read_bytes()
    assert (tmp_path / "predictions.parquet").read_bytes() == expected
    lost = tmp_path / "jobs" / jobs["frozen"].key
    for file in lost.iterdir():
        file.unlink()
    lost.rmdir()
    told = []
    run_study(study(), None, tmp_path, progress=lambda step: told.append(step.label))
    assert [label.partition(",")[0] for label in told] == ["jobs", "frozen"]
    assert (tmp_path / "predictions.parquet").read_bytes() == expected


def test_damaged_donors_are_named(finished, tmp_path):
    _, _, jobs = finished
    run_study(study(), None, tmp_path)
    damaged = tmp_path / "jobs" / jobs["a"].key / "train-weights.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:100])
    for file in (tmp_path / "jobs" / jobs["tuned"].key).iterdir():
        file.unlink()
    (tmp_path / "jobs" / jobs["tuned"].key).rmdir()
    with pytest.raises(DataError, match=f"{jobs['a'].key}/train-weights.safetensors: not readable"):
        run_study(study(), None, tmp_path)


def test_a_study_with_donors_is_written_as_it_is_read(finished):
    out, _, _ = finished
    assert load_study(out / "study.toml") == load_study(study())
    assert 'from = "a"' in (out / "study.toml").read_text()


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({}, "methods.frozen.encoders.a: expected exactly one of 'use' and 'from'"),
        ({"from": "a", "use": "tests.tiny:Normed"}, "expected exactly one of 'use' and 'from'"),
        ({"use": "tests.tiny:Normed", "frozen": True},
         "encoders.a.frozen: only an encoder 'from' another method"),
        ({"from": "a", "args": {"channels": 3}}, "encoders.a.args: they are the donor's"),
        ({"from": "nobody"},
         "encoders.a.from: no other method 'nobody' trains a, expected one of: tuned, again, a"),
        ({"from": "frozen"}, "encoders.a.from: no other method 'frozen'"),
        ({"from": "again"}, "encoders.a.from: 'again' itself waits for 'frozen'"),
        ({"from": "a", "frozn": True},
         "unknown key, did you mean 'frozen'? Expected one of: features, use, args"),
        ({"donor": "a"}, "methods.frozen.encoders.a.donor: unknown key"),
    ],
)  # fmt: skip
def test_encoders_that_cannot_be_are_refused(encoder, message):
    methods = copy.deepcopy(METHODS)
    methods["frozen"]["encoders"]["a"] = encoder
    with pytest.raises(ConfigError) as caught:
        load_study(study(methods=methods))
    assert message in str(caught.value)


def test_augmenting_what_a_frozen_encoder_sees_is_refused():
    methods = copy.deepcopy(METHODS)
    methods["frozen"]["augment"] = {"a": "tests.tiny:double"}
    with pytest.raises(ConfigError, match="methods.frozen.augment.a: its encoder is frozen"):
        load_study(study(methods=methods))
