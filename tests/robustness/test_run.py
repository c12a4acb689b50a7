"""A finished run under faults: as recorded it says what it said, and with faults what its networks say."""

import json
import shutil
import time
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
import tomli_w
import torch

from plait.clips import stored
from plait.errors import ConfigError, DataError
from plait.results import PREDICTIONS, UNSEEN, job_folder, read_facts, read_people, read_scores
from plait.robustness.faults import FAULTS
from plait.robustness.run import run_robustness
from plait.robustness.signals import Noisy
from plait.robustness.trials import Trial, carry_out, read_part
from plait.robustness.worsen import Condition
from plait.study.finished import FinishedRun
from plait.study.folds import folds_of
from plait.study.inputs import inputs
from plait.study.jobs import Setting, plan
from plait.study.run import run_study
from plait.study.stacks import read_layer, stacked
from plait.trust import Trust
from plait.types import Readings
from tests import less, tiny
from tests.commands import started

TRUST = Trust(frozenset({"tests.tiny", "tests.less", "tests.robustness.test_run"}))
TRAIN = {"max_epochs": 2, "args": {"lr": 0.01}}
GRAINY = "tests.robustness.test_run:Grainy"
FEWER = {"faults": ["absent", GRAINY], "modalities": ["b"]}
GONE = {**FEWER, "faults": ["absent"]}


@dataclass(frozen=True)
class Grainy(Noisy):
    """Noise of one step: what is done at one is done at all."""

    name: str = "grainy"
    severities: tuple[float, ...] = (2.0,)


class Silent:
    """A user's own fault: every reading is what it was, or 0 from the severity on."""

    unit = "clips"
    severities = (1.0,)

    def worsen(self, streams, severity, at):
        return {name: Readings(stream.times, 0 * stream.values) for name, stream in streams.items()}


class Odd(Silent):
    def worsen(self, streams, severity, at):
        return {"c": Readings(np.zeros(1), np.zeros(1))}


def robust(out, **options):
    found = run_robustness(out, trust=TRUST, say=options.pop("say", lambda line: None), **options)
    return pl.read_parquet(out / "robustness" / "robustness.parquet"), found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "run"
    run_study(tiny.study(train=TRAIN, seeds=[0]), None, out)
    return out


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="module")
def planned(finished):
    """The run, opened, and its jobs."""
    run = FinishedRun.open(finished, trust=TRUST)
    facts = run.results.facts
    setting = Setting(run.study.dataset, finished, facts.threads, facts.device)
    clips = inputs(run.study, run.dataset, run.cuts, threads=facts.feature_threads)
    folds = folds_of(run.study.protocol, [clip for _, clip in run.cuts])
    return run, plan(run.study, run.dataset, clips, folds, setting), setting


def of(table, **where):
    return table.filter(*(pl.col(name) == value for name, value in where.items()))


def scores(table):
    return np.array(table["scores"].to_list(), np.float32)


def test_as_recorded_every_score_is_the_study_s(run):
    table, _ = robust(run, faults=["absent", "late", GRAINY], modalities=["b"])
    before = pl.read_parquet(run / PREDICTIONS)
    assert of(table, fault="").select(before.columns).equals(before)
    assert table.columns == [
        "study", "method", "fold", "seed", "fault", "modality", "severity",
        "clip", "subject", "activity", "predicted", "scores",
    ]  # fmt: skip
    faults = {"absent": FAULTS["absent"], "late": FAULTS["late"], "grainy": Grainy()}
    steps = {name: sorted(set(of(table, fault=name)["severity"])) for name in faults}
    assert steps == {name: list(fault.severities) for name, fault in faults.items()}
    readers = {"b", "average", "concat", "a-led"}  # whoever does not read b has no rows
    assert set(table.filter(pl.col("fault") != "")["method"]) == readers
    assert len(of(table, fault="late")) == 4 * len(readers) * 64


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in ("dark", "blurred", "occluded")])
def test_at_severity_0_clips_that_are_cut_anew_give_the_same_scores(finished, planned, tmp_path, name):
    run, jobs, setting = planned
    for modality in "ab":
        of_fold = [job for (_, fold, seed), job in jobs.items() if (fold, seed) == ("2", 0)]
        readers = tuple(job for job in of_fold if modality in job.method.modalities)
        cuts = tuple(cut for cut in run.cuts if cut[1].subject == "2")
        condition = Condition(name, FAULTS[name], modality, 0.0)
        trial = Trial("none", condition, cuts, readers, "key")
        (tmp_path / modality).mkdir()
        (tmp_path / modality / "jobs").symlink_to(finished / "jobs")
        carry_out(trial, replace(setting, out=tmp_path / modality))
        part = read_part(tmp_path / modality / trial.leaves)
        for job in readers:
            then = read_scores(job_folder(finished, job.key), PREDICTIONS)
            assert of(part, job=job.key).select(then.columns).equals(then)


def test_late_clips_are_those_that_a_late_sensor_would_give(run):
    table, found = robust(run, faults=["late"], modalities=["b"], only=["concat"])
    late = {}
    for sign in (-1, 1):
        recordings = {}
        for recording, _ in found.cuts:
            stream = recording.streams["b"]
            shifted = Readings(stream.times + sign * 0.5, stream.values)
            recordings[recording] = replace(recording, streams={**recording.streams, "b": shifted})
        cuts = [(recordings[recording], clip) for recording, clip in found.cuts]
        late[sign] = stored(tiny.TINY, cuts, ["a", "b"])
    signs = set()
    for fold in tiny.SUBJECTS:
        clips = found.clips("concat")
        network = found.network("concat", f"{fold}/0", clips)
        rows = found.tested("concat", f"{fold}/0")
        told = of(table, fault="late", method="concat", fold=fold, seed=0, severity=0.5)
        seen = (told["predicted"] != UNSEEN).to_numpy()
        assert seen[1:].all()  # at the recording's very beginning a late sensor says nothing
        right = []
        for sign, one in late.items():
            batch = {"a": clips.batch(["a"], rows)["a"], "b": one.batch(["b"], rows)["b"]}
            with torch.inference_mode():
                expected = network(batch).softmax(1).numpy()
            if np.allclose(expected[seen], scores(told)[seen], atol=1e-6):
                right.append(sign)
        assert len(right) == 1 and (right == [1]) == (not seen[0])
        signs |= set(right)
    assert signs == {-1, 1}


def test_absent_is_without_and_the_mean_of_training_clips_stands_in(run):
    table, found = robust(run, faults=["absent", "stand-in"])
    clips = found.clips("a-led")
    assert set(of(table, fault="absent", method="concat")["predicted"]) == {UNSEEN}
    assert set(of(table, fault="absent", method="a-led", modality="a")["predicted"]) == {UNSEEN}
    for fold in tiny.SUBJECTS:
        network, rows = found.network("a-led", f"{fold}/0", clips), found.tested("a-led", f"{fold}/0")
        job = run / "jobs" / found.methods["a-led"].keys[f"{fold}/0"]
        train = clips.of(json.loads((job / "job.json").read_text())["decided by"]["fold"]["train"])
        with torch.inference_mode():
            both = clips.batch(["a", "b"], rows)
            alone = network({"a": both["a"]}).softmax(1).numpy()
            mean = clips.batch(["b"], train)["b"].double().mean(0).float()
            replaced = network({"a": both["a"], "b": mean.expand_as(both["b"])}).softmax(1).numpy()
        where = {"method": "a-led", "modality": "b", "fold": fold, "seed": 0}
        np.testing.assert_allclose(scores(of(table, fault="absent", **where)), alone, atol=1e-6)
        np.testing.assert_allclose(scores(of(table, fault="stand-in", **where)), replaced, atol=1e-5)
    averaged = of(table, fault="absent", modality="b", method="average")
    alone = of(table, fault="", method="a")
    np.testing.assert_allclose(scores(averaged), scores(alone), atol=1e-7)  # of whoever still sees something


def test_what_is_done_is_kept_and_shared(run, quick_workers):
    told = []
    robust(run, **FEWER, only=["b"], progress=lambda step: told.append(step[:2]))
    assert told[-1] == (4 * 3, 4 * 3)  # folds; as recorded, 1 + 1 steps
    alone = parts_of(run)
    table, _ = robust(run, **FEWER)
    parts = parts_of(run)
    looked_at = Counter((part["trial"], job) for part in parts.values() for job in part["jobs"])
    assert set(looked_at.values()) == {1}  # b has been looked at
    assert alone.items() <= parts.items() and len(parts) == 2 * len(alone)
    before = (run / "robustness" / "robustness.parquet").read_bytes()
    del told[:]
    robust(run, **FEWER, progress=lambda step: told.append(step[:2]))
    assert told == [(0, 0)] and (run / "robustness" / "robustness.parquet").read_bytes() == before
    for part in [*parts][::3]:
        shutil.rmtree(part)
    robust(run, **FEWER, executor="processes", workers=1)
    assert (run / "robustness" / "robustness.parquet").read_bytes() == before
    assert not list((run / "robustness" / "clips").iterdir())
    other, _ = robust(run, **FEWER, seed=1)
    noisy = of(table, fault="grainy", method="b")
    assert len(noisy) == 64 and not of(other, fault="grainy", method="b").equals(noisy)
    assert of(other, fault="absent").equals(of(table, fault="absent"))


def parts_of(run):
    """What each folder of a part says."""
    files = (run / "robustness" / "parts").glob("*/part.json")
    return {file.parent: json.loads(file.read_text()) for file in files}


@pytest.mark.slow
def test_killed_half_way_and_started_again_it_ends_with_the_same_bytes(tmp_path):
    methods = {"b": tiny.study()["methods"]["b"]}
    study = tiny.study(train={"max_epochs": 1}, methods=methods, seeds=[0])
    (tmp_path / "study.toml").write_text(tomli_w.dumps(study))
    asked = ["run", "study.toml", "--data", ".", "--out", "run", "--executor", "inline"]
    assert started(*asked, folder=tmp_path).ended()[0] == 0  # whose code is without the checks of tests
    asked = [
        "robustness",
        "run",
        "--trust",
        "tests.tiny",
        "--fault",
        "noisy",
        "--workers",
        1,
    ]
    run = tmp_path / "run"
    whole = shutil.copytree(run, tmp_path / "whole" / "run")
    begun = started(*asked, folder=tmp_path)
    killed = begun.process
    parts = run / "robustness" / "parts"

    def done():
        return [path for path in parts.glob("*") if not path.name.startswith(".")]

    while len(done()) < 3:
        assert killed.is_alive(), begun.said[1].read_text()
        time.sleep(0.01)
    killed.kill()
    killed.join()
    time.sleep(1)  # the worker ends with its parent
    assert 3 <= len(done()) < 4 * 5 and not (run / "robustness" / "robustness.parquet").exists()
    for folder in (tmp_path, whole.parent):
        assert started(*asked, "--executor", "inline", folder=folder).ended()[0] == 0
    for name in ("robustness.parquet", "people.parquet", "curves.csv", "robustness.md", "noisy.svg"):
        one, other = (folder / "robustness" / name for folder in (run, whole))
        assert one.read_bytes() == other.read_bytes()


def test_a_run_that_is_not_what_it_was_is_refused_in_one_line(run, tmp_path, monkeypatch):
    def refused(match, kind=DataError, **options):
        with pytest.raises(kind, match=match) as error:
            robust(run, **{**FEWER, **options})
        assert len(str(error.value).splitlines()) == 1

    refused("--fault fog: unknown", ConfigError, faults=["fog"])
    refused("--modality c: unknown, expected some of: a, b", ConfigError, modalities=["c"])
    refused("no method that is looked at reads it", ConfigError, only=["a"])
    refused("--fault dark: cannot befall b", ConfigError, faults=["dark"])
    refused("no method 'z'", ConfigError, only=["z"])
    refused("expected some of the streams", ConfigError, faults=["tests.robustness.test_run:Odd"])
    with monkeypatch.context() as patch:

        def otherwise(data):
            for recording in tiny.recordings(data):
                stream = recording.streams["b"]
                changed = Readings(stream.times, stream.values + (recording.subject == "3"))
                yield replace(recording, streams={**recording.streams, "b": changed})

        patch.setattr(tiny, "TINY", replace(tiny.TINY, recordings=otherwise))
        refused("stream 'b' of 3 holds something else in .* than when it was run: .* --data")
        facts = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(facts | {"people": {}}))  # of an older plait
        refused("clips are others")
    with monkeypatch.context() as patch:
        patch.setattr(tiny.Linear, "forward", lambda self, x: self.linear(x))
        refused("the method|encoders|code")
    facts = read_facts(run)
    one, other = (job_folder(run, facts.methods["b"].keys[f"{fold}/0"]) for fold in ("1", "2"))
    shutil.copy(one / "weights.safetensors", other / "weights.safetensors")
    refused("the weights do not give the run's own scores of b, fold 2, seed 0")
    (other / "weights.safetensors").unlink()
    refused("weights of b, fold 2, seed 0")
    (run / "run.json").unlink()
    refused("run `plait run` first")


def test_another_machine_s_run_is_looked_at_with_a_word(run):
    facts = json.loads((run / "run.json").read_text())
    for row in facts["methods"].values():
        for place, key in row["keys"].items():
            row["keys"][place] = f"elsewhere-{key}"
            job = (run / "jobs" / key).rename(run / "jobs" / f"elsewhere-{key}") / "job.json"
            told = json.loads(job.read_text())
            told["decided by"]["numerics"] = "another processor"
            job.write_text(json.dumps(told))
    (run / "run.json").write_text(json.dumps(facts))
    said = []
    table, _ = robust(run, **GONE, say=said.append)
    assert said == ["the run was made by another kind of processor or device: 0 of 320 labels differ here"]
    before = pl.read_parquet(run / PREDICTIONS)
    assert of(table, fault="").select(before.columns).equals(before)


def test_features_are_made_again_and_frozen_encoders_look_again(tmp_path):
    methods = {
        "b": {"use": "plait.fusion:Single", "args": {"modality": "b"}},
        "doubled": {
            "use": "plait.fusion:Concat",
            "encoders": {
                "a": {"features": {"use": "tests.less:Doubled"}},
                "b": {"from": "b", "frozen": True},
            },
            "args": {"head": "mean"},
        },
        "raw": {"use": "plait.fusion:Concat", "args": {"head": "mean"}},
    }
    run_study(tiny.study(train=TRAIN, methods=methods, seeds=[0]), None, tmp_path)
    own = "tests.robustness.test_run:Silent"
    table, found = robust(tmp_path, faults=[own, "stand-in", "absent"])
    clips, zeros = found.clips("doubled"), torch.zeros
    for fold in tiny.SUBJECTS:
        network, rows = found.network("doubled", f"{fold}/0", clips), found.tested("doubled", f"{fold}/0")
        batch = clips.batch(["a", "b"], rows)
        for modality in "ab":
            with torch.inference_mode():
                worse = {**batch, modality: zeros(batch[modality].shape)}
                expected = network(worse).softmax(1).numpy()
            told = of(table, fault="Silent", modality=modality, method="doubled", fold=fold)
            np.testing.assert_allclose(scores(told), expected, atol=2e-3)  # grids are kept in float16
    assert set(of(table, fault="stand-in", method="doubled")["predicted"]) <= set(tiny.ACTIVITIES)


def test_rows_made_of_others_are_made_by_the_run_s_own_layers_and_means(tmp_path):
    methods = {
        **{name: tiny.study()["methods"][name] for name in ("a", "b", "average")},
        "mixture": {"mixture": ["a", "b"]},
        "stack": {"stack": ["a", "b"], "args": {"folds": 2}},
        "ensemble": {"ensemble": "b"},
        "both": {"ensemble": "stack"},
    }
    people = {"kind": "leave-one-subject-out", "val_subjects": 1}
    run_study(
        tiny.study(train=TRAIN, methods=methods, protocol=people), None, tmp_path, say=lambda line: None
    )
    table, found = robust(tmp_path, **FEWER)
    before = pl.read_parquet(tmp_path / PREDICTIONS)
    assert of(table, fault="").select(before.columns).equals(before)
    noisy = of(table, fault="grainy", severity=2.0)
    assert set(noisy["method"]) == methods.keys() - {"a"}
    seeds = [scores(of(noisy, method="b", seed=seed)) for seed in (0, 1)]
    np.testing.assert_allclose(scores(of(noisy, method="ensemble")), np.mean(seeds, axis=0), atol=1e-6)
    assert of(noisy, method="ensemble")["seed"].null_count() == 64
    alone = of(table, fault="", method="a", seed=1, fold="3")
    layer = read_layer(job_folder(tmp_path, found.methods["stack"].keys["3/1"]) / "weights.safetensors", 2, 4)
    over = stacked(layer, [alone, of(noisy, method="b", seed=1, fold="3")], tiny.ACTIVITIES)
    told = of(noisy, method="stack", seed=1, fold="3")
    assert told["scores"].to_list() == over["scores"].to_list()
    gone = of(table, fault="absent", method="average").sort("seed", "clip")
    assert (
        gone["scores"].to_list() == of(table, fault="", method="a").sort("seed", "clip")["scores"].to_list()
    )


def test_clips_that_lack_a_sensor_already_go_on_lacking_it(tmp_path):
    data = less.put(tmp_path / "data", {"r2": {"b": 12.0}, "r3": {"b": 0}})
    study = tiny.study(train=TRAIN, seeds=[0], dataset="tests.less:TINY", missing="without")
    run_study(study, data, tmp_path / "run", say=lambda line: None)
    table, found = robust(tmp_path / "run", faults=[GRAINY, "stand-in", "absent"], modalities=["b"])
    lacking = [clip.name for _, clip in found.cuts if "b" in clip.lacks]
    assert 0 < len(lacking) < 64
    for fault in ("grainy", "stand-in"):
        rows = of(table, fault=fault, modality="b", method="concat")
        assert set(rows.filter(pl.col("clip").is_in(lacking))["predicted"]) == {UNSEEN}
        assert UNSEEN not in set(rows.filter(~pl.col("clip").is_in(lacking))["predicted"])
    gone = of(table, fault="absent", modality="b", method="a-led").filter(pl.col("clip").is_in(lacking))
    clean = of(table, fault="", method="a-led").filter(pl.col("clip").is_in(lacking))
    assert gone["scores"].to_list() == clean["scores"].to_list()
    with pytest.raises((DataError, OSError)):
        robust(tmp_path / "run", data=tmp_path / "nowhere", **FEWER)


class Unportable(Readings):
    def __reduce__(self):
        raise TypeError("a device's own handle")


def unportable(data):
    for recording in tiny.recordings(data):
        streams = {name: Unportable(one.times, one.values) for name, one in recording.streams.items()}
        yield replace(recording, streams=streams, key=recording.name)


UNPORTABLE = replace(tiny.TINY, recordings=unportable)


def test_streams_that_cannot_travel_are_looked_at_here(tmp_path):
    methods = {"b": tiny.study()["methods"]["b"]}
    study = tiny.study(
        train=TRAIN, seeds=[0], methods=methods, dataset="tests.robustness.test_run:UNPORTABLE"
    )
    run_study(study, None, tmp_path)
    with pytest.raises(ConfigError, match="cannot be sent to other processes"):
        robust(tmp_path, **FEWER, executor="processes", workers=1)
    table, _ = robust(tmp_path, **FEWER)
    assert set(table["fault"]) == {"", "absent", "grainy"}


def test_of_another_state_of_the_run_a_page_shows_nothing(run):
    robust(run, **GONE)
    facts = read_facts(run)
    people = read_people(run, facts)
    assert people is not None and set(people["subject"]) == set(tiny.SUBJECTS)
    keys = {**facts.methods["b"].keys, "1/0": "another"}
    methods = {**facts.methods, "b": replace(facts.methods["b"], keys=keys)}
    assert read_people(run, replace(facts, methods=methods)) is None
