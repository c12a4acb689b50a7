"""Worlds: what makes activities hard to tell is there, as often as the knobs say; the truth knows it."""

import json
from dataclasses import asdict, fields, replace

import numpy as np
import polars as pl
import pytest

from plait.errors import ConfigError, DataError
from plait.simulator.cycles import CYCLES, FEEL_ALIKE, LOOK_ALIKE, Person
from plait.simulator.motion import move
from plait.simulator.sensors import SNUG, Worn, glove_log
from plait.simulator.simulate import simulate
from plait.simulator.truth import bounds, told
from plait.simulator.world import EASY, HARD, Stretch, World, troubled
from plait.simulator.writer import Settings, plan

PERSON = Person(1.0, 1.0, False, 1.0)
KIN = {
    "plugging the cables": "assembling a button",
    "assembling a button": "plugging the cables",
    "unplugging the cables": "disassembling a button",
    "disassembling a button": "unplugging the cables",
    "pressing a button": "using a hammer",
    "using a hammer": "pressing a button",
    "neutral": "using a screwdriver",
}
MIDST = np.arange(5.0, 10.0, 0.02)  # seconds in which hands have come and have not gone
CAN = {"feel": frozenset(FEEL_ALIKE), "look": frozenset(LOOK_ALIKE)}


def motion(activity, like="", **more):
    return move([Stretch(3.0, 11.0, activity, like, **more)], [], 14.0, PERSON, [5])


@pytest.mark.parametrize(("activity", "kin"), KIN.items())
def test_what_feels_alike_moves_as_the_other_activity_does_elsewhere_with_something_else(activity, kin):
    one, other = (made.hands["right"](MIDST) for made in (motion(activity, "feel"), motion(kin)))
    moved = one.position - other.position
    assert np.abs(moved - moved[0]).max() < 1e-9 and np.linalg.norm(moved[0]) > 0.05
    assert_same_motion(one, other, place=False)
    assert (one.holds != other.holds).any()
    assert motion(activity, "feel").hits == motion(kin).hits


def test_what_looks_alike_differs_in_pressure_alone():
    one, other = (motion(name, "look") for name in ("neutral", "pressing a button"))
    hover, press = one.hands["right"](MIDST), other.hands["right"](MIDST)
    np.testing.assert_allclose(hover.position, press.position, atol=1e-9)
    np.testing.assert_allclose(hover.flexion, press.flexion, atol=1e-9)
    assert (hover.holds == press.holds).all() and not hover.pressure.any() and press.pressure.max() > 0.5
    assert other.hits["right"] and not one.hits["right"]


def test_the_other_hand_leads_and_a_tool_stays_in_a_hand():
    usual, swapped = motion("using a hammer"), motion("using a hammer", other_hand=True)
    assert usual.hits["right"] == swapped.hits["left"] and not swapped.hits["right"]
    carried = motion("using a hammer", carried=2)
    assert set(carried.hands["left"](MIDST).holds) == {2} and set(carried.hands["right"](MIDST).holds) == {4}
    rest = motion("neutral", carried=3)
    assert set(rest.hands["right"](MIDST).holds) == {3} and set(
        motion("neutral").hands["right"](MIDST).holds
    ) == {0}
    assert (
        rest.hands["right"](MIDST).position[:, 1].mean()
        < motion("neutral").hands["right"](MIDST).position[:, 1].mean()
    )


@pytest.mark.parametrize(
    ("activity", "own", "other"), [("using a hammer", 4, 3), ("using a screwdriver", 3, 4)]
)
def test_swapped_tools_are_seen_and_not_felt(activity, own, other):
    usual, swapped = motion(activity), motion(activity, swapped=True)
    assert set(usual.hands["right"](MIDST).holds) == {own}
    assert set(swapped.hands["right"](MIDST).holds) == {other}
    for side in ("left", "right"):
        assert_same_motion(usual.hands[side](MIDST), swapped.hands[side](MIDST))
    assert usual.hits == swapped.hits


@pytest.mark.parametrize("activity", CYCLES)
def test_work_elsewhere_on_the_panel_moves_hands_as_a_whole(activity):
    usual, moved = motion(activity), motion(activity, place=(0.03, -0.05))
    by = moved.hands["right"](MIDST).position - usual.hands["right"](MIDST).position
    np.testing.assert_allclose(by, np.broadcast_to([0.03, -0.05, 0.0], by.shape), atol=1e-9)
    assert_same_motion(usual.hands["right"](MIDST), moved.hands["right"](MIDST), place=False)
    assert usual.hits == moved.hits


@pytest.mark.parametrize("activity", CYCLES)
def test_the_hand_that_follows_does_otherwise_and_the_one_that_leads_does_not(activity):
    usual, helping = motion(activity), motion(activity, helping=True)
    steadies = [made.hands["left"](MIDST).pressure.mean() > 0.2 for made in (usual, helping)]
    assert steadies[0] == CYCLES[activity][2] and steadies[1] != steadies[0]
    assert_same_motion(usual.hands["right"](MIDST), helping.hands["right"](MIDST))
    assert usual.hits == helping.hits


def assert_same_motion(one, other, place=True):
    if place:
        np.testing.assert_allclose(one.position, other.position, atol=1e-9)
    np.testing.assert_allclose(one.rotation.as_matrix(), other.rotation.as_matrix(), atol=1e-9)
    np.testing.assert_allclose(one.flexion, other.flexion, atol=1e-9)
    np.testing.assert_allclose(one.pressure, other.pressure, atol=1e-9)


def felt(worn):
    table, _ = glove_log(motion("using a hammer"), "right", 14.0, 0.0, 0.0, [1], worn)
    seconds = table["time"].to_numpy() - 100
    return table.filter((seconds > 5) & (seconds < 10)).drop("time")


def test_a_glove_that_has_slipped_feels_little_and_one_that_saturates_reads_no_more():
    firm, loose, low = felt(SNUG), felt(Worn(loose=((4.0, 11.0),))), felt(Worn(saturates=0.4))
    assert loose["pressure"].std() < 0.5 * firm["pressure"].std()
    jolts = [
        np.linalg.norm(one.select("acc_x", "acc_y", "acc_z").to_numpy(), axis=1) for one in (loose, firm)
    ]
    assert jolts[0].std() < 0.5 * jolts[1].std()
    assert loose["flex_2"].mean() < 0.3 * firm["flex_2"].mean()
    assert firm["flex_2"].max() > 0.7 and low["flex_2"].max() < 0.4 + 0.1
    turned = felt(Worn(turned=(0.5, 0.0, 0.0)))
    lengths = [
        np.linalg.norm(one.select("mag_x", "mag_y", "mag_z").to_numpy(), axis=1).mean()
        for one in (firm, turned)
    ]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.2)
    moved = [abs(turned[name].mean() - firm[name].mean()) for name in ("mag_x", "mag_y", "mag_z")]
    assert max(moved) > 0.2


def test_troubles_come_as_often_as_the_knobs_say():
    work = [(10.0 * i, 10.0 * i + 6, name) for i, name in enumerate([*CYCLES, "neutral"] * 20)]
    people = [troubled(work, HARD, [who], CAN, 5) for who in range(60)]
    shares = {
        "feel_alike": np.mean([s.like == "feel" for all_ in people for s in all_]),
        "look_alike": np.mean([s.like == "look" for all_ in people for s in all_ if s.activity == "neutral"]),
        "away": np.mean([s.away is not None for all_ in people for s in all_]),
        "loose": np.mean([s.loose for all_ in people for s in all_]),
        "other_hand": np.mean([s.other_hand for all_ in people for s in all_]),
        "helping": np.mean([s.helping for all_ in people for s in all_]),
        "swapped": np.mean([s.swapped for all_ in people for s in all_ if not s.like]),
        "place_m": np.std([s.place for all_ in people for s in all_]),
        "carried": np.mean([s.carried > 0 for all_ in people for s in all_]),
    }
    assert shares == pytest.approx({name: getattr(HARD, name) for name in shares}, abs=0.04)
    assert shares["place_m"] == pytest.approx(HARD.place_m, rel=0.05)
    assert not any(s.swapped and s.like for all_ in people for s in all_)
    own = [np.mean([s.loose for s in all_]) for all_ in people]
    assert np.std(own) > 0.03  # people differ


def test_in_the_easy_world_nothing_is_the_matter():
    made = plan(1, Settings(0, 32, 256, 30))
    assert made.stretches and made.motion and not made.slips and made.worn == {"left": SNUG, "right": SNUG}
    assert all(
        stretch == Stretch(stretch.start_s, stretch.stop_s, stretch.activity) for stretch in made.stretches
    )


@pytest.mark.parametrize("knob", [knob.name for knob in fields(World)])
def test_a_knob_out_of_range_is_refused(knob):
    for value in (-0.1, 9.5, float("nan")):
        with pytest.raises(ConfigError, match=f"world: {knob} is {value}, expected 0 to"):
            replace(EASY, **{knob: value})


def test_more_manners_than_stretches_are_refused():
    with pytest.raises(ConfigError, match=r"feel_alike \+ look_alike is 1.3, expected at most 1"):
        replace(EASY, feel_alike=0.8, look_alike=0.5)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A person of whom the camera and the gloves lose much."""
    world = replace(HARD, away=0.5, loose=0.5)
    return simulate(tmp_path_factory.mktemp("raw"), 1, Settings(4, 8, 64, 6, world=world), workers=1)[0]


def clips_of(raw):
    stretches = json.loads((raw / "truth.json").read_text())["stretches"]
    rows = [(f"c{i}", s["start_s"], s["start_s"] + 5.3, s["activity"]) for i, s in enumerate(stretches)]
    return stretches, pl.DataFrame(rows, schema=["clip", "start_s", "stop_s", "activity"], orient="row")


def test_the_truth_says_which_sensor_tells(raw):
    stretches, clips = clips_of(raw)
    table = told(raw, clips)
    assert len(table) == 8 and set(json.loads((raw / "truth.json").read_text())["settings"]["world"]) == set(
        asdict(HARD)
    )
    for stretch, (_, activity, like, video, gloves) in zip(stretches, table.iter_rows(), strict=True):
        assert (activity, like) == (stretch["activity"], stretch["like"])
        assert gloves == (not stretch["loose"] and like != "feel")
        assert not (video and like == "look")
    assert table["video"].any() and not table["video"].all() and table["gloves"].any()
    bound = bounds(table)
    assert max(bound["video"], bound["gloves"]) <= bound["both"] <= 100
    assert bound["gloves"] == pytest.approx(100 * (table["gloves"].mean() * 7 + 1) / 8)


def test_clips_that_the_truth_does_not_know_are_refused(raw):
    _, clips = clips_of(raw)
    with pytest.raises(DataError, match="no truth of these clips"):
        told(raw, clips.with_columns(pl.col("start_s", "stop_s") + 1e4))
    with pytest.raises(DataError, match="expected nothing"):
        told(raw, clips.with_columns(activity=pl.lit("nothing")))


def test_where_the_camera_looks_up_hardly_a_hand_is_seen(raw):
    stretches, _ = clips_of(raw)
    visible = np.load(raw / "truth.npz", allow_pickle=False)["visible"]
    past = [s for s in stretches if s["away"] and s["away"][1]]
    seen = [visible[int(s["start_s"] * 6) + 1 : int(s["stop_s"] * 6)].mean() for s in past]
    assert past and max(seen) < 1.0 and visible.max() == 2
