"""Every key of plait: whatever decides a value changes the key that it is kept under, nothing else does."""

import importlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from plait import keying
from plait.clips import cut, decided_by, listed
from plait.compute import machine, seeds
from plait.config import Method
from plait.errors import ConfigError
from plait.features import Extraction
from plait.features import extraction as features
from plait.fusion.grids import Reads, mean_of
from plait.store import content_key
from plait.study.folds import folds
from plait.study.jobs import Setting, plan
from plait.study.load import load_study
from plait.training.grid_cache import known_grids
from plait.training.network import Network
from plait.types import Dataset, Modality, Readings, Recording, Span
from tests.commands import script

SUBJECTS = ("1", "2", "3", "4")
TIMES = np.arange(100) / 10


class Weighed(nn.Module):
    """A network whose weights lie in a file, or are drawn."""

    def __init__(self, shape, file=None, gain=1.0):
        super().__init__()
        self.linear = nn.Linear(shape[-1], 2)
        self.gain = gain
        if file is not None:
            self.linear.weight.data = torch.from_numpy(np.fromfile(Path(file), np.float32)).reshape(2, -1)

    def forward(self, x):
        return self.gain * self.linear(x)


class Other(Weighed):
    pass


def scaled(values, by=1.0):
    return torch.from_numpy(values * by).float()


def half(values):
    return scaled(values).half()


@dataclass(frozen=True)
class World:
    """All that a clip is made of; each field decides, but for those that say so."""

    readings: float = 0.0  # one reading of one sensor of one person
    recording: str = "r"  # a name: decides nothing of a tensor
    times: float = 0.0
    starts_s: float = 1.0
    stops_s: float = 5.0
    key: str | None = None
    streams: tuple = ("left",)
    samples: int = 6
    rate_hz: float | None = None
    prepare: object = scaled
    modality: str = "m"  # a name
    activity: str = "a"
    subjects: tuple = SUBJECTS
    activities: tuple = ("a", "b")

    def dataset(self):
        one = Modality(self.modality, self.streams, self.samples, self.rate_hz, self.prepare, Weighed)
        made = list(recordings(self))
        return Dataset("world", self.activities, (one,), lambda data: iter(made), "")


def recordings(world):
    for number, subject in enumerate(world.subjects):
        rng = np.random.default_rng(int(subject))
        streams = {}
        for name in ("left", "right"):
            values = rng.normal(size=(len(TIMES), 3))
            values[18] += world.readings * (subject == "1" and name == "left")
            streams[name] = Readings(TIMES + world.times, values)
        spans = [
            Span(world.starts_s, world.stops_s, world.activity if number == 0 else "a"),
            Span(6.0, 9.0, "b"),
        ]
        key = None if world.key is None else f"{world.key} {subject}"
        yield Recording(f"{world.recording}{subject}", subject, streams, tuple(spans), key)


MADE = World()
CLIPS = {
    "a reading": World(readings=1e-3),
    "its times": World(times=0.01),
    "where a clip starts": World(starts_s=1.01),
    "where it stops": World(stops_s=5.01),
    "the stream": World(streams=("right",)),
    "both streams": World(streams=("left", "right"), prepare=max),
    "their order": World(streams=("right", "left"), prepare=max),
    "a key of the recording's": World(key="one"),
    "its other key": World(key="two"),
    "the stream of a recording with a key": World(key="one", streams=("right",)),
    "samples": World(samples=7),
    "rate": World(rate_hz=2.0),
    "another rate": World(rate_hz=3.0),
    "prepare": World(prepare=half),
    "an argument of prepare": World(prepare=partial(scaled, by=2.0)),
    "another argument": World(prepare=partial(scaled, by=3.0)),
    "an array among them": World(prepare=partial(scaled, by=np.zeros(5000))),
    "another array": World(prepare=partial(scaled, by=np.eye(1, 5000, 2500)[0])),
}
NOTHING = {"names": World(recording="other", modality="n"), "the activity": World(activity="b")}


def decided(world):
    """The key of a clip's tensors, of each person."""
    dataset = world.dataset()
    [modality] = dataset.modalities
    cuts = listed(dataset, None, [modality.name])
    people = [[one for one in cuts if one[0].subject == who] for who in world.subjects]
    return [content_key(decided_by(dataset, modality, own)) for own in people]


def test_whatever_decides_a_clip_is_in_its_key_and_names_are_not():
    keys = {name: decided(world)[0] for name, world in ({"as it is": MADE} | CLIPS).items()}
    assert len(set(keys.values())) == len(keys), keys
    assert all(decided(world) == decided(MADE) for world in NOTHING.values())
    assert decided(CLIPS["a reading"])[1:] == decided(MADE)[1:]  # nobody else's
    assert decided(World(subjects=("1", "9")))[0] == decided(MADE)[0]


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.bin"
    np.arange(6, dtype=np.float32).tofile(path)
    return path


def extraction(**own):
    return Extraction("tests.test_keys:Weighed", **own)


def kept(world=MADE, how=None, device="cpu", threads=1):
    """Where the features of each person lie."""
    dataset = world.dataset()
    [modality] = dataset.modalities
    cuts = [one for one in listed(dataset, None, [modality.name]) if one[1].start_s < 6]
    _, settings = features._decide(cuts, modality, how or extraction(), device, threads, "features")
    return features.kept_in(dataset, modality, [[one] for one in cuts], settings)


def fits(world):
    return len(world.streams) == 1 and not isinstance(
        getattr(world.prepare, "keywords", {}).get("by"), np.ndarray
    )


def test_whatever_decides_features_is_in_their_key(weights, tmp_path, monkeypatch):
    made = {name: kept(world)[0] for name, world in CLIPS.items() if fits(world)}
    made |= {
        "as it is": kept()[0],
        "batch": kept(how=extraction(batch=2))[0],
        "engine": kept(how=extraction(engine="openvino"))[0],
        "threads": kept(threads=2)[0],
        "device": kept(device="meta")[0],
        "encoder": kept(how=Extraction("tests.test_keys:Other"))[0],
        "setting": kept(how=extraction(args={"gain": 2.0}))[0],
        "weights": kept(how=extraction(args={"file": str(weights)}))[0],
    }
    copied = tmp_path / "elsewhere.bin"
    shutil.copy(weights, copied)
    assert kept(how=extraction(args={"file": str(copied)}))[0] == made["weights"]
    np.ones(6, np.float32).tofile(weights)
    made["other weights in that file"] = kept(how=extraction(args={"file": str(weights)}))[0]
    seed = seeds.seed_all
    with monkeypatch.context() as patch:
        patch.setattr(seeds, "seed_all", lambda n: seed(n + 1))
        made["weights that are drawn"] = kept()[0]
    made |= {name: kept()[0] for name in elsewhere(monkeypatch)}
    assert len(set(made.values())) == len(made), made
    assert all(kept(world) == kept() for world in NOTHING.values())
    assert kept(CLIPS["a reading"])[1:] == kept()[1:]


def elsewhere(monkeypatch):
    """Other machines, libraries and settings of theirs, one after another, by what is other."""
    version = importlib.metadata.version
    variables = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_CBWR")
    variables += ("MKL_ENABLE_INSTRUCTIONS", "ONEDNN_DEFAULT_FPMATH_MODE", "NPY_DISABLE_CPU_FEATURES")
    variables += ("NVIDIA_TF32_OVERRIDE", "OPENBLAS_CORETYPE")
    for name in variables:
        with monkeypatch.context() as patch:
            patch.setenv(name, "AVX2")
            yield name
    for package in ("numpy", "torch", "av"):
        with monkeypatch.context() as patch:
            patch.setattr(importlib.metadata, "version", lambda n, own=package: version(n) + "+" * (n == own))
            keying._version.cache_clear()
            yield f"{package}'s version"
    keying._version.cache_clear()
    for told, by in (
        ("get_cpu_capability", (torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")),
        ("processor", (machine, "_processor", lambda: ["x86_64", "Other", "avx2"])),
        ("who multiplies", (machine, "_wide", lambda own=machine._wide(): not own)),
        ("torch", (torch, "__version__", "2.0.0")),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(*by)
            yield told
    torch.set_default_dtype(torch.float64)
    try:
        yield "the kind of numbers"
    finally:
        torch.set_default_dtype(torch.float32)


def test_variables_that_only_talk_decide_nothing(monkeypatch):
    before = machine.numerics()
    for name in ("ONEDNN_VERBOSE", "DNNL_VERBOSE", "ONEDNN_JIT_DUMP", "OMP_NUM_THREADS", "HOME"):
        monkeypatch.setenv(name, "1")
        assert machine.numerics() == before
    with machine.wide_products():
        assert machine.numerics() == before


STUDY = {
    "name": "study",
    "dataset": "tests.test_keys:WORLD",
    "modalities": ["m"],
    "protocol": {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["4"]},
    "methods": {
        "one": {"use": "plait.fusion:Single", "args": {"modality": "m", "head": "mean"}},
        "heir": {
            "use": "plait.fusion:Single",
            "args": {"modality": "m"},
            "encoders": {"m": {"from": "one", "frozen": True}},
        },
    },
}
WORLD = MADE.dataset()


def double(batch):
    return batch * 2


class Shift:
    def __init__(self, by):
        self.by = by

    def __call__(self, batch):
        return batch + self.by


SHIFTS = [Shift(1), Shift(2)]
shift = SHIFTS[0]


@keying.keying()
def jobs(sets=(), world=MADE, threads=1, device="cpu", method="one"):
    """The key of each job of a study, by fold and seed."""
    study, dataset = load_study(STUDY, sets), world.dataset()
    clips = cut(dataset, None, ["m"])
    parts = folds(study.protocol, [clip.subject for clip in clips.table])
    found = plan(
        study,
        dataset,
        dict.fromkeys(study.methods, clips),
        parts,
        Setting(study.dataset, Path(), threads, device),
    )
    return {(fold, seed): job.key for (name, fold, seed), job in found.items() if name == method}


def job(*args, **settings):
    [key] = jobs(*args, **settings).values()
    return key


BLOCKS = "methods.one.encoders.m={use='tests.training.filmed:Small'"
SETS = {
    "method": "methods.one.use=plait.fusion:Concat",
    "its argument": "methods.one.args.head=flatten",
    "encoder": "methods.one.encoders.m.use=tests.test_keys:Other",
    "augment": "methods.one.augment.m=tests.test_keys:double",
    "learning rate": "train.args.lr=0.5",
    "optimizer": "train.optimizer=torch.optim:Adam",
    "batch": "train.batch_size=3",
    "patience": "train.patience=3",
    "epochs": "train.max_epochs=3",
    "smoothing": "train.label_smoothing=0.1",
    "choice": "train.choose=last",
    "precision": "train.precision=bfloat16",
    "devices": "train.devices=2",
    "parts": "train.accumulate=2",
    "blocks that are trained": f"{BLOCKS}, trainable='last'}}",
    "other blocks": f"{BLOCKS}, trainable='*'}}",
    "their statistics": f"{BLOCKS}, trainable={{blocks='last', statistics='moving'}}}}",
    "refit": "protocol.refit=true",
    "seed": "seeds=[3]",
    "schedule": "train.schedule.use=torch.optim.lr_scheduler:CosineAnnealingLR",
    "who trains": 'protocol.train=["1"]',
    "who validates": "protocol.val=[]",
}


def test_whatever_decides_a_job_is_in_its_key(weights, tmp_path, monkeypatch):
    def by_file(path):
        use = "methods.one.encoders.m.use=tests.test_keys:Weighed"
        return job([use, f"methods.one.encoders.m.args.file={path}"])

    made = {name: job([one]) for name, one in SETS.items()}
    made |= {name: job(world=world) for name, world in CLIPS.items() if fits(world) and not world.key}
    made |= {
        "as it is": job(),
        "the activity": job(world=NOTHING["the activity"]),
        "a clip's name": job(world=World(recording="other")),
        "activities": job(world=World(activities=("b", "a"))),
        "threads": job(threads=2),
        "device": job(device="meta"),
        "weights": by_file(weights),
    }
    shutil.copy(weights, tmp_path / "elsewhere.bin")
    assert by_file(tmp_path / "elsewhere.bin") == made["weights"]
    np.ones(6, np.float32).tofile(weights)
    made["other weights in that file"] = by_file(weights)
    for number, one in enumerate(SHIFTS):
        monkeypatch.setattr(sys.modules[__name__], "shift", one)
        made[f"augmenting by {number}"] = job(["methods.one.augment.m=tests.test_keys:shift"])
    others = {name: job() for name in elsewhere(monkeypatch) if name != "av's version"}
    assert others.pop("the kind of numbers") == made["as it is"]  # jobs settle torch's switches
    made |= others
    assert len(set(made.values())) == len(made), made
    heirs = {
        "as it is": job(method="heir"),
        **{name: job([one], method="heir") for name, one in SETS.items()},
    }
    assert len(set(heirs.values())) == len(heirs)  # a donor's setting is an heir's


def test_names_order_place_and_trackers_are_in_no_job_s_key(tmp_path, monkeypatch):
    before = job()
    assert job(["name=other"]) == before
    for trackers in ('train.log=["tensorboard", "mlflow"]', 'methods.one.train.log=["mlflow"]'):
        assert job([trackers]) == before and job([trackers], method="heir") == job(method="heir")
    assert job(["train.args={ eps = 1e-7, alpha = 0.9, lr = 1e-3 }"]) == before
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "anything").write_text("of the same name as the modality")
    assert job() == before
    assert job() == before


def test_a_fifth_person_changes_only_the_jobs_that_they_are_in():
    more = World(subjects=(*SUBJECTS, "9"))
    assert jobs() == jobs(world=more)
    some = ["protocol={ subjects = ['1', '2', '3', '4'] }"]
    assert len(jobs(some)) == 4 and jobs(some) == jobs(some, world=more)
    everybody = ["protocol={ kind = 'leave-one-subject-out' }"]
    assert not set(jobs(everybody).values()) & set(jobs(everybody, world=more).values())
    assert jobs(some) == jobs(everybody)


def frozen_grids(world, gain=1.0, donor="0"):
    torch.manual_seed(0)
    clips = cut(world.dataset(), None, ["m"])
    network = Network({"m": Weighed((6, 3), gain=gain)}, nn.Identity(), ["m"])
    donors = {"m": Path(donor) / "weights.safetensors"}
    return known_grids(network, Method(), donors, clips, "cpu").arrays["m"]


def test_grids_of_a_frozen_encoder_are_one_file_and_the_same_whoever_else_is_there():
    before, fifth = frozen_grids(MADE), frozen_grids(World(subjects=(*SUBJECTS, "9")))
    assert len(before.files) == len(fifth.files) == 1 and frozen_grids(MADE) == before
    rows = np.arange(len(before))
    assert len(fifth) > len(before) and torch.equal(before.read(rows), fifth.read(rows))
    others = [frozen_grids(CLIPS["a reading"]), frozen_grids(MADE, gain=2.0), frozen_grids(MADE, donor="1")]
    assert not any(set(other.files) & set(before.files) for other in (fifth, *others))


def test_grids_of_several_files_stand_in_one_in_the_clips_order():
    clips = cut(MADE.dataset(), None, ["m"])
    order = np.random.default_rng(0).permutation(len(clips.table)).tolist()
    shuffled = replace(clips, arrays={"m": clips.arrays["m"].among(order)})
    torch.manual_seed(0)
    network = Network({"m": Weighed((6, 3))}, nn.Identity(), ["m"])
    grids = known_grids(network, Method(), {"m": Path("0") / "weights"}, shuffled, "cpu").arrays["m"]
    expected = network.encoders["m"](clips.arrays["m"].read(np.array(order))).half().float()
    assert len(clips.arrays["m"].files) > 1
    torch.testing.assert_close(grids.read(np.arange(len(order))), expected, rtol=1e-3, atol=0)


def test_averages_are_kept_for_each_person():
    def averages(world):
        clips = cut(world.dataset(), None, ["m"])
        network = Network({"m": nn.Identity()}, Averaging())
        return known_grids(network, Method(), {}, clips, "cpu").arrays[mean_of("m")].files

    before = averages(MADE)
    assert len(before) == len(SUBJECTS) and averages(World(subjects=(*SUBJECTS, "9")))[:4] == before
    now = averages(CLIPS["a reading"])
    assert now[0] != before[0] and now[1:] == before[1:]


class Averaging(nn.Identity):
    reads = Reads(mean={"m"})


MINE = """
import plait
import plait.encoders
from plait.fusion import Led
from torch import nn

class Mine(nn.Module):
    def forward(self, x):
        from plait.report.drawing import style
        return x
"""
ASKED = """
import importlib, json, pkgutil, sys
if sys.argv[1:]:
    import plait
    for module in pkgutil.walk_packages(plait.__path__, "plait."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
import mine
from plait.encoders.glove import GloveNet
from plait.pretrained import efficientnet_lite0
from plait.keying import source_key
things = [mine.Mine, mine.plait.run, mine.Led, GloveNet, efficientnet_lite0]
print(json.dumps([source_key([thing]) for thing in things]))
"""


@pytest.mark.slow
def test_what_a_process_has_imported_besides_decides_nothing(tmp_path):
    """A command line, a test, a worker on a cluster: each has other modules when it asks for the same."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "asked.py").write_text(ASKED)
    little = subprocess.Popen([sys.executable, tmp_path / "asked.py"], stdout=subprocess.PIPE)
    code, much, fault = script(tmp_path / "asked.py", "all").ended()  # and whatever its server has loaded
    assert code == 0, fault
    told = json.loads(little.communicate()[0])
    assert told == json.loads(much) and len(set(told)) == len(told)


@pytest.mark.parametrize("marked", ["", "outer", "inner", "outer inner"])
@pytest.mark.parametrize("imported", [False, True])
def test_code_in_folders_without_init_counts_whoever_imported_the_package_above(
    tmp_path, monkeypatch, marked, imported
):
    """`outer.inner.deep`, which a function of the user's imports as it runs; any folder may be no package."""
    outer = f"outer{abs(hash((marked, imported))) % 10**8}"
    deep = tmp_path / outer / "inner" / "deep.py"
    deep.parent.mkdir(parents=True)
    for folder, name in ((tmp_path / outer, "outer"), (deep.parent, "inner")):
        if name in marked.split():
            (folder / "__init__.py").write_text("")
    (tmp_path / f"uses_{outer}.py").write_text(f"def use():\n    from {outer}.inner.deep import value\n")
    monkeypatch.syspath_prepend(tmp_path)
    use = importlib.import_module(f"uses_{outer}").use
    if imported:
        importlib.import_module(outer)
    keys = []
    for time_s, code in enumerate(("value = 1", "value = 1  # the same", "value = 2")):
        deep.write_text(code)
        os.utime(deep, (time_s, time_s))
        keys.append(keying.source_key([use]))
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("how", ["imported", "imported as it runs"])
def test_code_in_an_archive_is_refused_for_no_key_would_hold_it(tmp_path, monkeypatch, how):
    inside = f"inside{abs(hash(how)) % 10**8}"
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr(f"{inside}.py", "def use(): pass")
    monkeypatch.syspath_prepend(tmp_path / "code.zip")
    if how == "imported":
        use = importlib.import_module(inside).use
    else:
        (tmp_path / f"uses_{inside}.py").write_text(f"def use():\n    import {inside}\n")
        monkeypatch.syspath_prepend(tmp_path)
        use = importlib.import_module(f"uses_{inside}").use
    with pytest.raises(ConfigError, match=rf"^module '{inside}' is read from .*code\.zip, expected a folder"):
        keying.source_key([use])


def test_who_installed_a_package_is_who_python_says():
    theirs = importlib.metadata.packages_distributions()
    mine = keying._distributions.__wrapped__()  # sys.path may have grown since it was kept
    assert len(theirs) > 50 and "torch" in mine
    assert all(set(who) <= mine[package] for package, who in theirs.items() if package.isidentifier())
