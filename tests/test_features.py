"""The feature store: found again, gone on with after a kill, keyed by what decides it."""

import json
import shutil
import signal
import time
import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from plait.clips import Windows, apart, arrays, listed, stored, tensors, write_clips
from plait.clips.apart import cut_apart
from plait.compute.ahead import ahead as made_ahead
from plait.compute.crew import Crew
from plait.datasets.simulated import SIMULATED
from plait.encoders.frames import FrameNet
from plait.encoders.i3d import I3D
from plait.encoders.tokens import TokenGrid
from plait.encoders.video3d import Clip3D
from plait.errors import ConfigError, DataError, PlaitError, PlaitWarning
from plait.features.extraction import Extraction, extract
from plait.features.ranges import other_range
from plait.objects import made, resolve
from plait.recordings.ingest import ingest
from plait.recordings.synchronise import synchronise
from plait.simulator.simulate import simulate
from plait.simulator.writer import Settings
from plait.store import cache_folder
from plait.study.run import run_study
from tests import tiny
from tests.commands import started

LITE0 = "plait.pretrained:efficientnet_lite0"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A clip table of two simulated people, eight clips each."""
    folder = tmp_path_factory.mktemp("simulated")
    for raw in simulate(folder / "raw", 2, Settings(0, 8, 96, 10), workers=1):
        recording, _ = ingest([raw], folder / "recordings")
        synchronise(recording, {"left": 0.0, "right": 0.0})
    named = "plait.datasets.simulated:SIMULATED"
    write_clips(folder / "recordings", folder / "clips", Windows(5.36, unlabelled="neutral"), dataset=named)
    return folder / "clips"


class Summed(nn.Module):
    """Random weights on each reading, summed over time: a grid of two channels."""

    def __init__(self, shape, scale=1.0):
        super().__init__()
        self.weight = nn.Parameter(scale * torch.randn(shape[-1], 2))

    def forward(self, x):
        return x @ self.weight


class Broken(nn.Module):
    def __init__(self, shape, how="infinite"):
        super().__init__()
        self.how = how

    def forward(self, x):
        return {"infinite": x * 1e9, "pooled": x.sum(), "fine": x}[self.how]


def keyed(dataset=tiny.TINY):
    """TINY, whose recordings say what they were read from."""
    return replace(dataset, recordings=keyed_recordings)


def keyed_recordings(data):
    for recording in tiny.recordings(data):
        yield replace(recording, key=recording.name)


def spoilt_in_one(data):
    for recording in keyed_recordings(data):
        if recording.name == "r2":
            recording.streams["a"].values[300:] = np.nan
        yield recording


def of(how, dataset=None, **settings):
    dataset = dataset or tiny.TINY
    return extract(dataset, listed(dataset, None, ["a"]), "a", how, **settings)


def files(found):
    """The bytes of every array."""
    return {file: file.read_bytes() for file in found.rows.files}


@pytest.mark.parametrize("dataset", [tiny.TINY, keyed()])
@pytest.mark.parametrize("batch", [1, 5])
def test_rows_are_the_encoder_on_each_clip(dataset, batch):
    told = []
    found = of(
        Extraction("tests.test_features:Summed", {"scale": 0.5}, batch=batch),
        dataset,
        progress=lambda step: told.append(step[:3]),
    )
    cuts = listed(dataset, None, ["a"])
    torch.manual_seed(0)
    network = Summed((8, 2), 0.5)
    expected = torch.stack([network(x) for x in tensors(dataset.modality("a"), cuts)])
    assert len(found.rows.files) == 4 and {np.load(file).shape for file in found.rows.files} == {(16, 8, 2)}
    whole, index = found.written()
    array = np.load(whole, mmap_mode="r")
    assert array.dtype == np.float16 and array.shape == (64, 8, 2) and found.shape == (8, 2)
    np.testing.assert_array_equal(array, expected.detach().numpy().astype(np.float16))
    index = pl.read_parquet(index)
    assert index["clip"].to_list() == [clip.name for _, clip in cuts] and index["row"].to_list() == list(
        range(64)
    )
    assert index.columns == [
        "row",
        "clip",
        "recording",
        "subject",
        "activity",
        "start_s",
        "stop_s",
        "session",
    ]
    assert told[0] == (0, 64, "clips of a through Summed") and told[-1][:2] == (64, 64)
    seal = json.loads(found.rows.files[0].with_suffix(".json").read_text())
    assert seal["settings"]["args"] == {"scale": 0.5} and seal["size"] == 128 + 16 * 32
    before = [file.stat().st_mtime_ns for file in found.rows.files]
    again = of(Extraction("tests.test_features:Summed", {"scale": 0.5}, batch=batch), dataset)
    assert again.rows == found.rows and [file.stat().st_mtime_ns for file in again.rows.files] == before
    assert again.written()[0] == whole


@pytest.mark.parametrize("batch", [1, 5])
def test_whatever_was_written_a_stopped_run_comes_to_the_same_files(batch):
    how = Extraction("tests.test_features:Summed", {"scale": 3.0}, batch=batch)
    found = of(how, keyed())
    whole = files(found)
    for length in (0, 3, 100, 127, 128, 129, 128 + 32 * 7 + 5, 128 + 32 * 16 - 1, 128 + 32 * 16):
        second = sorted(whole)[1]
        for file in sorted(whole)[1:]:  # the first stands, the second was in work
            file.unlink()
        second.with_name(f".making-{second.name}").write_bytes(whole[second][:length])
        told = []
        assert files(of(how, keyed(), progress=lambda step: told.append(step[:3]))) == whole  # noqa: B023
        kept = max(0, length - 128) // 32
        kept = kept if kept == 16 else kept // batch * batch
        assert told[0][0] == 16 + kept
        assert not list(second.parent.glob(".making-*"))


def test_a_run_stopped_when_all_was_written_goes_on_without_the_cluster():
    class Nobody:
        threads = torch.get_num_threads()

    how = Extraction("tests.test_features:Summed", {"scale": 5.0})
    whole = files(of(how, keyed()))
    for file in whole:
        file.rename(file.with_name(f".making-{file.name}"))
    assert files(of(how, keyed(), cluster=Nobody())) == whole


def test_a_fifth_person_costs_nobody_else_s_features():
    """Nor does one who leaves; what the others have is the same file, byte for byte."""

    def of_people(*people):
        told = []
        dataset = replace(tiny.TINY, recordings=Chosen(people))
        cuts = listed(dataset, None, ["a"])
        found = extract(dataset, cuts, "a", how, progress=lambda step: told.append(step[:2]))
        return found.rows, told

    how = Extraction("tests.test_features:Summed", {"scale": 7.0}, batch=5)
    three, told = of_people("1", "2", "10")
    assert told[0] == (0, 48)
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in three.files}
    four, told = of_people("1", "2", "3", "10")
    assert told[0] == (48, 64) and set(three.files) < set(four.files)
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in three.files} == before
    both, told = of_people("3", "1")
    assert told == [] and set(both.files) < set(four.files)


def test_recordings_of_a_single_clip_are_kept_together_by_subject():
    def singles(data):
        for recording in keyed_recordings(data):
            for number, span in enumerate(recording.spans[:3]):
                name = f"{recording.name}-{number}"
                yield replace(recording, name=name, spans=(span,))

    dataset = replace(tiny.TINY, recordings=singles)
    cuts = sorted(listed(dataset, None, ["a"]), key=lambda one: one[1].name[-1])  # people take turns
    rows = extract(dataset, cuts, "a", Extraction("tests.test_features:Summed", batch=2)).rows
    assert len(rows.files) == 4 and [place for _, place in rows.places] == [0] * 4 + [1] * 4 + [2] * 4
    torch.manual_seed(0)
    network = Summed((8, 2))
    expected = torch.stack([network(x) for x in tensors(dataset.modality("a"), cuts)])
    assert torch.equal(rows.read(np.arange(12)), expected.detach().half().float())


@dataclass(frozen=True)
class Chosen:
    """The recordings of some people: who they are changes no recording, so it is left out of keys."""

    people: tuple[str, ...]

    def __call__(self, data):
        yield from (one for one in keyed_recordings(data) if one.subject in self.people)

    def __getstate__(self):
        return None


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (Extraction("tests.test_features:Broken"), "Broken gives values that are not finite in float16"),
        (
            Extraction("tests.test_features:Broken", {"how": "pooled"}),
            r"Broken gave shape \(\), expected a tensor",
        ),
        (Extraction("tests.test_features:Brokn"), "did you mean 'Broken'?"),
        (Extraction("tests.test_features:Broken", {"what": 1}), "unexpected keyword argument 'what'"),
    ],
)
def test_encoders_that_cannot_be_are_refused(how, said):
    with pytest.raises(PlaitError, match=said.replace("?", r"\?")) as caught:
        of(how, where="methods.x.encoders.a.features")
    assert str(caught.value).startswith("methods.x.encoders.a.features: ") and "\n" not in str(caught.value)


def test_a_bad_clip_is_named_and_the_good_ones_are_kept():
    def spoilt(data):
        for recording in keyed_recordings(data):
            if recording.name == "r3":
                recording.streams["a"].values[300:] = np.nan
            yield recording

    dataset = replace(tiny.TINY, recordings=spoilt)
    with pytest.raises(DataError, match="recording r3, modality a: values that are not finite"):
        of(Extraction("tests.test_features:Summed"), dataset)
    told = []
    with pytest.raises(DataError, match="recording r3"):
        of(Extraction("tests.test_features:Summed"), dataset, progress=lambda step: told.append(step[:2]))
    assert told == [(47, 64)]
    for part in cache_folder("features").glob(".making-*.npy"):
        part.unlink()


@pytest.mark.slow
def test_several_at_a_time_make_the_files_of_one_at_a_time(quick_workers):
    """Keys and bytes are the same, what a killed process left is gone on from, a bad one loses none."""
    how = Extraction("tests.test_features:Summed", {"scale": 11.0}, batch=5)
    whole = files(of(how, keyed()))
    for file in whole:
        file.unlink()
    second = sorted(whole)[1]
    second.with_name(f".making-{second.name}").write_bytes(whole[second][: 128 + 32 * 7 + 5])
    told = []
    found = of(how, keyed(), crew=Crew(3), progress=lambda step: told.append(step[:2]))
    assert files(found) == whole and told[-1] == (64, 64)
    assert not list(second.parent.glob(".making-*"))

    for file in whole:
        file.unlink()
    with pytest.raises(DataError, match="^recording r2, modality a: values that are not finite, expected"):
        of(how, replace(tiny.TINY, recordings=spoilt_in_one), crew=Crew(2))
    left = {file: file.read_bytes() for file in second.parent.glob("[!.]*.npy")}
    assert len(left) == 3 and set(left.values()) < set(whole.values())  # keys hang on who reads


def test_films_cut_by_a_crew_are_what_studies_find(clips, monkeypatch, quick_workers):
    cuts = listed(SIMULATED, clips, ["thumbnails"])
    alone = {
        file.stem: file.read_bytes()
        for file in stored(SIMULATED, cuts, ["thumbnails"]).arrays["thumbnails"].files
    }
    shutil.rmtree(cache_folder("clips"))
    cut_apart(SIMULATED, cuts, ["thumbnails", "gloves"], Crew(2))  # small films: nothing is done
    assert not list(cache_folder("clips").glob("of-*"))
    monkeypatch.setattr(apart, "LEAST", 0)
    cut_apart(SIMULATED, cuts, ["thumbnails", "gloves"], Crew(2))
    assert len(list(cache_folder("clips").glob("of-*"))) == 2  # of films alone
    monkeypatch.setattr(arrays, "tensors", None)
    found = stored(SIMULATED, cuts, ["thumbnails"]).arrays["thumbnails"]
    assert {file.stem: file.read_bytes() for file in found.files} == alone and len(alone) == 2


def test_overlapping_windows_decode_shared_frames_once(clips, tmp_path, monkeypatch):
    from plait.recordings.video import Video

    modality = SIMULATED.modality("video")
    dense = Windows(5.36, purity=0.6, unlabelled="neutral", stride_s=1.34)
    write_clips(clips.parent / "recordings", tmp_path, dense)
    cuts = [one for one in listed(SIMULATED, tmp_path, ["video"]) if one[0].name == "01"]
    shaped = []
    monkeypatch.setattr(Video, "_picture", lambda *a, own=Video._picture: shaped.append(a[1].pts) or own(*a))
    made = list(tensors(modality, cuts))
    assert len(made) == len(cuts) > 4 and made[0].shape == (32, 224, 224, 3)
    assert len(shaped) == len(set(shaped)) < 0.6 * 32 * len(cuts)


@pytest.mark.slow
def test_lite0_on_simulated_recordings_killed_and_resumed(clips, tmp_path):
    """SIGKILL in the middle; the same command goes on and leaves the file of a run left alone."""

    def command(folder):
        return started("features", *asked, PLAIT_CACHE=str(tmp_path / folder))

    small = ("--set", "pool='space'", "--set", "size=64")
    asked = (clips, "--encoder", LITE0, "--modality", "thumbnails", *small)
    alone, killed = command("alone"), command("killed")
    while killed.process.is_alive():
        parts = list((tmp_path / "killed").glob("features/.making-*.npy"))
        if parts and parts[0].stat().st_size > 128 + 3 * 32 * 320 * 2:
            break
        time.sleep(0.02)
    killed.process.kill()
    assert killed.ended()[0] == -signal.SIGKILL and not list((tmp_path / "killed/features").glob("[!.]*.npy"))
    code, out, told = command("killed").ended()
    assert code == 0, told
    assert "of them done before" in told
    assert alone.ended()[0] == 0
    left = [
        {f.name: f.read_bytes() for f in (tmp_path / n / "features").glob("[!.]*")}
        for n in ("alone", "killed")
    ]
    assert left[0] == left[1]
    [one] = (tmp_path / "killed" / "features").glob("all-*.npy")
    # a file for each of two, and one of both
    assert len(left[0]) == 2 * 2 + 3 and np.load(one).shape == (16, 32, 320)
    assert str(one) in out and "(32, 320), float16" in out
    modality = SIMULATED.modality("thumbnails")
    first = next(tensors(modality, listed(SIMULATED, clips, ["video"])))
    network = made(resolve(LITE0, ""), (tuple(first.shape),), {"pool": "space", "size": 64}, "").eval()
    with torch.inference_mode():
        np.testing.assert_allclose(np.load(one)[0], network(first[None].float())[0], rtol=5e-3, atol=5e-3)


def test_a_clip_table_without_a_data_set(clips, tmp_path, capsys, monkeypatch):
    from plait.cli import app

    write_clips(Path(clips).parent / "recordings", tmp_path / "bare", Windows(5.36, unlabelled="neutral"))
    arguments = ["features", str(tmp_path / "bare"), "--encoder", "tests.test_features:Broken"]
    app([*arguments, "--set", "how=fine", "--fps", "1"], standalone_mode=False)
    assert "(5, 224, 224, 3), float16" in capsys.readouterr().out
    for more, said in {
        ("--workers", "2", "--ray"): "--workers: not with --ray",
        ("--memory", "2"): "--memory: expected --workers beside it",
    }.items():
        with pytest.raises(ConfigError, match=said):
            app([*arguments, *more], standalone_mode=False)
    with pytest.raises(
        PlaitError, match="no modality 'glove', expected one of: video, thumbnails, gloves"
    ) as caught:
        app(["features", str(clips), "--encoder", LITE0, "--modality", "glove"], standalone_mode=False)
    assert "\n" not in str(caught.value)


FEATURES = {"features": {"use": "tests.test_features:Summed", "args": {"scale": 0.75}}}


class TestStudies:
    def study(self, **own):
        """Method a on features alone, again on top of them, b as it is, and fusions of both."""
        return tiny.study(
            seeds=[0],
            protocol={"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"]},
            train={"max_epochs": 1},
            encoders={"a": FEATURES},
            methods={
                "a": {"use": "plait.fusion:Single", "args": {"modality": "a"}},
                "plain": {
                    "use": "plait.fusion:Single",
                    "args": {"modality": "a"},
                    "encoders": {"a": {"use": "tests.tiny:Linear"}},
                },
                "top": {
                    "use": "plait.fusion:Concat",
                    "encoders": {"a": {**FEATURES, "use": "tests.tiny:Linear", "args": {"channels": 3}}},
                },
                "heir": {
                    "use": "plait.fusion:Led",
                    "args": {"lead": "a"},
                    "encoders": {"a": {"from": "top"}},
                },
                "cold": {"use": "plait.fusion:Concat", "encoders": {"a": {"from": "top", "frozen": True}}},
                "average": {"average": ["a", "plain"]},
            }
            | own,
        )

    def test_methods_take_features_or_clips(self, tmp_path):
        told = []
        run_study(self.study(), None, tmp_path / "run", progress=lambda step: told.append(step[:3]))
        assert (0, 64, "clips of a through Summed") in told
        table = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
        assert set(table["method"]) == {"a", "plain", "top", "heir", "cold", "average"}
        rows = json.loads((tmp_path / "run" / "run.json").read_text())["methods"]
        assert rows["a"]["encoders"]["a"]["features"] == "tests.test_features:Summed {'scale': 0.75}"
        assert rows["top"]["encoders"]["a"]["network"] == "tests.tiny:Linear {'channels': 3}"
        assert rows["a"]["parameters"] < rows["plain"]["parameters"]
        before = (tmp_path / "run" / "predictions.parquet").read_bytes()
        run_study(tmp_path / "run" / "study.toml", None, tmp_path / "again")
        assert (tmp_path / "again" / "predictions.parquet").read_bytes() == before
        told.clear()
        run_study(self.study(), None, tmp_path / "run", progress=lambda step: told.append(step[:3]))
        assert told == [(5, 5, "jobs")]

    def test_other_features_are_other_jobs(self, tmp_path):
        run_study(self.study(), None, tmp_path, only=["a", "plain"])
        told = []
        sets = ["encoders.a.features.args.scale=0.25"]
        run_study(
            self.study(),
            None,
            tmp_path,
            only=["a", "plain"],
            sets=sets,
            progress=lambda step: told.append(step[:3]),
        )
        assert told[-2] == (1, 2, "jobs") and told[-1][2].split(",")[0] == "a"

    @pytest.mark.parametrize(
        ("sets", "said"),
        [
            (["encoders.c.use=x:Y"], "encoders: unknown modality 'c', expected one of: a, b"),
            (['encoders.a={from="a"}'],
             "encoders.a.from: expected 'use' or 'features', for it is for all methods"),
            (["encoders.a.features.engin=1"],
             "encoders.a.features.engin: unknown key, did you mean 'engine'?"),
            (["encoders.a.features.engine=fast"], "encoders.a.features.engine: got 'fast'"),
            (["encoders.a.features.batch=0"], "encoders.a.features.batch: got 0"),
            (["encoders.a.args.x=1"], "methods.a.encoders.a.args: expected 'use' beside them"),
            (["methods.heir.encoders.a.features.use=x:Y"], "heir.encoders.a.features: they are the donor's"),
            (["methods.a.augment.a=tests.tiny:double"],
             "methods.a.augment.a: its features are made once, as they are"),
            (["encoders.a.features.use=tests.test_features:None"], "methods.a.encoders.a.features: module"),
        ],
    )  # fmt: skip
    def test_mistakes_are_named(self, tmp_path, sets, said):
        with pytest.raises(ConfigError) as caught:
            run_study(self.study(), None, tmp_path, sets=sets)
        assert said in str(caught.value) and "\n" not in str(caught.value)


def test_memory_does_not_grow_with_clips(monkeypatch):
    """Batches wait in a queue of two: the decoder never runs further ahead than that."""
    ahead, seen = [], []

    def clips():
        for number in range(50):
            ahead.append(number - len(seen))
            yield torch.zeros(1)

    for item in made_ahead(clips()):
        time.sleep(0.001)
        seen.append(item)
    assert len(seen) == 50 and max(ahead) <= 3


EXPECTED = [(-1.0, 1.0), (0.0, 1.0), (0.0, 2.0), (0.0, 255.0)]
CLIP = (2, 6, 8, 3)


def scaled(levels, low, high):
    """Grey levels, 0 to 255, as values of which `low` is black and `high` white."""
    return torch.from_numpy(levels).float() / 255 * (high - low) + low


def films(brightest):
    """Levels of three clips with black borders above and below, and one that is black."""
    pictures = np.random.default_rng(0).integers(0, brightest + 1, (4, *CLIP))
    pictures[:, :, [0, -1]] = 0
    pictures[3] = 0
    return pictures


@given(expected=st.sampled_from(EXPECTED), brightest=st.integers(4, 255), letterbox=st.booleans())
def test_films_in_the_range_of_their_network_are_not_warned_of(expected, brightest, letterbox):
    pictures = films(brightest)[:, :, None if letterbox else 1 : None if letterbox else -1]
    assert other_range([scaled(clip, *expected) for clip in pictures], *expected) is None


@given(expected=st.sampled_from(EXPECTED), values=st.sampled_from(EXPECTED), brightest=st.integers(192, 255))
def test_films_in_the_range_of_another_network_are_warned_of(expected, values, brightest):
    found = other_range([scaled(clip, *values) for clip in films(brightest)], *expected)
    alike = values == expected or (values, expected) == ((0.0, 1.0), (0.0, 2.0))  # may be a dark one
    if alike:
        assert found is None
    else:
        assert found == pytest.approx(
            (values[0], values[0] + brightest / 255 * (values[1] - values[0])), abs=1e-4
        )


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.5, 300.0])
def test_clips_of_one_value_tell_nothing(value):
    assert other_range([torch.full(CLIP, value)] * 3, -1.0, 1.0) is None
    assert other_range([], -1.0, 1.0) is None and other_range([torch.zeros(0, 3)], -1.0, 1.0) is None


def test_a_few_values_beyond_are_not_warned_of():
    clip = scaled(films(255)[0], -1.0, 1.0)
    clip[0, 0, 0, 0] = 40.0
    assert other_range([clip], -1.0, 1.0) is None
    clip[:, 0] = 40.0
    assert other_range([clip], -1.0, 1.0) == (-1.0, 40.0)


class Pictured(Summed):
    """It was made for readings from -1 to 1."""

    black_and_white = (-1.0, 1.0)


@pytest.mark.parametrize("scale, warned", [(0.2, False), (100.0, True)])
def test_who_makes_features_is_warned_once_and_first(scale, warned):
    modality = replace(tiny.TINY.modality("a"), prepare=partial(times, by=scale))
    others = [one for one in tiny.TINY.modalities if one.name != "a"]
    dataset = replace(tiny.TINY, modalities=(modality, *others))
    how = Extraction("tests.test_features:Pictured")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = of(how, dataset, where="encoders.a.features")
        of(how, dataset)
    lines = [str(one.message) for one in caught if one.category is PlaitWarning]
    assert len(lines) == warned and found.shape == (8, 2)
    for line in lines:
        assert line.startswith("encoders.a.features: a goes from -") and "\n" not in line
        assert "expected -1 (black) to 1 (white), which Pictured was made for: have the modality's" in line


def times(values, by):
    return torch.from_numpy(np.asarray(values)).float() * by


@pytest.mark.parametrize("low, high, warned", [(-1.0, 1.0, True), (0.0, 255.0, False)])
def test_a_network_of_pictures_says_its_range(low, high, warned):
    network = FrameNet(nn.Identity(), CLIP, low=low, high=high)
    assert network.black_and_white == (low, high)
    assert (other_range(torch.from_numpy(films(255)).float(), *network.black_and_white) is not None) == warned
    assert I3D.black_and_white == Clip3D.black_and_white == TokenGrid.black_and_white == (-1.0, 1.0)
