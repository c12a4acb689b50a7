"""One small study with everything a page can have, for all tests of pages."""

import json
from dataclasses import asdict

import numpy as np
import polars as pl
import pytest
from tests import tiny
from tests.figures import drawn_as_svg
from tests.report.test_clip_views import CLIP, RECORDING, SKELETON, VIDEO

from plait.recogniser.predict import PREDICTED, Predicted, Whole
from plait.recogniser.recognise import recognise
from plait.recogniser.timeline import WINDOWS, write_timeline
from plait.recogniser.writers import write_segments
from plait.report import write_report
from plait.report.cases import write_cases
from plait.report.clip_views import filmed, moving_joints
from plait.store import write_json
from plait.study.finished import FinishedRun
from plait.study.run import run_study
from plait.trust import OWN


@pytest.fixture(autouse=True, scope="module")
def _drawn(whole_figures):
    """Here figures are looked at."""
    with pytest.MonkeyPatch.context() as patch:
        drawn_as_svg(whole_figures, patch)
        yield


@pytest.fixture(scope="session")
def fused(tmp_path_factory, whole_figures):
    """A small study of every kind of method, with its cases and its page."""
    with pytest.MonkeyPatch.context() as patch:
        drawn_as_svg(whole_figures, patch)
        patch.setenv("PLAIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        out = tmp_path_factory.mktemp("run")
        methods = {
            "a": {"use": "plait.fusion:Single", "args": {"modality": "a"}},
            "b": {"use": "plait.fusion:Single", "args": {"modality": "b"}},
            "concat": {"use": "plait.fusion:Concat"},
            "led": {"use": "plait.fusion:Led", "args": {"lead": "a"}},
            "width": {"use": "plait.fusion:Led", "args": {"lead": "a"}, "sweep": {"embedding": [1, 2, 4]}},
        }
        run_study(
            tiny.study(methods=methods, seeds=[0], train={"max_epochs": 1, "args": {"lr": 0.01}}), None, out
        )
        write_cases(FinishedRun.open(out, trust=OWN), each=6)  # more than the page shows at once
        write_report(out)
        return out


def with_films(run, folder):
    """A copy of a run's tables whose cases but the last have films and joints; the films' number and bytes.

    Bytes are those of one film in a page.
    """
    for name in ("predictions.parquet", "run.json"):
        (folder / name).write_bytes((run / name).read_bytes())
    cases, film = json.loads((run / "cases.json").read_text()), filmed(VIDEO, RECORDING, CLIP)
    body = moving_joints("UTD-MHAD", SKELETON, RECORDING, CLIP) | {"modality": "b", "bones": [[0, 1]]}
    (folder / "cases").mkdir()
    for number, case in enumerate(cases["cases"][:-1]):
        (folder / "cases" / f"{number}.mp4").write_bytes(film)
        case |= {"films": [{"modality": "a", "file": f"cases/{number}.mp4"}], "joints": [body]}
        case["lit"]["a"] = {"shape": [2, 1, 2], "values": [0, 85, 255, 0]}
        case["signals"] = [plot for plot in case["signals"] if plot["modality"] == "b"]
    (folder / "cases.json").write_text(json.dumps(cases))
    return len(cases["cases"]) - 1, 4 * -(-len(film) // 3)


def recognised(
    run, name="somebody", *, subject="9", trained_on=("1", "2"), method="led", labels=True, row=""
):
    """A prediction in a run's folder `timelines`, of a recording of 40 s: `a` for half of it, then `b`."""
    out = run / "timelines" / name
    out.mkdir(parents=True)
    labelled = ((2.0, 20.0, "a"), (20.0, 38.0, "b")) if labels else ()
    rows = [
        (name, at, at + 4.0, "ab"[at >= 20], [0.9 - 0.8 * (at >= 20), 0.1 + 0.8 * (at >= 20)], ["x"])
        for at in np.arange(0.0, 37.0, 2.0).tolist()
    ]
    write_timeline(pl.DataFrame(rows, schema=WINDOWS, orient="row"), out)
    whole = Whole(0.0, 40.0, labelled, None, subject)
    about = {"trained_on": tuple(trained_on), "row": row}
    predicted = Predicted("key", "model", method, ("a", "b"), {name: whole}, 4.0, 2.0, **about)
    write_json(out / PREDICTED, asdict(predicted))
    write_segments(
        out, {name: recognise(predicted, pl.DataFrame(rows, WINDOWS, orient="row")).segments}, {}, {}
    )
    return out
