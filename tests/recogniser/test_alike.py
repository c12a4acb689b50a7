"""What would make a recogniser's numbers others than a study's, or another recogniser's, without a word."""

import functools
import unicodedata
import warnings
from dataclasses import replace
from threading import Lock

import numpy as np
import pytest
import torch
from torch import nn

import plait
from plait.errors import PlaitWarning
from plait.recogniser import validation
from plait.recogniser.fitting import fit_model
from plait.recogniser.held import code_of
from plait.recogniser.levels import Streams, quantities, unlike
from plait.recogniser.model import read_facts
from plait.recogniser.predict import plan
from plait.recogniser.recogniser import Front, Member, Recogniser
from plait.recogniser.windows import Sliding, extent_of, extents_of, scored_extent
from plait.recordings.between import Between
from plait.recordings.sensors import SensorLog
from plait.trust import Trust
from plait.types import Readings, Recording, Span
from tests.recogniser import world

MODALITIES = world.WORLD.modalities


def recording(spans=(), **lasting):
    times = {name: np.arange(start, stop, 0.1) for name, (start, stop) in lasting.items()}
    streams = {name: Readings(at, np.zeros((len(at), 2))) for name, at in times.items()}
    return Recording("r", "1", streams, tuple(Span(*span) for span in spans))


def test_a_sensor_that_dies_does_not_shorten_what_is_scored():
    one = recording([(5.0, 80.0, "low")], a=(0, 90), b=(0, 30))
    assert scored_extent(one, MODALITIES)[1] == pytest.approx(90, abs=0.2)
    assert scored_extent(one, MODALITIES[1:]) == (0.0, 80.0)  # what is labelled counts, whoever still looks
    astray = replace(one, spans=(*one.spans, Span(85.0, 36000.0, "high"), Span(1.7e9, 1.8e9, "high")))
    assert scored_extent(astray, MODALITIES)[1] == scored_extent(one, MODALITIES)[1]
    assert scored_extent(astray, MODALITIES[1:])[1] == pytest.approx(90, abs=0.2)
    assert extent_of(extents_of(one, MODALITIES[1:]))[1] < 31


def test_time_before_zero_that_nobody_looks_at_is_not_scored():
    long = recording([(5.0, 20.0, "low")], a=(-60, 40), b=(0, 30))
    assert scored_extent(long, MODALITIES)[0] == 0.0
    assert scored_extent(replace(long, spans=(Span(-2.0, 3.0, "low"),)), MODALITIES)[0] == -2.0
    assert scored_extent(recording(), MODALITIES) is None


class Writes(nn.Module):
    """An encoder that changes what it is given."""

    def forward(self, x):
        x -= 4
        return x


class One(nn.Module):
    """The stand-in of a network: its encoder's mean."""

    needs = frozenset({"a"})

    def __init__(self):
        super().__init__()
        self.encoders = nn.ModuleDict({"a": Writes()})

    def forward(self, given, grids):
        return (grids["a"] if "a" in grids else self.encoders["a"](given["a"])).mean(dim=1)

    def sees(self, held):
        return True


@pytest.mark.parametrize("rounded", [frozenset(), frozenset({"a"})])
def test_who_writes_into_what_it_is_given_spoils_nobody_s(rounded):
    clip = {"a": torch.randn(5, 3)}
    before, member = clip["a"].clone(), Member("one", One(), {}, rounded)
    first, again = (member.logits(clip, {}) for _ in range(2))
    assert torch.equal(first, again) and torch.equal(clip["a"], before)
    features = {"key": torch.randn(5, 3)}
    kept, member = features["key"].clone(), Member("one", One(), {"a": "key"}, rounded)
    member.logits({}, features)
    assert torch.equal(features["key"], kept)
    how = type("How", (), {"engine": "torch"})()
    front = Front("a", how, Writes(), "cpu", run=lambda batch: batch.sub_(4))
    assert torch.equal(front(clip["a"]), front(clip["a"])) and torch.equal(clip["a"], before)


TABLE = [1.0, 2.0]


class Scaled:
    def __init__(self, mean):
        self.mean = mean

    def __call__(self, values):
        return values - self.mean


def by(mean):
    return lambda values: values - mean


def shifted(values, mean=0.0):
    return reads(values) - mean


def reads(values):
    KEPT["seen"] = values
    return values * TABLE[0] + DRAWS.random() + (shifted(values) if values is None else 0)


KEPT = {}
DRAWS = np.random.default_rng(0)


class Locked:
    """A prepare with a lock and a memory, which its state leaves out."""

    def __init__(self, mean):
        self.mean, self.lock = mean, Lock()

    def __getstate__(self):
        return {"mean": self.mean}

    @functools.cached_property
    def twice(self):
        return 2 * self.mean

    def __call__(self, values):
        return values - self.twice


class Slotted:
    __slots__ = ("mean",)

    def __init__(self, mean):
        self.mean = mean

    def __call__(self, values):
        return values - self.mean


def by_default(mean):
    def prepare(values, mean=mean):
        return values - mean

    return prepare


def by_attribute(mean):
    def prepare(values):
        return values - prepare.mean

    prepare.mean = mean
    return prepare


def of_class(mean):
    return type("OfClass", (), {"mean": mean, "__call__": lambda self, values: values - self.mean})()


def network(mean):
    made = nn.Linear(1, 1)
    nn.init.constant_(made.weight, mean)
    nn.init.zeros_(made.bias)
    return made


@pytest.mark.parametrize(
    "make",
    [
        lambda mean: Scaled(mean),
        lambda mean: Scaled(np.array([mean])),
        lambda mean: Scaled(torch.tensor([mean])),
        lambda mean: by(mean),
        lambda mean: functools.partial(shifted, mean=mean),
        lambda mean: functools.partial(by(mean)),
        lambda mean: Scaled(mean).__call__,
        Locked,
        Slotted,
        by_default,
        by_attribute,
        of_class,
        network,
    ],
)
def test_what_a_prepare_holds_is_part_of_its_code(make):
    assert code_of(make(1.0)) == code_of(make(1.0)) != code_of(make(2.0))


def test_what_a_prepare_reads_of_its_module_is_too(monkeypatch):
    before = code_of(shifted)
    shifted(np.ones(3))
    assert code_of(shifted) == before  # what it has kept and drawn is not what it is
    locked = Locked(1.0)
    before_call = code_of(locked)
    locked(np.ones(3))
    assert code_of(locked) == before_call
    linear = network(1.0)
    assert code_of(linear) == code_of(linear.eval())
    monkeypatch.setitem(globals(), "TABLE", [3.0, 2.0])
    assert code_of(shifted) != before
    assert code_of(world.tensor) == code_of(world.tensor)


def ran(dataset, folder):
    """A study of one sensor, after it has run."""
    methods = {"a": {"use": "plait.fusion:Single", "args": {"modality": "a"}}}
    settings = {"methods": methods, "seeds": [0], "train": {"max_epochs": 1}, "modalities": ["a"]}
    study = world.study(dataset=f"tests.recogniser.world:{dataset}", **settings)
    (folder / "data").mkdir()
    plait.run(study, folder / "data", folder / "run", doctor=False)
    return study


def test_other_numbers_in_a_prepare_are_said_and_predicted_anew(tmp_path, monkeypatch):
    held = replace(world.WORLD, modalities=tuple(replace(m, prepare=Prepared(0.0)) for m in MODALITIES))
    monkeypatch.setattr(world, "HELD", held, raising=False)
    study = ran("HELD", tmp_path)
    fit_model(study, "a", tmp_path / "data", tmp_path / "model", run=tmp_path / "run")
    tests = Trust(frozenset({"tests"}))
    code = Recogniser.load(tmp_path / "model", trust=tests).code
    held = replace(world.WORLD, modalities=tuple(replace(m, prepare=Prepared(5.0)) for m in MODALITIES))
    monkeypatch.setattr(world, "HELD", held)
    with pytest.warns(PlaitWarning, match="other code, .* than it was trained with: prepare of a"):
        assert Recogniser.load(tmp_path / "model", trust=tests).code != code


class Prepared:
    def __init__(self, mean):
        self.mean = mean

    def __call__(self, values):
        return torch.from_numpy(values).float() - self.mean


def test_labels_however_they_are_spelt_make_transitions(tmp_path, monkeypatch):
    def recordings(data):
        for number, one in enumerate(world.recordings(data)):
            forms = (str, lambda name: f"{name} ", lambda name: unicodedata.normalize("NFD", name))
            spelt = forms[number % 3]
            yield replace(one, spans=tuple(replace(s, activity=spelt(s.activity)) for s in one.spans))

    spelt = replace(world.WORLD, recordings=recordings, activities=("low", "mixed", "high"))
    monkeypatch.setattr(world, "SPELT", spelt, raising=False)
    seen = []

    def transitions(labels, activities, seconds):
        seen.extend({span.activity for one in labels for span in one})
        return made(labels, activities, seconds)

    made = validation.transition_probabilities
    monkeypatch.setattr(validation, "transition_probabilities", transitions)
    study = ran("SPELT", tmp_path)
    fit_model(study, "a", tmp_path / "data", tmp_path / "model", run=tmp_path / "run")
    assert seen and {*seen} == {*spelt.activities}


def whoever(lasting_s=None):
    """A recogniser that sees everything."""
    recogniser = type("Sees", (), {"modalities": {m.name: m for m in MODALITIES}})()
    about = {"columns": {}, "streams": {}, "activities": world.ACTIVITIES, "lasting_s": lasting_s}
    recogniser.facts = type("Facts", (), about)()
    recogniser.activities = world.ACTIVITIES
    recogniser.present = lambda streams: {*streams}
    recogniser.can_see = lambda present: True
    return recogniser


def test_a_recording_shorter_than_a_window_is_named():
    recogniser = whoever()
    with pytest.warns(PlaitWarning, match="recording r: shorter than a window of 2 s: nothing is seen"):
        (task,) = plan(recogniser, [recording(a=(0, 1.5), b=(0, 1.5))], Sliding(2.0, 1.0))
    assert task.windows == []


def test_whole_recordings_far_shorter_or_longer_than_the_clips_of_training_are_named():
    for lasts_s in (1.55, 2.0, 3.7):
        plan(whoever((2.0, 3.0)), [recording(a=(0, lasts_s))], Sliding(None))
    for lasts_s in (1.0, 48.0):
        with pytest.warns(PlaitWarning, match=r"recording r: 1 of 1 windows last .* on clips of 2 to 3 s"):
            plan(whoever((2.0, 3.0)), [recording(a=(0, lasts_s))], Sliding(None))
    with pytest.warns(PlaitWarning, match="1 of 2 windows last 9 to 9 s"):
        clips = {"r": [(0.0, 2.0), (0.0, 9.0)]}
        plan(whoever((2.0, 3.0)), [recording(a=(0, 9))], Sliding(None), clips=clips)


def test_a_stride_that_leaves_time_between_windows_is_said_once():
    two = [recording(a=(0, 9)), replace(recording(a=(0, 9)), name="s")]
    plan(whoever(), two, Sliding(2.0, 2.0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PlaitWarning)
        plan(whoever(), two, Sliding(2.0, 3.5))
    (line,) = [str(one.message) for one in caught]
    assert line.startswith("windows of 2 s, 3.5 s apart: nothing is seen in 1.5 s between two")


def waves(scale=1.0, rate_hz=50.0, seed=0, lasts_s=20.0):
    random = np.random.default_rng(seed)
    times = np.arange(0, lasts_s, 1 / rate_hz)
    numbers = random.normal(size=(len(times), 3)) * random.uniform(0.5, 2, 3) + [0, 0, 1]
    return Recording("r", "1", {"b": Readings(times, scale * numbers)}, ())


def known_of(*recordings):
    streams = Streams(["a", "b"])
    for one in recordings:
        streams.add(one)
    return streams.facts


@pytest.mark.parametrize("seed", range(5))
def test_people_are_like_each_other_and_units_are_not(seed):
    known = known_of(*(waves(seed=number) for number in range(4)))
    wants = [replace(m, streams=("b",), rate_hz=25.0) for m in MODALITIES[:1]]
    say = functools.partial(unlike, known, modalities=wants)
    assert not say(recording=waves(seed=10 + seed))
    assert not say(recording=waves(2.0, seed=10 + seed)) and not say(recording=waves(0.5, seed=10 + seed))
    for scale in (9.81, 1 / 9.81, 57.3, 1 / 57.3, 1000, 0.001):
        (line,) = say(recording=waves(scale, seed=10 + seed))
        found = float(line.split("has readings ")[1].split(" times")[0])
        assert "in another unit?" in line and 0.4 < found / scale < 2.5
    assert not say(recording=waves(rate_hz=25.0, seed=seed))  # slower, and fast enough
    assert not say(recording=waves(rate_hz=200.0, seed=seed))
    (line,) = say(recording=waves(rate_hz=5.0, lasts_s=200.0, seed=seed))
    assert "b has 5 readings a second, the model was trained on 50 or more" in line


def test_a_recording_amid_the_others_is_like_them():
    known = known_of(waves(0.1), waves(10.0, seed=1))  # some stand still, others run
    assert not any(unlike(known, waves(scale, seed=2), ()) for scale in (0.1, 0.5, 1.0, 5.0, 10.0))


def test_an_angle_has_no_level_and_rates_are_asked_of_the_window():
    times, names = np.arange(0, 20, 0.02), ("yaw", "x")
    between = Between(((0, -180.0, 180.0),))

    def log(angle, rate=1):
        values = np.stack([np.full(len(times), angle), np.sin(times)], 1).astype(np.float32)[::rate]
        return Recording("r", "1", {"b": SensorLog(times[::rate], values, names, between=between)}, ())

    known = known_of(log(170.0), log(-170.0))
    assert not unlike(known, log(3.0), ())
    whole = [replace(m, streams=("b",), rate_hz=None, samples=8) for m in MODALITIES[:1]]
    assert not unlike(known, log(3.0, rate=2), whole, 2.0)
    assert unlike(known, log(3.0, rate=20), whole, 2.0)


def test_a_column_that_says_nothing_and_streams_of_no_numbers_are_left_aside():
    still = Recording("r", "1", {"b": Readings(np.arange(9.0), np.zeros((9, 3)))}, ())
    assert known_of(still)["b"].levels == ((0.0, 0.0),) * 3
    assert not unlike(known_of(still), waves(), ())
    holes = Recording("r", "1", {"b": Readings(np.arange(9.0), np.full((9, 3), np.nan))}, ())
    assert not unlike(known_of(waves()), holes, ()) and not unlike(known_of(waves()), recording(), ())
    pictures = Recording("r", "1", {"b": Readings(np.arange(9.0), np.ones((9, 30, 30)))}, ())
    assert len(known_of(pictures)["b"].levels) == 1
    assert known_of(waves(), pictures)["b"].levels == ()


IMU = ("ax", "ay", "az", "gx", "gy", "gz", "mx", "my", "mz")


def imu(columns, seed=0, named=True, **scales):
    random = np.random.default_rng(seed)
    times = np.arange(0, 20, 0.02)
    parts = {"acc": random.normal(0, 0.4, (len(times), 3)) + np.eye(3)[2]}
    parts |= {name: random.normal(0, level, (len(times), 3)) for name, level in (("gyr", 80), ("mag", 30))}
    scaled = [part * scales.get(name, 1.0) for name, part in parts.items()]
    values = np.hstack(scaled)[:, :columns].astype(np.float32)
    stream = SensorLog(times, values, IMU[:columns]) if named else Readings(times, values)
    return Recording("r", "1", {"b": stream}, ())


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("columns", [6, 9])
def test_another_unit_of_one_quantity_in_a_log_of_several_is_said(columns, named):
    make = functools.partial(imu, columns, named=named)
    known = known_of(*(make(seed) for seed in range(4)))
    assert not unlike(known, make(9), ())
    acc, gyr = ("(ax, ay, az)", "(gx, gy, gz)") if named else ("(columns 1, 2, 3)", "(columns 4, 5, 6)")
    (line,) = unlike(known, make(9, acc=9.81), ())
    assert f"b {acc} has readings 9." in line
    (line,) = unlike(known, make(9, gyr=1 / 57.3), ())
    assert f"b {gyr} has readings 0.01" in line
    both = unlike(known, make(9, acc=1000.0, gyr=1 / 57.3), ())
    assert [acc in both[0], gyr in both[1], len(both)] == [True, True, 2]


def of(said):
    names = said.split()
    return [[names[column] for column in group] for group in quantities(names, len(names))]


def test_columns_of_one_quantity_are_told_by_their_names():
    assert of("acc_x gyr_x acc_y gyr_y acc_z gyr_z temp") == [
        ["acc_x", "acc_y", "acc_z"],
        ["gyr_x", "gyr_y", "gyr_z"],
    ]
    assert of("AccX(g) AccY(g) AccZ(g) w_x w_y w_z") == [
        ["AccX(g)", "AccY(g)", "AccZ(g)"],
        ["w_x", "w_y", "w_z"],
    ]
    assert of("flex1 flex2 qw qx qy qz") == [["flex1", "flex2"], ["qw", "qx", "qy", "qz"]]
    assert of("hr temp") == [["hr", "temp"]] and of("hr") == [["hr"]]
    for count in (1, 3, 6, 9, 12, 60):
        found = quantities((), count)
        assert sorted(column for group in found for column in group) == [*range(count)]
        assert len(found) == {6: 2, 9: 3}.get(count, 1)


@pytest.mark.parametrize("fill", [9999.0, -9999.0, 32767.0])
def test_what_is_written_for_want_of_a_reading_is_said(fill):
    known = known_of(*(imu(9, seed) for seed in range(4)))
    log = imu(9, 9).streams["b"]
    values = log.values.copy()
    values[5:8, 4] = 500.0  # a sensor at its end, as others come near to
    values[8:12, 4] = 400.0
    assert not unlike(known, Recording("r", "1", {"b": replace(log, values=values)}, ()), ())
    values[::25, 1] = fill
    (line,) = unlike(known, Recording("r", "1", {"b": replace(log, values=values)}, ()), ())
    assert f"b (ay) has ±{abs(fill):.6g} again and again" in line and line.endswith("(missing)")
    once = log.values.copy()
    once[3, 1] = fill
    assert not unlike(known, Recording("r", "1", {"b": replace(log, values=once)}, ()), ())


def log_of(values):
    times = np.arange(len(values)) / 50
    names = tuple(f"{kind}_{axis}" for kind in ("acc", "gyr") for axis in "xyz")
    return Recording("r", "1", {"b": SensorLog(times, values.astype(np.float32), names)}, ())


def test_who_lies_or_faces_otherwise_is_in_no_other_unit():
    random = np.random.default_rng(0)
    moved = [random.normal(size=(2000, 6)) * [0.3, 0.3, 0.3, 40, 40, 40] for _ in range(5)]
    known = known_of(*(log_of(one + np.array([0.1, 0.2, 1, 0, 0, 0])) for one in moved[:4]))
    turned = moved[4] * [0.05, 0.05, 0.05, 1, 1, 1] + [0, 1, 0.02, 0, 0, 0]  # another axis has gravity
    assert not unlike(known, log_of(turned), ())
    still = moved[4] * 0.01 + [0, 0, 1, 0, 0, 0]
    (line,) = unlike(known, log_of(still), ())
    assert "b (gyr_x, gyr_y, gyr_z) has readings" in line and "at rest throughout" in line
    for scale, which in ((9.81, "acc"), (1 / 57.3, "gyr")):
        other = moved[4] + [0.1, 0.2, 1, 0, 0, 0]
        other[:, slice(0, 3) if which == "acc" else slice(3, 6)] *= scale
        (line,) = unlike(known, log_of(other), ())
        assert f"b ({which}_x" in line and "in another unit?" in line


@pytest.mark.parametrize("end", [8.0, 16.0])
def test_a_clap_at_the_end_of_a_sensor_s_scale_is_a_reading(end):
    random = np.random.default_rng(0)
    waved = [random.normal(size=(2000, 6)) * 0.3 + [0, 0, 1, 0, 0, 0] for _ in range(3)]
    clapped = waved[2].copy()
    clapped[100:400:50, 0] = [end, -end] * 3
    assert not unlike(known_of(*map(log_of, waved[:2])), log_of(clapped), ())


def test_a_model_of_whole_spans_keeps_how_long_they_lasted(tmp_path, monkeypatch):
    spans = replace(world.WORLD, modalities=tuple(replace(m, rate_hz=None) for m in MODALITIES))
    monkeypatch.setattr(world, "SPANS", spans, raising=False)
    study = ran("SPANS", tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PlaitWarning)  # settings are chosen on whole recordings
        facts = fit_model(study, "a", tmp_path / "data", tmp_path / "model", run=tmp_path / "run")
    lasts_s = [s.stop_s - s.start_s for one in world.recordings(None) for s in one.spans]
    assert facts.seconds is None and facts.lasting_s == pytest.approx((min(lasts_s), max(lasts_s)))
    assert facts == read_facts(tmp_path / "model")
    recogniser = Recogniser.load(tmp_path / "model", trust=Trust({"tests"}))
    with pytest.warns(PlaitWarning, match="1 of 1 windows last 90 to 90 s, the model was trained on"):
        plan(recogniser, [world.recording("9")], Sliding(None))
