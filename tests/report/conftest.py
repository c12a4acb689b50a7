"""One small study with everything a page can have, for all tests of pages."""

import json

import pytest
from tests import tiny
from tests.report.test_clip_views import CLIP, RECORDING, SKELETON, VIDEO

from plait.report import write_report
from plait.report.cases import write_cases
from plait.report.clip_views import filmed, moving_joints
from plait.study.finished import FinishedRun
from plait.study.run import run_study
from plait.trust import OWN


@pytest.fixture(scope="session")
def fused(tmp_path_factory):
    """A small study of every kind of method, with its cases and its page."""
    with pytest.MonkeyPatch.context() as patch:
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
