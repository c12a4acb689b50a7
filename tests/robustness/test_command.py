"""`plait robustness`: what it says, writes, shows and refuses."""

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plait.analysis.robustness import curves, reliance, robustness
from plait.report import write_report
from plait.results import PERSONS, MethodFacts
from plait.robustness.faults import FAULTS
from plait.study.run import run_study
from tests import tiny


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "run"
    run_study(tiny.study(train={"max_epochs": 1, "args": {"lr": 0.01}}, seeds=[0]), None, out)
    return out


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.slow
def test_what_it_writes_and_shows(run, plait, svg):
    asked = ("--trust", "tests.tiny", "--fault", "absent", "--fault", "noisy", "--executor", "inline")
    code, said, told = plait("robustness", run, *asked)
    assert code == 0, told
    assert "## Without each sensor" in said and "## Every fault" in said and f"page: {run}" in said
    folder = run / "robustness"
    curved = pl.read_csv(folder / "curves.csv")
    assert set(curved["fault"]) == {"absent", "noisy"} and set(curved["unit"]) == {
        "gone",
        "SD of the noise, in SDs of the signal",
    }
    rely = pl.read_csv(folder / "reliance.csv")
    assert dict(rely.filter(pl.col("method") == "concat").select("modality", "without").iter_rows()) == {
        "a": 0.0,
        "b": 0.0,
    }
    assert {path.stem for path in folder.glob("*.svg")} == {"absent", "noisy"}
    assert all(ET.parse(path).getroot().tag.endswith("svg") for path in folder.glob("*.svg"))
    page = (run / "index.html").read_text()
    assert '<section id="robustness">' in page and page.count("Accuracy by severity of the fault") == 2
    before = {path.name: path.read_bytes() for path in [*folder.glob("*.*"), run / "index.html"]}
    assert plait("robustness", run, *asked)[0] == 0 and plait("report", run)[0] == 0
    assert {path.name: path.read_bytes() for path in [*folder.glob("*.*"), run / "index.html"]} == before
    assert (
        plait("robustness", run, "--trust", "tests.tiny", "--fault", "stand-in", "--executor", "inline")[0]
        == 0
    )
    assert {path.stem for path in folder.glob("*.svg")} == {"stand-in"}  # what was asked last


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--fault", "fog"], "--fault fog: unknown, expected MODULE:NAME or one of: absent,"),
        (["--modality", "c"], "--modality c: unknown, expected some of: a, b"),
        (["--only", "z"], "no method 'z'"),
        (["--fault", "dark"], "--fault dark: cannot befall a or b"),
        (["--fault", "nowhere:Fault"], "no module 'nowhere'"),
        (["--device", "tpu"], "tpu"),
    ],
)
def test_what_it_refuses(run, plait, words, why):
    code, said, told = plait("robustness", run, "--trust", "tests.tiny", "--executor", "inline", *words)
    [line] = [line for line in told.splitlines() if line.startswith("plait: ")]
    assert (code, said) == (2, "") and why in line
    assert not (run / "robustness").exists()


def test_runs_that_are_none_unfinished_or_untrusted(tmp_path, run, plait):
    code, _, told = plait("robustness", tmp_path / "nothing")
    assert code == 2 and told.count("plait: ") == 1 and "run `plait run` first" in told
    code, _, told = plait("robustness", run)
    assert code == 2 and "--trust tests.tiny" in told
    (run / "predictions.parquet").unlink()
    code, _, told = plait("robustness", run, "--trust", "tests.tiny")
    assert code == 2 and "predictions.parquet" in told and "Traceback" not in told


def test_a_page_that_nobody_asked_has_no_such_section(run):
    assert "robustness" not in write_report(run).read_text()


def people(rows):
    """Rows of fault, modality, severity, method and accuracies on people, as `PERSONS`."""
    table = []
    for fault, modality, severity, method, accuracies in rows:
        for person, accuracy in enumerate(accuracies):
            table.append((fault, modality, severity, "u", method, str(person), accuracy, 10))
    return pl.DataFrame(table, schema=PERSONS, orient="row")


def test_the_numbers_are_the_usual_definitions():
    table = people(
        [
            ("", "", 0.0, "m", [0.9, 0.8, 1.0]),
            ("", "", 0.0, "n", [0.0, 0.0, 0.0]),
            ("absent", "a", 1.0, "m", [0.4, 0.6, 0.5]),
            ("stand-in", "a", 1.0, "m", [0.7, 0.7, 0.7]),
            ("noisy", "a", 1.0, "m", [0.6, 0.6, 0.6]),
            ("noisy", "a", 3.0, "m", [0.3, 0.3, 0.3]),
            ("noisy", "a", 1.0, "n", [0.1, 0.0, 0.2]),
            ("noisy", "a", 3.0, "n", [0.0, 0.0, 0.0]),
        ]
    )
    curved = curves(table, ["m", "n"])
    noisy = curved.filter(pl.col("fault") == "noisy", pl.col("method") == "m")
    assert noisy["severity"].to_list() == [0.0, 1.0, 3.0] and noisy["people"].to_list() == [3, 3, 3]
    np.testing.assert_allclose(noisy["accuracy"], [0.9, 0.6, 0.3])
    np.testing.assert_allclose(noisy["relative"], [1, 2 / 3, 1 / 3])
    np.testing.assert_allclose(noisy["absolute"], [1, 0.7, 0.4])
    half = 4.302653 * 0.1 / np.sqrt(3)  # Student's t of 2 degrees of freedom
    np.testing.assert_allclose([noisy["low"][0], noisy["high"][0]], [0.9 - half, 0.9 + half], rtol=1e-6)
    assert curved.filter(pl.col("method") == "n")["relative"].null_count() == 3  # nothing to keep
    summed = (
        robustness(curved, 0.25)
        .filter(pl.col("fault") == "noisy", pl.col("method") == "m")
        .row(0, named=True)
    )
    assert (summed["clean"], summed["worst"]) == (pytest.approx(0.9), pytest.approx(0.3))
    assert (summed["relative"], summed["absolute"]) == (pytest.approx(0.5), pytest.approx(0.55))
    assert summed["area"] == pytest.approx((0.75 * 1 + 0.45 * 2) / 3 - 0.25)
    methods = {"m": MethodFacts("fusion", ("a", "b")), "n": MethodFacts("single", ("a",))}
    [row] = reliance(table, methods).to_dicts()
    assert (row["method"], row["modality"], row["stand_in"]) == ("m", "a", pytest.approx(0.7))
    assert row["difference"] == pytest.approx(-0.4) and row["low"] is None  # three people are too few


def test_every_fault_is_in_the_documentation():
    text = (Path(__file__).parents[2] / "docs" / "robustness.md").read_text()
    text = text.partition("## The faults")[2].partition("## What comes out")[0]
    for name, fault in FAULTS.items():
        [row] = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        cells = [cell.strip() for cell in row.split("|")]
        assert fault.unit in cells[3], name
        assert cells[4] == ", ".join(f"{step:g}" for step in fault.severities), name
