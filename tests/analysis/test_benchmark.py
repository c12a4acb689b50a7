"""A data set's own metrics, and what was published, beside each other in a run's tables and on its page."""

from dataclasses import replace

import polars as pl
import pytest
from sklearn.metrics import f1_score

from plait.analysis.benchmark import (
    BENCHMARK,
    Found,
    accuracy,
    benchmark,
    macro_f1,
    read_benchmark,
    weighted_f1,
    write_benchmark,
)
from plait.analysis.stretches import Stretch
from plait.datasets.generated import GENERATED
from plait.datasets.published import Benchmark, Metric, Published
from plait.errors import ConfigError, DataError
from plait.report import write_report
from plait.results import read_run
from plait.types import Segment, Span
from tests.report.test_report import make_run

ACTIVITIES = ("sit", "walk", "run")
MACRO = Metric("macro F1", "plait.analysis.benchmark:macro_f1", {"without": ("sit",)})
WHOLE = Metric("recall", "tests.analysis.test_benchmark:share_found", {"at_least": 1}, of="recordings")
PAPER = Published("SlowNet", {"macro F1": 0.425}, "A. Author, Table 2; two seeds", sd={"macro F1": 0.01})
OWN = Benchmark("own", ACTIVITIES, (), GENERATED.recordings, "", metrics=(MACRO, WHOLE), published=(PAPER,))


def share_found(folds, activities, at_least):
    """Of recordings in which something was found, mean over folds."""
    assert activities == ["walk", "run"]
    shares = [sum(len(one.found) >= at_least for one in fold) / len(fold) for fold in folds]
    return sum(shares) / len(shares) if shares else None


def stretch(name, *found):
    return Stretch(name, (0.0, 9.0), [Span(1.0, 2.0, "walk")], [Segment(*one) for one in found])


def test_f1_as_scikit_learn_has_it(tmp_path):
    _, predictions = read_run(make_run(tmp_path, subjects=4, seeds=1))
    one = predictions.filter(pl.col("method") == "gloves")
    sides = one["activity"].to_list(), one["predicted"].to_list()
    assert macro_f1(one, ACTIVITIES) == pytest.approx(f1_score(*sides, average="macro"))
    assert weighted_f1(one, ACTIVITIES) == pytest.approx(f1_score(*sides, average="weighted"))
    busy = f1_score(*sides, average="macro", labels=["walk", "run"])
    assert macro_f1(one, ACTIVITIES, without=["sit"]) == pytest.approx(busy) != macro_f1(one, ACTIVITIES)
    apart = [macro_f1(one.filter(pl.col("subject") == who), ACTIVITIES) for who in ("1", "2", "3", "4")]
    assert macro_f1(one, ACTIVITIES, by="subject") == pytest.approx(sum(apart) / 4)
    assert accuracy(one, ACTIVITIES) == pytest.approx(sum(a == b for a, b in zip(*sides, strict=True)) / 24)
    with pytest.raises(ConfigError, match="by is 'clip'"):
        macro_f1(one, ACTIVITIES, by="clip")


def test_methods_by_the_papers_metrics_then_the_papers(tmp_path):
    run, predictions = read_run(make_run(tmp_path))
    folds = {"1": [stretch("a", (1, 2, "run")), stretch("b")], "2": [stretch("c")]}
    found = [Found("video", seed, folds, ["walk", "run"]) for seed in (0, 1)]
    table = benchmark(OWN, predictions, found)
    assert table["model"].unique(maintain_order=True).to_list() == [*sorted(run.methods), "SlowNet"]
    numbers = {(model, metric): value for model, _, _, metric, value, _ in table.iter_rows()}
    video = predictions.filter(pl.col("method") == "video")
    seeds = [macro_f1(video.filter(pl.col("seed") == seed), ACTIVITIES, ("sit",)) for seed in (0, 1)]
    assert numbers["video", "macro F1"] == pytest.approx(sum(seeds) / 2)
    assert numbers["video", "recall"] == 0.25 and numbers["gloves", "recall"] is None
    assert ("SlowNet", "recall") not in numbers and numbers["SlowNet", "macro F1"] == 0.425
    assert benchmark(GENERATED, predictions).is_empty()


def test_they_stand_in_tables_and_on_the_page(tmp_path):
    folder = make_run(tmp_path)
    write_benchmark(folder, OWN, read_run(folder)[1])
    write_report(folder)
    html, lines = (folder / "index.html").read_text(), (folder / "table.md").read_text().splitlines()
    assert html.index("SlowNet") > html.index('id="published"') and "42.5" in html
    assert "| SlowNet | A. Author, Table 2; two seeds | 42.5 | – |" in lines
    assert "| model | source | macro F1 % | recall % |" in lines
    assert "SlowNet" in (folder / "benchmark.tex").read_text()
    assert pl.read_csv(folder / "benchmark.csv")["sd"].drop_nulls().to_list() == [0.01]
    write_benchmark(folder, GENERATED, read_run(folder)[1])
    write_report(folder)
    assert not any((folder / name).exists() for name in (BENCHMARK, "benchmark.csv", "benchmark.tex"))
    assert 'id="published"' not in (folder / "index.html").read_text()


def test_what_cannot_be_is_one_line(tmp_path):
    for about, match in (
        ({"metrics": (MACRO, MACRO)}, "each once"),
        ({"published": (replace(PAPER, numbers={"mAP": 0.5}),)}, "no metric 'mAP'"),
        ({"published": (replace(PAPER, numbers={"macro F1": 42.5}),)}, "share"),
    ):
        with pytest.raises(ConfigError, match=match):
            replace(OWN, **about)
    _, predictions = read_run(make_run(tmp_path))
    wrong = Metric("recall", WHOLE.use, {"at_most": 1}, of="recordings")
    found = [Found("video", 0, {"1": [stretch("a")]}, ["walk", "run"])]
    with pytest.raises(ConfigError, match="metric 'recall': .*at_most"):
        benchmark(replace(OWN, metrics=(MACRO, wrong)), predictions, found)
    (tmp_path / BENCHMARK).write_bytes(b"PAR1 not at all")
    with pytest.raises(DataError, match="benchmark.parquet"):
        read_benchmark(tmp_path)
    pl.DataFrame({"model": ["a"], "metric": ["b"]}).write_parquet(tmp_path / BENCHMARK)
    with pytest.raises(DataError, match="expected model, source"):
        read_benchmark(tmp_path)
