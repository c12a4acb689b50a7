"""The benchmarks stay alive: each measures a small case, finds equal results, and says what it should."""

import json
from pathlib import Path

import polars as pl
import pytest
import torch

import attention
from absent import beside, rest
from atwork import QUICK
from fusion import FUSIONS
from plain_fusion import OTHERS
from plait.analysis.metrics import by_subject
from plait.fusion import NonLocal
from plait.results import read_facts, read_run
from plait.study.run import run_study
from tests.commands import benchmark, script

pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def run(name, tmp_path, *options, how=script):
    """What a benchmark's small case writes."""
    file = tmp_path / "made" / f"{name}.json"
    code, *said = how(BENCHMARKS / f"{name}.py", "--quick", "--json", str(file), *options).ended()
    assert code == 0, "".join(said)
    told = json.loads(file.read_text())
    assert {"processor", "cores", "threads", "torch"} <= set(told)
    return told


def test_ratios_of_two_folders_stand_side_by_side(tmp_path):
    runs = {
        "before": {
            "ratio": 2.0,
            "threads": 1,
            "rows": [{"what": "led", "batch": 8, "ratio": {"it": 1.0, "b": 3}}],
        },
        "after": {
            "ratio": 3.0,
            "rows": [
                {"what": "new", "ratio_to_a": 5.0},
                {"what": "led", "batch": 8, "ratio": {"it": 1.0, "b": 6}},
            ],
        },
    }
    for name, told in runs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.json").write_text(json.dumps(told))
    made = script(BENCHMARKS / "ratios.py", str(tmp_path / "before"), str(tmp_path / "after"))
    code, said, _ = made.ended()
    assert code == 0
    assert set(said.splitlines()[2:]) == {
        "| study: ratio | 2.00 | 3.00 | 1.50 |",
        "| study: rows, led 8, ratio, b | 3.00 | 6.00 | 2.00 |",
        "| study: rows, new, ratio_to_a | – | 5.00 | – |",
    }
    (tmp_path / "nothing").mkdir()
    code, _, said = script(BENCHMARKS / "ratios.py", str(tmp_path / "nothing")).ended()
    assert code == 2 and "has no NAME.json" in said


def test_decode(tmp_path):
    told = run("decode", tmp_path)
    for name in ("decode all", "convert all"):
        ratio = told["seconds"][name] / told["seconds"]["plait"]
        assert told[f"ratio_to_{name.replace(' ', '_')}"] == pytest.approx(ratio)
        worked = told["processor_seconds"][name] / told["processor_seconds"]["plait"]
        assert told["processor_ratios"][name] == pytest.approx(worked)
    assert set(told["plait_spends"]) == {"times", "decoding", "resizing"} and told["mean_difference"] < 5


def test_several(tmp_path):
    told = run("several", tmp_path)
    alone, together = (told["ways"][f"features, {way}"] for way in ("one at a time", "crew"))
    assert together["ratio"] == pytest.approx(alone["seconds"] / together["seconds"])
    assert together["most_mb"] >= alone["most_mb"]  # a process more


def test_features(tmp_path):
    told = run("features", tmp_path)
    for overlap, clips in {"back to back": 1, "half overlapping": 2}.items():
        rates = told[overlap]["clips_per_s"]
        assert told[overlap]["clips"] == clips and told[overlap]["difference"] < 5e-3
        assert told[overlap]["ratio"] == pytest.approx(rates["plait"] / rates["plain"])
    assert min(told["of_peak"].values()) > 0 and min(told["seconds_a_clip"].values()) > 0


def test_latency(tmp_path):
    told = run("latency", tmp_path)
    assert [(row["encoder"], row["threads"]) for row in told["rows"]] == [("i3d", 1), ("lite0", 1)]
    for row in told["rows"]:
        assert row["ratio"] == pytest.approx(row["ms"]["plain"]["median"] / row["ms"]["plait"]["median"])
        assert row["difference"] < 1e-3 and all(ms["median"] <= ms["p95"] for ms in row["ms"].values())


def test_clocks(tmp_path):
    pytest.importorskip("pylsl")
    told = run("clocks", tmp_path)
    assert {"device +200 ppm", "device -50 ppm"} <= set(told["errors_ms"])
    for one in told["errors_ms"].values():
        assert one["readings"] > 100 and abs(one["median at the end"]) < 20


def test_fusion(tmp_path):
    told = run("fusion", tmp_path)
    assert [row["fusion"] for row in told["steps"] if row["head"] == "flatten"] == [*FUSIONS][::2]
    assert [row["fusion"] for row in told["steps"] if row["head"] == "mean"] == [*FUSIONS][1::2]
    for row in told["steps"]:
        assert row["ratio_to_textbook"] == pytest.approx(row["ms"]["textbook"] / row["ms"]["plait"])
        assert row["relative_error_to_float64"] < 1e-5 and min(row["peak_mb"].values()) > 0
    assert [row["fusion"] for row in told["others"]] == list(OTHERS)
    for row in told["others"]:
        assert row["ratio"] == pytest.approx(row["ms"]["torch"] / row["ms"]["plait"])
        assert row["relative_error_to_float64"] < 1e-5 and row["parameters"] > 1000
    assert all(row["error"] < 1e-5 for row in told["growth"])


def test_attention(tmp_path):
    told = run("attention", tmp_path)
    assert len(told["rows"]) == 8
    for row in told["rows"]:
        assert row["ratio"]["sdpa"] == pytest.approx(row["ms"]["sdpa"] / row["ms"]["plait"])
        assert max(row["error_to_float64"].values()) < (1e-4 if row["precision"] == "float32" else 1 / 30)
        assert {"plait", "cheapest", "textbook"} < set(row["ms"])


def test_attention_says_what_it_has_not_compared(monkeypatch):
    monkeypatch.setattr(attention, "WHOLE", 16)
    torch.manual_seed(0)
    block, x = NonLocal(4, 4, 2), torch.randn(1, 5, 4)
    errors = {
        "plait": attention.off(block, "plait", block(x, x), x, x),
        "pooled": attention.off(block, "pooled", block.pooled(x, x), x, x),
    }
    assert errors["pooled"] is None and errors["plait"] < 1e-5
    row = {"grids": "5", "precision": "float32", "what": "forward", "error_to_float64": errors}
    said = attention.told({**row, "ms": {"plait": 1.0}, "ratio": {"plait": 1.0}})
    assert said.endswith("not compared with float64: pooled")


def test_step(tmp_path):
    """Recorded steps need a card, and that is said; compiled ones are left to who has time for a compiler."""
    told = run("step", tmp_path, "--ways", "eager,graphs", "--threads", "1")
    (row,) = told["rows"]
    assert row["ms"]["eager"] > 0 and row["ratio"] == {"eager": 1.0}
    assert row["failed"] == {"graphs": "a CUDA graph needs a card"}


def test_encoders(tmp_path):
    told = run("encoders", tmp_path)
    seconds = told["seconds"]
    assert told["ratio"] == pytest.approx(seconds["plain 3D network, depth"] / seconds["depth"])


def test_hands(tmp_path):
    told = run("hands", tmp_path)
    for who in ("others", "slipped"):
        assert (
            0 <= (told[who]["ap50"] or 0) <= 1
            and sum(told[who]["clips_by_missing"]) == told[who]["clips"] == 1
        )


def test_study(tmp_path):
    small = ("--only", "static,gloves,video-led", "--epochs", "2", "--plain-steps", "2")
    told = run("study", tmp_path, "--precision", "bfloat16", "--workers", "0", *small)
    own = told["bfloat16"]
    for name in ("all", "tables"):
        seconds, hours = own[name]["epoch_s"], own[name]["whole_hours"]
        assert own[name]["methods"] == len(own["methods"]) == len(told["plain"]) == 3
        assert own[name]["epoch_ratio"] == pytest.approx(seconds["plain"] / seconds["plait"])
        assert own[name]["ratio"] == pytest.approx(hours["plain"] / hours["plait"])
    assert 0 < own["rss_anon_gb"] < 6


def test_profile_of_a_step(tmp_path):
    told = run("study", tmp_path, "--profile", "--precision", "float32")
    assert len(told["float32"]) == 7 and told["workers"] == 0
    for ms in told["float32"].values():
        parts = [ms[part] for part in ("read", "forward", "backward", "optimizer")]
        assert min(parts) > 0 and ms["all"] == pytest.approx(sum(parts))


def test_parts_of_a_study(tmp_path):
    sweep = "methods.concat.sweep={head=['flatten'], normalise=[true]}"
    told = run("parts", tmp_path, "--epochs", "1", "--only", "signal,concat*=*", "--set", sweep)
    assert list(told["methods"]) == ["signal", "concat[head=flatten,normalise=True]"]
    assert told["jobs_a_method"] == 6
    for row in told["methods"].values():
        assert min(row["epoch_s"][part] for part in ("read", "encoders", "backward", "optimizer")) > 0
        job_s = row["epochs"] * sum(row["epoch_s"].values()) + sum(row["once_s"].values())
        assert row["job_s"] == pytest.approx(job_s)
    assert told["jobs_s"] == pytest.approx(6 * sum(row["job_s"] for row in told["methods"].values()))
    assert min(told["study_s"][part] for part in ("keys", "page", "start of a process")) > 0


def test_tuning(tmp_path):
    told = run("tuning", tmp_path, how=benchmark)
    held = told["held_mb"]
    assert held["checkpoints"] < held["a batch whole"] / 2
    assert held["in 4 parts"] == pytest.approx(held["a batch whole"] / 4, rel=0.01)
    assert told["apart"] < 1e-6


def test_memory(tmp_path):
    told = run("memory", tmp_path)
    assert told["clips"] == 200 and set(told["phases"]) == {"features", "signal", "video-led"}
    table = pl.read_csv(tmp_path / "made" / "memory.csv")
    assert table.columns == ["seconds", "phase", "mb"] and table["seconds"].is_sorted()
    assert table["mb"].max() == pytest.approx(told["most_mb"])
    assert (tmp_path / "made" / "memory.svg").read_text().startswith("<?xml")


def test_scale(tmp_path):
    told = run("scale", tmp_path, "--only", "table,study,plan,report")
    found = {(row["part"], row["stage"], row["quantity"]): row["points"] for row in told["rows"]}
    assert {("table", "plait clips", "bytes"), ("study", "epoch", "s"), ("report", "report", "s")} <= set(
        found
    )
    assert found["study", "features", "bytes"]["600"] > 600 * 512 * 2  # numbers of a grid, in float16
    assert found["plan", "a job sent", "bytes"]["600"] > 0 and told["sizes"] == [600]


def test_hour_and_live(tmp_path):
    told = run("hour", tmp_path, "--out", str(tmp_path / "kept"), how=benchmark)
    assert told["windows"] > 64 and told["memory"]["peak_mb"] >= told["memory"]["last_mb"] > 0
    assert len(told["kills"]) == 1 and told["differ"] == [] and told["files"] > 5
    assert min(told["ms_a_window"].values()) > 0 and told["stretches"]["labelled"] > 0
    assert told["times_real_time"] == pytest.approx(QUICK.lasts_s / told["seconds"]["predict"])
    table = pl.read_csv(tmp_path / "kept" / "hour.csv")
    assert table.columns == ["seconds", "windows", "mb"] and table["seconds"].is_sorted()
    assert (tmp_path / "kept" / "hour.svg").read_text().startswith("<?xml")
    # of the same recording and model; its command starts as a user's does
    told = run("live", tmp_path, "--out", str(tmp_path / "kept"))
    assert sum(told["windows"].values()) == pytest.approx(told["expected"], abs=3)
    assert told["windows"]["scored"] > 0 and told["late"] == dict.fromkeys(told["late"], 0)
    parts = told["latency_ms"]["median"]
    assert 0 < parts["fusion"] < parts["total"] and told["memory"]["peak_mb"] > 0


def test_absent_holds_a_row_against_all_that_was_made_without_the_sensor(tmp_path, plait):
    study = BENCHMARKS.parent / "examples" / "generated.toml"
    methods = ["methods.both.first=['concat','video','signal']", "methods.mean.average=['video','signal']"]
    sets = [
        "protocol={kind='fixed', train=['1','2'], test=['3','4','5','6']}",
        "train.max_epochs=1",
        *methods,
    ]
    out = tmp_path / "run"
    run_study(study, tmp_path, out, only=["both", "mean"], sets=sets, executor="inline", device="cpu")
    assert plait("robustness", out, "--fault", "absent", "--executor", "inline")[0] == 0
    facts = read_facts(out)
    assert rest(facts, "both", "video") == ["signal", "mean"]
    assert rest(facts, "mean", "signal") == ["video", "mean"]
    of = by_subject(read_run(out)[1])
    for row in beside(out, "both", 0.01).iter_rows(named=True):
        left = "signal" if row["absent"] == "video" else "video"
        accuracy = of.filter(method=left)["accuracy"].mean()
        assert row["accuracy"] == pytest.approx(accuracy) == pytest.approx(row["best_accuracy"])
        assert row["difference"] == pytest.approx(0) and row["p"] == pytest.approx(1 / 16)


def test_sync_curve(tmp_path):
    told = run("sync_curve", tmp_path)
    assert [row["seconds"] for row in told["rows"]] == [30, 60]
    for row in told["rows"]:
        assert row["a stranger's log"]["sure"] == 0 and row["all"]["wrong"] == 0
        assert row["a stranger's log"]["logs"] == sum(kind["logs"] for kind in row["kinds"].values())
    assert told["rows"][1]["motion alone"]["sure"] > told["rows"][0]["motion alone"]["sure"]
    assert told["reliability"][-1]["right"] == 1
    assert (tmp_path / "made" / "sync_curve.svg").read_text().startswith("<?xml")


def test_export(tmp_path):
    pytest.importorskip("onnxruntime", reason="needs plait[export]")
    told = run("export", tmp_path)
    (row,) = told["rows"]
    assert row["method"] == "video-led" and row["clips"] == 1
    assert row["ratio_onnx"] == pytest.approx(row["ms"]["plait"] / row["ms"]["onnx"])
    assert max(row["difference"].values()) <= 1e-4 and min(row["export_s"].values()) > 0


def test_export_of_a_run_s_networks(tmp_path):
    pytest.importorskip("onnxruntime", reason="needs plait[export]")
    study, out = BENCHMARKS.parent / "examples" / "generated.toml", tmp_path / "run"
    sets = ["protocol={kind='fixed', train=['1'], test=['2']}", "train.max_epochs=1"]
    run_study(study, tmp_path, out, only=["signal", "concat"], sets=sets, executor="inline", device="cpu")
    told = run("export", tmp_path, "--run", str(out))
    (row,) = told["rows"]  # a single sensor's network is no fusion
    assert (row["method"], row["clips"]) == ("concat", 1) and min(row["ms"].values()) > 0
    assert max(row["difference"].values()) <= 1e-4
