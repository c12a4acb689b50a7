"""The browser of cases: who was right, what attention falls on, films within the page and beside it."""

import json
import re

import polars as pl
import pytest
import torch
from tests.report.conftest import with_films
from tests.report.test_report import embedded

from plait.errors import DataError
from plait.fusion.attention import Attention
from plait.report import write_report
from plait.report.cases import chosen, likeliest, lit, write_cases
from plait.study.finished import FinishedRun
from plait.trust import OWN
from plait.types import Clip, Recording


def test_the_likeliest_come_first():
    assert likeliest([0.1, 0.6, 0.0, 0.3], "abcd") == [("b", 0.6), ("d", 0.3), ("a", 0.1)]


def attention(lead, context, lead_shape, context_shape, logits):
    logits = torch.tensor(logits)[None]
    return Attention(lead, context, lead_shape, context_shape, logits, logits.softmax(-1))


def test_light_falls_on_what_is_attended_to():
    far = 1e3  # so far apart that the softmax is all or nothing
    one = attention("video", "wrist", (2, 1, 2), (3,), [[0, far, 0], [0, far, 0], [far, 0, 0], [0, far, 0]])
    made = lit([one], {"video": 2})
    assert made["wrist"] == {"shape": [3], "values": [85, 255, 0]}  # a quarter, three quarters, none
    # every position is related equally strongly
    assert made["video"] == {"shape": [2, 1, 2], "values": [0, 0, 0, 0]}
    strong = attention("video", "wrist", (2, 1, 2), (3,), [[0, 1, 0], [2, 0, 0], [4, 3, 3], [1, 1, 0.5]])
    assert lit([strong], {"video": 2})["video"]["values"] == [0, 85, 255, 0]
    # what is no picture is shown over time
    assert lit([strong], {})["video"] == {"shape": [2], "values": [0, 255]}


def test_light_falls_on_joints_and_on_every_context():
    a = attention("depth", "body", (2,), (1, 2), [[1e3, 0.0], [1e3, 0.0]])
    b = attention("body", "depth", (1, 2), (2,), [[0.0, 1e3], [0.0, 1e3]])
    assert lit([a, b], {"body": 1}) == {
        "body": {"shape": [1, 2], "values": [255, 0]},
        "depth": {"shape": [2], "values": [0, 255]},
    }
    assert lit([attention("a", "b", (), (), [[0.0]])], {}) == {}  # vectors have neither times nor places


def test_every_combination_of_who_was_right_is_there():
    cuts = [
        (Recording("r1", "1", {}, ()), Clip(f"c{i}", "r1", "1", "red" if i % 2 else "blue", 0, 1))
        for i in range(16)
    ]
    of = {}
    for i, (_, clip) in enumerate(cuts):
        for bit, name in enumerate(("a", "b", "led")):
            of[clip.name, name] = {"predicted": clip.activity if i >> bit & 1 else "none"}
    rows = chosen(cuts, of, ["a", "b", "led"], 1)
    assert len(rows) == 8 and {row % 8 for row in rows} == set(range(8))
    assert rows[0] % 8 == 4  # the fusion alone
    assert len(chosen(cuts, of, ["a", "b", "led"], 5)) == 16


def test_cases_say_what_the_predictions_say(fused):
    told = json.loads((fused / "cases.json").read_text())
    assert told["models"][-1] == "led" and set(told["models"]) == {"a", "b", "led"}
    table = pl.read_parquet(fused / "predictions.parquet")
    for case in told["cases"]:
        for model, right, said in zip(told["models"], case["right"], case["said"], strict=True):
            row = table.row(
                by_predicate=(pl.col("clip") == case["clip"]) & (pl.col("method") == model), named=True
            )
            assert right == (row["predicted"] == row["activity"]) and said[0][0] == row["predicted"]
            assert case["activity"] == row["activity"]
        assert len(case["signals"]) == 2 and case["films"] == case["joints"] == []
        assert (
            set(case["lit"]) == {"a", "b"}
            and case["lit"]["a"]["shape"] == [8]
            and case["lit"]["b"]["shape"] == [6]
        )
    assert sum(one["clips"] for one in told["counts"]) == table["clip"].n_unique()
    shown = {tuple(case["right"]) for case in told["cases"]}
    assert shown == {tuple(one["right"]) for one in told["counts"]}
    assert told["of"] == json.loads(write_cases(FinishedRun.open(fused, trust=OWN), 6).read_text())["of"]
    before = (fused / "cases.json").stat().st_mtime_ns
    assert write_cases(FinishedRun.open(fused, trust=OWN), 6).stat().st_mtime_ns == before


def test_as_many_films_as_fit_are_part_of_the_page(fused, tmp_path):
    films, size = with_films(fused, tmp_path)
    whole = write_report(tmp_path).read_text()
    held = embedded(whole, "case-films")
    assert len(held) == films and all(one.startswith("data:video/mp4;base64,") for one in held.values())
    assert "are part of this page" not in whole
    limit = len(whole.encode()) - size - size // 2
    page = write_report(tmp_path, limit)
    few = embedded(page.read_text(), "case-films")
    assert limit - 2 * size < page.stat().st_size <= limit and films - 3 <= len(few) < films
    assert f"{len(few)} films of {films} are part of this page" in " ".join(page.read_text().split())
    none = write_report(tmp_path, 1).read_text()
    assert embedded(none, "case-films") == {} and "plait report RUN --serve" in none
    assert not re.search(r"data:video", none)
    (tmp_path / "cases" / "0.mp4").unlink()
    with pytest.raises(DataError, match=r"0.mp4: cannot be read; remove cases.json and run the study again"):
        write_report(tmp_path)
