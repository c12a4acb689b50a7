"""Gains, widths and claims against numbers worked out by hand."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from plait.analysis.claims import gains, paper_claims, singles_of, widths
from plait.analysis.compare import planned
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
    half = stats.t.ppf(0.975, 2) * d.std(ddof=1) / 3**0.5
    assert first["gain"] == pytest.approx(d.mean()) and first["subjects"] == 3
    assert (first["low"], first["high"]) == pytest.approx((d.mean() - half, d.mean() + half))
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
    assert {plan.fusion for plan in planned(METHODS, table(RIGHT))} == {"led"}


def test_claims():
    found = {
        (r["claim"], r["against"]): r
        for r in paper_claims(METHODS, table(RIGHT), ("walk", "sit")).iter_rows(named=True)
    }
    assert len(found) == 8
    against_gloves = found["better than the single", "gloves"]
    assert (
        against_gloves["effect"] == pytest.approx(np.mean([3, 2, 3]) / 8)
        and against_gloves["verdict"] == "holds"
    )
    assert found["better than the single", "video"]["verdict"] == "unclear"
    assert found["no activity is worse (lowest: walk)", "gloves"]["verdict"] == "holds"
    assert found["no activity is worse (lowest: walk)", "video"]["verdict"] == "holds"  # exactly 0
    assert found["K = 3 beats the single", "gloves"]["effect"] == pytest.approx(0.25)
    # the same with everybody: no width
    assert found["K = 3 beats the single", "gloves"]["verdict"] == "holds"
    spread = found["subjects differ less (SD)", "gloves"]
    assert (
        spread["effect"] == pytest.approx(np.std([7, 6, 7], ddof=1) / 8) and spread["low"] <= spread["effect"]
    )


def test_a_claim_fails_where_an_activity_is_surely_worse():
    worse = {**RIGHT, "led": even(4, 1), "video": even(2, 4)}
    found = {
        (r["claim"], r["against"]): r
        for r in paper_claims(METHODS, table(worse), ("walk", "sit")).iter_rows(named=True)
    }
    lost = found["no activity is worse (lowest: walk)", "video"]
    assert lost["effect"] == pytest.approx(-0.75) and lost["verdict"] == "fails"


def test_one_subject_tells_nothing():
    rows = table({name: {"1": by["1"]} for name, by in RIGHT.items()})
    found = paper_claims(METHODS, rows, ("walk", "sit"))
    assert set(found["verdict"]) == {"unclear"} and found["low"].null_count() == len(found)
