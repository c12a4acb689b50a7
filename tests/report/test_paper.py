"""Tables 1 and 2: the paper's rows in its order, by what methods are and not by what they are called."""

import json
from dataclasses import asdict

import polars as pl
import pytest
from tests.report.test_report import make_run

from plait.analysis.benchmark import read_benchmark, write_benchmark
from plait.analysis.metrics import summary
from plait.datasets.glovid import GLOVID
from plait.report import write_report
from plait.report.page import Report
from plait.report.paper import table_1, table_2
from plait.results import read_run
from plait.study.load import load_study

BOTH = ("video", "gloves")
# In no good order, and under names that say nothing; the third is how often each is right.
METHODS = {
    "s": ("fusion", BOTH, "mean", 0.7),
    "v": ("fusion", BOTH, "mean", 0.6),
    "v2": ("fusion", BOTH, "flatten", 1.0),
    "g": ("fusion", BOTH, "mean", 0.9),
    "k[embedding=3]": ("fusion", BOTH, "mean", 1.0),
    "pooled": ("concat", BOTH, "mean", 0.8),
    "flat": ("concat", BOTH, "flatten", 0.6),
    "mean": ("average", BOTH, None, 0.6),
    "2d": ("single", BOTH[:1], "mean", 0.4),
    "hands": ("single", BOTH[1:], "mean", 0.5),
    "film": ("single", BOTH[:1], "mean", 0.6),
}
OWN = {
    "s": {"use": "plait.fusion:Symmetric"},
    "v": {"args": {"lead": "video"}},
    "v2": {"args": {"lead": "video"}},
    "g": {"args": {"lead": "gloves"}},
    "k[embedding=3]": {"args": {"lead": "video"}, "sweep": {"embedding": 3}},
    "2d": {"encoders": {"video": {"features": "plait.pretrained:resnet50"}}},
}


def opened(folder, dataset="generated", methods=METHODS):
    run = make_run(folder, methods)
    about = json.loads((run / "run.json").read_text())
    about["dataset"] = dataset
    for name, own in OWN.items():
        about["methods"].get(name, {}).update(own)
    (run / "run.json").write_text(json.dumps(about))
    return run


def test_the_paper_s_rows_in_its_order(tmp_path):
    run, predictions = read_run(opened(tmp_path))
    table = table_1(run, predictions)
    assert table["method"].to_list() == ["2d", "hands", "film", "g", "v", "s"]
    assert table["model"].to_list()[3:] == ["gloves-led", "video-led", "symmetric"]
    assert table["part"].to_list() == ["single modality"] * 3 + ["non-local fusion"] * 3
    of = dict(summary(predictions, run.activities).select("method", "accuracy").iter_rows())
    assert table["accuracy"].to_list() == [of[name] for name in table["method"]] and "paper" not in table
    about = json.loads((tmp_path / "run.json").read_text())
    about["methods"]["v"]["use"] = "plait.fusion:CrossAttention"
    (tmp_path / "run.json").write_text(json.dumps(about))
    table = table_1(*read_run(tmp_path))
    models = dict(table.select("model", "method").iter_rows())
    assert models["CrossAttention led by video"] == "v" and models["video-led"] == "v2"
    assert table["part"].to_list()[3:] == ["non-local fusion"] * 3 + ["other fusion"]


def test_the_second_table_says_who_was_chosen_and_how(tmp_path):
    run, predictions = read_run(opened(tmp_path))
    table = table_2(run, predictions)
    assert table["method"].to_list() == ["mean", "flat", "s"]
    assert table["model"].to_list()[2] == "symmetric, the first in the study, for nobody validates"
    table = table_2(run, predictions, predictions)
    assert table["model"].to_list()[2] == "gloves-led, chosen on validation subjects"
    wrong = pl.when(pl.col("method") == "g").then(pl.lit("none")).otherwise("predicted").alias("predicted")
    table = table_2(run, predictions, predictions.with_columns(wrong))
    assert table["model"].to_list()[2].endswith(", chosen on validation subjects")
    assert table["method"][2] in ("s", "v")
    only, few = read_run(opened(tmp_path / "one", methods={name: METHODS[name] for name in ("flat", "v")}))
    assert table_2(only, few)["model"].to_list() == ["late concatenation", "video-led, the only fusion"]


def test_what_the_paper_prints_stands_beside_its_own_data_only(tmp_path):
    folder = opened(tmp_path, "glovid")
    run, predictions = read_run(folder)
    write_benchmark(folder, GLOVID, predictions)
    beside = read_benchmark(folder)
    table = table_1(run, predictions, beside)
    assert table["paper"].to_list() == [0.464, 0.681, 0.763, 0.801, 0.808, 0.802]
    assert table["paper_sd"].to_list() == [0.085, 0.105, 0.079, 0.082, 0.077, 0.080]
    table = table_2(run, predictions, benchmark=beside)
    assert table["paper"].to_list() == [0.789, 0.793, 0.808]
    assert table["model"].to_list()[2] == "video-led, the paper's choice"
    write_report(folder)
    assert (
        "80.8" in (folder / "table1.tex").read_text()
        and pl.read_csv(folder / "table2.csv")["paper_sd"][2] == 0.077
    )


def test_a_study_without_fusions_has_its_singles_alone(tmp_path):
    run, predictions = read_run(opened(tmp_path, methods={"film": METHODS["film"]}))
    assert table_1(run, predictions)["method"].to_list() == ["film"] and table_2(run, predictions).is_empty()


@pytest.mark.parametrize("name", ["glovid", "demo"])
def test_our_own_studies_have_all_of_the_paper_s_rows(tmp_path, name):
    """Every row of both tables has a method in the study as it is shipped."""
    from plait.study.facts import _head, _kind, _origin

    study = load_study(f"studies/{name}.toml")
    folder = make_run(
        tmp_path, {m: (_kind(own), own.modalities, _head(own), 0.5) for m, own in study.methods.items()}
    )
    about = json.loads((folder / "run.json").read_text())
    for method, own in study.methods.items():
        about["methods"][method] |= {"use": own.use, "args": own.args, "sweep": own.swept}
        about["methods"][method]["encoders"] = {
            m: asdict(_origin(encoder)) for m, encoder in own.encoders.items()
        }
    (folder / "run.json").write_text(json.dumps(about | {"modalities": study.modalities}))
    report = Report.of(*read_run(folder))
    first = ["static", "gloves", "video", "glove-led", "video-led", "symmetric"]
    assert report.table1["method"].to_list() == first
    assert report.table2["method"].to_list()[:2] == ["average", "concat"] and len(report.table2) == 3
