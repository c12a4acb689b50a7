"""Gains, widths and claims against numbers worked out by hand."""

import numpy as np
import polars as pl
import pytest

from plait.analysis.claims import gains, paper_claims, singles_of, widths
from plait.analysis.compare import pairs
from plait.results import MethodFacts, Origin

BOTH = ("video", "gloves")
METHODS = {
    "gloves": MethodFacts("single", BOTH[1:]),
    "static": MethodFacts("single", BOTH[:1]),
    "video": MethodFacts("single", BOTH[:1]),
    "led": MethodFacts("fusion", BOTH, use="Led"),
    **{
        f"led[embedding={k}]": MethodFacts("fusion", BOTH, use="Led", sweep={"embedding": k})
        for k in (12, 3, 6)
    },
}


def table(right):
    """Predictions: `right[method][subject][activity]` of four clips are right."""
    rows = []
    for method, by_subject in right.items():
        for subject, by_activity in by_subject.items():
            for activity, n in by_activity.items():
                for clip in range(4):
                    got = activity if clip < n else ("sit" if activity == "walk" else "walk")
                    rows.append((method, subject, 0, f"{subject}-{activity}-{clip}", subject, activity, got))
    columns = ("method", "fold", "seed", "clip", "subject", "activity", "predicted")
    return pl.DataFrame(rows, schema=columns, orient="row")


def even(sit, walk):
    return {str(s): {"sit": sit, "walk": walk} for s in (1, 2, 3)}


RIGHT = {
    "gloves": even(2, 2),
    "static": even(4, 4),
    "video": {"1": {"sit": 2, "walk": 4}, "2": {"sit": 2, "walk": 3}, "3": {"sit": 2, "walk": 2}},
    "led": {"1": {"sit": 4, "walk": 3}, "2": {"sit": 3, "walk": 3}, "3": {"sit": 4, "walk": 3}},
    "led[embedding=12]": even(4, 3),
    "led[embedding=3]": even(3, 3),
    "led[embedding=6]": even(4, 4),
}


def test_the_singles_of_a_fusion_are_called_like_their_modality():
    assert singles_of(METHODS, "led") == ["video", "gloves"]
    without = {name: row for name, row in METHODS.items() if name != "video"}
    assert singles_of(without, "led") == ["static", "gloves"]


def test_like_stands_beside_like():
    """The head of the fusion, its encoder before that; the video first, or else the lead."""
    odd = {"video": Origin(features="resnet50")}
    own = {
        "static-flat": MethodFacts("single", ("video",), "flatten", encoders=odd),
        "video": MethodFacts("single", ("video",), "mean"),
        "video-flat": MethodFacts("single", ("video",), "flatten"),
        "gloves": MethodFacts("single", ("gloves",), "mean"),
        "mean": MethodFacts("fusion", ("gloves", "video"), "mean", args={"lead": "gloves"}),
        "flat": MethodFacts("fusion", ("gloves", "video"), "flatten", args={"lead": "gloves"}),
        "odd": MethodFacts("fusion", ("gloves", "video"), "flatten", encoders=odd),
        "taken": MethodFacts(
            "fusion", ("gloves", "video"), "mean", encoders={"video": Origin("video-flat", frozen=True)}
        ),
    }
    assert singles_of(own, "mean") == ["video", "gloves"]
    assert singles_of(own, "flat") == ["video-flat", "gloves"]
    assert singles_of(own, "odd") == ["static-flat", "gloves"]
    assert singles_of(own, "taken") == ["video-flat", "gloves"]
    body = {name: MethodFacts("single", (name,), "mean") for name in ("depth", "body")}
    body["led"] = MethodFacts("fusion", ("depth", "body"), "mean", args={"lead": "body"})
    assert singles_of(body, "led") == ["body", "depth"]


def test_gains_are_paired_within_subjects_and_sorted_by_the_video():
    found = gains(METHODS, table(RIGHT), ("walk", "sit"))
    assert set(found["fusion"]) == {"led"}
    assert found["single"].to_list() == ["video", "video", "gloves", "gloves"]
    assert found["activity"].to_list() == ["sit", "walk", "sit", "walk"]
    d = np.array([2, 1, 2]) / 4
    first = found.row(0, named=True)
    assert first["gain"] == pytest.approx(d.mean()) and first["subjects"] == 3
    assert (first["low"], first["high"]) == (None, None)  # three people set no limit
    assert found.row(1, named=True)["gain"] == pytest.approx(0)


def test_who_never_did_it_does_not_count():
    rows = table(RIGHT).filter(~((pl.col("subject") == "3") & (pl.col("activity") == "walk")))
    found = {
        (r["single"], r["activity"]): r
        for r in gains(METHODS, rows, ("walk", "sit", "run")).iter_rows(named=True)
    }
    assert found["video", "walk"]["subjects"] == 2 and found["video", "sit"]["subjects"] == 3
    assert ("video", "run") not in found


def test_a_sweep_is_a_curve_and_in_no_comparison():
    found = widths(METHODS, table(RIGHT))
    assert found["embedding"].to_list() == [3, 6, 12] and set(found["series"]) == {"led"}
    assert found["accuracy"].to_list() == [0.75, 1.0, 0.875]
    assert widths({name: METHODS[name] for name in list(METHODS)[:-1]}, table(RIGHT)).is_empty()
    assert {pair.fusion for pair in pairs(METHODS, table(RIGHT))} == {"led"}


def many(**rights):
    """`RIGHT` for ten people; `rights` gives of a method the right clips of each, of either activity."""
    people = {name: {str(s): {"sit": 3, "walk": 3} for s in range(10)} for name in METHODS}
    for name, by_person in rights.items():
        people[name] = {str(s): {"sit": sit, "walk": walk} for s, (sit, walk) in enumerate(by_person)}
    return table(people)


def claimed(rows):
    found = paper_claims(METHODS, rows, gains(METHODS, rows, ("walk", "sit"))).iter_rows(named=True)
    return {(row["claim"].partition(" by more")[0], row["against"]): row for row in found}


def test_three_people_tell_nothing():
    found = claimed(table(RIGHT))
    assert len(found) == 8 and {row["verdict"] for row in found.values()} == {"unclear"}
    assert found["better than the single", "gloves"]["effect"] == pytest.approx(np.mean([3, 2, 3]) / 8)
    assert found["K = 3 beats the single", "gloves"]["effect"] == pytest.approx(0.25)
    spread = found["subjects differ less (SD)", "gloves"]
    assert spread["effect"] == pytest.approx(np.std([7, 6, 7], ddof=1) / 8)
    assert spread["low"] is None and spread["high"] is None


def test_claims_hold_and_fail_where_ten_people_show_it():
    uneven = [(4, 4), (0, 1), (4, 3), (1, 0), (4, 4), (0, 0), (3, 4), (1, 1), (4, 4), (0, 1)]
    found = claimed(many(led=[(4, 4), (4, 3)] * 5, gloves=[(2, 3), (2, 2)] * 5, video=uneven))
    assert found["better than the single", "gloves"]["verdict"] == "holds"
    assert found["no activity is worse", "gloves"]["verdict"] == "holds"
    assert found["subjects differ less (SD)", "video"]["verdict"] == "holds"
    found = claimed(many(gloves=[(4, 4), (4, 3)] * 5, led=[(2, 4), (2, 3)] * 5))
    assert found["better than the single", "gloves"]["verdict"] == "fails"
    lost = found["no activity is worse", "gloves"]
    assert lost["effect"] == pytest.approx(-0.5) and lost["verdict"] == "fails"
    assert "(lowest: sit)" in lost["claim"]
    found = claimed(many(led=uneven, gloves=[(3, 2), (2, 3)] * 5))
    assert found["subjects differ less (SD)", "gloves"]["verdict"] == "fails"
    assert found["better than the single", "video"]["verdict"] == "unclear"


@pytest.mark.parametrize("people", [6, 8, 12])
def test_claims_that_are_not_true_hold_and_true_ones_fail_in_few_studies(people):
    """Both methods alike: every claim but the last two words of chance; `K = ...` is the first one again."""
    methods = {name: METHODS[name] for name in ("gloves", "video", "led")}
    rng, wrong, studies = np.random.default_rng(people), {}, 120
    for _ in range(studies):
        skill = rng.beta(4, 2, people)
        chances = np.clip(skill[:, None] + rng.normal(0, 0.1, (people, 2)), 0, 1)
        rows = {
            name: {str(s): {a: int(rng.binomial(4, chances[s, i])) for i, a in enumerate(("sit", "walk"))}
                   for s in range(people)}
            for name in methods
        }  # fmt: skip
        drawn = table(rows)
        gained = gains(methods, drawn, ("walk", "sit"))
        for row in paper_claims(methods, drawn, gained).iter_rows(named=True):
            key = row["claim"].partition(" by more")[0], row["against"]
            bad = {"fails"} if key[0] == "no activity is worse" else {"holds", "fails"}
            wrong[key] = wrong.get(key, 0) + (row["verdict"] in bad)
    assert len(wrong) == 6
    assert max(wrong.values()) / studies <= 0.05 + 2.8 * (0.05 * 0.95 / studies) ** 0.5


def test_one_subject_tells_nothing():
    rows = table({name: {"1": by["1"]} for name, by in RIGHT.items()})
    found = paper_claims(METHODS, rows, gains(METHODS, rows, ("walk", "sit")))
    assert set(found["verdict"]) == {"unclear"} and found["low"].null_count() == len(found)


def test_each_sweep_has_a_narrowest_width_of_its_own():
    """Two sweeps of one class, as of two leads: the narrower of them says nothing of the other."""
    of = {"led": ("gloves", (12, 3, 6)), "led [old]": ("video", (48, 12, 24))}
    methods = {name: METHODS[name] for name in ("gloves", "video")} | {
        f"{name}[embedding={k}]": MethodFacts(
            "fusion", BOTH, use="Led", args={"lead": lead}, sweep={"embedding": k}
        )
        for name, (lead, swept) in of.items()
        for k in swept
    }
    right = {name: RIGHT["gloves" if row.sweep else name] for name, row in methods.items()}
    predictions = table(right)
    claims = paper_claims(methods, predictions, gains(methods, predictions, ("sit", "walk")))
    found = claims.filter(pl.col("claim").str.starts_with("K = "))["fusion"].unique().sort().to_list()
    assert found == ["led [old][embedding=12]", "led[embedding=3]"]
    drawn = widths(methods, predictions)
    assert drawn["series"].unique().sort().to_list() == ["led", "led [old]"]
